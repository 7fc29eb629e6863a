"""The penalty that repeated text adds to the loss, by Lovelace et al. 2026 (arXiv:2605.01640).

    L = E + A / N^alpha + B / D^beta + P R_D^delta (N / U)^kappa,          R_D = D / U - 1

for N parameters and D tokens of which U are unique. The form of one coefficient sets both exponents to 1 here.

A study at equal FLOPs has one N and D for each budget, so the first three terms are one constant for each budget. With
one ratio N / D for all budgets, N / U grows with R_D + 1 alone, which few epochs barely tell from R_D: the exponents
then trade off against each other. Budgets of one width have different ratios.
"""

import dataclasses
import math

import numpy as np
from scipy import optimize, special

from gen.scaling.laws.repetition import RESAMPLES, FittedCoefficient, RepeatedRuns, require_repeats

# Ranges of delta and kappa; chosen: at .05 sixteen epochs cost 1.15 times what two cost, at 4 they cost 50,000 times as
# much. Below 0 kappa contradicts the law, which the runs must be able to say.
REPEATS_RANGE, CAPACITY_RANGE = (0.05, 4.0), (-2.0, 4.0)
_STEP = 0.05  # between starts of the search
PROFILE = 16  # points of a profile


@dataclasses.dataclass(frozen=True)
class PenaltyLaw:
  """The penalty with fitted exponents.

  An end of an interval that reaches the range of the search is None: the runs do not bound it.

  Attributes:
    coefficient: P, in the unit of the loss, where R_D = 1 and N = U.
    repeats: delta.
    capacity: kappa.
    correlation: of delta and kappa over the resampled fits; near -1 they trade off against each other.
    repeats_profile: pairs of delta and the least error at it, over P and kappa.
    capacity_profile: the same of kappa.
  """

  coefficient: FittedCoefficient
  repeats: FittedCoefficient
  capacity: FittedCoefficient
  correlation: float | None
  repeats_profile: list[tuple[float, float]]
  capacity_profile: list[tuple[float, float]]


def fit_coefficient(runs: RepeatedRuns, level: float) -> FittedCoefficient:
  """Fits P to L = c_budget + P R_D N / U by least squares, which has a closed form and Student's t intervals.

  Args:
    runs: of a study at equal FLOPs.
    level: of the interval.

  Raises:
    UserError: for too few runs.
  """
  require_repeats(runs)
  columns = np.column_stack([runs.one_hot, (runs.tokens / runs.unique - 1) * runs.params / runs.unique])
  solution = np.linalg.lstsq(columns, runs.loss, rcond=None)[0]
  residuals, freedom = runs.loss - columns @ solution, len(runs.loss) - columns.shape[1]
  error, value = float(np.sqrt(np.mean(residuals**2))), float(solution[-1])
  if freedom < 1:
    return FittedCoefficient(value, None, None, error)
  # The usual covariance of least squares, s^2 (X'X)^-1.
  variance = residuals @ residuals / freedom * np.linalg.inv(columns.T @ columns)[-1, -1]
  reach = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
  return FittedCoefficient(value, value - reach, value + reach, error)


def fit_exponents(runs: RepeatedRuns, level: float, seed: int = 0) -> PenaltyLaw:
  """Fits P, delta and kappa to L = c_budget + P R_D^delta (N / U)^kappa by least squares.

  Intervals are percentiles of fits to resampled residuals.

  Args:
    runs: of a study at equal FLOPs.
    level: of the intervals.
    seed: of the resampling.

  Raises:
    UserError: for too few runs.
  """
  require_repeats(runs)
  search = _ExponentSearch(runs)
  centred = search.centre(runs.loss)
  best = search.find_best(centred)
  effect = best[0] * search.column(best[1], best[2])
  residuals, freedom = centred - effect, len(runs.loss) - runs.one_hot.shape[1] - 3
  error = float(np.sqrt(np.mean(residuals**2)))
  draws = None
  if freedom >= 1:
    random = np.random.default_rng(seed)
    # Residuals of a fit are smaller than the errors, as in fit_decay.
    scaled = residuals * math.sqrt(len(residuals) / freedom)
    draws = np.array(
      [search.find_best(search.centre(effect + random.choice(scaled, len(scaled)))) for _ in range(RESAMPLES)]
    )
  spread = None if draws is None else draws[:, 1:].std(axis=0).min()
  return PenaltyLaw(
    coefficient=_with_interval(
      best[0], None if draws is None else draws[:, 0], level, error, (0.0, math.inf)
    ),
    repeats=_with_interval(best[1], None if draws is None else draws[:, 1], level, error, REPEATS_RANGE),
    capacity=_with_interval(best[2], None if draws is None else draws[:, 2], level, error, CAPACITY_RANGE),
    correlation=float(np.corrcoef(draws[:, 1:].T)[0, 1]) if draws is not None and spread else None,
    repeats_profile=search.profile(centred, 0),
    capacity_profile=search.profile(centred, 1),
  )


def _with_interval(
  value: float,
  draws: np.ndarray | None,
  level: float,
  error: float,
  bounds: tuple[float, float],
) -> FittedCoefficient:
  """Returns a coefficient whose interval is open where the draws reach the range of the search."""
  # A thousandth inside the range of an exponent, because the search may end close to an end. P has no such range.
  inside = (bounds[0] + 1e-3, bounds[1] - 1e-3) if bounds[0] else bounds
  at_bound = not inside[0] <= value <= inside[1]
  if draws is None:
    return FittedCoefficient(value, None, None, error, at_bound)
  low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
  return FittedCoefficient(
    value, low if low >= inside[0] else None, high if high <= inside[1] else None, error, at_bound
  )


class _ExponentSearch:
  """Least squares of P at given exponents, and the search for them (variable projection, as in fit_decay)."""

  def __init__(self, runs: RepeatedRuns):
    repeats = runs.tokens / runs.unique - 1
    # Runs that read their text once have no penalty; a few percent more is rounding of steps, not repetition.
    self._repeated = repeats > 0.05
    self._log_repeats = np.log(np.where(self._repeated, repeats, 1.0))
    self._log_capacity = np.log(runs.params / runs.unique)
    one_hot = runs.one_hot
    self._means = one_hot / one_hot.sum(axis=0) @ one_hot.T
    self._grids = [np.arange(low, high + _STEP / 2, _STEP) for low, high in (REPEATS_RANGE, CAPACITY_RANGE)]
    starts = np.meshgrid(*self._grids, indexing="ij")
    self._starts = np.column_stack([each.ravel() for each in starts])
    columns = self.column(*(self._starts[:, number, None] for number in (0, 1)))
    self._unit_columns = columns / np.linalg.norm(columns, axis=1, keepdims=True)

  def centre(self, values: np.ndarray) -> np.ndarray:
    """Returns values, runs last, minus their means over the runs of one budget: least squares of c_budget."""
    return np.asarray(values - values @ self._means)

  def column(self, delta: float | np.ndarray, kappa: float | np.ndarray) -> np.ndarray:
    """Returns R_D^delta (N / U)^kappa, centred."""
    effect = np.exp(delta * self._log_repeats + kappa * self._log_capacity)
    return self.centre(np.where(self._repeated, effect, 0.0))

  def residuals(self, centred: np.ndarray, delta: float, kappa: float) -> np.ndarray:
    """Returns what is left of centred losses at the best P, which is not negative."""
    column = self.column(delta, kappa)
    return np.asarray(centred - _coefficient(column, centred) * column)

  def find_best(self, centred: np.ndarray) -> tuple[float, float, float]:
    """Returns P, delta and kappa of least squares."""
    # All starts in one product. The valley may be narrow, so the best of them is refined.
    start = self._starts[int(np.argmax(self._unit_columns @ centred))]
    lowest, highest = np.array([REPEATS_RANGE, CAPACITY_RANGE]).T
    inside = np.clip(start, lowest + 1e-6, highest - 1e-6)  # the solver takes no start on a bound
    found = optimize.least_squares(
      lambda point: self.residuals(centred, *point), inside, bounds=(lowest, highest),
      xtol=1e-10, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    delta, kappa = found.x.tolist()
    return _coefficient(self.column(delta, kappa), centred), delta, kappa

  def profile(self, centred: np.ndarray, number: int) -> list[tuple[float, float]]:
    """Returns the least error at values of one exponent, over P and the other.

    Args:
      centred: losses.
      number: 0 for delta, 1 for kappa.
    """
    grid, points = self._grids[1 - number], []
    for one in np.linspace(*(REPEATS_RANGE, CAPACITY_RANGE)[number], PROFILE).tolist():

      def error(other: float, one: float = one) -> float:
        pair = (other, one) if number else (one, other)
        return float(np.sqrt(np.mean(self.residuals(centred, *pair) ** 2)))

      best = int(np.argmin([error(other) for other in grid]))
      low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
      found = optimize.minimize_scalar(error, bounds=(low, high), method="bounded")
      points.append((round(one, 4), float(found.fun)))
    return points


def _coefficient(column: np.ndarray, centred: np.ndarray) -> float:
  """Returns P of least squares, at least 0."""
  return max(0.0, float(column @ centred) / float(column @ column))
