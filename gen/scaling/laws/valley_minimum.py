"""Finds the minimum of one budget's loss over model size, for many draws of the losses at once.

M sizes, B draws. Sizes are ln N, ascending; losses are means over seeds, nats.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from gen.scaling.runs.runs_table import RunsTable, run_cells

METHODS = ("parabola", "akima")
_FLAT = 1e-12  # curvature below which there is no valley, relative to the losses


@dataclasses.dataclass(frozen=True)
class BudgetLosses:
  """The runs of one budget, by size.

  Attributes:
    flops: C; the nominal budget where the runs have one.
    params: N of each size, ascending.
    log_n: ln N of each size.
    loss: mean over the seeds of each size.
    count: number of seeds of each size.
    tokens: mean ln D of each size.
    runs: indices of the runs.
    size_of_run: index of each run's size.
    run_loss: loss of each run.
  """

  flops: float
  params: np.ndarray
  log_n: np.ndarray
  loss: np.ndarray
  count: np.ndarray
  tokens: np.ndarray
  runs: np.ndarray
  size_of_run: np.ndarray
  run_loss: np.ndarray

  def log_d(self, log_n: np.ndarray) -> np.ndarray:
    """Returns ln D at ln N: a parabola through the sizes, a straight line through two."""
    # ln D = ln C - ln k(N) - ln N is a line in ln N but for k, which bends it slightly.
    degree = min(2, len(self.log_n) - 1)
    middle = self.log_n.mean()
    return np.polyval(np.polyfit(self.log_n - middle, self.tokens, degree), log_n - middle)

  def r_squared(self) -> float:
    """Returns R^2 of the parabola through the mean losses; NaN if it fits them exactly by construction."""
    if len(self.log_n) < 4:
      return float("nan")
    total = float(np.sum((self.loss - self.loss.mean()) ** 2))
    left = float(np.sum(parabola_residuals(self.log_n, self.loss) ** 2))
    return 1 - left / total if total > 0 else float("nan")


class ValleyMinimum(NamedTuple):
  """The minimum of each draw: ln N, loss, half the second derivative in ln N, and whether it is between two sizes.

  ln N is NaN if the loss is not convex in ln N.
  """

  log_n: np.ndarray
  loss: np.ndarray
  curvature: np.ndarray
  inside: np.ndarray


def split_budgets(points: RunsTable) -> list[BudgetLosses]:
  """Returns the budgets, by ascending FLOPs, seeds averaged."""
  groups, flops = points.groups(), points.group_flops()
  cell = run_cells(points)[0]
  return [_budget(points, float(c), np.flatnonzero(groups == g), cell) for g, c in enumerate(flops)]


def _budget(points: RunsTable, flops: float, runs: np.ndarray, cell: np.ndarray) -> BudgetLosses:
  _, first, size = np.unique(cell[runs], return_index=True, return_inverse=True)
  count, params = np.bincount(size), points.params[runs][first]  # cells are numbered by size within a budget
  nominal = points.budget[runs[0]]
  return BudgetLosses(
    # The nominal budget where all runs have one: measured C differs from it by rounding to whole steps.
    flops=float(nominal) if np.all(np.isfinite(points.budget)) else flops,
    params=params,
    log_n=np.log(params),
    # Seeds of one size are averaged before the fit, so that a size with more of them does not pull the parabola.
    loss=np.bincount(size, points.loss[runs]) / count,
    count=count,
    tokens=np.bincount(size, np.log(points.tokens[runs])) / count,
    runs=runs,
    size_of_run=size,
    run_loss=points.loss[runs],
  )


def find_minimum(budget: BudgetLosses, method: str, loss_bm: np.ndarray | None = None) -> ValleyMinimum:
  """Returns the minimum of the budget's own losses, or of each draw of them."""
  loss_bm = budget.loss[None] if loss_bm is None else loss_bm
  if len(budget.log_n) < 3:
    nothing = np.full(len(loss_bm), np.nan)
    return ValleyMinimum(nothing, nothing, nothing, np.zeros(len(loss_bm), bool))
  return (_parabola if method == "parabola" else _akima)(budget.log_n, loss_bm)


def parabola_residuals(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the residuals of a parabola through the mean losses."""
  powers_m3 = _powers(x)
  return y - powers_m3 @ np.linalg.lstsq(powers_m3, y, rcond=None)[0]


def parabola_leverage(x: np.ndarray) -> np.ndarray:
  """Returns the diagonal of the parabola's hat matrix."""
  return np.sum(np.linalg.qr(_powers(x))[0] ** 2, 1)


def third_differences(x: np.ndarray, lowest_size: int) -> np.ndarray:
  """Returns third differences of norm 1 over each four neighbouring sizes near one size, [K, M].

  They vanish on every parabola, so on losses they measure noise and hardly the valley, however wide it is (after
  Gasser, Sroka and Jennen-Steinmetz 1986, who use lines). At most three rows, or the nearest if none is near.
  """
  starts = np.arange(len(x) - 3)
  # 1.5: the middle of four sizes, counted from the first.
  distance = np.abs(starts + 1.5 - lowest_size)
  # Windows of four sizes whose middle is within 1.6 sizes of the lowest: at most three.
  starts = starts[distance <= max(1.6, distance.min())]
  rows_km = np.zeros((len(starts), len(x)))
  for row, start in zip(rows_km, starts, strict=True):
    four = x[start : start + 4]
    # Weights of the third divided difference, which is 0 on every parabola.
    weights = np.array([1.0 / np.prod(four[i] - np.delete(four, i)) for i in range(4)])
    row[start : start + 4] = weights / np.linalg.norm(weights)
  return rows_km


def _powers(x: np.ndarray) -> np.ndarray:
  # Centred and scaled: with powers of ln N itself (about 20) the fit would lose several digits.
  scaled = (x - x.mean()) / np.ptp(x)
  return np.stack([np.ones_like(scaled), scaled, scaled**2], 1)


def _parabola(x: np.ndarray, loss_bm: np.ndarray) -> ValleyMinimum:
  middle, width = x.mean(), np.ptp(x)
  # One pseudo-inverse for all draws: they share the sizes.
  c0, c1, c2 = np.linalg.pinv(_powers(x)) @ loss_bm.T
  with np.errstate(divide="ignore", invalid="ignore"):
    # A parabola that opens downwards, or a line, has no minimum.
    bends = c2 > _FLAT * np.abs(loss_bm).mean(1)
    vertex = np.where(bends, -c1 / (2 * c2), np.nan)
    log_n = middle + width * vertex
    # At -c1 / (2 c2) the parabola is c0 - c1^2 / (4 c2), which is c0 + c1 vertex / 2.
    return ValleyMinimum(log_n, c0 + c1 * vertex / 2, c2 / width**2, (x[0] < log_n) & (log_n < x[-1]))


def _akima(x: np.ndarray, loss_bm: np.ndarray) -> ValleyMinimum:
  """Returns the lowest point of the spline: the best knot, or the lower minimum beside it."""
  # Of ln L, as Porian et al. interpolate it.
  spline = Akima1DInterpolator(x, np.log(loss_bm), axis=1, method="akima")
  cubic, square, slope, height = spline.c  # each [M - 1, B], by the distance from the left knot
  width = np.diff(x)[:, None]
  with np.errstate(divide="ignore", invalid="ignore"):
    # Zeros of the slope 3 c t^2 + 2 s t + l of each cubic piece.
    root = np.sqrt(square**2 - 3 * cubic * slope)
    # The root where the slope rises, in the form that does not cancel.
    vertex = np.where(square > 0, -slope / (square + root), (root - square) / (3 * cubic))
  vertex = np.where((vertex > 0) & (vertex < width), vertex, 0.0)
  value = ((cubic * vertex + square) * vertex + slope) * vertex + height
  ends = np.log(loss_bm[:, -1])
  best = np.argmin(value, 0)
  draws = np.arange(len(loss_bm))
  offset, low = vertex[best, draws], value[best, draws]
  # Pieces hold their left knots; the last knot belongs to none.
  at_end = ends < low
  log_n = np.where(at_end, x[-1], x[best] + offset)
  low = np.where(at_end, ends, low)
  bend = np.where(at_end, 0.0, square[best, draws] + 3 * cubic[best, draws] * offset)
  inside = (log_n > x[0]) & (log_n < x[-1])
  return ValleyMinimum(log_n, np.exp(low), np.exp(low) * bend, inside)
