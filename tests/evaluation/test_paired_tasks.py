"""Scores of two models are paired by question, whatever their order, and what is no number is left out."""

import numpy as np
import pytest

from gen.evaluation import paired_tasks


def rows(values, order, metric="acc"):
  return [
    {"doc_id": number, "metrics": [metric, "words"], metric: values[number], "words": ["a"]}
    for number in order
  ]


def test_questions_are_paired_by_their_number_and_the_interval_is_that_of_differences():
  random = np.random.default_rng(0)
  first = random.integers(0, 2, 200).astype(float)
  second = first.copy()
  second[:20] = 1 - second[:20]
  before = {"t": rows(first, range(200)), "only": rows(first, range(3))}
  after = {"t": rows(second, random.permutation(200).tolist())}
  (score,) = paired_tasks.pair_samples(before, after)
  assert (score.task, score.metric, score.questions) == ("t", "acc", 200)
  assert score.before == pytest.approx(first.mean()) and score.after == pytest.approx(second.mean())
  # Of 200 differences 20 are not zero: the standard error is about the root of 20 over 200.
  assert score.high - score.low == pytest.approx(2 * 1.96 * 20**0.5 / 200, rel=0.2)
  assert score.low <= score.difference <= score.high
  assert "on 200 questions" in paired_tasks.score_lines([score])[0]


def test_equal_models_differ_by_nothing_and_missing_numbers_are_left_out():
  values = [1.0, float("nan"), 0.0]
  (score,) = paired_tasks.pair_samples({"t": rows(values, range(3))}, {"t": rows(values, range(3))})
  assert (score.questions, score.difference, score.low, score.high) == (2, 0, 0, 0)
