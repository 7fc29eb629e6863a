"""Damaged labelled data of every form: it is read, or refused in one sentence."""

import json

import pytest

from gen.data.tasks.reading import load_task
from gen.errors import UserError


def lines(make):
  return "".join(make(i) + "\n" for i in range(20))


def squad():
  articles = [
    {"title": f"T{i}", "paragraphs": [{"context": f"{i} is Ann", "qas": [
      {"id": "a", "question": "Who?", "answers": [{"text": "Ann", "answer_start": len(str(i)) + 4}]}]}]}
    for i in range(9)
  ]  # fmt: skip
  return json.dumps({"data": articles})


FORMS = (
  ("classify", lines(lambda i: f'"text, {i}",{i % 2}' if i else "text,label")),
  ("classify", lines(lambda i: json.dumps({"text": f"t{i}", "label": i % 2, "score": i / 3}))),
  ("classify", json.dumps({"train": [{"text": f"t{i}", "label": i % 2} for i in range(20)]})),
  ("classify", lines(lambda i: f"__label__{i % 2} text {i}")),
  ("tag", lines(lambda i: f"A{i} B-X\nb I-X\nc O\n")),
  ("tag", lines(lambda i: json.dumps({"tokens": ["a", f"b{i}"], "tags": ["B-X", "O"]}))),
  ("tag", lines(lambda i: f"{i // 3},w{i},{'B-X' if i % 2 else 'O'}" if i else "sentence,word,tag")),
  ("translate", lines(lambda i: f"a {i}\tb {i}")),
  ("translate", lines(lambda i: json.dumps({"translation": {"en": f"a{i}", "de": "b"}}))),
  ("summarize", lines(lambda i: json.dumps({"article": f"a{i}", "summary": "b"}))),
  ("answer", squad()),
  ("answer", lines(lambda i: json.dumps({"question": "q", "context": f"{i} Ann", "answer": "Ann"}))),
  ("instruct", lines(lambda i: json.dumps({"instruction": f"a{i}", "input": "", "output": "b"}))),
)
SNIPPETS = (
  *'[]{}",\t\n\0²#é', "null", "-1", "1e999", "NaN", "true", "B-", "I-X", "-DOCSTART- O\n", "\\ud800", "[]", "{}",
  "label", "train", "  ", "1" * 50,
)  # fmt: skip


@pytest.mark.fuzz
def test_damaged_labelled_data_is_read_or_refused_in_one_sentence(fuzz, tmp_path):
  path = tmp_path / "data.txt"
  for rng in fuzz.rounds():
    task, text = rng.choice(FORMS)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
      start = rng.randrange(len(text) + 1)
      text = (
        text[:start]
        + rng.choice(SNIPPETS) * rng.choice((1, 1, 3))
        + text[start + rng.choice((0, 1, 5, 30)) :]
      )
    content = bytearray(text.encode())
    if rng.random() < 0.1:
      content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    columns = rng.choice(({}, {}, {"text": "1", "label": "2"}, {"tags": "2"}, {"source": "2", "target": "1"}))
    try:
      data = load_task(task, str(path), columns=columns, test=rng.choice((0.0, 0.3)), seed=rng.randrange(3))
    except UserError as error:
      assert "\n" not in str(error)
    else:
      assert data.train and data.development
