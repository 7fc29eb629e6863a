"""Labelled data of every form becomes the same examples, in parts that share nothing."""

import gzip
import json
import lzma

import pytest

from gen.data.tasks import splits
from gen.data.tasks.examples import DialogueExample, Message, PairExample, TaggedExample, TextExample
from gen.data.tasks.reading import load_task
from gen.errors import UserError

ROWS = [(f"The film {i} is {'good' if i % 3 else 'bad'}", "pos" if i % 3 else "neg") for i in range(40)]


def write(path, text, encoding="utf-8"):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text.encode(encoding))
  return str(path)


def every(data):
  return [*data.train, *data.development, *data.test]


def lines(form):
  if form == "csv":
    return "Review,Sentiment\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
  if form == "tsv":
    return "label\ttext\n" + "".join(f"{label}\t{text}\n" for text, label in ROWS)
  if form == "semicolons":
    return "\ufefftext;class\n" + "".join(f"{text};{label}\n" for text, label in ROWS)
  if form == "no names":
    return "".join(f"{label}\t{text}\n" for text, label in ROWS)
  if form == "json":
    return json.dumps({"rows": [{"sentence": text, "label": label} for text, label in ROWS]})
  return "".join(json.dumps({"content": text, "target": label}) + "\n" for text, label in ROWS)


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolons", "no names", "json", "jsonl"])
def test_texts_with_labels_are_read_from_any_table(tmp_path, form):
  name = {"semicolons": "csv", "no names": "txt"}.get(form, form)
  data = load_task("classify", write(tmp_path / f"data.{name}", lines(form)))
  assert {(example.text, example.label) for example in every(data)} == set(ROWS)
  assert data.labels == ("neg", "pos")
  assert len(data.development) == len(data.test) == 4
  # A column with the field's own name goes without saying.
  has_note = any("is taken for text" in note for note in data.notes)
  assert has_note == (form not in ("tsv", "semicolons"))


def test_less_usual_tables_of_labels_are_read(tmp_path):
  fast = "".join(f"__label__{label} {text}\n" for text, label in ROWS)
  frame = "0,1\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
  parts = {
    part: [{"text": text, "label": label} for text, label in ROWS[i::2]]
    for i, part in enumerate(("train", "test"))
  }
  for name, content, columns in (
    ("fast.txt", fast, {}),
    ("frame.csv", frame, {"text": "0", "label": "1"}),
    ("parts.json", json.dumps({"data": parts}), {}),
  ):
    data = load_task("classify", write(tmp_path / name, content), columns=columns)
    assert {(example.text, example.label) for example in every(data)} == set(ROWS)
  assert len(data.test) == 20  # a JSON file's own parts are kept


def test_lines_that_end_in_carriage_returns_alone_are_lines(tmp_path):
  conll = "".join(f"Ann{i} B-PER\nsings O\n\n" for i in range(30))
  for task, name, content in (
    ("classify", "data.csv", lines("csv")),
    ("classify", "data.tsv", lines("tsv")),
    ("classify", "data.jsonl", lines("jsonl")),
    ("tag", "data.conll", conll),
    ("translate", "pairs.tsv", "".join(f"one {i}\ttwo {i}\n" for i in range(30))),
  ):
    plain = load_task(task, write(tmp_path / name, content))
    (tmp_path / name).write_bytes(content.replace("\n", "\r").encode())
    assert load_task(task, str(tmp_path / name)).sha256 == plain.sha256


def test_pairs_of_one_first_text_lie_in_one_part_unless_it_is_that_of_most(tmp_path):
  rows = "premise,hypothesis,label\n" + "".join(f"p{i // 3},h{i},{'abc'[i % 3]}\n" for i in range(120))
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.2)
  texts = [{example.text for example in part} for part in (data.train, data.development, data.test)]
  assert not (texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2])
  assert len(data.test) == 24
  rows = "premise,hypothesis,label\n" + "".join(f"what?,h{i},{'abc'[i % 3]}\n" for i in range(120))
  assert len(load_task("classify", write(tmp_path / "data.csv", rows), test=0.2).test) == 24


def test_a_text_with_two_labels_is_told(tmp_path):
  rows = "text,label\n" + "".join(f"text {i % 13},{i % 2}\n" for i in range(40))
  notes = load_task("classify", write(tmp_path / "data.csv", rows)).notes
  assert any("13 texts occur with different labels, the first at" in note for note in notes)


def test_packed_files_are_read_as_their_content(tmp_path):
  plain = load_task("classify", write(tmp_path / "data.jsonl", lines("jsonl")))
  for name, pack in (("data.jsonl.gz", gzip.compress), ("data.jsonl.xz", lzma.compress)):
    (tmp_path / name).write_bytes(pack(lines("jsonl").encode()))
    assert load_task("classify", str(tmp_path / name)).sha256 == plain.sha256


def test_the_split_depends_on_the_seed_and_limits_are_nested(tmp_path):
  path = write(tmp_path / "data.csv", lines("csv"))
  data = load_task("classify", path)
  assert load_task("classify", path).sha256 == data.sha256 != load_task("classify", path, seed=1).sha256
  few, more = (load_task("classify", path, limit=limit) for limit in (7, 19))
  assert set(few.train) < set(more.train) < set(data.train) and few.test == data.test
  assert (len(few.train), len(more.train)) == (7, 19)


def test_each_class_has_its_share_in_each_part(tmp_path):
  rows = "text,label\n" + "".join(f"text {i},{'rare' if i % 10 == 0 else 'usual'}\n" for i in range(200))
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.2, development=0.1)
  assert [
    sum(example.label == "rare" for example in part) for part in (data.train, data.development, data.test)
  ] == [14, 2, 4]


def test_the_same_text_lies_in_one_part(tmp_path):
  rows = "text,label,document\n" + "".join(f"text {i % 17},{i % 2},d{i}\n" for i in range(90))
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.3, seed=2)
  keys = [
    {splits.text_key(example) for example in part} for part in (data.train, data.development, data.test)
  ]
  assert not (keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2])
  assert any("share a text with another one" in note for note in data.notes)
  # Templates that join most documents do not make one part of everything.
  texts = [f"text {i}" if i % 4 else "same" for i in range(80)]
  rows = "text,label,document\n" + "".join(f"{text},{i % 2},d{i // 4}\n" for i, text in enumerate(texts))
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.3, seed=2)
  assert "same" in {example.text for example in data.train} - {example.text for example in data.test}
  assert any("repeat a text of another part" in note for note in data.notes)


def test_documents_stay_whole(tmp_path):
  rows = "text,label,doc_id\n" + "".join(f"text {i},{i % 2},d{i // 5}\n" for i in range(100))
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.2)
  documents = [{example.document for example in part} for part in (data.train, data.development, data.test)]
  assert list(map(len, documents)) == [14, 2, 4] and len(set.union(*documents)) == 20


@pytest.mark.parametrize("seed", range(6))
def test_train_has_every_label(tmp_path, seed):
  rows = "text,label,document\n" + "".join(
    f"text {i},{'rare' if i < 4 else i % 2},d{i // 4}\n" for i in range(40)
  )
  data = load_task("classify", write(tmp_path / "data.csv", rows), test=0.4, seed=seed)
  assert {example.label for example in data.train} == {"0", "1", "rare"}
  documents = [{example.document for example in part} for part in (data.train, data.development, data.test)]
  assert len(documents[0] | documents[1] | documents[2]) == sum(map(len, documents)) == 10


def test_parts_that_the_data_gives_are_kept(tmp_path):
  rows = "text,label,split\n" + "".join(
    f"text {i},{i % 2},{('train', 'valid', 'test')[i % 3]}\n" for i in range(30)
  )
  column = load_task("classify", write(tmp_path / "data.csv", rows))
  for part in ("train", "valid", "test"):
    chosen = [row for row in rows.splitlines()[1:] if row.endswith(f",{part}")]
    write(tmp_path / f"folder/{part}.csv", "text,label,split\n" + "\n".join(chosen))
  folder = load_task("classify", str(tmp_path / "folder"))
  told = load_task(
    "classify", ",".join(f"{part}={tmp_path}/folder/{part}.csv" for part in ("train", "valid", "test"))
  )
  assert column.sha256 == folder.sha256 == told.sha256
  assert [example.text for example in column.test] == [f"text {i}" for i in range(2, 30, 3)]


def test_the_name_of_a_single_file_is_no_part(tmp_path):
  data = load_task("classify", write(tmp_path / "my_test.csv", lines("csv")))
  assert (len(data.train), len(data.development), len(data.test)) == (32, 4, 4)


def test_a_missing_part_is_split_from_train_and_copies_are_told(tmp_path):
  rows = [f"text {i},{i % 2}\n" for i in range(40)]
  write(tmp_path / "train.csv", "text,label\n" + "".join(rows[:30]))
  write(tmp_path / "test.csv", "text,label\n" + "".join(rows[28:]))
  data = load_task("classify", str(tmp_path))
  assert (len(data.train), len(data.development), len(data.test)) == (27, 3, 12)
  assert any(note.startswith("warning: ") and "in train too" in note for note in data.notes)


def test_numbers_with_fractions_are_regression(tmp_path):
  rows = "sentence1,sentence2,score\n" + "".join(f"a {i},b {i},{i / 7:.3f}\n" for i in range(30))
  data = load_task("classify", write(tmp_path / "data.csv", rows))
  assert data.labels == () and every(data)[0].label == ""
  example = next(example for example in every(data) if example.text == "a 14")
  assert example == TextExample("a 14", "", "b 14", label_value=2.0)


def test_translations_are_read_from_any_pair_of_columns_or_files(tmp_path):
  pairs = [(f'English "{i}', f"Deutsch {i}") for i in range(30)]
  table = "".join(f"{source}\t{target}\n" for source, target in pairs)
  sources = [
    write(tmp_path / "plain.tsv", table),
    write(tmp_path / "named.tsv", "en\tde\n" + table),
    write(
      tmp_path / "hub.jsonl",
      "".join(json.dumps({"translation": {"en": s, "de": t}}) + "\n" for s, t in pairs),
    ),
    ",".join(write(tmp_path / f"a.{['en', 'de'][i]}", "\n".join(pair[i] for pair in pairs)) for i in (0, 1)),
  ]
  found = [load_task("translate", source) for source in sources]
  for data in found:
    assert {(example.source, example.target) for example in every(data)} == set(pairs)
  write(tmp_path / "moses/train.en", "\n".join(s for s, _ in pairs))
  write(tmp_path / "moses/train.de", "\n".join(t for _, t in pairs))
  data = load_task("translate", str(tmp_path / "moses"), columns={"source": "en", "target": "de"})
  assert every(data)[0] == PairExample(*pairs[0])


def test_neighbours_of_one_text_lie_in_one_part(tmp_path):
  rows = "".join(f"line {i}\tZeile {i}\n" for i in range(600))
  data = load_task("translate", write(tmp_path / "data.tsv", rows), test=0.1)
  numbers = sorted(int(example.source.split()[1]) for example in data.test)
  assert len(numbers) == 60 and sum(number - 1 not in numbers for number in numbers) <= 10


def test_summaries_are_read_by_their_usual_names(tmp_path):
  rows = "".join(
    json.dumps({"article": f"long {i}", "highlights": f"short {i}", "id": i}) + "\n" for i in range(20)
  )
  assert PairExample("long 3", "short 3") in every(load_task("summarize", write(tmp_path / "a.jsonl", rows)))


DIALOGUE = DialogueExample((Message("user", "Add.\n\n1 and 2"), Message("assistant", "3")))


@pytest.mark.parametrize(
  "record",
  [
    {"messages": [{"role": "user", "content": "Add.\n\n1 and 2"}, {"role": "assistant", "content": "3"}]},
    {"conversations": [{"from": "human", "value": "Add.\n\n1 and 2"}, {"from": "gpt", "value": "3"}]},
    {"instruction": "Add.", "input": "1 and 2", "output": "3"},
    {"prompt": "Add.\n\n1 and 2", "completion": "3"},
    {
      "prompt": [{"role": "user", "content": "Add.\n\n1 and 2"}],
      "completion": [{"role": "assistant", "content": "3"}],
    },
  ],
)
def test_dialogues_are_read_in_the_usual_forms(tmp_path, record):
  others = [{"prompt": f"Say {i}", "completion": f"{i}"} for i in range(9)]
  rows = "".join(json.dumps(each) + "\n" for each in [record, *others])
  assert DIALOGUE in every(load_task("instruct", write(tmp_path / "data.jsonl", rows)))


def squad(answers, impossible=False):
  article = {"title": "T", "paragraphs": [{"context": "Ann met Bob.", "qas": []}]}
  for i, answer in enumerate(answers):
    entry = {"id": f"q{i}", "question": "Who?", "answers": [answer] if answer else []}
    article["paragraphs"][0]["qas"].append(entry | ({"is_impossible": not answer} if impossible else {}))
  others = [{"title": f"U{i}", "paragraphs": [{"context": f"Nr {i} is Cid.", "qas": [
    {"id": f"r{i}", "question": "Who?", "answers": [{"text": "Cid", "answer_start": len(f"Nr {i} is ")}]}]}]}
    for i in range(12)]  # fmt: skip
  return json.dumps({"version": "1", "data": [article, *others]})


def test_both_versions_of_squad_are_read(tmp_path):
  first = load_task("answer", write(tmp_path / "one.json", squad([{"text": "Bob", "answer_start": 8}])))
  question = next(example for example in every(first) if example.identifier == "q0")
  assert (question.answers, question.starts, question.document) == (("Bob",), (8,), "T")
  second = load_task(
    "answer", write(tmp_path / "two.json", squad([None, {"text": "Ann", "answer_start": 0}], True))
  )
  assert [example.answers for example in every(second) if example.identifier in ("q0", "q1")] == [
    (),
    ("Ann",),
  ]


def test_answers_are_read_as_objects_of_squad_in_lines_too(tmp_path):
  content = "".join(
    json.dumps(
      {"question": f"q{i}", "context": f"a red {i}", "answers": [{"text": "red", "answer_start": 2}]}
    )
    + "\n"
    for i in range(20)
  )
  data = load_task("answer", write(tmp_path / "data.jsonl", content))
  assert {(example.answers, example.starts) for example in every(data)} == {(("red",), (2,))}


def test_answers_without_starts_are_searched(tmp_path):
  rows = "".join(
    json.dumps({"question": "Who?", "context": f"{i} is Ann", "answer": "Ann"}) + "\n" for i in range(20)
  )
  data = load_task("answer", write(tmp_path / "data.jsonl", rows))
  assert all(example.context[example.starts[0] :] == "Ann" for example in every(data))


def test_tokens_and_tags_are_read_from_columns_and_from_records(tmp_path):
  column = "".join(f"Ann{i} NNP B-PER\nsings VBZ O\n\n" for i in range(30))
  records = "".join(
    json.dumps({"tokens": [f"Ann{i}", "sings"], "ner_tags": ["B-PER", "O"]}) + "\n" for i in range(30)
  )
  example = TaggedExample(("Ann7", "sings"), ("B-PER", "O"))
  for name, text in (("data.conll", column), ("data.jsonl", records)):
    data = load_task("tag", write(tmp_path / name, text))
    assert example in every(data) and data.labels == ("B-PER", "O")
  parts = load_task("tag", str(tmp_path / "data.conll"), columns={"tags": "2"})
  assert parts.labels == ("NNP", "VBZ")


def test_tokens_are_read_from_rows_and_from_lists_in_cells(tmp_path):
  example = TaggedExample(("Ann's", "x7"), ("B-PER", "O"))
  rows = "Sentence #,Word,Tag\n" + "".join(f"Sentence: {i},Ann's,B-PER\n,x{i},O\n" for i in range(30))
  lists = "tokens,tags\n" + "".join(f'"[""Ann\'s"", \'x{i}\']","[\'B-PER\', \'O\']"\n' for i in range(30))
  for name, text in (("rows.csv", rows), ("lists.csv", lists)):
    assert example in every(load_task("tag", write(tmp_path / name, text)))
  with pytest.raises(UserError, match="each row holds one token"):
    load_task("tag", write(tmp_path / "bare.csv", "word,tag\n" + "Ann,B-PER\nx,O\n" * 9))


def test_marks_of_documents_are_followed(tmp_path):
  text = "".join(("-DOCSTART- O\n\n" if i % 4 == 0 else "") + f"Ann{i} I-PER\nsings O\n\n" for i in range(40))
  data = load_task("tag", write(tmp_path / "data.conll", text), test=0.2)
  assert {len([e for e in every(data) if e.document == f"data.conll#{d}"]) for d in range(1, 11)} == {4}
  assert not {e.document for e in data.test} & {e.document for e in data.train}


def test_an_empty_source_and_an_unknown_task_are_refused(tmp_path):
  for task, source, says in (
    ("sing", "x", "no task 'sing'"),
    ("classify", "", "no name"),
    ("classify", "nowhere", "no such file"),
  ):
    with pytest.raises(UserError, match=says):
      load_task(task, source)
