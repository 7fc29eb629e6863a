"""Rows of the journal of a fine-tuning, as plain values."""

from typing import Literal, TypedDict


class TuningTrainRow(TypedDict):
  """A part of the training.

  Attributes:
    kind: train.
    step: steps done.
    steps: steps planned.
    epoch: epochs done.
    loss: mean since the row before.
    learning_rate: of the last step.
    skipped: steps whose gradient was not finite.
  """

  kind: Literal["train"]
  step: int
  steps: int
  epoch: float
  loss: float
  learning_rate: float
  skipped: int


class TuningScoreRow(TypedDict):
  """An evaluation on the development part.

  Attributes:
    kind: evaluation.
    step: steps done.
    score: higher is better.
    best: the highest score so far.
    best_step: step of it.
  """

  kind: Literal["evaluation"]
  step: int
  score: float
  best: float
  best_step: int


class NoteRow(TypedDict):
  """A line for the terminal."""

  kind: Literal["note"]
  text: str
