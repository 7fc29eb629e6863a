"""The score of a task's predictions with a bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


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
  """

  name: str
  value: float
  low: float
  high: float
  values: dict[str, float] = field(default_factory=dict)
  signature: str = ""


def score_predictions(
  task: str, predictions: Sequence[Any], examples: Sequence[Any], *, labels: Sequence[str] = ()
) -> Score:
  """Returns the score of predictions against examples.

  Args:
    task: classify, tag, translate, summarize, answer or instruct.
    predictions: one per example: a label (or a number for regression), tags, a text, or an answer
      (text, or `AnswerPrediction`; an empty text says that there is none).
    examples: of the task's class.
    labels: all classes or tags.

  Raises:
    UserError: for no examples, or another number of predictions.
  """
  raise NotImplementedError
