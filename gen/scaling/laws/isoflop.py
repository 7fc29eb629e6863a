"""Approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556): the least loss of each budget, and power laws through them.

    L at equal C -> a valley in ln N -> N*(C), D*(C), L*(C) -> N* = k_N C^a, D* = k_D C^b

A valley is a parabola of loss in ln N by least squares, or an Akima spline of ln L in ln N (Akima 1970), which does
not bend the minimum to fit far-off sizes (Porian et al. 2024, arXiv:2406.19146). Seeds of one size are averaged.
C FLOPs, N parameters, D tokens; G budgets, B draws, M sizes of a budget.
"""

import dataclasses

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop_draws, valley_minimum
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import PowerLaw, bounded_exp
from gen.scaling.laws.loss_trend import LossTrend
from gen.scaling.laws.power_law_fit import FrontierFit, intervals_of_row, laws_of_row
from gen.scaling.laws.valley_minimum import BudgetLosses, ValleyMinimum
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable

METHODS = valley_minimum.METHODS
EDGES = ("drop", "keep")


@dataclasses.dataclass(frozen=True)
class IsoflopValley:
  """The minimum of the loss over model size at one budget.

  Attributes:
    budget: FLOPs.
    curvature: half the second derivative of loss in ln N at the minimum, nats.
    vertex_N: parameters at the minimum.
    vertex_D: tokens at the minimum, interpolated from the runs' own tokens.
    vertex_loss: loss at the minimum, nats per token.
    r_squared: R^2 of the parabola; NaN for three sizes, which a parabola fits exactly.
    points: indices of the runs.
    sizes: N of each size, ascending.
    inside: whether the minimum lies strictly between the smallest and the largest size.
    coefficients: (c0, c1, c2) of loss = c0 + c1 ln N + c2 (ln N)^2, which touches the valley at its minimum.
  """

  budget: float
  curvature: float
  vertex_N: float
  vertex_D: float
  vertex_loss: float
  r_squared: float
  points: list[int]
  sizes: list[float]
  inside: bool
  coefficients: list[float]

  @property
  def points_each_side(self) -> int:
    """Number of sizes on the side of the minimum that has fewer."""
    smaller = sum(size < self.vertex_N for size in self.sizes)
    return min(smaller, len(self.sizes) - smaller)

  @property
  def span(self) -> float:
    """Largest over smallest N."""
    return self.sizes[-1] / self.sizes[0]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class IsoflopFit(FrontierFit):
  """Power laws through the valleys.

  Attributes:
    valleys: the valleys of all budgets that have one, by ascending FLOPs, those at the edge included.
    used: FLOPs of the valleys that the power laws are fitted to.
    method: parabola or akima.
  """

  valleys: list[IsoflopValley]
  used: list[float]
  method: str


def fit(
  points: RunsTable,
  *,
  method: str = "parabola",
  edge: str = "drop",
  bootstraps: int = 1000,
  seed: int = 0,
  level: float = 0.95,
  interval_method: str = "percentile",
  cluster: str = "run",
  cost: CostModel | None = None,
) -> IsoflopFit:
  """Fits valleys and the power laws through them.

  Args:
    points: runs of at least two budgets with three sizes each.
    method: parabola (of loss in ln N) or akima (spline of ln loss in ln N).
    edge: drop budgets whose minimum is not between two of their sizes, or keep them.
    bootstraps: draws for the intervals; 0 gives none.
    seed: of the draws.
    level: of the intervals.
    interval_method: percentile or bca.
    cluster: run draws new noise for every run, so each draw has all budgets and sizes; budget and seed resample
      entire budgets or seeds.
    cost: k(N), if more sizes than those of `points` were counted; by default from the points.

  Raises:
    UserError: for data without two valleys, and for invalid options.
  """
  check_options(method, edge, bootstraps, level, interval_method)
  # One valley for each budget, then one line through the minima: the two steps of section 3.2.
  budgets = valley_minimum.split_budgets(points)
  minima = [valley_minimum.find_minimum(budget, method) for budget in budgets]
  used, warnings = _choose(budgets, minima, edge)
  rows = _lines([budgets[i] for i in used], [minima[i] for i in used])
  n_law, d_law = laws_of_row(rows[0])
  chosen = [budgets[i] for i in used]
  trend = LossTrend.through(
    # L*(C) is of the same minima, so loss and size at a budget come from one valley.
    [used_budget.flops for used_budget in chosen],
    np.array([[minima[i].loss[0] for i in used]]),
  )
  options = isoflop_draws.DrawOptions(method, bootstraps, seed, cluster)
  drawn = isoflop_draws.draw_laws(points, chosen, [minima[i] for i in used], options)
  # Leaving out clusters is needed for BCa's acceleration alone, and costs a fit per cluster.
  left_out_k4 = None
  if interval_method == "bca" and len(drawn.rows_b4):
    left_out_k4 = _left_out(points, cluster, method, edge)
  return IsoflopFit(
    valleys=[_valley(*pair) for pair in zip(budgets, minima, strict=True) if np.isfinite(pair[1].log_n[0])],
    used=[used_budget.flops for used_budget in chosen],
    n_law=n_law,
    d_law=d_law,
    trend=trend,
    method=method,
    level=level,
    intervals=intervals_of_row(rows[0], drawn.rows_b4, level, left_out_k4),
    interval_method=f"{interval_method}, {drawn.how}" if len(drawn.rows_b4) else "none",
    draws_b4=drawn.rows_b4,
    left_out_k4=left_out_k4,
    trends=drawn.trends,
    warnings=[*warnings, *drawn.warnings],
    cost=cost or cost_model.measured_cost(points.params, points.tokens, points.flops),
  )


def find_valleys(points: RunsTable, method: str = "parabola") -> list[IsoflopValley]:
  """Returns the valley of each budget that has one, whether or not its minimum is at the edge."""
  pairs = [
    (budget, valley_minimum.find_minimum(budget, method)) for budget in valley_minimum.split_budgets(points)
  ]
  return [_valley(*pair) for pair in pairs if np.isfinite(pair[1].log_n[0])]


def leave_out(fitted: IsoflopFit) -> dict[float, float]:
  """Returns the exponent a with each fitted budget left out, by its FLOPs; empty for fewer than three budgets."""
  pairs = np.array(
    [(valley.budget, valley.vertex_N) for valley in fitted.valleys if valley.budget in fitted.used]
  )
  # Two budgets give a line; without one of them there is none.
  if len(pairs) < 3:
    return {}
  rest = [np.delete(pairs, i, 0) for i in range(len(pairs))]
  return {
    float(flops): PowerLaw.through(*others.T).exponent
    for flops, others in zip(pairs[:, 0], rest, strict=True)
  }


def check_options(method: str, edge: str, bootstraps: int, level: float, interval_method: str) -> None:
  """Raises UserError for invalid options."""
  for name, value, known in (("method", method, METHODS), ("edge", edge, EDGES)):
    if value not in known:
      raise UserError(f"--{name}={value} is unknown; there are {', '.join(known)}")
  if bootstraps < 0:
    raise UserError(f"bootstraps is {bootstraps}; give the number of resamples, or 0 for no intervals")
  if not 0 < level < 1:
    raise UserError(f"the level of the intervals is {level:g}; give a number between 0 and 1, such as 0.95")
  if interval_method not in bootstrap.METHODS:
    raise UserError(f"intervals by {interval_method!r} are unknown; there are {', '.join(bootstrap.METHODS)}")


def _choose(
  budgets: list[BudgetLosses], minima: list[ValleyMinimum], edge: str
) -> tuple[list[int], list[str]]:
  """Returns the budgets that the laws are fitted to, and a warning for each other budget."""
  used: list[int] = []
  without: dict[str, list[float]] = {}
  for i, (budget, low) in enumerate(zip(budgets, minima, strict=True)):
    if len(budget.log_n) < 3:
      why = "fewer than the three sizes that a valley needs: left out"
    elif not np.isfinite(low.log_n[0]):
      # Sizes are too close for the noise, or the losses of this budget are wrong.
      why = "no minimum, because losses bend down, not up, in ln N: left out"
    # A vertex outside the sizes is an extrapolation by a parabola, which a wide valley does not follow.
    elif not low.inside[0] and edge == "drop":
      why = "its minimum at the edge of its sizes: left out"
    else:
      why = (
        "" if low.inside[0] else "its minimum at the edge of its sizes: kept, but its place is extrapolated"
      )
      used.append(i)
    if why:
      without.setdefault(why, []).append(budget.flops)
  warnings = [_said(flops, why) for why, flops in without.items()]
  if len(used) < 2:
    why = "; ".join(warnings) or "the runs have one budget"
    raise UserError(f"a power law needs two budgets with a valley, but there {_count(len(used))}: {why}")
  return used, warnings


def _said(budgets: list[float], why: str) -> str:
  names = ", ".join(f"{flops:.3g}" for flops in budgets[:5])
  if len(budgets) == 1:
    return f"the budget of {names} FLOPs has {why}"
  more = f" and {len(budgets) - 5} more" if len(budgets) > 5 else ""
  return f"{len(budgets)} budgets ({names}{more} FLOPs) have each {why}"


def _count(number: int) -> str:
  return ("are none", "is one")[number]


def _lines(budgets: list[BudgetLosses], minima: list[ValleyMinimum]) -> np.ndarray:
  return isoflop_draws.draw_lines(
    np.array([used_budget.flops for used_budget in budgets]),
    np.stack([used_budget.log_n for used_budget in minima], 1),
    np.stack([budget.log_d(low.log_n) for budget, low in zip(budgets, minima, strict=True)], 1),
  )


def _valley(budget: BudgetLosses, low: ValleyMinimum) -> IsoflopValley:
  log_n, height, bend = float(low.log_n[0]), float(low.loss[0]), float(low.curvature[0])
  # h + bend (x - x0)^2, multiplied out.
  coefficients = [height + bend * log_n**2, -2 * bend * log_n, bend]
  return IsoflopValley(
    budget=budget.flops,
    curvature=bend,
    vertex_N=bounded_exp(log_n),
    vertex_D=bounded_exp(float(budget.log_d(low.log_n)[0])),
    vertex_loss=height,
    r_squared=budget.r_squared(),
    points=budget.runs.tolist(),
    sizes=budget.params.tolist(),
    inside=bool(low.inside[0]),
    coefficients=coefficients,
  )


def _left_out(points: RunsTable, cluster: str, method: str, edge: str) -> np.ndarray:
  """Returns (ln k_N, a, ln k_D, b) with each cluster left out; NaN where nothing can be fitted."""
  clusters = bootstrap.cluster_labels(points, cluster)
  rows_k4 = np.full((int(clusters.max()) + 1, 4), np.nan)
  # A cluster that is left out may take a budget's valley with it: the choice of budgets is made anew.
  for k in range(len(rows_k4)):
    budgets = valley_minimum.split_budgets(points.select(clusters != k))
    minima = [valley_minimum.find_minimum(budget, method) for budget in budgets]
    try:
      used, _ = _choose(budgets, minima, edge)
    except UserError:
      continue
    rows_k4[k] = _lines([budgets[i] for i in used], [minima[i] for i in used])[0]
  return rows_k4
