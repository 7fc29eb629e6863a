"""The file of predictions: one JSON object a line, with input, prediction, score and label."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.errors import UserError
from gen.finetuning.task_forms import prompt_texts
from gen.finetuning.task_forms.classify_form import TaskPrediction

NAME = "predictions.jsonl"


def prediction_rows(
  task: str, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
) -> list[dict[str, Any]]:
  """Returns input, prediction, score and label of each example, plain values."""
  return [
    {
      "input": input_of(task, example),
      "prediction": list(each.value) if isinstance(each.value, tuple) else each.value,
      "score": each.score if math.isfinite(each.score) else None,
      "label": label_of(task, example),
    }
    for each, example in zip(predictions, examples, strict=True)
  ]


def input_of(task: str, example: Any) -> Any:
  """Returns what a model reads of an example: a text, words, or fields by name."""
  if task == "classify":
    return {"text": example.text, "second_text": example.second_text} if example.second_text else example.text
  if task == "tag":
    return list(example.tokens)
  if task == "answer":
    return {"question": example.question, "context": example.context}
  if task == "instruct":
    before = example.messages[: example.last_answer]
    return [{"role": each.role, "content": each.content} for each in before]
  return example.source


def label_of(task: str, example: Any) -> Any:
  """Returns the right answer: a class, a number, tags, a text, or all accepted answers to a question."""
  if task == "classify" and example.label_value is not None:
    return example.label_value
  if task == "tag":
    return list(example.tags)
  if task == "answer":
    return list(example.answers)
  if task == "instruct":
    return example.messages[example.last_answer].content
  return prompt_texts.answer_text(task, example)


def write_predictions(
  workdir: Path, task: str, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
) -> Path:
  """Writes the file into a folder and returns its path.

  Raises:
    UserError: if it cannot be written.
  """
  path = workdir / NAME
  rows = prediction_rows(task, predictions, examples)
  try:
    path.write_text(
      "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", errors="replace"
    )
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}") from error
  return path
