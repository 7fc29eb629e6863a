"""What is said of a fine-tuning's score."""

import re
from types import SimpleNamespace

import pytest

from gen.finetuning.reports import tuning_report


@pytest.mark.parametrize(
  ("count", "low", "high", "words"),
  [
    (200, 0.61, 0.8, r"better than the baseline \(0.6000\)"),
    (200, 0.3, 0.5, "worse than the baseline"),
    (200, 0.5, 0.8, "not clearly better"),
    (6, 1.0, 1.0, r"more than the baseline \(0.6000\), but 6 test examples are too few"),
    (19, 0.1, 0.3, "less than the baseline"),
    (19, 0.6, 0.6, "as much as the baseline"),
  ],
)
def test_a_score_is_judged_by_its_interval_unless_examples_are_few(count, low, high, words):
  score = SimpleNamespace(value=(low + high) / 2, low=low, high=high)
  result = SimpleNamespace(
    score=score, baseline=SimpleNamespace(value=0.6), prompted={}, examples={"test": count}
  )
  assert re.search(words, tuning_report.verdict_line(result))
