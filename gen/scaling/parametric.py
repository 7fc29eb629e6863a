"""Approach 3 of Hoffmann et al. 2022: L(N, D) = E + A / N^alpha + B / D^beta fitted to all runs at once.

The objective is the sum over runs of Huber_delta(log predicted - log measured loss), solved to its optimum from the
paper's grid of 4,500 starts (see `search`), with bootstrap intervals. A delta of 1e-8 makes it least
absolute deviations; an infinite one least squares. Letters as in `laws`; S starts or resamples, P parameters.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.scaling import bootstrap, cautions, parametric_draws, polish, search, solver, surfaces
from gen.scaling.laws import FLOPS_PER_PARAMETER_TOKEN, Law
from gen.scaling.points import Points

DELTA = 1e-3
CONSTANTS = ("E", "A", "B", "alpha", "beta", "a", "b")


@dataclasses.dataclass(frozen=True)
class ParametricFit:
  """The law, how it was found, and how far to trust it.

  Attributes:
    law: the constants.
    objective: sum of Huber losses at the optimum.
    gradient_norm: of the objective by (ln A, ln B, ln E, alpha, beta), uncentred.
    starts: how many were descended from.
    starts_at_best: how many of them ended at this optimum.
    residuals: log predicted minus log measured loss of each run.
    delta: of the Huber function.
    intervals: [low, high] by name.
    interval_method: how they were made.
    draws_sp: (a, b, e, alpha, beta), uncentred, of each resample.
    left_out_kp: the same with each cluster left out (BCa only).
    warnings: what the data cannot carry.
  """

  law: Law
  objective: float
  gradient_norm: float
  starts: int
  starts_at_best: int
  residuals: np.ndarray
  delta: float
  level: float
  intervals: dict[str, list[float]]
  interval_method: str
  draws_sp: np.ndarray
  left_out_kp: np.ndarray | None
  warnings: list[str]

  @property
  def a(self) -> float:
    """Exponent of N* over C."""
    return self.law.a

  @property
  def b(self) -> float:
    """Exponent of D* over C."""
    return self.law.b

  def predict(self, flops: float) -> dict[str, Any]:
    """Returns the optimum at so many FLOPs: N, D, loss, and the interval of each."""
    draws = optima(self.draws_sp, flops, self.law.k)
    left_out = None if self.left_out_kp is None else optima(self.left_out_kp, flops, self.law.k)
    found: dict[str, Any] = dict(zip(("N", "D", "loss"), map(float, self.law.optimum(flops)), strict=True))
    found["interval"] = {
      name: bootstrap.interval(values, found[name], self.level, None if left_out is None else left_out[name])
      for name, values in draws.items()
      if len(values)
    }
    return found


def fit(
  points: Points,
  *,
  delta: float = DELTA,
  tied: bool = False,
  bootstraps: int = 1000,
  seed: int = 0,
  level: float = 0.95,
  method: str = "percentile",
  cluster: str = "run",
) -> ParametricFit:
  """Fits the law.

  Args:
    points: the runs, at least five.
    delta: where the Huber loss turns from quadratic to linear, in log loss; infinity is least squares.
    tied: whether alpha = beta.
    bootstraps: resamples; 0 gives no intervals.
    seed: of the resampling.
    level: of the intervals.
    method: percentile or bca.
    cluster: what is resampled: run, budget or seed.

  Raises:
    UserError: for data that cannot identify the law, and for options that cannot be.
  """
  check_options(delta, bootstraps, level, method)
  check_design(points, 4 if tied else 5)
  problem, shift = _problem(points, tied)
  bottom, starts, at_best = search.run(problem, delta, tied)
  k = flops_factor(points)
  law = surfaces.law(uncentre(bottom.theta[None], shift)[0], k)
  draws_sp, left_out_kp, how, warnings = parametric_draws.draw(
    points, problem, bottom, delta, (bootstraps, seed, method, cluster)
  )
  slope = _uncentred_gradient(bottom, problem, shift, tied, delta)
  found = ParametricFit(
    law=law,
    objective=bottom.value,
    gradient_norm=float(np.linalg.norm(slope)),
    starts=starts,
    starts_at_best=at_best,
    residuals=bottom.model.residual,
    delta=delta,
    level=level,
    intervals={},
    interval_method=how,
    draws_sp=uncentre(draws_sp, shift),
    left_out_kp=None if left_out_kp is None else uncentre(left_out_kp, shift),
    warnings=warnings,
  )
  intervals = _intervals(found)
  said = [*cautions.of_fit(found, points, intervals), *warnings]
  return dataclasses.replace(found, intervals=intervals, warnings=said)


def leave_out(points: Points, fitted: ParametricFit, groups: np.ndarray) -> list[Law]:
  """Returns the law refitted without each group of runs in turn, from the law of all.

  Args:
    points: the runs of the fit.
    fitted: the fit to all of them.
    groups: number of each run's group, from 0.
  """
  problem, shift = _problem(points, fitted.law.alpha == fitted.law.beta)
  law = fitted.law
  theta = np.array([math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta])
  start = theta + np.array([-law.alpha * shift[0], -law.beta * shift[1], 0, 0, 0])
  counts_kn = bootstrap.leave_one_out(groups)
  ends = solver.minimise(problem, counts_kn, np.tile(start, (len(counts_kn), 1)), fitted.delta)
  return [surfaces.law(row, law.k) for row in uncentre(ends.theta_sp, shift)]


def check_options(delta: float, bootstraps: int, level: float, method: str) -> None:
  """Raises UserError for options that cannot be."""
  if not delta >= 1e-12:
    raise UserError(f"delta is {delta:g}; it must be above zero (1e-3 is the paper's, inf is least squares)")
  if bootstraps < 0:
    raise UserError(f"bootstraps is {bootstraps}; give the number of resamples, or 0 for no intervals")
  if not 0 < level < 1:
    raise UserError(f"the level of the intervals is {level:g}; give a number between 0 and 1, such as 0.95")
  if method not in bootstrap.METHODS:
    raise UserError(f"intervals by {method!r} are unknown; there are {', '.join(bootstrap.METHODS)}")


def check_design(points: Points, constants: int = 5) -> None:
  """Raises UserError for runs that cannot identify the law, whatever their losses."""
  distinct = len(np.unique(np.stack([points.params, points.tokens, points.loss], 1), axis=0))
  if distinct < constants:
    raise UserError(
      f"{distinct} different run{'s' * (distinct != 1)} cannot identify a law of {constants} constants; "
      f"give at least {constants}, better 20"
    )
  x, y = np.log(points.params), np.log(points.tokens)
  for name, values in (("params", x), ("tokens", y), ("loss", np.log(points.loss))):
    if np.ptp(values) < 1e-9:
      raise UserError(
        f"{name} is the same in all {len(points)} runs, so the law cannot be identified; vary it"
      )
  if np.corrcoef(x, y)[0, 1] > 1 - 1e-6:
    slope = np.polyfit(x, y, 1)[0]
    ratio = math.exp(np.mean(y - x))
    line = f"D = {ratio:.3g} N" if abs(slope - 1) < 0.01 else f"D proportional to N^{slope:.2f}"
    raise UserError(
      f"all runs lie on one line {line}, so the effects of N and D cannot be told apart; vary D at equal N"
    )


def flops_factor(points: Points) -> float:
  """Returns k of C = k N D, the geometric mean over the runs; 6 where they say nothing else."""
  k = float(np.exp(np.mean(np.log(points.flops / (points.params * points.tokens)))))
  return FLOPS_PER_PARAMETER_TOKEN if abs(k / FLOPS_PER_PARAMETER_TOKEN - 1) < 1e-6 else k


def optima(draws_sp: np.ndarray, flops: float, k: float) -> dict[str, np.ndarray]:
  """Returns N*, D* and loss at so many FLOPs under each row's law; NaN where it has no optimum."""
  a, b, e, alpha, beta = draws_sp.T
  with np.errstate(all="ignore"):
    log_g = (np.log(alpha / beta) + a - b) / (alpha + beta)
    log_n = log_g + beta / (alpha + beta) * math.log(flops / k)
    log_d = math.log(flops / k) - log_n
    loss = np.exp(e) + np.exp(a - alpha * log_n) + np.exp(b - beta * log_d)
    return {"N": np.exp(log_n), "D": np.exp(log_d), "loss": loss}


def uncentre(theta_sp: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
  """Returns parameters by ln N and ln D instead of their distances from the mean."""
  moved_sp = np.array(theta_sp, np.float64)
  moved_sp[:, 0] += moved_sp[:, 3] * shift[0]
  moved_sp[:, 1] += moved_sp[:, 4] * shift[1]
  return moved_sp


def _problem(points: Points, tied: bool) -> tuple[solver.Problem, tuple[float, float]]:
  x, y = np.log(points.params), np.log(points.tokens)
  shift = (math.fsum(x) / len(x), math.fsum(y) / len(y))  # fsum: the same whatever the order of the runs
  moves_pp = solver.TIED if tied else solver.FREE
  return solver.Problem(x - shift[0], y - shift[1], np.log(points.loss), moves_pp), shift


def _intervals(found: ParametricFit) -> dict[str, list[float]]:
  if not len(found.draws_sp):
    return {}
  law = found.law
  draws = _quantities(found.draws_sp, law.k)
  left_out = {} if found.left_out_kp is None else _quantities(found.left_out_kp, law.k)
  estimates = {"E": law.E, "A": law.A, "B": law.B, "alpha": law.alpha, "beta": law.beta, "a": law.a}
  estimates |= {
    "b": law.b,
    "G": law.G,
    "N_coefficient": law.n_coefficient,
    "D_coefficient": law.d_coefficient,
  }
  return {
    name: bootstrap.interval(draws[name], value, found.level, left_out.get(name))
    for name, value in estimates.items()
  }


def _quantities(draws_sp: np.ndarray, k: float) -> dict[str, np.ndarray]:
  a, b, e, alpha, beta = draws_sp.T
  with np.errstate(all="ignore"):
    rise = beta / (alpha + beta)
    g = np.exp((np.log(alpha / beta) + a - b) / (alpha + beta))
    named = {"E": np.exp(e), "A": np.exp(a), "B": np.exp(b), "alpha": alpha, "beta": beta}
    return named | {
      "a": rise,
      "b": 1 - rise,
      "G": g,
      "N_coefficient": g * k**-rise,
      "D_coefficient": k ** (rise - 1) / g,
    }


def _uncentred_gradient(
  bottom: polish.Bottom, problem: solver.Problem, shift: tuple[float, float], tied: bool, delta: float
) -> np.ndarray:
  slope = polish.gradient(bottom.model, delta)
  slope = slope - np.array([0, 0, 0, shift[0] * slope[0], shift[1] * slope[1]])
  return np.append(slope[:3], slope[3] + slope[4]) if tied else slope
