"""The law of mixtures finds known weights in simulated losses, and its intervals hold them."""

import numpy as np
import pytest
from scipy import optimize

from gen.errors import UserError
from gen.scaling.mixtures import mixing_law, mixture_design
from gen.scaling.mixtures.mixing_law import MixingLaw

INNER = MixingLaw(2.0, [[-3.0, 0.2, 0.0], [0.1, -2.0, -0.2]])  # of two hidden domains: best inside
CORNER = MixingLaw(2.0, [[-1.0, 0.2, 0.0]])  # of one: the first corpus alone is best


def simulated(law, noise, seed, interior=8, seeds=1):
  weights = np.repeat(mixture_design.design_weights(3, interior, 0), seeds, 0)
  return weights, law.predict(weights) + np.random.default_rng(seed).normal(0, noise, len(weights))


@pytest.mark.parametrize("law", [INNER, CORNER])
def test_the_minimum_of_a_law_is_that_of_a_dense_grid(law):
  step = np.linspace(0, 1, 201)
  grid = np.array([(a, b, 1 - a - b) for a in step for b in step if a + b <= 1 + 1e-12])
  best = law.find_minimum()
  assert best.sum() == pytest.approx(1) and best.min() >= 0
  assert law.predict(best[None])[0] <= law.predict(grid).min() + 1e-9
  assert np.abs(best - grid[np.argmin(law.predict(grid))]).max() <= 0.01


def test_known_weights_are_found_in_losses_without_noise():
  weights, losses = simulated(INNER, 0.0, 0)
  fit = mixing_law.fit_mixtures(weights, losses, bootstraps=0)
  assert fit.terms == 2 and fit.scatter < 1e-3
  assert np.abs(np.array(fit.weights) - INNER.find_minimum()).max() < 0.02
  assert fit.rank_correlation > 0.99


def test_one_term_suffices_where_one_corpus_is_best():
  weights, losses = simulated(CORNER, 0.002, 1)
  fit = mixing_law.fit_mixtures(weights, losses, bootstraps=20)
  assert np.array(fit.weights)[0] > 0.97
  assert fit.intervals[0][1] == pytest.approx(1, abs=1e-6) and fit.gain_interval[0] > 0


def test_intervals_hold_the_true_weights_about_as_often_as_they_say():
  true, held = INNER.find_minimum(), []
  for seed in range(8):
    weights, losses = simulated(INNER, 0.003, seed)
    fit = mixing_law.fit_mixtures(weights, losses, bootstraps=30)
    held += [
      low - 1e-3 <= weight <= high + 1e-3 for weight, (low, high) in zip(true, fit.intervals, strict=True)
    ]
    gain = INNER.predict(np.full((1, 3), 1 / 3))[0] - INNER.predict(true[None])[0]
    assert fit.gain == pytest.approx(gain, abs=0.01)
  assert np.mean(held) >= 0.7  # of 90 % intervals in 24 tries


def test_constants_are_those_of_a_general_solver():
  weights, losses = simulated(CORNER, 0.01, 3)
  law = mixing_law.fit_law(weights, losses, 1, np.random.default_rng(0))

  def cost(x):
    return np.sum((x[0] + np.exp(weights @ x[1:]) - losses) ** 2)

  reference = min(
    (optimize.minimize(cost, [1.5, *start], method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-14})
     for start in np.eye(3) - 0.5),
    key=lambda found: found.fun,
  )  # fmt: skip
  assert np.sum((law.predict(weights) - losses) ** 2) <= reference.fun * 1.001


def test_runs_with_the_same_weights_are_left_out_together():
  weights, losses = simulated(CORNER, 0.01, 4, interior=2, seeds=2)
  fit = mixing_law.fit_mixtures(weights, losses, bootstraps=0)
  left_out = np.array(fit.left_out).reshape(-1, 2)
  assert np.array_equal(left_out[:, 0], left_out[:, 1]) or np.abs(np.diff(left_out)).max() < 1e-3


def test_too_few_runs_are_refused():
  weights, losses = simulated(INNER, 0.0, 0)
  with pytest.raises(UserError, match="a law of 3 weights needs at least 6 runs, but 5 have a result"):
    mixing_law.fit_mixtures(weights[:5], losses[:5])


@pytest.mark.parametrize("corpora", [2, 3, 5])
def test_a_design_has_corners_edges_centre_and_interior_points(corpora):
  points = mixture_design.design_weights(corpora, 4, seed=1)
  assert len(points) == len(set(points)) and all(sum(point) == pytest.approx(1) for point in points)
  assert [tuple(map(float, row)) for row in np.eye(corpora)] == points[:corpora]
  edges = corpora * (corpora - 1) // 2
  assert len(points) == corpora + edges + (corpora > 2) + 4 and all(min(point) > 0 for point in points[-4:])
  assert points == mixture_design.design_weights(corpora, 4, seed=1)
  assert points[-4:] != mixture_design.design_weights(corpora, 4, seed=2)[-4:]


def test_rounded_weights_sum_to_one():
  for seed in range(20):
    weights = np.random.default_rng(seed).dirichlet(np.full(7, 0.3))
    rounded = mixture_design.round_weights(weights)
    assert round(1000 * sum(rounded)) == 1000 and np.abs(np.array(rounded) - weights).max() < 1e-3 + 1e-9
