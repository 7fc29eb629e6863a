"""The page of a fine-tuning, one HTML file: scores, the confusion matrix or the table by type, the worst errors."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.evaluation.metrics import answer_scores
from gen.figures import page
from gen.finetuning.reports import predictions_file
from gen.finetuning.reports.results import FinetuneResult
from gen.finetuning.task_forms.classify_form import TaskPrediction

NAME = "finetune.html"
MAX_CLASSES = 40  # of a confusion matrix; the rarest others are one class
# The most confident errors come first, and nobody reads more of them. It bounds the size of the page, too.
MAX_ERRORS = 100
MAX_CHARACTERS = 600  # of a text on the page; chosen: a paragraph
OTHERS = "(others)"


def write_page(
  workdir: Path, result: FinetuneResult, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
) -> Path:
  """Writes the page into a folder and returns its path.

  Args:
    workdir: the folder.
    result: of the fine-tuning.
    predictions: one for each test example.
    examples: the test examples.
  """
  task = result.settings.task
  errors = worst_errors(task, predictions, examples)
  wrong = sum(error_of(task, each, example) > 0 for each, example in zip(predictions, examples, strict=True))
  has_classes = task in ("classify", "tag") and bool(result.labels)
  labels, counts = count_confusions(task, predictions, examples) if has_classes else ([], [])
  return page.write_page(
    workdir / NAME, "finetune", {"errors": errors}, title=f"{task}: {result.settings.data}", scores=_scores(result),
    metric=result.score.name, labels=labels, counts=counts, highest=max(map(max, counts), default=1) or 1,
    types=_types(result), facts=_facts(result), wrong=wrong, total=len(examples), shown=len(errors),
  )  # fmt: skip


def error_of(task: str, prediction: TaskPrediction, example: Any) -> float:
  """Returns how wrong a prediction is, from 0 to 1: of a class with its probability, of tags and texts in part.

  Of a number it is the absolute difference.
  """
  if task == "classify" and example.label_value is not None:
    return abs(float(prediction.value - example.label_value))
  if task == "classify":
    return 0.0 if prediction.value == example.label else prediction.score
  if task == "tag":
    different = sum(a != b for a, b in zip(prediction.value, example.tags, strict=True))
    return different / len(example.tags)
  label = predictions_file.label_of(task, example)
  accepted = label if isinstance(label, list) else [label]
  return 1.0 - answer_scores.match_answer(prediction.value, accepted, True)[1]


def worst_errors(
  task: str, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
) -> list[dict[str, Any]]:
  """Returns the most wrong predictions, the worst first, as plain values."""
  sizes = [error_of(task, each, example) for each, example in zip(predictions, examples, strict=True)]
  order = sorted((number for number, size in enumerate(sizes) if size > 0), key=lambda number: -sizes[number])
  rows = []
  for number in order[:MAX_ERRORS]:
    prediction, example = predictions[number], examples[number]
    rows.append(
      {
        "number": number + 1,
        "input": _shown(predictions_file.input_of(task, example)),
        "prediction": _shown(prediction.value),
        "label": _shown(predictions_file.label_of(task, example)),
        "error": round(sizes[number], 4),
      }
    )
  return rows


def count_confusions(
  task: str, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
) -> tuple[list[str], list[list[int]]]:
  """Returns the classes and how often each (row) was predicted as each (column)."""
  pairs: Counter[tuple[str, str]] = Counter()
  for prediction, example in zip(predictions, examples, strict=True):
    if task == "classify":
      pairs[example.label, prediction.value] += 1
    else:
      pairs.update(zip(example.tags, prediction.value, strict=True))
  frequency: Counter[str] = Counter()
  for (label, predicted), count in pairs.items():
    frequency[label] += count
    frequency[predicted] += 0
  frequent = {label for label, _ in frequency.most_common(MAX_CLASSES)}
  labels = sorted(frequent) + ([OTHERS] if len(frequency) > MAX_CLASSES else [])
  place = {label: number for number, label in enumerate(labels)}
  counts = [[0] * len(labels) for _ in labels]
  for (label, predicted), count in pairs.items():
    counts[place.get(label, len(labels) - 1)][place.get(predicted, len(labels) - 1)] += count
  return labels, counts


def _scores(result: FinetuneResult) -> list[dict[str, Any]]:
  rows = [("fine-tuned", result.score)]
  rows += [
    (f"the same model, {count} examples in its prompt", score) for count, score in result.prompted.items()
  ]
  rows.append(("baseline", result.baseline))
  return [
    {"name": name, "value": f"{score.value:.4f}", "interval": f"{score.low:.4f} to {score.high:.4f}"}
    for name, score in rows
  ]


def _types(result: FinetuneResult) -> list[tuple[str, str]]:
  """Returns every metric of the test part but the main one."""
  values = result.score.values.items()
  return [(name, f"{value:.4f}") for name, value in values if name != result.score.name]


def _facts(result: FinetuneResult) -> list[str]:
  settings, sizes = result.settings, result.examples
  facts = [
    f"{settings.start_from}, {result.family}, {result.form} form, {settings.method}: {result.trained_parameters:,} of "
    f"{result.parameters:,} parameters trained; {result.steps:,} steps, the best is {result.best_step:,}.",
    f"{sizes['train']:,} training, {sizes['development']:,} development and {sizes['test']:,} test examples.",
  ]
  if result.prompted_note:
    facts.append(f"Prompted before fine-tuning: {result.prompted_note}.")
  return facts


def _shown(value: Any) -> str:
  if isinstance(value, (list, tuple)):
    value = " ".join(map(str, value)) if all(isinstance(each, str) for each in value) else json.dumps(value)
  elif isinstance(value, dict):
    value = "\n".join(f"{name}: {each}" for name, each in value.items())
  text = str(value)
  return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ..."
