"""The loop of a fine-tuning: which step is the best one."""

import math
from types import SimpleNamespace

import pytest

from gen.errors import UserError
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.tuner import Tuner, TuningProgress
from gen.training.hooks import NoHooks


def score_steps(scores):
  """Returns the progress after evaluations with some scores, and the rows of the journal."""
  rows, left = [], iter(scores)
  tuner = SimpleNamespace(
    _evaluate=lambda params: next(left),
    _state=SimpleNamespace(params=None),
    _progress=TuningProgress(),
    _time=SimpleNamespace(count_evaluation=lambda seconds: None),
    _settings=FinetuneSettings("classify", "a", "b", learning_rate=7.0),
  )
  for step in range(1, len(scores) + 1):
    Tuner._score(tuner, step, SimpleNamespace(append=rows.append), NoHooks())
  return tuner, rows


def test_a_score_that_is_not_finite_is_never_the_best():
  tuner, rows = score_steps([math.nan, -3.0, -math.inf, -2.0, math.nan, math.nan])
  assert (tuner._progress.best, tuner._progress.best_step, tuner._progress.waited) == (-2.0, 4, 2)
  assert math.isnan(rows[0]["best"]) and [row["best"] for row in rows[1:]] == [-3.0, -3.0, -2.0, -2.0, -2.0]


def test_without_a_finite_score_the_learning_rate_is_to_blame():
  tuner, _ = score_steps([math.nan, math.nan])
  with pytest.raises(
    UserError, match=r"no evaluation up to step 2 gave a finite score; lower the .* rate \(7\)"
  ):
    Tuner._outcome(tuner, None, 2)
