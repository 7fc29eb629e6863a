"""Loss curves over compute from which approach 1 reads its envelope, in three forms.

decayed     one curve per size, through the final losses of its runs at several budgets: every point is the end of its
            own schedule, as approach 1 assumes (Hoffmann et al. 2022, arXiv:2203.15556, section 3.1).
            Between budgets ln loss is linear in ln C.
curves      training curves, whose losses before their end are not decayed.
ends        final losses alone, one point per budget.

C FLOPs, N parameters, D tokens; N runs, K curves, J knots of curves (sizes within budgets), S points on a grid of C.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gen.scaling.runs.runs_table import RunsTable, run_cells

if TYPE_CHECKING:
  from gen.training.run_log.rows import RowValues

PLACES = 1500  # FLOPs at which curves are read (Hoffmann et al. 2022, section 3.1)
MIN_SIZES = 5  # with runs at several budgets, for curves of their ends
_SMOOTHED = 0.05  # of a training curve: width of the mean, in ln C, which is 5 % of C
_MIN_ROWS = 5  # fewer are no curve

CurveLines = Mapping[int, tuple[np.ndarray, np.ndarray]]  # (ln C, loss) of runs by number


class CurveReading(Protocol):
  """Curves, and their losses for the counts of runs that a resample draws."""

  @property
  def flops(self) -> np.ndarray:
    """C at each grid point."""

  @property
  def log_params(self) -> np.ndarray:
    """Size of each curve, ln N."""

  @property
  def log_tokens_ks(self) -> np.ndarray:
    """Tokens of each curve at each grid point, ln D."""

  @property
  def ends(self) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest ln N that has a curve at each grid point."""

  def losses(self, counts: np.ndarray) -> np.ndarray:
    """Returns the loss of each curve at each place [K, S], infinite where it has none."""
    ...


@dataclasses.dataclass(frozen=True)
class AveragedCurves:
  """Curves that are means over runs at each grid point: training curves, or single final losses."""

  flops: np.ndarray
  log_params: np.ndarray
  log_tokens_ks: np.ndarray
  ends: tuple[np.ndarray, np.ndarray]
  loss_ns: np.ndarray  # NaN where a run has none
  member_kn: np.ndarray  # 1 where a run belongs to a curve

  def losses(self, counts: np.ndarray) -> np.ndarray:
    """Returns the loss of each curve at each place [K, S], infinite where it has none."""
    known_ns = np.isfinite(self.loss_ns)
    weights_kn = self.member_kn * counts
    total_ks = weights_kn @ known_ns
    with np.errstate(divide="ignore", invalid="ignore"):
      mean_ks = weights_kn @ np.where(known_ns, self.loss_ns, 0.0) / total_ks
    return np.where(total_ks > 0, mean_ks, np.inf)


@dataclasses.dataclass(frozen=True)
class JoinedCurves:
  """Curves through knots, each the mean over runs of one size at one budget."""

  flops: np.ndarray
  log_params: np.ndarray
  log_tokens_ks: np.ndarray
  ends: tuple[np.ndarray, np.ndarray]
  loss_n: np.ndarray
  member_jn: np.ndarray  # 1 where a run belongs to a knot
  before_ks: np.ndarray  # the knots around each place
  after_ks: np.ndarray
  share_ks: np.ndarray  # of the knot after; NaN where the curve is not

  def losses(self, counts: np.ndarray) -> np.ndarray:
    """Returns the loss of each curve at each place [K, S], infinite where it has none."""
    weights_jn = self.member_jn * counts
    with np.errstate(divide="ignore", invalid="ignore"):
      # A knot that a resample leaves out has weight 0 and a loss of NaN, which breaks the curve there.
      log_loss_j = np.log(weights_jn @ self.loss_n / weights_jn.sum(1))
    between_ks = (1 - self.share_ks) * log_loss_j[self.before_ks] + self.share_ks * log_loss_j[self.after_ks]
    return np.where(np.isfinite(between_ks), np.exp(between_ks), np.inf)


def readings_across_budgets(points: RunsTable) -> JoinedCurves | None:
  """Returns one curve per size, or None if fewer than five sizes were trained to two budgets."""
  knot, count = run_cells(points)
  member_jn = (np.arange(count)[:, None] == knot).astype(np.float64)
  total_j = member_jn.sum(1)
  log_c_j, log_d_j = (member_jn @ np.log(values) / total_j for values in (points.flops, points.tokens))
  size_j = points.params[np.argmax(member_jn, 1)]
  sizes, many = np.unique(size_j, return_counts=True)
  if np.sum(many > 1) < MIN_SIZES:
    return None
  log_c = np.linspace(log_c_j.min(), log_c_j.max(), PLACES)
  rows = [_between(log_c, np.flatnonzero(size_j == size), log_c_j, log_d_j) for size in sizes]
  before_ks, after_ks, share_ks, log_tokens_ks = (np.stack(parts) for parts in zip(*rows, strict=True))
  log_params = np.log(sizes)
  ends = _ends(log_params, np.isfinite(share_ks))
  return JoinedCurves(
    np.exp(log_c), log_params, log_tokens_ks, ends, points.loss, member_jn, before_ks, after_ks, share_ks
  )


def _between(
  log_c: np.ndarray, knots: np.ndarray, log_c_j: np.ndarray, log_d_j: np.ndarray
) -> tuple[np.ndarray, ...]:
  """Returns the two knots of one size around each grid point, the weight of the second, and ln D."""
  knots = knots[np.argsort(log_c_j[knots])]
  own = log_c_j[knots]
  first = np.clip(np.searchsorted(own, log_c, side="right") - 1, 0, max(0, len(own) - 2))
  second = np.minimum(first + 1, len(own) - 1)
  width = own[second] - own[first]
  share = np.divide(log_c - own[first], width, out=np.zeros_like(log_c), where=width > 0)
  # 1e-9 in ln C: the grid's ends are knots themselves, up to rounding.
  inside = (own[0] - 1e-9 <= log_c) & (log_c <= own[-1] + 1e-9)
  # ln D - ln C is interpolated, which is nearly constant for one size.
  log_d = log_c + np.interp(log_c, own, log_d_j[knots] - own)
  return knots[first], knots[second], np.where(inside, share, np.nan), log_d


def readings_of_training(points: RunsTable, lines: CurveLines) -> AveragedCurves:
  """Returns training curves, from the end of the shortest run to the end of the longest."""
  ends = np.log(points.flops)
  log_c = np.linspace(ends.min(), ends.max(), PLACES)
  loss_ns = np.full((len(points), PLACES), np.nan)
  for index, (own_log_c, loss) in lines.items():
    loss_ns[index] = np.interp(log_c, own_log_c, loss, left=np.nan)
    # np.interp would hold the last loss beyond the end of the run.
    loss_ns[index, log_c > ends[index] + 1e-9] = np.nan
  # A run's tokens grow in proportion to its FLOPs.
  log_tokens_ns = (np.log(points.tokens) - ends)[:, None] + log_c
  return _averaged(points, np.exp(log_c), loss_ns, log_tokens_ns)


def readings_of_ends(points: RunsTable) -> AveragedCurves:
  """Returns final losses, each at its budget alone."""
  groups, flops = points.groups(), points.group_flops()
  loss_ns = np.where(groups[:, None] == np.arange(len(flops)), points.loss[:, None], np.nan)
  return _averaged(points, flops, loss_ns, np.repeat(np.log(points.tokens)[:, None], len(flops), 1))


def _averaged(
  points: RunsTable, flops: np.ndarray, loss_ns: np.ndarray, log_tokens_ns: np.ndarray
) -> AveragedCurves:
  cell, count = run_cells(points)
  member_kn = (np.arange(count)[:, None] == cell).astype(np.float64)
  first = np.argmax(member_kn, 1)
  log_params = np.log(points.params)
  ends = _ends(log_params, np.isfinite(loss_ns))
  return AveragedCurves(flops, log_params[first], log_tokens_ns[first], ends, loss_ns, member_kn)


def _ends(log_params: np.ndarray, known_ks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  sizes_k1 = log_params[:, None]
  return np.where(known_ks, sizes_k1, np.inf).min(0), np.where(known_ks, sizes_k1, -np.inf).max(0)


def curve_lines(curves: Iterable["RowValues"], named: list[str]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """Returns smoothed (ln C, loss) of each run with a training curve; the last row of a step counts."""
  rows = {name: index for index, name in enumerate(named)}
  losses: dict[int, dict[float, float]] = {}
  for row in curves:
    index = rows.get(str(row.get("run")), rows.get(str(row.get("name"))))
    flops, loss = row.get("flops"), row.get("loss")
    if index is None or row.get("kind", "train") != "train":
      continue
    if isinstance(flops, int | float) and isinstance(loss, int | float) and flops > 0 and np.isfinite(loss):
      # A run that was resumed may have written a step twice; the later row replaces the earlier.
      losses.setdefault(index, {})[float(flops)] = float(loss)
  lines = {}
  for index, pairs in losses.items():
    if len(pairs) >= _MIN_ROWS:
      log_c, loss = np.array(sorted(pairs.items())).T
      lines[index] = (np.log(log_c), _smooth(np.log(log_c), loss))
  return lines


def _smooth(log_c: np.ndarray, loss: np.ndarray) -> np.ndarray:
  """Returns a Gaussian mean in ln C, which smooths dense rows near the end and leaves sparse rows unchanged."""
  if len(log_c) > 4000:  # so that the weights stay small
    return loss
  weights_rr = np.exp(-0.5 * ((log_c[:, None] - log_c) / _SMOOTHED) ** 2)
  # Local linear regression: a mean of neighbours on one side would lag behind a falling curve.
  off_rr = log_c - log_c[:, None]
  s0, s1, s2 = weights_rr.sum(1), (weights_rr * off_rr).sum(1), (weights_rr * off_rr**2).sum(1)
  line_rr = weights_rr * (s2[:, None] - s1[:, None] * off_rr)
  scale = s0 * s2 - s1**2
  # A row without neighbours has no line through it, and keeps its loss.
  return np.where(scale > 1e-9 * s0 * np.maximum(s2, 1e-30), line_rr @ loss / np.maximum(scale, 1e-300), loss)
