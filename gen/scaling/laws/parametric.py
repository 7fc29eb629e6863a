"""Approach 3 of Hoffmann et al. 2022: fits L(N, D) = E + A / N^alpha + B / D^beta to all runs at once.

The objective is the sum over runs of Huber_delta(log predicted - log measured loss), solved to its optimum from the
paper's grid of 4,500 starts (`gen.scaling.laws.solvers.multistart`), with bootstrap intervals. A delta of 1e-8 gives
least absolute deviations, an infinite delta least squares. Optima and exponents are of C = k(N) N D with the k of the
runs' sizes (`gen.scaling.laws.loss_law.cost_model`). Letters as in `gen.scaling.laws.loss_law.law`; S starts or
resamples, P parameters.
"""

import dataclasses
import math

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import parametric_draws, parametric_warnings
from gen.scaling.laws.loss_law import cost_model, law_batch, optimum
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import ParametricLaw, PowerLaw
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.laws.solvers import huber_solver, multistart, newton
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable

DELTA = 1e-3  # of the Huber function, in log loss (appendix D.3)
# Through which power laws are drawn; a line does not change with more, and each costs an optimum in every draw.
_MAX_BUDGETS = 50
CONSTANTS = ("E", "A", "B", "alpha", "beta", "a", "b")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ParametricFit(PowerLawFit):
  """The fitted law, diagnostics of the fit, and intervals; power laws over the budgets, with the k of each size.

  Attributes:
    law: the constants, with k(N) where k varies with the runs' sizes.
    budgets: C of the runs' budgets, over which the two power laws are fitted.
    objective: sum of Huber losses at the optimum.
    gradient_norm: of the objective by (ln A, ln B, ln E, alpha, beta), uncentred.
    starts: number of starts.
    starts_at_best: number of starts that led to this optimum.
    residuals: log predicted minus log measured loss of each run.
    delta: of the Huber function.
    draws_sp: (a, b, e, alpha, beta), uncentred, of each resample.
    left_out_kp: the same with each cluster left out (BCa only).
  """

  law: ParametricLaw
  budgets: np.ndarray
  objective: float
  gradient_norm: float
  starts: int
  starts_at_best: int
  residuals: np.ndarray
  delta: float
  draws_sp: np.ndarray
  left_out_kp: np.ndarray | None

  def exponents(self, theta_sp: np.ndarray) -> np.ndarray:
    """Returns the exponent a of other constants, over the same budgets with the same k(N)."""
    return optimum.optimum_lines(theta_sp, self.budgets, self.cost)[:, 1]

  def _constants(self) -> dict[str, float]:
    return {name: getattr(self.law, name) for name in ("E", "A", "B", "alpha", "beta")}

  def _estimate(self, flops: float) -> dict[str, float]:
    return dict(zip(("N", "D", "loss"), map(float, self.law.optimum(flops)), strict=True))

  def _draws(self, flops: float) -> dict[str, np.ndarray]:
    return optimum.optima_of_rows(self.draws_sp, flops, self.cost)

  def _left_out(self, flops: float) -> dict[str, np.ndarray]:
    return {} if self.left_out_kp is None else optimum.optima_of_rows(self.left_out_kp, flops, self.cost)


def fit(
  points: RunsTable,
  *,
  delta: float = DELTA,
  tied: bool = False,
  bootstraps: int = 1000,
  seed: int = 0,
  level: float = 0.95,
  method: str = "percentile",
  cluster: str = "run",
  cost: CostModel | None = None,
) -> ParametricFit:
  """Fits the law.

  Args:
    points: the runs, at least five.
    delta: residual in log loss where the Huber loss changes from quadratic to linear; infinity is least squares.
    tied: whether alpha = beta.
    bootstraps: resamples; 0 gives no intervals.
    seed: of the resampling.
    level: of the intervals.
    method: percentile or bca.
    cluster: what is resampled: run, budget or seed.
    cost: k(N), if more sizes than those of `points` were counted; by default from the points.

  Raises:
    UserError: for data that cannot identify the law, and for invalid options.
  """
  check_options(delta, bootstraps, level, method)
  # At least as many runs as constants; checked before the search.
  check_design(points, 4 if tied else 5)
  problem, shift = _problem(points, tied)
  bottom, starts, at_best = multistart.search_optimum(problem, delta, tied)
  cost = cost or cost_model.measured_cost(points.params, points.tokens, points.flops)
  law = law_batch.row_law(uncentre_parameters(bottom.theta[None], shift)[0], cost)
  budgets = _budgets(points)
  n_law, d_law = _power_laws(uncentre_parameters(bottom.theta[None], shift), budgets, cost)
  draws_sp, left_out_kp, how, warnings = parametric_draws.draw_laws(
    points, problem, bottom, delta, (bootstraps, seed, method, cluster)
  )
  slope = _uncentred_gradient(bottom, problem, shift, tied, delta)
  fitted = ParametricFit(
    law=law,
    n_law=n_law,
    d_law=d_law,
    budgets=budgets,
    objective=bottom.value,
    gradient_norm=float(np.linalg.norm(slope)),
    starts=starts,
    starts_at_best=at_best,
    residuals=bottom.model.residual,
    delta=delta,
    level=level,
    # Intervals and warnings take the fit itself: its exponents, over its budgets.
    intervals={},
    interval_method=how,
    draws_sp=uncentre_parameters(draws_sp, shift),
    left_out_kp=None if left_out_kp is None else uncentre_parameters(left_out_kp, shift),
    warnings=warnings,
    cost=law.cost or cost_model.constant_cost(law.k),
  )
  intervals = _intervals(fitted)
  sentences = [*parametric_warnings.fit_warnings(fitted, points, intervals), *warnings]
  return dataclasses.replace(fitted, intervals=intervals, warnings=sentences)


def leave_out(points: RunsTable, fitted: ParametricFit, groups: np.ndarray) -> list[ParametricLaw]:
  """Returns the law refitted without each group of runs in turn, starting from the fit to all runs.

  Args:
    points: the runs of the fit.
    fitted: the fit to all of them.
    groups: number of each run's group, from 0.
  """
  problem, shift = _problem(points, fitted.law.alpha == fitted.law.beta)
  law = fitted.law
  theta = law_batch.law_row(law)[0]
  # Into centred coordinates: a - alpha x = (a - alpha mean x) - alpha (x - mean x).
  start = theta + np.array([-law.alpha * shift[0], -law.beta * shift[1], 0, 0, 0])
  counts_kn = bootstrap.leave_one_out(groups)
  ends = parametric_draws.refit_draws(problem, counts_kn, start, fitted.delta)
  return [law_batch.row_law(row, fitted.cost) for row in uncentre_parameters(ends.theta_sp, shift)]


def check_options(delta: float, bootstraps: int, level: float, method: str) -> None:
  """Raises UserError for invalid options."""
  # Below the rounding of a log loss by float64 a narrower quadratic zone holds no residual.
  if not delta >= 1e-12:
    raise UserError(
      f"delta is {delta:g}; it must be above zero (1e-3 as in the paper; inf for least squares)"
    )
  if bootstraps < 0:
    raise UserError(f"bootstraps is {bootstraps}; give the number of resamples, or 0 for no intervals")
  if not 0 < level < 1:
    raise UserError(f"the level of the intervals is {level:g}; give a number between 0 and 1, such as 0.95")
  if method not in bootstrap.METHODS:
    raise UserError(f"intervals by {method!r} are unknown; there are {', '.join(bootstrap.METHODS)}")


def check_design(points: RunsTable, constants: int = 5) -> None:
  """Raises UserError for runs that cannot identify the law, whatever their losses."""
  # Copies of a run add no information, whatever the number of rows.
  distinct = len(np.unique(np.stack([points.params, points.tokens, points.loss], 1), axis=0))
  if distinct < constants:
    raise UserError(
      f"{distinct} different run{'s' * (distinct != 1)} cannot identify a law of {constants} constants; "
      f"give at least {constants}, better 20"
    )
  x, y = np.log(points.params), np.log(points.tokens)
  for name, values in (("params", x), ("tokens", y), ("loss", np.log(points.loss))):
    # Below rounding of a logarithm near 25.
    if np.ptp(values) < 1e-9:
      raise UserError(
        f"{name} is the same in all {len(points)} runs, so the law cannot be identified; vary it between runs"
      )
  # On a line D = r N^s, A / N^alpha and B / D^beta are two powers of one variable, which exchange freely.
  if np.corrcoef(x, y)[0, 1] > 1 - 1e-6:
    # The slope tells whether D is a multiple of N or another power of it, which the user will know from the design.
    slope = np.polyfit(x, y, 1)[0]
    ratio = math.exp(np.mean(y - x))
    line = f"D = {ratio:.3g} N" if abs(slope - 1) < 0.01 else f"D proportional to N^{slope:.2f}"
    raise UserError(
      f"all runs lie on one line {line}, so the effects of N and D cannot be told apart; vary D at equal N"
    )


def uncentre_parameters(theta_sp: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
  """Returns the parameters for ln N and ln D instead of centred values."""
  moved_sp = np.array(theta_sp, np.float64)
  moved_sp[:, 0] += moved_sp[:, 3] * shift[0]
  moved_sp[:, 1] += moved_sp[:, 4] * shift[1]
  return moved_sp


def _problem(points: RunsTable, tied: bool) -> tuple[huber_solver.HuberProblem, tuple[float, float]]:
  x, y = np.log(points.params), np.log(points.tokens)
  shift = (math.fsum(x) / len(x), math.fsum(y) / len(y))  # fsum: the same whatever the order of the runs
  moves_pp = huber_solver.TIED if tied else huber_solver.FREE
  return huber_solver.HuberProblem(x - shift[0], y - shift[1], np.log(points.loss), moves_pp), shift


def _budgets(points: RunsTable) -> np.ndarray:
  """Returns the C over which power laws are fitted: the runs' budgets, or points between the smallest and largest C."""
  budgets = points.group_flops()
  if len(budgets) <= _MAX_BUDGETS:
    return budgets
  return np.geomspace(budgets[0], budgets[-1], _MAX_BUDGETS)


def _power_laws(theta_sp: np.ndarray, budgets: np.ndarray, cost: CostModel) -> tuple[PowerLaw, PowerLaw]:
  n_height, a, d_height, b = map(float, optimum.optimum_lines(theta_sp, budgets, cost)[0])
  return PowerLaw(math.exp(n_height), a), PowerLaw(math.exp(d_height), b)


def _intervals(fitted: ParametricFit) -> dict[str, list[float]]:
  if not len(fitted.draws_sp):
    return {}
  law = fitted.law
  # Intervals are of the derived quantities in each draw: ends of A and alpha belong to different draws.
  draws = _quantities(fitted.draws_sp, fitted.budgets, fitted.cost)
  left_out = (
    {} if fitted.left_out_kp is None else _quantities(fitted.left_out_kp, fitted.budgets, fitted.cost)
  )
  estimates = {"E": law.E, "A": law.A, "B": law.B, "alpha": law.alpha, "beta": law.beta, "a": fitted.a}
  estimates |= {
    "b": fitted.b,
    "G": law.G,
    "N_coefficient": fitted.n_law.coefficient,
    "D_coefficient": fitted.d_law.coefficient,
  }
  return {
    name: bootstrap.draw_interval(draws[name], value, fitted.level, left_out.get(name))
    for name, value in estimates.items()
  }


def _quantities(draws_sp: np.ndarray, budgets: np.ndarray, cost: CostModel) -> dict[str, np.ndarray]:
  a, b, e, alpha, beta = draws_sp.T
  # Draws may hold degenerate laws, whose optimum overflows or is NaN; intervals leave NaN out.
  with np.errstate(all="ignore"):
    n_height, rise, d_height, data_rise = optimum.optimum_lines(draws_sp, budgets, cost).T
    named = {"E": np.exp(e), "A": np.exp(a), "B": np.exp(b), "alpha": alpha, "beta": beta}
    return named | {
      "a": rise,
      "b": data_rise,
      "G": np.exp((np.log(alpha / beta) + a - b) / (alpha + beta)),
      "N_coefficient": np.exp(n_height),
      "D_coefficient": np.exp(d_height),
    }


def _uncentred_gradient(
  bottom: newton.NewtonResult,
  problem: huber_solver.HuberProblem,
  shift: tuple[float, float],
  tied: bool,
  delta: float,
) -> np.ndarray:
  slope = newton.huber_gradient(bottom.model, delta)
  # Chain rule back to ln N and ln D themselves, in which published gradients are stated.
  slope = slope - np.array([0, 0, 0, shift[0] * slope[0], shift[1] * slope[1]])
  # Of tied exponents the gradient is by the one exponent: the sum of both parts.
  return np.append(slope[:3], slope[3] + slope[4]) if tied else slope
