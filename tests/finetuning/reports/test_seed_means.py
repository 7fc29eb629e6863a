"""Mean test scores over seeds."""

import pytest

from gen.finetuning.reports import seed_means, tuning_report


def row(rate, seed, score, low, high):
  return {
    "learning_rate": rate, "seed": seed, "development": 0.5, "metric": "accuracy",
    "score": score, "low": low, "high": high,
  }  # fmt: skip


ROWS = [row(1e-4, 0, 0.9, 0.7, 0.95), row(1e-4, 1, 0.6, 0.5, 0.75), row(3e-4, 0, 0.2, 0.1, 0.4)]


def test_scores_and_the_ends_of_intervals_are_averaged_apart():
  mean = seed_means.mean_over_seeds(ROWS[:2])
  assert (mean.score, mean.low, mean.high) == pytest.approx((0.75, 0.6, 0.85), abs=1e-12)
  assert mean.by_seed == (0.6, 0.9)


def test_a_row_without_a_score_is_left_out():
  assert seed_means.mean_over_seeds([*ROWS[2:], row(3e-4, 1, None, None, None)]).by_seed == (0.2,)


def test_only_a_rate_with_several_seeds_has_a_mean_in_the_table():
  lines = tuning_report.sweep_lines(ROWS)
  assert len(lines) == 5  # a heading, three fine-tunings and one mean
  assert lines[-1] == (
    "rate 1.00e-04: mean accuracy of 2 seeds 0.7500 [0.6000, 0.8500] on the test part, from 0.6000 to 0.9000"
  )
