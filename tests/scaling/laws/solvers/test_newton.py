"""The objective at one point against its own finite differences, and Newton's steps against a closed form."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen.scaling.laws.solvers import huber_solver
from gen.scaling.laws.solvers import newton as newton_method

THETA = np.array([-1.1, -0.7, 0.45, 0.37, 0.29])


def problem(count=17, noise=0.02, seed=2):
  random = np.random.default_rng(seed)
  x, y = random.normal(0, 1.9, count), random.normal(0, 2.3, count)
  terms = np.exp(THETA[0] - THETA[3] * x) + np.exp(THETA[1] - THETA[4] * y) + np.exp(THETA[2])
  return x, y, np.log(terms) + random.normal(0, noise, count)


def value_at(theta, x, y, l, delta):
  return newton_method.huber_value(newton_method.evaluate_model(theta, x, y, l).residual, delta)


def test_the_residual_is_log_predicted_minus_log_measured():
  x, y, l = problem(noise=0)
  assert np.abs(newton_method.evaluate_model(THETA, x, y, l).residual).max() < 1e-14
  assert newton_method.evaluate_model(THETA, x, y, l + 0.3).residual == pytest.approx(np.full(17, -0.3))


def test_the_value_is_huber_by_hand():
  sizes = np.array([0.0, 0.5, -1.0, 3.0, -7.0])
  assert newton_method.huber_value(sizes, 1.0) == pytest.approx(0 + 0.125 + 0.5 + 2.5 + 6.5)
  assert newton_method.huber_value(sizes, math.inf) == pytest.approx(0.5 * (0.25 + 1 + 9 + 49))


@pytest.mark.parametrize("delta", [1e-2, 0.03, math.inf])
def test_the_gradient_is_the_values_slope(delta):
  x, y, l = problem()
  theta = THETA + np.array([0.03, -0.02, 0.01, 0.004, -0.006])
  model = newton_method.evaluate_model(theta, x, y, l)
  wanted = optimize.approx_fprime(theta, value_at, 1e-8, x, y, l, delta)
  assert newton_method.huber_gradient(model, delta) == pytest.approx(wanted, rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("delta", [1e-2, math.inf])
def test_the_hessian_is_the_gradients_slope(delta):
  x, y, l = problem()
  theta = THETA + 0.01
  hessian_pp = newton_method.huber_hessian(newton_method.evaluate_model(theta, x, y, l), x, y, delta)
  for p in range(5):
    step = np.zeros(5)
    step[p] = 1e-6
    up, down = (
      newton_method.huber_gradient(newton_method.evaluate_model(theta + s, x, y, l), delta)
      for s in (step, -step)
    )
    assert hessian_pp[p] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-6)


def test_newton_ends_where_the_gradient_is_rounding():
  x, y, l = problem(41)
  bottom = newton_method.newton_steps(THETA, x, y, l, 1e-2, huber_solver.FREE)
  assert np.linalg.norm(bottom.gradient) < 1e-14
  options = {"xatol": 1e-9, "fatol": 1e-16, "maxiter": 20_000, "maxfev": 20_000}
  reference = optimize.minimize(value_at, THETA, (x, y, l, 1e-2), "Nelder-Mead", options=options)
  assert bottom.value <= reference.fun * (1 + 1e-12)
  assert bottom.value == pytest.approx(reference.fun, rel=1e-6)


def test_tied_exponents_stay_tied():
  x, y, l = problem(41)
  start = THETA.copy()
  start[3:] = 0.33
  bottom = newton_method.descend_from(start, x, y, l, 1e-2, huber_solver.TIED)
  assert bottom.theta[3] == bottom.theta[4]
  assert np.linalg.norm(bottom.gradient) < 1e-14


def test_terms_too_large_for_a_float_do_not_break_it():
  x, y, l = problem()
  model = newton_method.evaluate_model(np.array([900.0, -900, 0, 1.2, 0.8]), x, y, l)
  assert np.isfinite(model.jacobian_np).all() and np.isfinite(newton_method.huber_value(model.residual, 1e-3))
