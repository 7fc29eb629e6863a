"""The score of a task's predictions with a bootstrap interval, and the difference of two systems."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gen.data.tasks.examples import TASKS
from gen.errors import UserError
from gen.evaluation.metrics import (
  answer_scores,
  class_scores,
  number_scores,
  resampling,
  rouge,
  tag_scores,
  translation_scores,
)
from gen.evaluation.metrics.answer_scores import AnswerPrediction
from gen.evaluation.metrics.resampling import Evaluator


@dataclass(frozen=True, slots=True)
class Score:
  """A score with its interval.

  Attributes:
    name: the task's main metric.
    value: its value on all examples.
    low: lower end of the 95 % bootstrap interval.
    high: upper end.
    values: every metric of the task, the main one included.
    signature: settings that identify how the metrics were computed.
    intervals: (low, high) of every metric.
  """

  name: str
  value: float
  low: float
  high: float
  values: dict[str, float] = field(default_factory=dict)
  signature: str = ""
  intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreDifference:
  """How much the first of two systems scores above the second on the same examples.

  Attributes:
    name: the task's main metric.
    value: first minus second.
    low: lower end of the 95 % interval of the paired bootstrap.
    high: upper end.
    share: of the resamples in which the first scores above the second.
  """

  name: str
  value: float
  low: float
  high: float
  share: float


def score_predictions(
  task: str, predictions: Sequence[Any], examples: Sequence[Any], *, labels: Sequence[str] = (), seed: int = 0
) -> Score:
  """Returns the score of predictions against examples.

  Args:
    task: classify, tag, translate, summarize, answer or instruct.
    predictions: one per example: a label (or a number for regression), tags, a text, or an answer
      (text, or `AnswerPrediction`; an empty text says that there is none).
    examples: of the task's class.
    labels: all classes or tags; a prediction must be one of them. Empty accepts any.
    seed: of the bootstrap.

  Raises:
    UserError: for no examples, or another number of predictions.
  """
  evaluator = make_evaluator(task, predictions, examples, labels)
  values = resampling.evaluate_once(evaluator, len(examples))
  # Examples of one document share its difficulty, so whole documents are drawn.
  clusters = resampling.cluster_examples([example.document for example in examples])
  draws = resampling.draw_values(evaluator, clusters, seed)
  found = {name: resampling.find_interval(value, draws[name]) for name, value in values.items()}
  # Intervals of all metrics come from the same draws, so they can be compared.
  main = found[evaluator.main]
  unit = "document" if clusters.max() + 1 < len(examples) else "example"
  signature = f"{evaluator.signature}|" if evaluator.signature else ""
  signature += f"bootstrap:{resampling.RESAMPLES}|by:{unit}|seed:{seed}"
  intervals = {name: (interval.low, interval.high) for name, interval in found.items()}
  return Score(evaluator.main, main.value, main.low, main.high, values, signature, intervals)


def compare_predictions(
  task: str, first: Sequence[Any], second: Sequence[Any], examples: Sequence[Any], *, seed: int = 0
) -> ScoreDifference:
  """Returns the difference of two systems' main metrics; each resample serves both.

  Raises:
    UserError: as `score_predictions`.
  """
  systems = [make_evaluator(task, predictions, examples) for predictions in (first, second)]
  name = systems[0].main
  # One set of draws and one seed for both systems: what makes an example hard cancels in the difference.
  clusters = resampling.cluster_examples([example.document for example in examples])
  values = [resampling.evaluate_once(system, len(examples))[name] for system in systems]
  draws = [resampling.draw_values(system, clusters, seed)[name] for system in systems]
  interval = resampling.find_interval(values[0] - values[1], draws[0] - draws[1])
  # Ties count against the first system, as a one-sided test would.
  return ScoreDifference(name, *interval, float((draws[0] > draws[1]).mean()))


def make_evaluator(
  task: str, predictions: Sequence[Any], examples: Sequence[Any], labels: Sequence[str] = ()
) -> Evaluator:
  """Returns the metrics of a task's predictions.

  Raises:
    UserError: for no examples, another number of predictions, or a prediction of another form.
  """
  if task not in TASKS:
    raise UserError(f"there is no task {task!r}; use one of {', '.join(TASKS)}")
  if not examples:
    raise UserError("there are no examples to score")
  if len(predictions) != len(examples):
    raise UserError(
      f"{len(predictions):,} predictions for {len(examples):,} examples; there must be one an example"
    )
  if task == "classify":
    return _evaluate_labels(predictions, examples, labels)
  if task == "tag":
    _require_tags(predictions, examples)
    return tag_scores.evaluate_tags(predictions, [example.tags for example in examples], labels=labels)
  if task == "answer":
    _require_texts([each.text if isinstance(each, AnswerPrediction) else each for each in predictions])
    return answer_scores.evaluate_answers(predictions, examples)
  _require_texts(predictions)
  if task == "translate":
    return translation_scores.evaluate_translations(predictions, [example.target for example in examples])
  if task == "summarize":
    return rouge.evaluate_rouge(predictions, [example.target for example in examples])
  answers = [find_answer(example) for example in examples]
  return rouge.evaluate_rouge(predictions, answers)


def find_answer(example: Any) -> str:
  """Returns the last message of the assistant in a dialogue."""
  return str(example.messages[example.last_answer].content)


def _evaluate_labels(predictions: Sequence[Any], examples: Sequence[Any], labels: Sequence[str]) -> Evaluator:
  # Regression: the examples have numbers in the place of classes.
  if examples[0].label_value is not None:
    try:
      numbers = [float(each) for each in predictions]
    except (TypeError, ValueError):
      raise UserError("a prediction of regression is no number") from None
    return number_scores.evaluate_numbers(numbers, [example.label_value for example in examples])
  for index, each in enumerate(predictions):
    if not isinstance(each, str) or (labels and each not in labels):
      raise UserError(f"prediction {index + 1} is {str(each)[:40]!r}, which is none of the labels")
  return class_scores.evaluate_classes(predictions, [example.label for example in examples])


def _require_tags(predictions: Sequence[Any], examples: Sequence[Any]) -> None:
  for index, (tags, example) in enumerate(zip(predictions, examples, strict=True)):
    if not isinstance(tags, (list, tuple)) or not all(isinstance(tag, str) for tag in tags):
      raise UserError(f"prediction {index + 1} is {repr(tags)[:40]}; it must be a list of tags")
    if len(tags) != len(example.tokens):
      raise UserError(f"prediction {index + 1} has {len(tags)} tags for {len(example.tokens)} tokens")


def _require_texts(predictions: Sequence[Any]) -> None:
  for index, each in enumerate(predictions):
    if not isinstance(each, str):
      raise UserError(f"prediction {index + 1} is {type(each).__name__}; it must be a text")
