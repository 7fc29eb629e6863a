"""Families side by side: optima against closed forms, and intervals of differences that hold the truth."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.atlas import comparison, equal_loss
from gen.scaling.atlas.comparison import FamilyFits
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.runs.runs_table import make_runs

BUDGETS = (1e12, 2e12, 5e12, 9e12)
ONE = ParametricLaw(E=1.1, A=40.0, B=900.0, alpha=0.35, beta=0.4)
OTHER = ParametricLaw(E=1.1, A=55.0, B=700.0, alpha=0.42, beta=0.36)


def family(name, law=ONE, noise=None, sizes=5, seeds=2, budgets=BUDGETS):
  """Returns runs at C = 6 N D about a law's own optima, with the noise [G, M, S] added to their losses."""
  rows = []
  for g, flops in enumerate(budgets):
    for m, size in enumerate(law.optimum(flops)[0] * np.geomspace(0.4, 2.5, sizes)):
      for s in range(seeds):
        more = 0.0 if noise is None else noise[g, m, s]
        rows.append((size, flops / 6 / size, law.loss(size, flops / 6 / size) + more, flops, s))
  params, tokens, loss, budget, seed = np.array(rows).T
  points = make_runs(params, tokens, loss, budget=budget, seed=seed)
  measures = {"tokens": tokens, "positions": 1.25 * tokens, "loss_tokens": 0.15 * tokens}
  return FamilyFits(name, points, measures | {"seconds": budget / 3e10 * params**-0.1})


def noise(random, sd=0.004):
  return random.normal(0, sd, (len(BUDGETS), 5, 2))


def compared(*families, bootstraps=300):
  return comparison.compare_families(families, bootstraps=bootstraps, seed=3, level=0.9)


def test_optima_and_exponents_are_those_of_the_law():
  side = compared(family("one"), bootstraps=0).sides["one"]
  assert side.inside.all()
  n, d, loss = ONE.optimum(np.array(BUDGETS))
  assert np.exp(side.optima.log_n_bg[0]) == pytest.approx(n, rel=0.04)
  assert side.optima.loss_bg[0] == pytest.approx(loss, rel=0.002)
  assert np.exp(side.optima.measures["tokens"][0]) == pytest.approx(d, rel=0.04)
  assert side.optima.exponents()[0] == pytest.approx(ONE.a, abs=0.005)
  assert side.optima.exponents("tokens")[0] == pytest.approx(ONE.b, abs=0.005)


def test_each_meaning_of_d_keeps_its_ratio_at_the_optimum():
  found = compared(family("one"), bootstraps=0).sides["one"].optima
  for meaning, ratio in (("positions", 1.25), ("loss_tokens", 0.15)):
    gap = found.measures[meaning] - found.measures["tokens"]
    assert np.exp(gap) == pytest.approx(np.full_like(gap, ratio), rel=1e-6)


def widths(correlated, studies=8):
  """Returns the mean width of the interval of a difference, where errors are shared or are not."""
  found = []
  for number in range(studies):
    random = np.random.default_rng(number)
    first = noise(random)
    second = first if correlated else noise(random)
    both = compared(family("one", ONE, first), family("other", OTHER, second))
    draws = both.sides["one"].drawn.exponents() - both.sides["other"].drawn.exponents()
    low, high = both.interval(draws, 0.0)
    found.append(high - low)
  return np.mean(found)


def test_errors_that_families_share_cancel_in_their_difference():
  assert widths(correlated=True) < 0.5 * widths(correlated=False)


def test_families_with_the_same_runs_differ_by_nothing_in_every_draw():
  shared = noise(np.random.default_rng(0))
  both = compared(family("one", ONE, shared), family("twin", ONE, shared))
  gap = both.sides["one"].drawn.exponents() - both.sides["twin"].drawn.exponents()
  assert np.abs(gap).max() < 1e-9
  assert both.correlation["one", "twin"] == pytest.approx(1.0)


def test_intervals_of_a_difference_hold_the_truth_as_often_as_they_say():
  truth, held = ONE.a - OTHER.a, 0
  exact = compared(family("one", ONE), family("other", OTHER), bootstraps=0).sides
  bias = float(exact["one"].optima.exponents()[0] - exact["other"].optima.exponents()[0]) - truth
  assert abs(bias) < 0.01
  for number in range(100):
    random = np.random.default_rng(1000 + number)
    both = compared(family("one", ONE, noise(random)), family("other", OTHER, noise(random)))
    draws = [both.sides[name].drawn.exponents() for name in ("one", "other")]
    low, high = both.interval(draws[0] - draws[1], 0.0)
    held += low <= truth + bias <= high
  assert 80 <= held <= 98


def test_a_missing_run_leaves_the_others_paired():
  random = np.random.default_rng(5)
  whole, torn = family("one", ONE, noise(random)), family("torn", OTHER, noise(random))
  kept = np.arange(len(torn.points)) != 7
  torn = FamilyFits("torn", torn.points.select(kept), {k: v[kept] for k, v in torn.measures.items()})
  both = compared(whole, torn)
  assert both.cells == len(whole.points) - 1 and both.sides["torn"].drawn is not None


def test_a_budget_with_its_minimum_at_the_edge_has_no_optimum_and_no_residuals():
  one = family("one", ONE, noise(np.random.default_rng(1)))
  lowest = one.points.params[np.flatnonzero(one.points.budget == BUDGETS[0])].min()
  kept = ~((one.points.budget == BUDGETS[0]) & (one.points.params < 4 * lowest))
  half = FamilyFits("half", one.points.select(kept), {k: v[kept] for k, v in one.measures.items()})
  side = compared(half).sides["half"]
  assert not side.inside[0] and np.isnan(side.optima.log_n_bg[0, 0])
  assert np.isfinite(side.drawn.exponents()).all()


def test_too_few_residuals_give_no_intervals_and_say_so():
  both = compared(family("one", sizes=3, seeds=1), family("other", OTHER, sizes=3, seeds=1))
  assert both.sides["one"].drawn is None and "share 0 runs" in both.how
  assert both.interval(None, 1.0) is None
  with pytest.raises(UserError, match="no family"):
    compared()


def dearer(factor):
  """Returns the law under which N and D must both be sqrt(factor) larger for the losses of ONE."""
  half = factor**0.5
  return ParametricLaw(ONE.E, ONE.A * half**ONE.alpha, ONE.B * half**ONE.beta, ONE.alpha, ONE.beta)


def test_the_multiplier_is_the_factor_by_which_a_family_is_dearer():
  both = compared(family("one"), family("other", dearer(2.0)), bootstraps=0)
  rows = equal_loss.cost_multipliers(both, "one", "other")
  assert [row.ratio for row in rows] == pytest.approx([2.0] * 5, rel=0.03)
  assert rows[0].loss > rows[-1].loss
  for row in rows:
    assert row.first * row.ratio == pytest.approx(row.second) and row.interval is None


def test_the_multiplier_of_a_twin_is_one_and_seconds_are_read_at_the_optimum():
  shared = noise(np.random.default_rng(2))
  both = compared(family("one", ONE, shared), family("twin", ONE, shared))
  for cost in ("flops", "seconds"):
    for row in equal_loss.cost_multipliers(both, "one", "twin", cost):
      assert row.ratio == pytest.approx(1.0) and row.interval == pytest.approx([1.0, 1.0])


def test_losses_that_only_one_reached_are_not_compared():
  high = ParametricLaw(ONE.E + 2, ONE.A, ONE.B, ONE.alpha, ONE.beta)
  both = compared(family("one"), family("high", high), bootstraps=0)
  with pytest.raises(UserError, match="the families share no loss"):
    equal_loss.cost_multipliers(both, "one", "high")
