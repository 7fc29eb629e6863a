"""An estimate of the time that a fine-tuning still needs.

Steps of different padded lengths take different times, and the first step of each length compiles. So the estimate is
the time of a padded token over the last rows of the journal, without the steps that compile. Evaluations are added once
one was timed.
"""

import collections
import time
from typing import NamedTuple

from gen.finetuning.length_batches import LengthBatches

# Old rows say little about the present speed.
ROWS = 9  # of the journal, over which a token is timed


class TimeLeft(NamedTuple):
  """What is left of a fine-tuning.

  Attributes:
    seconds: of the remaining steps and evaluations; None before a step was timed.
    untimed_evaluations: evaluations that `seconds` leaves out, because none was timed yet.
  """

  seconds: float | None
  untimed_evaluations: int


class TuningTime:
  """Measures steps and evaluations, and estimates what is left. Tokens are those of one row of a batch."""

  def __init__(self, order: LengthBatches, steps: int, every: int) -> None:
    """Plans the evaluations.

    Args:
      order: the batches.
      steps: planned.
      every: steps between two evaluations.
    """
    self._lengths, self._steps, self._every = order.lengths, steps, every
    lengths = [order.lengths[order.at(step)[1]] for step in range(order.steps_per_epoch)]
    self._mean_tokens = sum(lengths) / len(lengths)
    self._rows = collections.deque[tuple[float, int]](maxlen=ROWS)
    self._compiled: set[int] = set()
    self._evaluation: float | None = None
    self.restart()

  def restart(self) -> None:
    """Begins to measure a row."""
    self._begun, self._left_out, self._tokens = time.monotonic(), 0.0, 0

  def compiles(self, bucket: int) -> bool:
    """Returns whether a step is the first of its padded length."""
    return bucket not in self._compiled

  def count_step(self, bucket: int, seconds: float) -> None:
    """Adds a step: its tokens, or the seconds of one that compiled to what the row leaves out."""
    if self.compiles(bucket):
      self._compiled.add(bucket)
      self._left_out += seconds
    else:
      self._tokens += self._lengths[bucket]

  def end_row(self) -> None:
    """Adds the row, and begins the next one."""
    if self._tokens:
      self._rows.append((time.monotonic() - self._begun - self._left_out, self._tokens))
    self.restart()

  def count_evaluation(self, seconds: float) -> None:
    """Adds an evaluation, and begins a row after it."""
    self._evaluation = seconds
    self.restart()

  def left(self, done: int) -> TimeLeft:
    """Returns what is left after a number of steps."""
    evaluations = -(-(self._steps - done) // self._every)
    timed = self._evaluation is not None
    if not self._rows:
      return TimeLeft(None, evaluations)
    seconds, tokens = map(sum, zip(*self._rows, strict=True))
    left = seconds / tokens * self._mean_tokens * (self._steps - done) + evaluations * (
      self._evaluation or 0.0
    )
    return TimeLeft(left, 0 if timed else evaluations)
