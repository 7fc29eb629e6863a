"""Entities that annotation tools mark by places in a text become tags of tokens."""

import json

import pytest

from gen.data.tasks.examples import TaggedExample
from gen.data.tasks.reading import load_task
from gen.errors import UserError

PLAIN = [{"text": f"Anna lives in Bonn {i}", "label": [[14, 18, "LOC"], [0, 4, "PER"]]} for i in range(30)]
TAGGED = ("B-PER", "O", "O", "B-LOC", "O")


def load(tmp_path, records):
  (tmp_path / "marked.jsonl").write_text("\n".join(map(json.dumps, records)))
  return load_task("tag", str(tmp_path / "marked.jsonl"))


def test_entities_are_read_as_lists_and_as_objects(tmp_path):
  keys = [("start", "end", "label"), ("start_offset", "end_offset", "type"), ("begin", "end", "labels")]
  for begin, end, name in keys:
    records = [
      {
        "text": row["text"],
        "entities": [{begin: b, end: e, name: [w] if name == "labels" else w} for b, e, w in row["label"]],
      }
      for row in PLAIN
    ]
    found = load(tmp_path, records)
    assert found.labels == ("B-LOC", "B-PER", "O")
    assert (
      {example.tags for example in found.train}
      == {TAGGED}
      == {example.tags for example in load(tmp_path, PLAIN).train}
    )


def test_places_split_words_and_count_characters_not_bytes(tmp_path):
  text = "😀 Dr. Ann-Marié's  ice"
  records = [
    {"text": f"{text} {i}", "entities": [{"start": 6, "end": 15, "label": "PER"}]} for i in range(30)
  ]
  example = load(tmp_path, records).train[0]
  assert example.tokens[:-1] == ("😀", "Dr", ".", "Ann", "-", "Marié", "'", "s", "ice")
  assert example.tags == ("O", "O", "O", "B-PER", "I-PER", "I-PER", "O", "O", "O", "O")
  inside = [
    {"text": f"unhappily {i}", "entities": [{"start": 2, "end": 7, "label": "ROOT"}]} for i in range(30)
  ]
  assert load(tmp_path, inside).train[0].tokens[:3] == ("un", "happi", "ly")


def test_combining_marks_stay_in_their_words_and_no_scheme_is_claimed(tmp_path):
  text = "Jose\u0301 हिन्दी ❤\ufe0f, x"
  records = [{"text": f"{text}{i}", "entities": [{"start": 0, "end": 5, "label": "PER"}]} for i in range(30)]
  found = load(tmp_path, records)
  assert found.train[0].tokens[:-1] == ("Jose\u0301", "हिन्दी", "❤\ufe0f", ",")
  assert found.train[0].tags[:2] == ("B-PER", "O")
  assert not any("scheme" in note for note in found.notes)


def test_scripts_without_spaces_have_a_token_a_character(tmp_path):
  records = [
    {"text": f"Zoe\u0308 住在北京{i}", "entities": [{"start": 7, "end": 9, "label": "LOC"}]}
    for i in range(30)
  ]
  found = load(tmp_path, records)
  assert found.train[0].tokens[:-1] == ("Zoe\u0308", "住", "在", "北", "京")
  assert found.train[0].tags == ("O", "O", "O", "B-LOC", "I-LOC", "O")
  assert not [note for note in found.notes if note.startswith("warning")]


def test_a_text_without_entities_has_none(tmp_path):
  found = load(tmp_path, [{"text": "nothing, here", "label": []}, *PLAIN])
  every = (*found.train, *found.development, *found.test)
  assert TaggedExample(("nothing", ",", "here"), ("O", "O", "O"), "") in every


@pytest.mark.parametrize(
  ("text", "entities", "message"),
  [
    ("Anna lives", [[0, 4, "A"], [2, 6, "B"]], r"marked.jsonl:31: the entities A and B overlap at 2"),
    ("Anna lives", [[0, 40, "A"]], r":31, entity 1: it is from 0 to 40, and the text has 10 characters"),
    ("Anna lives", [[4, 5, "A"]], r"it marks spaces alone"),
    ("Anna lives", [[0, 5]], r"write its start, its end and its label"),
    ("Anna lives", [["0", 5, "A"]], r"write its start, its end and its label"),
    ("Anna lives", [[0, 4, "A"], "O"], r"entity 2: it is O"),
    ("Anna lives", [[0, 4, None]], r"its label is None"),
    (["Anna", "lives"], [[0, 4, "A"]], r"need a text \(column 'text'\)"),
    ("Anna lives", None, r"the entities \(column 'label'\) is null"),
  ],
)
def test_an_entity_that_cannot_be_is_one_sentence_with_its_place(tmp_path, text, entities, message):
  with pytest.raises(UserError, match=message):
    load(tmp_path, [*PLAIN, {"text": text, "label": entities}])


def test_entities_that_cut_words_are_counted_in_a_warning(tmp_path):
  shifted = [{"text": row["text"], "label": [[b + 1, e + 1, w] for b, e, w in row["label"]]} for row in PLAIN]
  (warning,) = [note for note in load(tmp_path, shifted).notes if note.startswith("warning")]
  assert "60 entities begin or end inside a word" in warning
  assert not [note for note in load(tmp_path, PLAIN).notes if note.startswith("warning")]
