"""Every fault of labelled data is one sentence with its file and row, and nothing is read."""

import json
import lzma
import re

import pytest

from gen.data.tasks.reading import load_task
from gen.errors import UserError

GOOD = [("a good film", "pos"), ("a bad film", "neg")] * 8


def refused(tmp_path, task, name, content, **settings):
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(UserError) as raised:
    load_task(task, str(path), **settings)
  assert "\n" not in str(raised.value) and "Traceback" not in str(raised.value)
  return str(raised.value)


def table(*rows):
  return "text,label\n" + "".join(f"{text} {i},{label}\n" for i, (text, label) in enumerate([*GOOD, *rows]))


LONG = "x" * ((1 << 20) + 1)


@pytest.mark.parametrize(
  ("content", "says"),
  [
    (table(("no label", "")), r"data.csv:18: the label \(column 'label'\) is missing"),
    (table(("unlabelled", "-1")), "data.csv:18: the label .* is missing: '-1' stands for none"),
    (
      table(("old", "pos")).replace("film 3", "film\r3"),
      "data.csv:5: .* a carriage return stands inside a field",
    ),
    (",,\n,,\n", "data.csv: all its fields are empty"),
    ("text,score\na,1_0\nb,2\n", "data.csv:2: the number .* is '1_0'; give a finite number"),
    (table() + ",pos\n", r"data.csv:18: the text \(column 'text'\) is empty"),
    (table((LONG, "pos")), "data.csv:18: the text has 1,048,580 characters, more than 1,048,576"),
    ("text,label\n" + "".join(f"t{i},pos\n" for i in range(9)), "all labels are 'pos'"),
    ("text,label\n" + "".join(f"t{i},l{i}\n" for i in range(30)), "30 different labels in 30 rows"),
    (table() + "one,two,three\n", "data.csv:18: 3 fields, but the first row has 2"),
    (table() + '"never closed,pos\n', "data.csv:18: "),
    ("text,text,label\na,b,c\n", "two columns are called 'text'"),
    (
      "words,mood\n" + "".join(f"t{i},{i % 2}\n" for i in range(9)),
      "no column is called text, .*'words', 'mood'",
    ),
    ("text\n" + "".join(f"t{i}\n" for i in range(9)), "no column is called label"),
    ("", "data.csv: the file is empty"),
    ("text,label\n", "it holds no examples"),
    ("text,label\na,x\nb,y\n", "too few to split"),
    (
      table().replace("film 3", "film \xe9").encode("latin-1"),
      "data.csv:5: not UTF-8: byte 0xe9 at column 12",
    ),
    (b"\x89PNG\r\n\x1a\n" + bytes(50), "this is an image, not text"),
    (b"PK\x03\x04" + bytes(50), "it is a zip file; unpack it"),
    (lzma.compress(table().encode())[:-9], "damaged"),
    ("<!doctype html><html><body>text,label</body></html>", "this is an HTML page"),
  ],
)
def test_a_fault_of_labelled_texts_names_the_row(tmp_path, content, says):
  assert re.search(says, refused(tmp_path, "classify", "data.csv", content))


@pytest.mark.parametrize(
  ("settings", "says"),
  [
    ({"columns": {"text": "txt"}}, "no column 'txt', which you named for text .*nearest is 'text'"),
    ({"columns": {"texts": "text"}}, "classify has no field 'texts'"),
    ({"test": 1.5}, "test is 1.5; it is a share"),
    ({"development": 0.6, "test": 0.5}, "together they must be below 1"),
    ({"limit": -1}, "limit is -1"),
    ({"columns": {"split": "fold"}}, "no column 'fold', which you named for split"),
  ],
)
def test_a_setting_that_cannot_be_is_told(tmp_path, settings, says):
  assert re.search(says, refused(tmp_path, "classify", "data.csv", table(), **settings))


@pytest.mark.parametrize(
  ("task", "record", "says"),
  [
    ("classify", {"text": "a", "label": "\ud800"}, "the label has half of a surrogate pair"),
    (
      "tag",
      {"tokens": ["a"], "tags": ["B-\ud800"]},
      "token 1: the token or its tag has half of a surrogate pair",
    ),
    (
      "instruct",
      {"prompt": [{"role": "user", "content": "\ud800"}], "completion": "b"},
      "message 1: the content has",
    ),
    ("classify", {"text": "a", "score": 10**400}, "give a finite number"),
    ("classify", {"text": "a", "score": True}, "give a finite number"),
    ("tag", {"text": "a b", "entities": []}, "no record has an entity or a tag"),
  ],
)
def test_a_value_of_json_that_cannot_be_stored_is_one_sentence(tmp_path, task, record, says):
  assert says in refused(tmp_path, task, "data.jsonl", json.dumps(record) + "\n")


def test_a_limit_that_leaves_out_a_class_is_a_warning(tmp_path):
  path = tmp_path / "data.csv"
  path.write_text("text,label\n" + "".join(f"text {i},{'abc'[i % 3]}\n" for i in range(90)))
  notes = load_task("classify", str(path), limit=2).notes
  assert any(note.startswith("warning: 1 of 3 labels have no training example ('") for note in notes)
  assert not any("no training example" in note for note in load_task("classify", str(path), limit=40).notes)


def test_a_label_that_train_lacks_is_told_with_its_row(tmp_path):
  (tmp_path / "train.csv").write_text(table())
  message = refused(tmp_path, "classify", "test.csv", "text,label\nfine,good\n")
  assert "it holds" not in message  # one file alone is split
  with pytest.raises(
    UserError, match=r"test.csv:2: the label 'good' of test does not occur in train \(neg, pos\)"
  ):
    load_task("classify", str(tmp_path))


def test_a_split_without_train_and_a_split_of_another_word_are_told(tmp_path):
  rows = "text,label,split\n" + "".join(f"{text},{label},test\n" for text, label in GOOD)
  assert "gives only test" in refused(tmp_path, "classify", "data.csv", rows)
  told = refused(tmp_path, "classify", "data.csv", rows + "x,pos,later\n", columns={"split": "split"})
  assert "data.csv:18: the split (column 'split') is 'later'" in told


def test_unbalanced_classes_are_told_with_their_shares(tmp_path):
  path = tmp_path / "data.csv"
  path.write_text(
    "text,label\n" + "".join(f"text {i},{'rare' if i % 20 == 0 else 'usual'}\n" for i in range(200))
  )
  notes = load_task("classify", str(path)).notes
  assert any("unbalanced: 'usual' 95.0%, 'rare' 5.0%" in note for note in notes)


def sentences(*more):
  return "".join(f"Ann{i} B-PER\nsings O\n\n" for i in range(12)) + "".join(more)


@pytest.mark.parametrize(
  ("content", "says", "scheme"),
  [
    (
      sentences("Bob I-PER\n\n"),
      "data.conll:37: 'I-PER' does not continue a span of its type (IOB2, detected)",
      "",
    ),
    (sentences("Bob\n\n"), "data.conll:37: 1 columns, but most lines have 2", ""),
    (sentences("Bob PER\n\n"), "data.conll:37: the tag has no prefix", ""),
    (sentences("Bob S-PER\n\n"), "data.conll:37: the prefix of 'S-PER' is not one of IOB2", "IOB2"),
    (sentences(), "data.conll:1: 'B-PER' does not follow another span", "IOB1"),
    (sentences(), "data.conll:1: 'B-PER' is not continued", "BILOU"),
    (sentences(), "tag_scheme is 'IOB3'", "IOB3"),
    ("Ann\nsings\n\n", "its lines have one column", ""),
    ("Ann O\nsings O\n\n" * 9, "all tags are 'O'", ""),
    ("\n\n", "the file has no tokens", ""),
  ],
)
def test_a_fault_of_tags_names_the_line(tmp_path, content, says, scheme):
  assert says in refused(tmp_path, "tag", "data.conll", content, tag_scheme=scheme)


@pytest.mark.parametrize("column", ["0", "3", "²", "tag"])
def test_a_column_of_tags_is_a_number_within_the_file(tmp_path, column):
  told = refused(tmp_path, "tag", "data.conll", sentences(), columns={"tags": column})
  assert f"the column of tags is {column!r}; give a number from 1 to 2" in told


@pytest.mark.parametrize(
  ("record", "says"),
  [
    ({"tokens": ["a", "b"], "tags": ["O"]}, "data.jsonl:10: 2 tokens and 1 tags"),
    ({"tokens": [], "tags": []}, "the sentence has no tokens"),
    ({"tokens": ["a", ""], "tags": ["O", "O"]}, "data.jsonl:10, token 2: the token is ''"),
    ({"tokens": ["a"], "tags": [None]}, "data.jsonl:10, token 1: the tag of 'a' is missing"),
    ({"tokens": 3, "tags": ["O"]}, "is a whole number; it must be a list"),
  ],
)
def test_a_fault_of_a_tagged_record_names_the_token(tmp_path, record, says):
  rows = [{"tokens": ["Ann", "x"], "tags": ["B-PER", "O"]}] * 9
  assert says in refused(
    tmp_path, "tag", "data.jsonl", "".join(json.dumps(r) + "\n" for r in [*rows, record])
  )


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (
      {"answers": [{"text": "Bob", "answer_start": 3}]},
      "question 1 (q): the context has ' me' at 3, but the answer is 'Bob'",
    ),
    ({"answers": [{"text": "Cid", "answer_start": 0}]}, "the answer is not in the context"),
    ({"answers": [{"text": "Bob", "answer_start": -4}]}, "at -4"),
    ({"answers": [{"text": "Bob"}]}, "has no 'answer_start'"),
    ({"answers": []}, "no answers; a question without an answer needs is_impossible"),
    ({"answers": [], "is_impossible": True}, "no question has an answer"),
    ({"question": " "}, "the question (column 'question') is empty"),
    ({"question": 7}, "holds a whole number where text is expected"),
  ],
)
def test_a_fault_of_a_question_names_it(tmp_path, change, says):
  question = {"id": "q", "question": "Who?", "answers": [{"text": "Bob", "answer_start": 8}]} | change
  content = {"data": [{"title": "T", "paragraphs": [{"context": "Ann met Bob.", "qas": [question]}]}]}
  assert says in refused(tmp_path, "answer", "data.json", json.dumps(content))


@pytest.mark.parametrize(
  ("record", "says"),
  [
    ({"text": "hello"}, "data.jsonl:1: it has 'text'; a dialogue needs messages"),
    ({"messages": [{"role": "user", "content": "hi"}]}, "no message of the assistant"),
    ({"messages": [{"role": "alien", "content": "hi"}]}, "message 1: the role is 'alien'"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, "without a question of the user"),
    (
      {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": " "}]},
      "message 2: the content of",
    ),
    ({"messages": [{"role": "user", "content": None}]}, "the content is null"),
    ({"messages": "hi"}, "messages holds text where a list is expected"),
    ({"prompt": "hi", "completion": ""}, "the completion (column 'completion') is empty"),
    ([1, 2], "a record is a list"),
  ],
)
def test_a_fault_of_a_dialogue_names_the_message(tmp_path, record, says):
  assert says in refused(tmp_path, "instruct", "data.jsonl", (json.dumps(record) + "\n") * 12)


def test_lines_that_do_not_belong_together_are_told(tmp_path):
  (tmp_path / "a.en").write_text("one\ntwo\n")
  (tmp_path / "a.de").write_text("eins\n")
  with pytest.raises(UserError, match=r"a.en has 2 lines and .*a.de has 1"):
    load_task("translate", f"{tmp_path}/a.en,{tmp_path}/a.de")
  pairs = "".join(f"line {i}\tZeile {i}\n" for i in range(12))
  assert "data.tsv:13: the target (column '2') is empty" in refused(
    tmp_path, "translate", "data.tsv", pairs + "x\t\n"
  )
  assert "data.tsv:13: 1 fields" in refused(tmp_path, "translate", "data.tsv", pairs + "x\n")
  broken = "".join(f"line {i}\tZeile {i}\n" for i in range(12)).encode() + b"x\t\xfc\n"
  assert "data.tsv:13: not UTF-8: byte 0xfc at column 3" in refused(tmp_path, "translate", "data.tsv", broken)


def test_lines_that_are_not_json_are_told(tmp_path):
  good = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in GOOD)
  assert "data.jsonl:17 is not valid JSON" in refused(tmp_path, "classify", "data.jsonl", good + "{'text'}\n")
  half = good + '{"text": "\\ud800", "label": "pos"}\n'
  assert "half of a surrogate pair" in refused(tmp_path, "classify", "data.jsonl", half)
  deep = good + '{"text": ' + "[" * 100_000 + "\n"
  assert "nested too deeply" in refused(tmp_path, "classify", "data.jsonl", deep)


@pytest.mark.parametrize(
  ("source", "says"),
  [
    ("wiki_topic", "no such file or folder; the nearest packaged set is wiki_topics"),
    ("xyz:poems", "schemes are jsonl, json, csv, tsv, conll, squad, tfds, package"),
    ("nowhere", r"no such file or folder, and no packaged set \(wiki_topics"),
    ("package:poems", "^'package:poems' names no exact version"),
    ("train=nowhere.csv", "nowhere.csv: no such file"),
  ],
)
def test_a_source_that_is_not_there_is_told_with_the_nearest(source, says):
  with pytest.raises(UserError, match=says):
    load_task("classify", source)


def test_a_row_without_a_column_of_the_first_one_is_told(tmp_path):
  rows = [json.dumps({"text": text, "label": label}) for text, label in GOOD]
  content = "\n".join([*rows, json.dumps({"body": "a", "label": "pos"})])
  told = refused(tmp_path, "classify", "data.jsonl", content)
  assert "data.jsonl:17: no column 'text', which the first row has (its columns: 'body', 'label')" in told


def test_a_set_for_another_task_is_told():
  with pytest.raises(UserError, match=r"wiki_topics has examples of the task classify, not tag"):
    load_task("tag", "wiki_topics")
  with pytest.raises(UserError, match=r"package:poems==1.0: name the member"):
    load_task("tag", "package:poems==1.0")
