"""The estimate of the time left: tokens of short and long steps, without those that compile."""

import pytest

from gen.finetuning.length_batches import LengthBatches
from gen.finetuning.reports import tuning_time
from gen.finetuning.reports.tuning_report import progress_line
from gen.finetuning.reports.tuning_time import TimeLeft, TuningTime

COMPILING, TOKEN, EVALUATION = 50.0, 0.25, 7.0  # seconds


@pytest.fixture
def clock(monkeypatch):
  """A clock that the test moves."""

  class Clock:
    now = 100.0

    def monotonic(self):
      return self.now

  made = Clock()
  monkeypatch.setattr(tuning_time, "time", made)
  return made


def do_steps(clock, measured, order, first, last):
  """Does steps that take a quarter of a second a token, and more where a length is new."""
  for step in range(first, last):
    bucket = order.at(step)[1]
    seconds = TOKEN * order.lengths[bucket] + COMPILING * measured.compiles(bucket)
    clock.now += seconds
    measured.count_step(bucket, seconds)
  measured.end_row()


def test_the_time_left_is_right_from_the_first_row_on(clock):
  order = LengthBatches([8] * 30 + [64] * 12, 3, 0, 2)
  steps = 2 * order.steps_per_epoch
  measured = TuningTime(order, steps, order.steps_per_epoch)
  assert measured.left(0) == TimeLeft(None, 2)
  for done in (7, 9):
    do_steps(clock, measured, order, 0 if done == 7 else 7, done)
    found = measured.left(done)
    mean = TOKEN * (10 * 8 + 4 * 64) / 14
    assert found.seconds == pytest.approx(mean * (steps - done)) and found.untimed_evaluations == 2
  clock.now += EVALUATION
  measured.count_evaluation(EVALUATION)
  assert measured.left(20) == TimeLeft(pytest.approx(mean * (steps - 20) + EVALUATION), 0)


@pytest.mark.parametrize(
  ("left", "end"),
  [
    (TimeLeft(None, 2), "rate 1.00e-04"),
    (TimeLeft(65.0, 2), "1 min 5 s and 2 evaluations left"),
    (TimeLeft(65.0, 1), "1 min 5 s and 1 evaluation left"),
    (TimeLeft(65.0, 0), "rate 1.00e-04  1 min 5 s left"),
  ],
)
def test_a_line_says_what_is_left_once_a_step_was_timed(left, end):
  row = {
    "kind": "train",
    "step": 3,
    "steps": 9,
    "epoch": 1.0,
    "loss": 0.5,
    "learning_rate": 1e-4,
    "skipped": 0,
  }
  assert progress_line(row | left._asdict()).endswith(end)
