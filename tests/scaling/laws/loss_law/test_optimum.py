"""The optimum under C = k(N) N D: against a grid, against scipy, there and back, and beyond the sizes measured."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize

from gen import counts
from gen.config import Model
from gen.errors import UserError
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law import cost_model, law_batch, optimum
from gen.scaling.laws.loss_law.law import HOFFMANN_2022, ParametricLaw

LONG = ParametricLaw(E=1.0966, A=102.34, B=1614.5, alpha=0.53146, beta=0.57602)  # of the long study
STEEP = ParametricLaw(E=0.7, A=30.0, B=9e4, alpha=0.31, beta=0.83)


def models(*widths):
  return [Model(family="decoder", vocab=260, width=width, depth=2, head_width=14) for width in widths]


def counted_cost(shapes, length):
  """Returns k(N) of models, counted exactly from their shapes."""
  params = [float(counts.count_matrices(model)) for model in shapes]
  flops = [counts.count_flops(model, length).total for model in shapes]
  return cost_model.measured_cost(params, np.full(len(params), float(length)), flops)


@pytest.fixture(scope="module")
def cost():
  return counted_cost(models(14, 28, 42, 70, 98, 126, 182), 128)


def loss_along(law, cost, flops, log_n):
  return law.loss(np.exp(log_n), flops / cost.k(np.exp(log_n)) / np.exp(log_n))


@pytest.mark.parametrize("law", [LONG, STEEP])
@pytest.mark.parametrize("flops", [6e11, 8e12, 2.4e13])
def test_no_size_of_a_grid_has_a_lower_loss_and_the_best_is_next_to_it(law, flops, cost):
  (best,) = optimum.log_sizes(law_batch.law_row(law), flops, cost)
  grid = np.linspace(best - 4, best + 4, 400_001)
  losses = loss_along(law, cost, flops, grid)
  assert losses.min() >= loss_along(law, cost, flops, best) * (1 - 1e-15)
  assert (
    abs(grid[np.argmin(losses)] - best) < 1e-4
  )  # a flat bottom: losses tell ln N to the root of a float's epsilon


@pytest.mark.parametrize("law", [LONG, STEEP, HOFFMANN_2022])
@pytest.mark.parametrize("flops", [6e11, 2.4e13, 1e18])
def test_scipy_finds_the_same_root_of_the_condition(law, flops, cost):
  def condition(x):
    log_d = math.log(flops) - float(cost.log_k(x)) - x
    falls = law.alpha * law.A * math.exp(-law.alpha * x)
    return falls - law.beta * law.B * math.exp(-law.beta * log_d) * (1 + float(cost.slope(x)))

  (best,) = optimum.log_sizes(law_batch.law_row(law), flops, cost)
  assert best == pytest.approx(
    optimize.brentq(condition, best - 5, best + 7, xtol=1e-14, rtol=1e-15), abs=1e-11
  )


def test_any_law_has_the_optimum_of_its_constants(cost):
  for flops in (6e11, 2.4e13, 4e15):
    exact = optimum.optima_of_rows(law_batch.law_row(LONG), flops, cost)
    for law in (LONG, LONG.loss, dataclasses.make_dataclass("Other", [("predict", object)])(LONG.loss)):
      found = optimum.find_optimum(law, flops, cost)
      assert found.params == pytest.approx(exact["N"][0], rel=1e-9)
      assert found.loss == pytest.approx(exact["loss"][0], rel=1e-14)
      assert found.ratio == pytest.approx(exact["ratio"][0], rel=2e-9)


def test_a_law_that_is_no_sum_of_powers_is_minimized_as_well(cost):
  def crossed(n, d):
    return 1.1 + (300 / n**0.9 + 40 / d**0.5) ** 0.6

  found = optimum.find_optimum(crossed, 5e12, cost)
  least = optimize.minimize_scalar(
    lambda x: crossed(math.exp(x), 5e12 / cost.k(math.exp(x)) / math.exp(x)), (8, 11, 14), tol=1e-12
  )
  assert math.log(found.params) == pytest.approx(least.x, abs=1e-6) and found.loss <= least.fun + 1e-15


def test_one_k_gives_the_law_s_own_formula():
  flops = np.array([1e15, 3e19, 1e23])
  rows_sp = np.repeat(law_batch.law_row(HOFFMANN_2022), 3, 0)
  found = optimum.optima_of_rows(rows_sp, flops, 6.0)
  np.testing.assert_allclose(found["N"], HOFFMANN_2022.G * (flops / 6) ** HOFFMANN_2022.a, rtol=1e-12)
  assert optimum.optimum_lines(rows_sp, flops)[0, [1, 3]].tolist() == [HOFFMANN_2022.a, 1 - HOFFMANN_2022.a]


def test_many_laws_at_once_are_each_law_alone(cost):
  random = np.random.default_rng(3)
  rows_sp = law_batch.law_row(LONG) + random.normal(0, [[0.3, 0.3, 0.1, 0.03, 0.03]], (57, 5))
  flops = np.geomspace(1e11, 1e16, 57)
  together = optimum.log_sizes(rows_sp, flops, cost)
  alone = [optimum.log_sizes(row[None], c, cost)[0] for row, c in zip(rows_sp, flops, strict=True)]
  np.testing.assert_allclose(together, alone, rtol=1e-13)


def test_a_law_without_an_optimum_has_none(cost):
  rows_sp = law_batch.law_row(LONG) * [[1, 1, 1, -1, 1]]
  assert np.isnan(optimum.log_sizes(rows_sp, 1e13, cost)).all()
  with pytest.raises(UserError, match="at one token: it has no optimum"):
    optimum.find_optimum(lambda n, d: 1 / n, 1e13)
  with pytest.raises(UserError, match="above zero"):
    optimum.find_optimum(LONG, -1e13)


@pytest.mark.parametrize("params", [3e3, 8344.0, 1.5e5, 4e7])
def test_budgets_go_there_and_back(params, cost):
  tokens = 47.5 * params
  flops = cost.flops(params, tokens)
  assert cost.tokens(flops, params) == pytest.approx(tokens, rel=1e-14)
  assert cost.params(flops, tokens / params) == pytest.approx(params, rel=1e-12)
  best = optimum.find_optimum(LONG, flops, cost)
  assert cost.flops(best.params, best.tokens) == pytest.approx(flops, rel=1e-12)


def test_k_is_exact_at_the_sizes_smooth_between_them_and_near_beyond(cost):
  between, beyond = (
    counted_cost(models(56, 112, 154), 128),
    counted_cost(models(364, 560), 128),
  )
  for other, within in ((between, 1e-3), (beyond, 0.02)):
    sizes = np.array([other.low, other.high])
    np.testing.assert_allclose(cost.k(sizes), other.k(sizes), rtol=within)
  assert [bool(cost.outside(n)) for n in (8343, 8345, 842295, 842297)] == [True, False, False, True]
  x = np.linspace(7, 16, 901)
  np.testing.assert_allclose(np.gradient(cost.log_k(x), x)[2:-2], cost.slope(x)[2:-2], atol=4e-4)
  np.testing.assert_allclose(cost.log_k(x + 1e-5) - cost.log_k(x - 1e-5), 2e-5 * cost.slope(x), atol=1e-9)
  inner = (x > math.log(8400)) & (x < math.log(8e5))
  rise = (cost.slope(x + 1e-5) - cost.slope(x - 1e-5)) / 2e-5
  np.testing.assert_allclose(rise[inner], cost.bend(x[inner]), atol=1e-6)


def test_k_that_sizes_do_not_explain_is_one(cost):
  random = np.random.default_rng(5)
  params, tokens = np.geomspace(1e6, 1e9, 40), np.full(40, 2e9)
  noisy = cost_model.measured_cost(params, tokens, 6 * params * tokens * np.exp(random.normal(0, 0.05, 40)))
  assert noisy.is_constant and noisy.reference == pytest.approx(6, rel=0.03)
  assert cost_model.measured_cost(params, tokens, 6.000001 * params * tokens).reference == 6
  assert (
    cost_model.cost_from_dict(dataclasses.asdict(cost.entry())) == cost
    and cost_model.cost_from_dict(dataclasses.asdict(noisy.entry())) == noisy
  )
  assert cost_model.cost_from_dict({"coefficients": []}) is None


def test_a_fit_s_exponents_are_those_of_its_optima_along_the_budgets(cost):
  budgets = np.repeat([6e11, 1.5e12, 4e12, 9e12], 5)
  params = np.tile([9e3, 2.5e4, 7e4, 2e5, 5e5], 4)
  tokens = cost.tokens(budgets, params)
  found = fit.fit_parametric(params, tokens, LONG.loss(params, tokens), budgets, bootstraps=0)
  best = [optimum.find_optimum(LONG, c, cost) for c in np.unique(budgets)]
  for exponent, values in ((found.a, [one.params for one in best]), (found.b, [one.tokens for one in best])):
    assert exponent == pytest.approx(np.polyfit(np.log(np.unique(budgets)), np.log(values), 1)[0], abs=3e-3)
  assert found.a + found.b > 1.03 and found.law.a == pytest.approx(LONG.a, abs=1e-4)
  assert pytest.approx(optimum.find_optimum(LONG, 3e13, cost).params, rel=0.01) == found.predict(3e13).N


def test_serving_and_smaller_models_cost_what_their_own_k_says(cost):
  row, budget = law_batch.law_row(LONG), 8e12
  served, small = (
    law_batch.inference_optimum(row, budget, 3e7, cost),
    law_batch.overtrained_model(row, budget, 2.0, cost),
  )
  sizes = np.linspace(np.log(served["N"][0]) - 0.3, np.log(served["N"][0]) + 0.3, 2001)
  tokens = np.exp(law_batch.tokens_for(row, served["loss"], sizes))
  total = cost.flops(np.exp(sizes), tokens + 1e7)
  assert served["total_flops"][0] == pytest.approx(total.min(), rel=1e-7)
  assert small["training_flops"][0] == pytest.approx(cost.flops(small["N"], small["D"])[0])
  best = optimum.optima_of_rows(row, budget, cost)
  assert small["inference_factor"][0] == pytest.approx(
    cost.k(best["N"] / 2)[0] / cost.k(best["N"])[0] / 2, rel=1e-12
  )
