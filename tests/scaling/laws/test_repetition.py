"""Laws of repetition on synthetic losses, against scipy's own optimizers and the paper's statements."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen.errors import UserError
from gen.scaling.laws import repetition, repetition_penalty
from gen.scaling.laws.repetition import MUENNIGHOFF, RepeatedRuns, RepetitionLaw

BETA = MUENNIGHOFF.base.beta


SIZES = ((7e4, 2e6), (2e5, 6e6), (5e5, 1.3e7))  # N and D of each budget


def make_runs(loss_of, noise=0.0, epochs=(1, 2, 5, 12, 30), seeds=3, seed=4, sizes=SIZES):
  random = np.random.default_rng(seed)
  rows = [
    (number, params, tokens, tokens / often)
    for number, (params, tokens) in enumerate(sizes)
    for often in epochs
    for _ in range(seeds)
  ]
  budgets, params, tokens, unique = np.array(rows).T
  loss = loss_of(params, tokens, unique) + noise * random.standard_normal(len(rows))
  return RepeatedRuns(budgets, params, tokens, unique, loss)


def decaying(decay):
  law = RepetitionLaw(MUENNIGHOFF.base, decay)
  return law.loss


def test_budgets_that_read_their_text_equally_often_in_all_runs_have_no_law():
  each = [make_runs(decaying(9.0), 0.01, (often,), sizes=SIZES[:2]) for often in (3, 6)]
  runs = RepeatedRuns(
    *(
      np.concatenate([getattr(part, name)[part.budgets == number] for number, part in enumerate(each)])
      for name in ("budgets", "params", "tokens", "unique", "loss")
    )
  )
  for fit in (repetition.fit_decay, repetition_penalty.fit_coefficient, repetition_penalty.fit_exponents):
    with pytest.raises(UserError, match="compares runs of one budget"):
      fit(runs, 0.9)


def test_text_that_is_read_once_has_the_base_law():
  n, d = np.array([1e8, 3e9]), np.array([4e9, 9e10])
  law = RepetitionLaw(MUENNIGHOFF.base, 15.4)
  assert law.loss(n, d, d) == pytest.approx(MUENNIGHOFF.base.loss(n, d), rel=1e-12)


def test_repeated_tokens_saturate_as_the_paper_says():
  unique = np.array([1e9])
  worth = [
    float(repetition.effective_amount(unique * often, unique, MUENNIGHOFF.data_decay)[0])
    for often in (4, 1e6)
  ]
  assert worth[0] / 4e9 > 0.9  # four epochs are almost as good as new data
  assert worth[1] == pytest.approx(1e9 * (1 + MUENNIGHOFF.data_decay))
  # At R = R*, repeated tokens are worth 1 - 1/e of new ones.
  at = repetition.effective_amount(unique * (1 + MUENNIGHOFF.data_decay), unique, MUENNIGHOFF.data_decay)
  assert (at[0] / 1e9 - 1) / MUENNIGHOFF.data_decay == pytest.approx(1 - 1 / math.e)


def test_the_published_constants_are_those_of_the_appendix():
  base = MUENNIGHOFF.base
  assert (round(base.A), round(base.B), round(base.E, 2)) == (521, 1488, 1.87)
  n = MUENNIGHOFF.optimal_params(np.array([1e10]))
  best = optimize.minimize_scalar(
    lambda x: float(base.loss(np.exp(x), 1e10 * float(n[0]) / np.exp(x))), bounds=(15, 30), method="bounded"
  )
  assert math.exp(best.x) == pytest.approx(float(n[0]), rel=1e-3)


@pytest.mark.parametrize("decay", [1.7, 15.387756, 60.0])
def test_the_decay_of_exact_losses_is_found(decay):
  found = repetition.fit_decay(make_runs(decaying(decay), seeds=1), 0.9)
  assert found.value == pytest.approx(decay, rel=1e-4) and found.error < 1e-9 and not found.at_bound


def test_the_decay_of_noisy_losses_is_that_of_scipys_least_squares_and_its_interval_holds_the_truth():
  runs = make_runs(decaying(9.0), noise=0.004)
  found = repetition.fit_decay(runs, 0.9)

  def residuals(theta):
    shrunk = repetition.effective_amount(runs.tokens, runs.unique, math.exp(theta[0])) ** -BETA
    return theta[2:] @ runs.one_hot.T + math.exp(theta[1]) * shrunk - runs.loss

  starts = [[math.log(r), 7.0, 2.5, 2.2, 2.0] for r in (1.0, 6.0, 40.0)]
  best = min(
    (optimize.least_squares(residuals, start, xtol=1e-15, ftol=1e-15) for start in starts),
    key=lambda f: f.cost,
  )
  assert found.value == pytest.approx(math.exp(best.x[0]), rel=1e-4)
  assert found.low < 9.0 < found.high and found.low < found.value < found.high


def test_text_that_loses_nothing_does_not_identify_a_decay():
  base = MUENNIGHOFF.base
  found = repetition.fit_decay(make_runs(lambda n, d, _: base.loss(n, d), noise=1e-3, seeds=2), 0.9)
  assert found.at_bound or found.high > 20 * found.low


def test_too_few_numbers_of_epochs_are_refused():
  runs = make_runs(decaying(9.0), epochs=(1, 4))
  for fit in (repetition.fit_decay, repetition_penalty.fit_coefficient, repetition_penalty.fit_exponents):
    with pytest.raises(UserError, match="2 or more numbers of epochs above 1, and there is 1"):
      fit(runs, 0.9)
