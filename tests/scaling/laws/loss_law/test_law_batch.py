"""What laws advise, against brute force: dense grids and scipy."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen.scaling.laws.loss_law import law_batch
from gen.scaling.laws.loss_law.law import HOFFMANN_2022, ParametricLaw

LAWS = [
  HOFFMANN_2022,
  ParametricLaw(0.6, 57.0, 228.0, 0.42, 0.40),
  ParametricLaw(1.2, 9.1e3, 83.0, 0.68, 0.26, k=7.5),
]
BUDGET = 3e21


def rows(*laws):
  return np.concatenate([law_batch.law_row(law) for law in laws])


@pytest.mark.parametrize("law", LAWS)
def test_the_optimum_is_the_least_loss_along_the_budget(law):
  found = law_batch.batch_optimum(law_batch.law_row(law), BUDGET, law.k)
  log_n = np.linspace(-3, 3, 6001) + math.log(found["N"][0])
  losses = law.loss(np.exp(log_n), BUDGET / law.k / np.exp(log_n))
  assert found["N"][0] == pytest.approx(np.exp(log_n[np.argmin(losses)]), rel=2e-3)
  assert found["loss"][0] == pytest.approx(losses.min(), rel=1e-9)
  assert law.k * found["N"][0] * found["D"][0] == pytest.approx(BUDGET)
  assert found["ratio"][0] == pytest.approx(found["D"][0] / found["N"][0])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("inference", [1e10, 4e12])
def test_a_model_that_serves_costs_least_in_all_at_the_same_loss(law, inference):
  best = float(law.optimum(BUDGET)[2])

  def total(log_n):
    rest = best - law.E - law.A * math.exp(-law.alpha * log_n)
    if rest <= 0:
      return math.inf
    return (
      law.k * math.exp(log_n) * (rest / law.B) ** (-1 / law.beta) + law.k / 3 * math.exp(log_n) * inference
    )

  middle = math.log(law.optimum(BUDGET)[0])
  grid = np.linspace(middle - 6, middle + 1, 7001)
  start = grid[np.argmin([total(x) for x in grid])]
  scipys = optimize.minimize_scalar(
    total, bounds=(start - 0.01, start + 0.01), method="bounded", options={"xatol": 1e-12}
  )
  found = law_batch.inference_optimum(law_batch.law_row(law), BUDGET, inference, law.k)
  assert found["total_flops"][0] == pytest.approx(scipys.fun, rel=1e-8)
  assert found["N"][0] == pytest.approx(math.exp(scipys.x), rel=1e-3)
  assert law.loss(found["N"][0], found["D"][0]) == pytest.approx(best, rel=1e-9)
  assert 0 < found["saving"][0] < 1 and found["N"][0] < math.exp(middle)


def test_hardly_any_inference_changes_nothing():
  found = law_batch.inference_optimum(law_batch.law_row(HOFFMANN_2022), BUDGET, 1.0)
  assert found["N"][0] == pytest.approx(float(HOFFMANN_2022.optimum(BUDGET)[0]), rel=1e-5)
  assert found["saving"][0] == pytest.approx(0, abs=1e-9)


def test_a_smaller_model_is_paid_for_in_compute_and_loss():
  found = law_batch.overtrained_model(law_batch.law_row(HOFFMANN_2022), BUDGET, 3.0)
  n, _, loss = HOFFMANN_2022.optimum(BUDGET)
  assert found["N"][0] == pytest.approx(n / 3)
  assert HOFFMANN_2022.loss(found["N"][0], found["D"][0]) == pytest.approx(loss)
  assert found["compute_factor"][0] == pytest.approx(6 * found["N"][0] * found["D"][0] / BUDGET)
  assert found["compute_factor"][0] > 1 and found["loss_rise"][0] > 0
  assert math.isinf(
    law_batch.overtrained_model(law_batch.law_row(HOFFMANN_2022), BUDGET, 1e3)["training_flops"][0]
  )


def brute_force_of_repetition(law, unique):
  """Muennighoff et al. 2023, equations 5 and 6, term by term on a grid of N."""
  n = np.exp(np.linspace(np.log(1e6), np.log(1e13), 400_001))
  d = BUDGET / law.k / n
  first_d = np.minimum(unique, d)
  repeats = d / first_d - 1
  enough = (law.alpha * law.A / (law.beta * law.B) * first_d**law.beta) ** (1 / law.alpha)
  first_n = np.minimum(enough, n)
  excess = n / first_n - 1
  worth_d = first_d + first_d * 15.387756 * (1 - np.exp(-repeats / 15.387756))
  worth_n = first_n + first_n * 5.309743 * (1 - np.exp(-excess / 5.309743))
  loss = law.loss(worth_n, worth_d)
  best = np.argmin(loss)
  return n[best], loss[best], worth_d[best]


@pytest.mark.parametrize("unique", [1e9, 2e10, 1e15])
@pytest.mark.parametrize("law", LAWS)
def test_repeated_data_are_worth_what_the_papers_equations_say(law, unique):
  found = law_batch.repeated_optimum(law_batch.law_row(law), BUDGET, unique, law.k)
  n, loss, worth = brute_force_of_repetition(law, unique)
  assert found["loss"][0] == pytest.approx(loss, rel=1e-7)
  assert found["N"][0] == pytest.approx(n, rel=3e-3)
  assert found["effective_D"][0] == pytest.approx(worth, rel=6e-3)
  assert found["epochs"][0] == pytest.approx(max(found["D"][0] / unique, 1))


def test_enough_data_give_the_optimum():
  found = law_batch.repeated_optimum(law_batch.law_row(HOFFMANN_2022), BUDGET, 1e14)
  assert found["N"][0] == pytest.approx(float(HOFFMANN_2022.optimum(BUDGET)[0]), rel=1e-4)
  assert found["loss_rise"][0] == pytest.approx(0, abs=1e-9) and found["epochs"][0] == 1


def test_many_laws_at_once_are_each_law_alone():
  laws = [
    HOFFMANN_2022,
    ParametricLaw(0.6, 57.0, 228.0, 0.42, 0.40),
    ParametricLaw(2.0, 300.0, 900.0, 0.3, 0.36),
  ]
  functions = {
    "optimum": lambda rows_sp: law_batch.batch_optimum(rows_sp, BUDGET),
    "served": lambda rows_sp: law_batch.inference_optimum(rows_sp, BUDGET, 1e11),
    "overtrained": lambda rows_sp: law_batch.overtrained_model(rows_sp, BUDGET, 2.0),
    "repeated": lambda rows_sp: law_batch.repeated_optimum(rows_sp, BUDGET, 1e10),
  }
  for function in functions.values():
    together = function(rows(*laws))
    for i, law in enumerate(laws):
      alone = function(law_batch.law_row(law))
      for name, values in together.items():
        assert values[i] == pytest.approx(alone[name][0], rel=1e-9), name


def test_a_law_without_an_optimum_gives_none():
  falling = np.array([[6.0, 6.0, 0.5, -0.1, 0.3]])
  assert np.isnan(law_batch.batch_optimum(falling, BUDGET)["N"][0])
