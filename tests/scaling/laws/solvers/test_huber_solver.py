"""Many descents at once, against one of scipy's for each."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from gen.scaling.laws.solvers import huber_solver

THETA = np.array([-1.1, -0.7, 0.45, 0.37, 0.29])


def problem(count=37, noise=0.02, moves=huber_solver.FREE, seed=4):
  random = np.random.default_rng(seed)
  x, y = random.normal(0, 1.9, count), random.normal(0, 2.3, count)
  terms = np.exp(THETA[0] - THETA[3] * x) + np.exp(THETA[1] - THETA[4] * y) + np.exp(THETA[2])
  noisy = np.log(terms) + noise * random.standard_t(3, count)
  return huber_solver.HuberProblem(x, y, noisy, moves)


def objective(theta, one, counts, delta):
  """The sum of Huber losses, written down once more."""
  logs = np.stack([theta[0] - theta[3] * one.x, theta[1] - theta[4] * one.y, np.full(len(one.x), theta[2])])
  residual = special.logsumexp(logs, axis=0) - one.l
  return float(counts @ (special.huber(delta, residual) if math.isfinite(delta) else 0.5 * residual**2))


def reference(one, counts, delta):
  """The least objective that scipy finds from the truth and round it, by numeric slopes."""
  random, scale = np.random.default_rng(0), 1 / min(delta, 1e-2)  # values near 1, as its tolerances expect
  lowest = math.inf
  for spread in (0, 0.05, 0.2):
    start = THETA + spread * random.normal(size=5)
    for method in ("BFGS", "Nelder-Mead"):
      found = optimize.minimize(lambda t: scale * objective(t, one, counts, delta), start, method=method)
      start = found.x
    lowest = min(lowest, found.fun / scale)
  return lowest


def ones(one):
  return np.ones((1, len(one.x)))


@pytest.mark.parametrize("delta", [1e-8, 1e-3, 0.02, math.inf])
def test_the_optimum_is_no_higher_than_scipys(delta):
  one = problem()
  found = huber_solver.minimise_huber(one, ones(one), THETA[None] + 0.2, delta)
  assert found.done_s.all()
  assert found.value_s[0] == pytest.approx(
    objective(found.theta_sp[0], one, np.ones(37), min(delta, 1e9)), rel=1e-9
  )
  assert found.value_s[0] <= reference(one, np.ones(37), delta) * (1 + 1e-8)


def test_starts_far_away_come_back_to_a_known_law():
  one = problem(noise=0)
  random = np.random.default_rng(9)
  starts_sp = THETA + random.normal(0, [2, 2, 0.5, 0.4, 0.4], (70, 5))  # more than the lanes of one batch
  found = huber_solver.minimise_huber(one, ones(one), starts_sp, 1e-3)
  there = np.abs(found.theta_sp - THETA).max(1) < 1e-4
  assert there.sum() >= 50
  assert np.argmin(found.value_s) in np.flatnonzero(there)


def test_each_lane_has_its_own_counts():
  one = problem(61, noise=0.005)
  counts_sn = np.random.default_rng(1).multinomial(61, np.full(61, 1 / 61), 3).astype(float)
  found = huber_solver.minimise_huber(one, counts_sn, np.tile(THETA, (3, 1)), 0.01)
  for value, counts in zip(found.value_s, counts_sn, strict=True):
    assert value <= reference(one, counts, 0.01) * (1 + 1e-8)
  assert found.done_s.all() and len(set(found.value_s.round(9))) == 3


def test_a_run_counted_twice_is_two_runs():
  one = problem(19)
  counts_1n = ones(one)
  counts_1n[0, 5] = 2
  twice = huber_solver.HuberProblem(*(np.append(values, values[5]) for values in one[:3]), one.moves_pp)
  weighted = huber_solver.minimise_huber(one, counts_1n, THETA[None], 1e-3)
  repeated = huber_solver.minimise_huber(twice, ones(twice), THETA[None], 1e-3)
  assert weighted.theta_sp == pytest.approx(repeated.theta_sp, abs=1e-6)


def test_tied_exponents_move_together():
  one = problem(29, moves=huber_solver.TIED)
  start = np.array([[-1.0, -0.5, 0.4, 0.33, 0.33]])
  tied = huber_solver.minimise_huber(one, ones(one), start, 0.01)
  free = huber_solver.minimise_huber(one._replace(moves_pp=huber_solver.FREE), ones(one), start, 0.01)
  assert tied.theta_sp[0, 3] == pytest.approx(tied.theta_sp[0, 4], abs=1e-14)
  assert tied.value_s[0] > free.value_s[0]


def test_steps_run_out_where_they_are_said_to():
  one = problem()
  found = huber_solver.minimise_huber(one, ones(one), THETA[None] + 1.0, 1e-6, max_steps=3)
  assert found.steps_s[0] == 3 and not found.done_s[0]


def test_doubles_are_used_and_left_as_they_were():
  import jax.numpy as jnp

  one = problem(11)
  huber_solver.minimise_huber(one, ones(one), THETA[None], 0.1)
  assert jnp.ones(2).dtype == jnp.float32


def test_an_option_that_this_release_of_xla_lacks_is_left_out(monkeypatch):
  one = problem()
  expected = huber_solver.minimise_huber(one, ones(one), THETA[None], 1e-3)
  monkeypatch.setattr(huber_solver, "_QUICK", ({"xla_cpu_no_such_option": False}, *huber_solver._QUICK))
  huber_solver._compiled_descent.cache_clear()
  found = huber_solver.minimise_huber(one, ones(one), THETA[None], 1e-3)
  np.testing.assert_array_equal(found.theta_sp, expected.theta_sp)
  huber_solver._compiled_descent.cache_clear()
