"""Chooses runs to add to a study that reduce the uncertainty of N* at a target budget most, per FLOP spent.

Losses scatter about the parametric law by sd s in ln L. So runs with slopes j_i of ln L in theta determine theta with
covariance V = s^2 (sum j_i j_i')^-1, and ln N* with variance g' V g, where g is its slope in theta. One more run with
slope j reduces that variance by (g' V j)^2 / (s^2 + j' V j) (Fedorov 1972, "Theory of Optimal Experiments"). Runs are
chosen greedily by the reduction per FLOP, and the scale of the interval is that of the study's own. The chosen runs
lie at the edges of the region that the study covers, so the choice trusts the form of the law.
N parameters, D tokens, C = k N D FLOPs.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from gen.errors import UserError
from gen.scaling.laws.loss_law import optimum
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import bounded_exp
from gen.scaling.laws.solvers import newton
from gen.scaling.planning import budgets
from gen.scaling.planning.plan_records import ChosenRun, NextRuns
from gen.scaling.runs.runs_table import RunsTable

# Of the grid of candidates, in C and in D / N; chosen: some 500 candidates, finer than anybody rounds a plan.
_BUDGETS, _SIZES = 13, 41
# Without a bound the greedy choice may put all runs on one point.
_REPEATS = 3  # seeds of one candidate
# Losses drawn exactly from a law would make the variance 0, and every gain 0 / 0.
_MIN_NOISE = 1e-6


@dataclasses.dataclass(frozen=True)
class CandidateRuns:
  """Candidate runs: N, D and C of each, and the slopes of ln L in theta."""

  params: np.ndarray
  tokens: np.ndarray
  flops: np.ndarray
  slopes_mp: np.ndarray


@dataclasses.dataclass(frozen=True)
class StudyDesign:
  """Information from the runs so far: covariance of theta, slope of ln N* in theta, sd of a run, and a scale.

  `scale` turns the standard deviation of ln N* into half its interval.
  """

  covariance_pp: np.ndarray
  slope_p: np.ndarray
  noise: float
  scale: float

  @property
  def variance(self) -> float:
    """Variance of ln N*."""
    return float(self.slope_p @ self.covariance_pp @ self.slope_p)

  def gains(self, slopes_mp: np.ndarray) -> np.ndarray:
    """Returns the reduction of the variance by each candidate run."""
    moved_mp = slopes_mp @ self.covariance_pp
    return (moved_mp @ self.slope_p) ** 2 / (self.noise**2 + np.sum(moved_mp * slopes_mp, 1))

  def after(self, slope: np.ndarray) -> "StudyDesign":
    """Returns the design with one more run."""
    moved = self.covariance_pp @ slope
    less_pp = np.outer(moved, moved) / (self.noise**2 + slope @ moved)
    return dataclasses.replace(self, covariance_pp=self.covariance_pp - less_pp)


def choose_runs(
  points: RunsTable,
  theta: np.ndarray,
  flops: float,
  runs: int,
  *,
  cost: CostModel | float = 6.0,
  now: Sequence[float] | None = None,
  level: float = 0.95,
  max_flops: float | None = None,
  until: float = 0.0,
) -> NextRuns:
  """Returns the runs to add, in order, each with the interval of N* expected after it.

  Args:
    points: the study's runs.
    theta: (ln A, ln B, ln E, alpha, beta) of the law fitted to them.
    flops: C at which N* is wanted.
    runs: how many to add at most.
    cost: k(N), or one k for all sizes.
    now: the study's own interval of N* there, which scales those expected; None goes by the scatter alone.
    level: of the intervals.
    max_flops: the most FLOPs of one run; those of the study's largest if left out.
    until: stops once the standard deviation of ln N* is at most this.

  Raises:
    UserError: for invalid values, and for a study too small to estimate its scatter.
  """
  if runs < 1:
    raise UserError(f"--next={runs}: give the number of runs to add, 1 or more")
  flops = budgets.require_positive("the target budget", flops)
  if max_flops is not None:
    budgets.require_positive("--max_run_flops", max_flops)
  cost = optimum.as_cost(cost)
  start = study_design(points, theta, flops, cost, now, level)
  best = bounded_exp(log_best_size(theta, flops, cost))
  options = candidate_runs(points, theta, cost, max_flops)
  chosen: list[ChosenRun] = []
  left = np.full(len(options.params), _REPEATS)
  here, spent = start, 0.0
  while len(chosen) < runs and math.sqrt(here.variance) > until:
    worth = np.where(left > 0, here.gains(options.slopes_mp) / options.flops, -1.0)
    pick = int(np.argmax(worth))
    if worth[pick] < 0:
      break
    left[pick] -= 1
    here, spent = here.after(options.slopes_mp[pick]), spent + float(options.flops[pick])
    params, tokens = float(options.params[pick]), float(options.tokens[pick])
    chosen.append(
      ChosenRun(
        N=params,
        D=tokens,
        tokens_per_parameter=tokens / params,
        flops=float(options.flops[pick]),
        flops_so_far=spent,
        interval=_expected(here, best),
        shrinks_to=math.sqrt(here.variance / start.variance) if start.variance > 0 else math.nan,
      )
    )
  again = start.variance / here.variance - 1  # so often the grid again: variance falls as 1 / (1 + times)
  grid = again * float(points.flops.sum())
  return NextRuns(
    flops=flops,
    now=_expected(start, best),
    runs=tuple(chosen),
    noise=start.noise,
    grid_flops=grid,
    share_of_grid=spent / grid if grid > 0 else math.nan,
  )


def study_design(
  points: RunsTable,
  theta: np.ndarray,
  flops: float,
  cost: CostModel | float,
  now: Sequence[float] | None = None,
  level: float = 0.95,
) -> StudyDesign:
  """Returns the information of a study's runs on ln N* at a budget.

  Raises:
    UserError: for fewer than seven runs.
  """
  # Five parameters leave two residuals to estimate the scatter from.
  if len(points) < 7:
    raise UserError(
      f"{len(points)} runs are too few to measure how losses scatter about the law; give at least 7"
    )
  model = _model(theta, points.params, points.tokens, np.log(points.loss))
  slopes_np, slope_p = (
    _free(model.jacobian_np, theta),
    _free(_slope(theta, flops, optimum.as_cost(cost)), theta),
  )
  # Residuals of a fit are smaller than the scatter by the share of parameters in the runs.
  spare = len(points) / (len(points) - slopes_np.shape[1])
  # Half the residuals are within .6745 sd: what single broken runs do not move.
  noise = max(float(np.median(np.abs(model.residual))) / 0.6745 * math.sqrt(spare), _MIN_NOISE)
  # Columns of norm 1 before the inverse: ln A and beta differ by orders of magnitude in slope, and the cut at 1e-13
  # would otherwise remove a direction that the runs do determine.
  scales = np.linalg.norm(slopes_np, axis=0)
  information_pp = (slopes_np / scales).T @ (slopes_np / scales)
  covariance_pp = (
    noise**2 * np.linalg.pinv(information_pp, rcond=1e-13, hermitian=True) / np.outer(scales, scales)
  )
  design = StudyDesign(covariance_pp, slope_p, noise, statistics.NormalDist().inv_cdf((1 + level) / 2))
  if now is not None and 0 < now[0] < now[1] < math.inf and design.variance > 0:
    # The study's own interval, where it comes from a bootstrap, differs from the linear estimate by a factor: that
    # factor is kept, so the expected intervals continue the present one.
    half = (math.log(now[1]) - math.log(now[0])) / 2
    design = dataclasses.replace(design, scale=half / math.sqrt(design.variance))
  return design


def candidate_runs(
  points: RunsTable, theta: np.ndarray, cost: CostModel | float, max_flops: float | None = None
) -> CandidateRuns:
  """Returns runs between the study's smallest budget and the largest, within its range of D / N."""
  least, highest = float(points.flops.min()), max_flops or float(points.flops.max())
  least = min(least, highest)
  ratio = points.tokens / points.params
  c = np.repeat(np.geomspace(least, highest, _BUDGETS), _SIZES)
  r = np.tile(np.geomspace(ratio.min(), ratio.max(), _SIZES), _BUDGETS)
  params = optimum.as_cost(cost).params(c, r)
  tokens = params * r
  slopes_mp = _model(theta, params, tokens, np.zeros(len(c))).jacobian_np
  return CandidateRuns(params, tokens, c, _free(slopes_mp, theta))


def log_best_size(theta: np.ndarray, flops: float, cost: CostModel | float) -> float:
  """Returns ln N* at so many FLOPs."""
  return float(optimum.log_sizes(np.asarray(theta, np.float64)[None], flops, cost)[0])


def _slope(theta: np.ndarray, flops: float, cost: CostModel) -> np.ndarray:
  """Returns the derivative of ln N* by theta: of the condition in `optimum`, by its derivative in ln N."""
  _, _, _, alpha, beta = map(float, theta)
  best = log_best_size(theta, flops, cost)
  log_d, slope, bend = float(cost.log_tokens(flops, best)), float(cost.slope(best)), float(cost.bend(best))
  # The implicit function theorem: d ln N* / d theta = -(dF / d theta) / (dF / d ln N) of the condition F = 0.
  steepness = alpha + beta * (1 + slope) + bend / (1 + slope)
  return np.array([1.0, -1.0, 0.0, 1 / alpha - best, log_d - 1 / beta]) / steepness


def _model(
  theta: np.ndarray, params: np.ndarray, tokens: np.ndarray, log_loss: np.ndarray
) -> newton.LogLossModel:
  return newton.evaluate_model(np.asarray(theta, np.float64), np.log(params), np.log(tokens), log_loss)


def _free(slopes: np.ndarray, theta: np.ndarray) -> np.ndarray:
  """Returns slopes by the free parameters of the fit: one exponent if alpha = beta."""
  if theta[3] != theta[4]:
    return slopes
  return np.concatenate([slopes[..., :3], slopes[..., 3:4] + slopes[..., 4:5]], -1)


def _expected(design: StudyDesign, best: float) -> list[float]:
  """Returns the interval of N* that a design gives."""
  half = design.scale * math.sqrt(design.variance)
  return [best * bounded_exp(-half), best * bounded_exp(half)]
