"""FLOPs at equal loss, on curves whose answer is known."""

import math

import pytest

from gen.scaling.comparisons import compute_worth, curation_verdict
from gen.scaling.comparisons.curation_records import RepeatedArm
from gen.scaling.comparisons.paired import PairedGap

BUDGETS = (1e11, 4e11, 1.6e12)


def curve(shift=0.0):
  return {c: 3.0 - 0.1 * math.log(c / 1e11) + shift for c in BUDGETS}


def test_a_lower_loss_is_worth_the_flops_of_a_straight_line():
  reference = {0: curve(), 1: curve(0.02)}
  ratio = compute_worth.compute_ratio(
    reference, {0: reference[0][4e11] - 0.05, 1: reference[1][4e11] - 0.05}, 4e11, 0.9
  )
  assert ratio.value == pytest.approx(math.exp(0.5)) and not ratio.beyond
  assert ratio.low == pytest.approx(ratio.value) and ratio.high == pytest.approx(ratio.value)


def test_a_loss_below_all_of_the_reference_extends_its_last_line_and_says_so():
  ratio = compute_worth.compute_ratio({0: curve()}, {0: curve()[1.6e12] - 0.1}, 1.6e12, 0.9)
  assert ratio.value == pytest.approx(math.e) and ratio.beyond and ratio.low is None


def test_a_higher_loss_is_worth_less_than_its_flops():
  ratio = compute_worth.compute_ratio({0: curve()}, {0: curve()[4e11] + 0.1}, 4e11, 0.9)
  assert ratio.value == pytest.approx(1 / math.e)


def test_a_reference_that_does_not_fall_says_nothing():
  assert compute_worth.compute_ratio({0: {1e11: 2.0, 4e11: 2.1}}, {0: 1.9}, 1e11, 0.9) is None
  assert compute_worth.compute_ratio({0: {1e11: 2.0}}, {0: 1.9}, 1e11, 0.9) is None


def repeated(costs):
  return [
    RepeatedArm(budget=1e11, epochs=epochs, unique=9, bits={}, cost=PairedGap(cost, cost, cost, 2))
    for epochs, cost in costs.items()
  ]


def test_repetition_breaks_even_where_its_cost_meets_the_gain():
  arms = repeated({2.0: 0.01, 8.0: 0.05})
  assert curation_verdict.break_even(0.03, arms) == pytest.approx(4.0)
  assert curation_verdict.break_even(0.005, arms) == pytest.approx(math.sqrt(2))
  assert curation_verdict.break_even(0.06, arms) is None and curation_verdict.break_even(0.0, arms) is None
  # A text that was read three times anyway costs nothing at three.
  assert curation_verdict.break_even(0.005, repeated({6.0: 0.01}), 3.0) == pytest.approx(math.sqrt(18))
