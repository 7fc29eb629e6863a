"""Approach 1 of Hoffmann et al. 2022 (arXiv:2203.15556): the lower envelope of all training curves.

At each of 1,500 log-spaced C the curve with the lowest loss gives N*(C) and D*(C), through which power laws are fitted.
Seeds are averaged. The curves (`gen.scaling.laws.loss_curves`) join the final losses of each size at several budgets
if the study has them; else they are training curves; else single final losses, one point for each budget.

A run that is still to decay its learning rate has a higher loss at C than one that ends there. So losses read off
longer schedules understate what a model reaches at C, and inflate a (Porian et al. 2024, arXiv:2406.19146).
C FLOPs, N parameters, D tokens; B draws, K curves, S points on the grid of C.
"""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop, isoflop_draws, loss_curves
from gen.scaling.laws.loss_curves import CurveLines, CurveReading
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_trend import LossTrend
from gen.scaling.laws.power_law_fit import FrontierFit, intervals_of_row, laws_of_row
from gen.scaling.runs.runs_table import RunsTable, make_runs, run_cells

if TYPE_CHECKING:
  from gen.training.run_log.rows import RowValues

READS = ("auto", "decayed", "curves", "ends")
# Sizes of the envelope, below which a warning says that N*(C) is a staircase; chosen: three sizes are two
# steps.
_FEW_SIZES = 4
# Places of the envelope that results hold, of 1,500; chosen: more look the same in a figure.
_FRONTIER = 200
_MIN_IN_A_BUDGET = 4  # runs to resample within; `_resampled` says why three are too few
# Runs; of more, the means of the lowest sizes of each budget stand for all. Chosen: bounds the work of a
# resample, which is as many curves at 1,500 C.
_MANY = 2000


@dataclasses.dataclass(frozen=True)
class FrontierPoint:
  """A place of the envelope: C, N, D and the loss there."""

  flops: float
  params: float
  tokens: float
  loss: float


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class EnvelopeFit(FrontierFit):
  """Power laws through the envelope.

  Attributes:
    flops: C at which the envelope was read, without those whose best size is the smallest or largest of all.
    params: N of the envelope at these C.
    tokens: D of the envelope at these C.
    loss: loss of the envelope, nats per token.
    form: decayed, curves or ends: the kind of curves that the envelope was read from.
  """

  flops: np.ndarray
  params: np.ndarray
  tokens: np.ndarray
  loss: np.ndarray
  form: str

  def frontier(self) -> list[FrontierPoint]:
    """Returns the envelope, thinned to what the eye can tell apart."""
    indices = np.unique(np.linspace(0, len(self.flops) - 1, _FRONTIER).round().astype(int))
    columns = (self.flops, self.params, self.tokens, self.loss)
    return [FrontierPoint(*(float(values[i]) for values in columns)) for i in indices]


def fit(
  points: RunsTable,
  curves: Iterable["RowValues"] | None = None,
  *,
  runs: Iterable[str] | None = None,
  read: str = "auto",
  bootstraps: int = 1000,
  seed: int = 0,
  level: float = 0.95,
  cost: CostModel | None = None,
) -> EnvelopeFit:
  """Fits the envelope and the power laws through it.

  Args:
    points: the runs.
    curves: rows with run (or name), flops and loss, such as a journal's of kind "train"; runs without any are left
      out of the envelope if others have some.
    runs: the name of each point in those rows; by default the points' names.
    read: the kind of curves (see `loss_curves`): "decayed", "curves", "ends", or "auto", the first available.
    bootstraps: resamples of the runs, within each budget if most budgets have several; 0 gives no intervals.
    seed: seed of the resampling.
    level: coverage of the intervals.
    cost: k(N), if more sizes than those of `points` were counted; by default from the points.

  Raises:
    UserError: if the envelope has fewer than two sizes, or an option is invalid.
  """
  isoflop.check_options("parabola", "drop", bootstraps, level, "percentile")
  cost = cost or cost_model.measured_cost(points.params, points.tokens, points.flops)
  training = loss_curves.curve_lines(curves or [], list(points.names if runs is None else runs))
  reading, read_points, lines, form = _reading(points, training, read)
  best, loss, valid = _lower(reading, np.ones(len(read_points)))
  sizes = len(np.unique(reading.log_params[best[valid]]))
  if sizes < 2:
    raise UserError(
      "the envelope has fewer than two sizes between the smallest and the largest, which give no power law; "
      "add sizes or budgets"
    )
  row = _through(reading, best, valid)
  drawn = _draw_envelopes(read_points, reading, bootstraps, seed)
  warnings = _warnings(read_points, lines, form, sizes, np.isfinite(drawn.rows_b4).all(1))
  if form == "curves" and len(read_points) < len(points):
    missing = len(points) - len(read_points)
    warnings.append(f"{missing} of {len(points)} runs have no curve and are left out of the envelope")
  n_law, d_law = laws_of_row(row)
  return EnvelopeFit(
    flops=reading.flops[valid],
    params=np.exp(reading.log_params[best[valid]]),
    tokens=np.exp(reading.log_tokens_ks[best[valid], np.flatnonzero(valid)]),
    loss=loss[valid],
    n_law=n_law,
    d_law=d_law,
    trend=drawn.trend,
    form=form,
    level=level,
    intervals=intervals_of_row(row, drawn.rows_b4, level, None),
    interval_method=drawn.how,
    draws_b4=drawn.rows_b4,
    trends=drawn.trends,
    warnings=warnings,
    cost=cost,
  )


class EnvelopeDraws(NamedTuple):
  """Envelopes of resampled runs.

  Attributes:
    rows_b4: (ln k_N, a, ln k_D, b) of each draw.
    trend: L*(C) of the best final losses; None with fewer than three budgets.
    trends: L*(C) of each draw that has every budget.
    how: how they were drawn.
  """

  rows_b4: np.ndarray
  trend: LossTrend | None
  trends: LossTrend | None
  how: str


def _draw_envelopes(points: RunsTable, reading: CurveReading, bootstraps: int, seed: int) -> EnvelopeDraws:
  groups, within = _resampled(points)
  counts_bn = _counts(groups, bootstraps, seed)
  rows = [_through(reading, *_lower(reading, counts)[::2]) for counts in counts_bn]
  c, least_bg = _least_finals(points, np.concatenate([np.ones((1, len(points))), counts_bn]))
  # The first row counts every run once: the estimate itself, of which `trend` is made.
  whole_bg = least_bg[1:][np.isfinite(least_bg[1:]).all(1)]  # resamples that have every budget
  return EnvelopeDraws(
    np.array(rows).reshape(-1, 4),
    LossTrend.through(c, least_bg[:1]),
    LossTrend.through(c, whole_bg) if len(whole_bg) else None,
    f"percentile bootstrap over {within}, {bootstraps} resamples" if bootstraps else "none",
  )


def _reading(
  points: RunsTable, lines: CurveLines, read: str
) -> tuple[CurveReading, RunsTable, CurveLines, str]:
  """Returns the curves to read, the runs that they are of, and their form."""
  if read not in READS:
    raise UserError(f"the envelope cannot be read from {read!r}; choose one of {', '.join(READS)}")
  if len(points) > _MANY and not lines:
    points = _few(points)
  if read in ("auto", "decayed"):
    joined = loss_curves.readings_across_budgets(points)
    if joined is not None:
      return joined, points, lines, "decayed"
    if read == "decayed":
      raise UserError(
        f"fewer than {loss_curves.MIN_SIZES} sizes were trained to two budgets, so there are no curves of decayed "
        "losses; train the same sizes at several budgets, or read training curves"
      )
  if read == "ends" or not lines:
    if read == "curves":
      raise UserError("no training curves were given; give a journal.jsonl, or read the ends")
    return loss_curves.readings_of_ends(points), points, {}, "ends"
  runs_read = points.select(sorted(lines))
  lines = dict(enumerate(lines[index] for index in sorted(lines)))
  return loss_curves.readings_of_training(runs_read, lines), runs_read, lines, "curves"


def _few(points: RunsTable) -> RunsTable:
  """Returns the cells of a very large study that can lie on its envelope, each as one run with the cell's means.

  For each budget these are the lowest losses, of which every resample contains one, and the smallest and largest size.
  """
  cell, count = run_cells(points)
  number = np.bincount(cell)
  means = [
    np.bincount(cell, values) / number for values in (points.params, points.tokens, points.loss, points.flops)
  ]
  budget = np.bincount(cell, points.group_flops()[points.groups()]) / number
  group = np.unique(budget, return_inverse=True)[1]
  rank = np.empty(count, np.int64)
  order = np.lexsort((means[2], group))
  # Rank of each cell by loss within its budget: its position after sorting less that of its budget's first.
  rank[order] = np.arange(count) - np.searchsorted(group[order], group[order])
  # At least 8 a budget, so that hardly a resample is without one of them.
  few = rank < max(8, _MANY // (int(group.max()) + 1))
  for pick in (np.minimum, np.maximum):
    # Smallest and largest size are needed to tell whether the best one lies between them.
    edge = np.full(int(group.max()) + 1, np.inf if pick is np.minimum else -np.inf)
    pick.at(edge, group, means[0])
    few |= means[0] == edge[group]
  params, tokens, loss, flops = (values[few] for values in means)
  return make_runs(params, tokens, loss, flops, budget=budget[few])


def _lower(reading: CurveReading, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (the lowest curve, its loss, whether it is valid) at every C.

  A point is invalid where no curve exists, where the best size is the smallest or largest with a curve there, and
  where less compute already reached a lower loss.
  """
  loss_ks = reading.losses(counts)
  best = np.argmin(loss_ks, 0)
  loss = loss_ks[best, np.arange(len(best))]
  least, highest = reading.ends
  size = reading.log_params[best]
  # An envelope only falls: where less compute was already better, the runs at this C are no optimum of anything.
  falls = loss <= np.minimum.accumulate(loss)
  return best, loss, np.isfinite(loss) & (least < size) & (size < highest) & falls


def _through(reading: CurveReading, best: np.ndarray, used: np.ndarray) -> np.ndarray:
  places = np.flatnonzero(used)
  if len(places) < 2:
    return np.full(4, np.nan)
  curve = best[places]
  log_tokens = reading.log_tokens_ks[curve, places]
  return isoflop_draws.draw_lines(reading.flops[places], reading.log_params[curve][None], log_tokens[None])[0]


def _resampled(points: RunsTable) -> tuple[np.ndarray, str]:
  """Returns the group within which each run is resampled, as a number, and a description of the groups.

  Runs are resampled within budgets, so every resample has all budgets. A budget of one run would always be drawn
  unchanged, and intervals would shrink to nothing. So all runs form one group if fewer than half of them share a
  budget with at least three others.
  """
  groups = points.groups()
  # With three runs a resample repeats one of them in all but 6 of 27 cases, and has hardly any sizes left.
  if np.mean(np.bincount(groups)[groups] >= _MIN_IN_A_BUDGET) >= 0.5:
    return groups, "the runs of each budget"
  return np.zeros(len(points), np.int64), "all runs, because most budgets have too few"


def _counts(groups: np.ndarray, bootstraps: int, seed: int) -> np.ndarray:
  """Returns how often each resample draws each run, [B, N]; each group keeps its number of runs."""
  random = np.random.default_rng(seed)
  counts_bn = np.zeros((bootstraps, len(groups)))
  for group in range(int(groups.max()) + 1):
    runs = np.flatnonzero(groups == group)
    # Counts instead of indices: all resamples are then one product with the losses.
    counts_bn[:, runs] = random.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), bootstraps)
  return counts_bn


def _least_finals(points: RunsTable, counts_bn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns (C of each budget, the least final loss of its sizes in each draw)."""
  groups, cell = points.groups(), run_cells(points)[0]
  least = []
  for group in range(int(groups.max()) + 1):
    runs = np.flatnonzero(groups == group)
    runs = runs[np.argsort(cell[runs], kind="stable")]
    starts = np.flatnonzero(np.diff(cell[runs], prepend=-1))
    # Sums over the runs of one size, which were sorted to be neighbours.
    total_bk = np.add.reduceat(counts_bn[:, runs], starts, 1)
    sums_bk = np.add.reduceat(counts_bn[:, runs] * points.loss[runs], starts, 1)
    mean_bk = np.divide(sums_bk, total_bk, out=np.full_like(sums_bk, np.inf), where=total_bk > 0)
    least.append(mean_bk.min(1))
  return points.group_flops(), np.stack(least, 1)


def _warnings(points: RunsTable, lines: CurveLines, form: str, sizes: int, known: np.ndarray) -> list[str]:
  sentences = []
  if form == "ends":
    sentences.append(
      "no training curves were given: the envelope is of final losses, one point a budget, its sizes as coarse as "
      "the sweep's"
    )
  elif form == "curves" and len(points.group_flops()) > 1:
    gap = _decay_gap(points, lines)
    measured = f" (here by {100 * gap:.1f} % on average)" if np.isfinite(gap) and gap > 0 else ""
    sentences.append(
      f"between budgets the envelope reads runs whose learning rate has not decayed, whose loss is higher{measured} "
      "than that of a run that ends there: this inflates a"
    )
  if sizes < _FEW_SIZES:
    sentences.append(f"the envelope steps through {sizes} sizes only: its a is no finer than that")
  # 2 % of the resamples may fail without moving the ends of a 95 % interval much.
  if len(known) and np.mean(known) < 0.98:
    share = 100 * (1 - np.mean(known))
    sentences.append(
      f"{share:.0f} % of the resamples have no envelope of two sizes; the intervals are of the others"
    )
  return sentences


def _decay_gap(points: RunsTable, lines: CurveLines) -> float:
  """Returns the relative excess loss of longer runs over shorter ones of the same N, where the shorter ones end."""
  gaps = []
  for short, (log_c, loss) in lines.items():
    for long, (own_log_c, own_loss) in lines.items():
      # 1.1: runs of nearly the same length do not show the effect of the decay.
      if points.params[long] == points.params[short] and points.flops[long] > 1.1 * points.flops[short]:
        # Both losses at the C where the shorter run ends: one has decayed its rate there, the other has not.
        gaps.append(np.interp(log_c[-1], own_log_c, own_loss) / loss[-1] - 1)
  return float(np.mean(gaps)) if gaps else float("nan")
