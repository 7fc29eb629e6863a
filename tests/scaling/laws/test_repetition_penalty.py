"""The penalty of repeated text on synthetic losses, against scipy's own fit, and where runs do not identify it."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen.scaling.laws import repetition_penalty
from gen.scaling.laws.repetition import MUENNIGHOFF
from gen.scaling.laws.repetition_penalty import CAPACITY_RANGE
from tests.scaling.laws.test_repetition import make_runs

ONE_WIDTH = ((7e4, 2e5), (7e4, 9e5), (7e4, 4e6))  # N / D differs between the budgets


def penalized(p, delta=1.0, kappa=1.0):
  base = MUENNIGHOFF.base
  return lambda n, d, u: base.loss(n, d) + p * (d / u - 1) ** delta * (n / u) ** kappa


def test_the_penalty_and_its_interval_are_those_of_scipys_curve_fit():
  runs = make_runs(penalized(0.31), noise=0.01)
  found = repetition_penalty.fit_coefficient(runs, 0.9)

  def model(_, p, *offsets):
    return runs.one_hot @ np.array(offsets) + p * (runs.tokens / runs.unique - 1) * runs.params / runs.unique

  best, covariance = optimize.curve_fit(model, runs.tokens, runs.loss, p0=[0.0, 1.0, 1.0, 1.0])
  assert found.value == pytest.approx(best[0], rel=1e-6)
  error = math.sqrt(covariance[0, 0])
  assert (found.high - found.value) / error == pytest.approx(1.6829, abs=2e-4)  # t of 41 degrees of freedom
  assert found.low < 0.31 < found.high


@pytest.mark.parametrize(("delta", "kappa"), [(0.4, 0.9), (1.7, 0.35), (1.2, -0.4)])
def test_exponents_of_exact_losses_are_found(delta, kappa):
  law = repetition_penalty.fit_exponents(
    make_runs(penalized(0.05, delta, kappa), sizes=ONE_WIDTH, seeds=1), 0.9
  )
  assert (law.coefficient.value, law.repeats.value, law.capacity.value) == pytest.approx(
    (0.05, delta, kappa), rel=1e-3
  )
  assert law.coefficient.error < 1e-5 and not law.repeats.at_bound


def test_exponents_of_noisy_losses_are_those_of_scipys_curve_fit_and_their_intervals_hold_the_truth():
  runs = make_runs(penalized(0.08, 0.8, 0.6), noise=0.01, sizes=ONE_WIDTH)
  law = repetition_penalty.fit_exponents(runs, 0.9)

  def model(_, p, delta, kappa, *offsets):
    repeats, capacity = runs.tokens / runs.unique - 1, runs.params / runs.unique
    return runs.one_hot @ np.array(offsets) + p * repeats**delta * capacity**kappa

  best, covariance = optimize.curve_fit(model, runs.tokens, runs.loss, p0=[0.1, 1, 1, 10, 10, 10])
  fitted = (law.coefficient, law.repeats, law.capacity)
  assert [each.value for each in fitted] == pytest.approx(best[:3], rel=1e-3)
  for each, truth, variance in zip(fitted, (0.08, 0.8, 0.6), np.diag(covariance), strict=False):
    assert each.low < truth < each.high
    # Percentiles of 200 fits beside the linear interval of t: alike where the fit is almost linear.
    assert each.high - each.low == pytest.approx(2 * 1.685 * math.sqrt(variance), rel=0.3)


def test_one_ratio_of_parameters_and_tokens_leaves_the_exponents_to_trade_off():
  sizes = ((7e4, 2e6), (2e5, 2e5 / 7e4 * 2e6))
  made = {"epochs": (1, 2, 5, 12), "noise": 0.002}
  apart = repetition_penalty.fit_exponents(make_runs(penalized(0.5), sizes=sizes, **made), 0.9)
  known = repetition_penalty.fit_exponents(make_runs(penalized(0.5), sizes=ONE_WIDTH, **made), 0.9)

  def width(fitted):
    low, high = CAPACITY_RANGE
    return (high if fitted.high is None else fitted.high) - (low if fitted.low is None else fitted.low)

  assert width(apart.capacity) > 20 * width(known.capacity)
  assert apart.correlation < -0.9
  flat, sharp = (np.array(law.capacity_profile)[:, 1] for law in (apart, known))
  assert np.sum(flat < 1.2 * flat.min()) > np.sum(sharp < 1.2 * sharp.min())


def test_text_that_loses_nothing_does_not_bound_the_exponents():
  base = MUENNIGHOFF.base
  law = repetition_penalty.fit_exponents(make_runs(lambda n, d, _: base.loss(n, d), noise=1e-3, seeds=2), 0.9)
  assert law.repeats.low is None or law.repeats.high is None
