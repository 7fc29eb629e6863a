"""A law of the loss on a target text against the weights of the training mixture, and its minimum.

N runs, K corpora, I terms, weights r that sum to 1. The law is that of data mixing laws (arXiv:2403.16952, section 3)
for a target that is a hidden sum of I domains:

    L(r) = c + sum_i exp(b_i + sum_j t_ij r_j)

As the weights sum to 1, b_i is part of t_i. The law is convex in r, so it has one minimum over the simplex. With I = 1
that is a corner: one corpus is best. I is chosen by the error of runs that were left out of the fit.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, stats

from gen.errors import UserError

# The fit is not convex in the constants: terms can swap or coincide, so single starts end in local minima.
STARTS = 8  # of each fit, from random constants
MAX_TERMS = 2  # more are not determined by the few runs of a study
# Our choice: one fewer would leave the scatter to a single residual.
_SPARE = 2  # runs that a fit needs beyond its constants
_FLOOR = 1e-6  # the weights' ridge: constants that the runs do not determine stay near 0


@dataclasses.dataclass(frozen=True)
class MixingLaw:
  """A fitted law.

  Attributes:
    floor: c, loss that no mixture changes, nats.
    exponents: t, one row for each term.
  """

  floor: float
  exponents: list[list[float]]

  def predict(self, weights_nk: np.ndarray) -> np.ndarray:
    """Returns the loss at each mixture, nats."""
    return self.floor + np.exp(np.asarray(weights_nk) @ np.array(self.exponents).T).sum(-1)

  def find_minimum(self) -> np.ndarray:
    """Returns the weights of least loss."""
    exponents_ik = np.array(self.exponents)
    corpora = exponents_ik.shape[1]

    def loss(weights_k: np.ndarray) -> tuple[float, np.ndarray]:
      terms_i = np.exp(exponents_ik @ weights_k)
      return float(terms_i.sum()), terms_i @ exponents_ik

    corners = list(np.eye(corpora))
    # Convex, so one start suffices; the corners are candidates of their own, which a solver only approaches.
    found = optimize.minimize(
      loss,
      np.full(corpora, 1 / corpora),
      jac=True,
      method="SLSQP",
      bounds=[(0, 1)] * corpora,
      constraints={"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like},
      options={"maxiter": 300, "ftol": 1e-12},
    )
    inside = np.clip(found.x, 0, None)
    return min([*corners, inside / inside.sum()], key=lambda weights: loss(weights)[0])


@dataclasses.dataclass(frozen=True)
class MixtureFit:
  """A law with what is known of its quality.

  Attributes:
    law: fitted to all runs.
    terms: I.
    left_out_error: root mean square of the errors at runs left out of the fit, by number of terms, nats.
    left_out: loss of each run, predicted without it, nats.
    scatter: sd of the runs about the law, nats.
    rank_correlation: Spearman's, of the losses and of those predicted without each run.
    weights: of least predicted loss.
    intervals: [low, high] of each weight.
    gain: predicted loss of equal weights less that of the best, nats.
    gain_interval: [low, high] of the gain.
  """

  law: MixingLaw
  terms: int
  left_out_error: dict[int, float]
  left_out: list[float]
  scatter: float
  rank_correlation: float
  weights: list[float]
  intervals: list[list[float]]
  gain: float
  gain_interval: list[float]


def fit_mixtures(
  weights_nk: np.ndarray, losses_n: np.ndarray, bootstraps: int = 200, level: float = 0.9, seed: int = 0
) -> MixtureFit:
  """Fits the law to measured losses, and finds its minimum with intervals.

  Intervals are percentiles of fits to residuals drawn anew (the residual bootstrap), each at its own minimum. So the
  design stays as it was, corners included.

  Args:
    weights_nk: weights of each run; rows sum to 1.
    losses_n: loss of each on the target text, nats.
    bootstraps: number of fits for the intervals.
    level: coverage of the intervals.
    seed: of starts and draws.

  Raises:
    UserError: if there are too few runs to fit one term.
  """
  weights_nk, losses_n = np.asarray(weights_nk, float), np.asarray(losses_n, float)
  runs, corpora = weights_nk.shape
  rng = np.random.default_rng(seed)
  allowed = [terms for terms in range(1, MAX_TERMS + 1) if 1 + terms * corpora + _SPARE <= runs]
  if not allowed:
    raise UserError(
      f"a law of {corpora} weights needs at least {1 + corpora + _SPARE} runs, but {runs} have a result; add interior"
      " points"
    )
  left_out = {terms: _leave_each_out(weights_nk, losses_n, terms, rng) for terms in allowed}
  errors = {terms: float(np.sqrt(np.mean((left - losses_n) ** 2))) for terms, left in left_out.items()}
  # Among equal errors the fewer terms, as they come first.
  terms = min(errors, key=lambda count: errors[count])
  law = fit_law(weights_nk, losses_n, terms, rng)
  fitted_n = law.predict(weights_nk)
  spare = runs - 1 - terms * corpora
  # Residuals of a fit are smaller than the noise by the share of its constants in the runs.
  residuals_n = (losses_n - fitted_n) * np.sqrt(runs / spare)
  best = law.find_minimum()
  drawn = [_refit(law, weights_nk, fitted_n + rng.choice(residuals_n, runs), rng) for _ in range(bootstraps)]
  minima_dk = np.array([each.find_minimum() for each in drawn]).reshape(-1, corpora)
  equal = np.full(corpora, 1 / corpora)
  gains_d = np.array([_gain(each, equal, point) for each, point in zip(drawn, minima_dk, strict=True)])
  ends = [50 * (1 - level), 50 * (1 + level)]
  return MixtureFit(
    law=law,
    terms=terms,
    left_out_error=errors,
    left_out=left_out[terms].tolist(),
    scatter=float(np.sqrt(np.sum((losses_n - fitted_n) ** 2) / spare)),
    rank_correlation=float(stats.spearmanr(losses_n, left_out[terms]).statistic),
    weights=best.tolist(),
    intervals=[np.percentile(column, ends).tolist() for column in minima_dk.T] if bootstraps else [],
    gain=_gain(law, equal, best),
    gain_interval=np.percentile(gains_d, ends).tolist() if bootstraps else [],
  )


def _gain(law: MixingLaw, equal: np.ndarray, best: np.ndarray) -> float:
  equal_loss, best_loss = law.predict(np.stack([equal, best]))
  return float(equal_loss - best_loss)


def _leave_each_out(
  weights_nk: np.ndarray, losses_n: np.ndarray, terms: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns the loss of each mixture by the law of the runs with other weights."""
  # Only a start for the fits below, which then converge on the other runs.
  whole = fit_law(weights_nk, losses_n, terms, rng)
  predicted_n = np.empty(len(losses_n))
  for index, weights_k in enumerate(weights_nk):
    others_n = (weights_nk != weights_k).any(1)  # repetitions with another seed are left out too
    law = _refit(whole, weights_nk[others_n], losses_n[others_n], rng)
    predicted_n[index] = law.predict(weights_k[None])[0]
  return predicted_n


def fit_law(weights_nk: np.ndarray, losses_n: np.ndarray, terms: int, rng: np.random.Generator) -> MixingLaw:
  """Fits a law of so many terms by least squares, from several random starts; returns the best.

  Args:
    weights_nk: weights of each run.
    losses_n: their losses, nats.
    terms: I.
    rng: of the starts.
  """
  # 1e-3 nats, so that equal losses still have starts that differ.
  spread, corpora = float(np.ptp(losses_n)) + 1e-3, weights_nk.shape[1]
  starts = [
    np.concatenate(
      # The floor lies below all losses, by a tenth of their spread to twice it; logarithms of terms scatter by 2 about
      # the spread's.
      [[losses_n.min() - spread * rng.uniform(0.1, 2)], rng.normal(np.log(spread), 2, terms * corpora)]
    )
    for _ in range(STARTS)
  ]
  return _best_law(weights_nk, losses_n, terms, starts)


def _refit(
  law: MixingLaw, weights_nk: np.ndarray, losses_n: np.ndarray, rng: np.random.Generator
) -> MixingLaw:
  """Fits anew from the constants of a law, and from these with noise, in which an unlucky start is left."""
  known = np.array([law.floor, *np.ravel(law.exponents)])
  # 0.5 in logarithms: far enough for another basin, near enough to be one of the same law.
  starts = [known, known + rng.normal(0, 0.5, len(known))]
  return _best_law(weights_nk, losses_n, len(law.exponents), starts)


def _best_law(
  weights_nk: np.ndarray, losses_n: np.ndarray, terms: int, starts: Sequence[np.ndarray]
) -> MixingLaw:
  residuals, jacobian = _least_squares(weights_nk, losses_n, terms)
  # 300 evaluations: Levenberg-Marquardt takes tens; a start that needs more is not the best.
  fits = [optimize.least_squares(residuals, start, jacobian, method="lm", max_nfev=300) for start in starts]
  floor, *exponents = min(fits, key=lambda fitted: fitted.cost).x
  return MixingLaw(float(floor), np.reshape(exponents, (terms, -1)).tolist())


def _least_squares(
  weights_nk: np.ndarray, losses_n: np.ndarray, terms: int
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
  """Returns the residuals and their derivatives by the constants; the last rows hold the ridge."""
  corpora = weights_nk.shape[1]
  ridge = np.sqrt(_FLOOR) * float(np.std(losses_n) + 1e-9)

  def values(constants: np.ndarray) -> np.ndarray:
    exponents_ni = weights_nk @ constants[1:].reshape(terms, corpora).T
    # e^50 nats are worse than any loss, and their squares still lie within float64.
    return np.exp(np.minimum(exponents_ni, 50.0))

  def residuals(constants: np.ndarray) -> np.ndarray:
    return np.concatenate([constants[0] + values(constants).sum(1) - losses_n, ridge * constants[1:]])

  def jacobian(constants: np.ndarray) -> np.ndarray:
    slopes_nik = values(constants)[:, :, None] * weights_nk[:, None, :]
    fitted = np.concatenate([np.ones((len(losses_n), 1)), slopes_nik.reshape(len(losses_n), -1)], 1)
    return np.concatenate([fitted, ridge * np.eye(1 + terms * corpora)[1:]])

  return residuals, jacobian
