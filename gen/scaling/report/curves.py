"""Training loss against FLOPs, one line a run, with the envelope that approach 1 reads its optima from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from gen.figures import style
from gen.scaling.report.sections import finite_number
from gen.scaling.report.view import ResultsView
from gen.training.run_log.rows import RowValues

_MAX_ROWS = 300  # more points per line are not visible on paper


class TrainingCurve(NamedTuple):
  """The losses of one run as it trains; `run` is its index, or None if it has no result yet."""

  run: int | None
  flops: np.ndarray
  loss: np.ndarray


def read_curves(view: ResultsView, rows: Sequence[RowValues]) -> list[TrainingCurve]:
  """Groups a journal's rows of training by run; of a step that was logged twice the last counts."""
  indices = {run["run"]: index for index, run in enumerate(view.runs) if "run" in run}
  steps: dict[Any, dict[Any, tuple[float, float]]] = {}
  for row in rows:
    flops, loss = finite_number(row.get("flops")), finite_number(row.get("loss"))
    if row.get("kind", "train") == "train" and flops and loss is not None and loss > 0:
      steps.setdefault(row.get("run"), {})[row.get("step", flops)] = (flops, loss)
  curves = []
  for run, pairs in steps.items():
    flops, losses = np.array(sorted(pairs.values())).T
    thinned = _thin(flops)
    curves.append(TrainingCurve(indices.get(run), flops[thinned], losses[thinned]))
  return curves


def _thin(flops: np.ndarray) -> np.ndarray:
  """Returns the indices of at most _MAX_ROWS rows, evenly spaced in the logarithm of FLOPs."""
  if len(flops) <= _MAX_ROWS:
    return np.arange(len(flops))
  indices = np.searchsorted(flops, np.geomspace(flops[0], flops[-1], _MAX_ROWS))
  return np.unique(np.minimum(indices, len(flops) - 1))


def draw_curves(axes: Axes, view: ResultsView, curves: Sequence[TrainingCurve]) -> None:
  """Draws the curves, coloured by size, and the envelope under them."""
  if not curves:
    style.write_note(axes, "The journal holds no rows of training, so there are no loss curves.")
    return
  ramp = view.size_ramp
  order = sorted(curves, key=lambda training_curve: -_size(view, training_curve))
  for curve in order:
    size = _size(view, curve)
    (line,) = axes.plot(curve.flops, curve.loss, color=ramp(size), lw=0.8, alpha=0.85, zorder=3)
    if curve.run is not None:
      line.set_gid(f"line-{curve.run}")
    if curve.run is not None and view.runs[curve.run].number("loss"):
      run = view.runs[curve.run]
      flops = run.number_or_nan("flops") if "flops" in run else curve.flops[-1]
      axes.plot(flops, run.number_or_nan("loss"), "o", ms=2.6, mfc=ramp(size), mec=style.PAPER,
                mew=0.4, zorder=5, gid=f"run-{curve.run}")  # fmt: skip
  _limits(axes, view, curves)
  _draw_envelope(axes, view)
  _key(axes, ramp)


def _size(view: ResultsView, curve: TrainingCurve) -> float:
  return 0.0 if curve.run is None else view.runs[curve.run].number("params") or 0.0


def _limits(axes: Axes, view: ResultsView, curves: Sequence[TrainingCurve]) -> None:
  last = max(curve.flops[-1] for curve in curves)
  first = max(min(curve.flops[0] for curve in curves), last / 3e3)
  style.log_axis(axes, "x", "training compute (FLOPs)", first, last * 1.25, style.power_of_ten)
  losses = np.concatenate([curve.loss[curve.flops >= first] for curve in curves])
  top = float(np.quantile(losses, 0.985))
  style.log_axis(
    axes, "y", f"loss (nats per {view.unit.removesuffix('s')})", losses.min() * 0.94, top * 1.05, _plain
  )


def _plain(value: float) -> str:
  return f"{value:g}"


def _draw_envelope(axes: Axes, view: ResultsView) -> None:
  rows = view.part("envelope").sections("frontier")
  pairs = [(row.number("flops"), row.number("loss")) for row in rows]
  known = sorted((flops, loss) for flops, loss in pairs if flops and loss)
  if len(known) < 2:
    axes.text(
      0.02, 0.03, "no envelope: approach 1 gave none", transform=axes.transAxes, color=style.MUTED, fontsize=8
    )
    return
  flops, losses = np.array(known).T
  axes.plot(flops, losses, color=style.INK, lw=1.6, zorder=6)
  middle = len(flops) // 3
  axes.annotate(
    "envelope", (flops[middle], losses[middle]), (-4, -11), textcoords="offset points", color=style.INK, ha="right",
    va="center", fontsize=9, fontweight="bold",
  )  # fmt: skip


def _key(axes: Axes, ramp: style.Ramp) -> None:
  """Lists the sizes beside the axes, large above, each in its colour."""
  sizes = sorted(ramp.light, reverse=True)
  sampled = sizes if len(sizes) <= 12 else [sizes[round(i * (len(sizes) - 1) / 9)] for i in range(10)]
  axes.text(
    1.03, 1.0, "N", transform=axes.transAxes, color=style.INK, va="top", fontweight="bold", fontsize=9
  )
  for row, size in enumerate(sampled):
    axes.text(
      1.03,
      0.92 - 0.072 * row,
      style.short_count(size),
      transform=axes.transAxes,
      color=ramp(size),
      va="top",
      fontsize=8,
    )
