"""The law and its optimum, against figures that others publish and against a search."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen.scaling.laws.loss_law import law as law_module
from gen.scaling.laws.loss_law.law import ParametricLaw, PowerLaw
from gen.scaling.laws.loss_trend import LossTrend


@pytest.mark.parametrize("flops", [1e18, 5.76e23, 1e27])
@pytest.mark.parametrize("k", [6.0, 7.3])
def test_the_optimum_is_the_least_loss_that_a_search_finds(flops, k):
  law = ParametricLaw(E=1.7, A=406.4, B=410.7, alpha=0.34, beta=0.28, k=k)
  best = optimize.minimize_scalar(
    lambda log_n: float(law.loss(math.exp(log_n), flops / k / math.exp(log_n))), bounds=(5, 40), method="bounded",
    options={"xatol": 1e-10},
  )  # fmt: skip
  params, tokens, loss = law.optimum(flops)
  assert math.log(params) == pytest.approx(best.x, abs=1e-5)
  assert loss == pytest.approx(best.fun, abs=1e-12)
  assert k * params * tokens == pytest.approx(flops)


def test_exponents_and_coefficients_agree():
  law = ParametricLaw(E=0.6, A=57.0, B=228.0, alpha=0.42, beta=0.40)
  assert law.a + law.b == pytest.approx(1) and law.a == pytest.approx(0.40 / 0.82)
  assert law.optimum(1e12)[0] == pytest.approx(law.G * (1e12 / 6) ** law.a)
  assert law.optimum(1e12)[1] == pytest.approx((1e12 / 6) ** law.b / law.G)


def test_at_gopher_s_budget_the_unrounded_constants_give_forty_billion_and_the_rounded_thirty_two():
  rounded = ParametricLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
  assert law_module.HOFFMANN_2022.optimum(5.76e23)[0] == pytest.approx(40.4e9, rel=0.005)
  assert rounded.optimum(5.76e23)[0] == pytest.approx(32e9, rel=0.02)


def test_a_law_without_an_optimum_says_nothing_rather_than_something():
  assert math.isnan(ParametricLaw(E=1.0, A=10.0, B=10.0, alpha=-0.1, beta=0.3).G)


def test_a_weighted_line_meets_numpy_s_and_lanes_are_independent():
  random = np.random.default_rng(0)
  x_bn, y_bn, w_bn = random.normal(size=(3, 4, 9))
  w_bn = w_bn**2
  slopes, heights = law_module.fit_line(x_bn, y_bn, w_bn)
  for lane in range(4):
    slope, height = np.polyfit(x_bn[lane], y_bn[lane], 1, w=np.sqrt(w_bn[lane]))
    assert (slopes[lane], heights[lane]) == pytest.approx((slope, height))


def test_a_line_through_equal_places_has_no_slope():
  assert math.isnan(law_module.fit_line(np.ones(4), np.arange(4.0))[0])


def test_a_power_law_through_its_own_values_is_itself():
  law = PowerLaw(3e-4, 0.57)
  x = np.array([1e9, 1e11, 1e12])
  found = PowerLaw.through(x, [law(one) for one in x])
  assert (found.coefficient, found.exponent) == pytest.approx((3e-4, 0.57))


def test_a_trend_finds_its_own_floor_and_meets_a_least_squares_search():
  flops = np.geomspace(1e12, 1e15, 7)
  true = 0.7 + 1.3 * (flops / 1e13) ** -0.15
  assert LossTrend.through(flops, true[None])(1e17) == pytest.approx(0.7 + 1.3 * 1e4**-0.15, abs=2e-4)
  noisy = true + np.random.default_rng(2).normal(0, 0.01, 7)
  found = LossTrend.through(flops, noisy[None])

  def errors(theta):
    return theta[0] + theta[1] * (flops / 1e13) ** -theta[2] - noisy

  best = optimize.least_squares(errors, (0.7, 1.3, 0.15), bounds=([0, 0, 0.005], [2, 9, 2])).cost
  own = 0.5 * sum((found(c) - loss) ** 2 for c, loss in zip(flops, noisy, strict=True))
  assert own == pytest.approx(best, rel=1e-4)


def test_a_trend_keeps_its_floor_between_nothing_and_the_losses():
  flops = [1e12, 1e13, 1e14]
  straight = LossTrend.through(flops, np.array([[3.0, 2.0, 1.0]]))  # A line in ln C would pass below 0.
  assert straight.floor[0] == 0 and straight(1e20) > 0
  rising = LossTrend.through(flops, np.array([[1.0, 1.2, 1.4]]))
  assert rising(1e20) == pytest.approx(1.2)
  assert LossTrend.through(flops[:2], np.array([[3.0, 2.0]])) is None
