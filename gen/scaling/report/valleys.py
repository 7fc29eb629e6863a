"""IsoFLOP valleys: loss against N at equal C, after approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556)."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gen.figures import style
from gen.scaling.report.view import ResultsView, RunPoint, ValleyView

# Words stay readable where a curve crosses them; strokes around letters would be a path each in a page.
_GROUND: dict[str, Any] = {"boxstyle": "square,pad=0.08", "fc": style.PAPER, "ec": "none", "alpha": 0.85}
_WORD_WIDTH, _WORD_HEIGHT = 40.0, 10.0  # of the word at the star, in points


def draw_valleys(axes: Axes, view: ResultsView) -> None:
  """Draws each budget's points, parabola and vertex, and the held-out budget apart from them."""
  if not view.spots:
    style.write_note(axes, "No run of this sweep has finished.")
    return
  sizes = [spot.params for spot in view.spots]
  style.log_axis(axes, "x", "parameters N", min(sizes) / 1.35, max(sizes) * 1.7)
  axes.set_ylabel(f"validation loss (nats per {view.unit.removesuffix('s')})")
  _limit_loss(axes, view)
  valleys = {(valley.budget, valley.held_out): valley for valley in view.valleys}
  _join_vertices(axes, [valley for valley in view.valleys if not valley.held_out])
  for budget, held_out in [
    *((fitted_budget, False) for fitted_budget in view.budgets),
    (view.held_out, True),
  ]:
    spots = [spot for spot in view.spots if (spot.budget, spot.held_out) == (budget, held_out)]
    if budget is not None and spots:
      _draw_budget(axes, view, spots, valleys.get((budget, held_out)))
  _draw_prediction(axes, view)


def _limit_loss(axes: Axes, view: ResultsView) -> None:
  losses = np.array([spot.loss for spot in view.spots])
  room = 0.07 * max(np.ptp(losses), 0.05)
  axes.set_ylim(losses.min() - 1.4 * room, losses.max() + 1.4 * room)


def _draw_budget(axes: Axes, view: ResultsView, spots: list[RunPoint], valley: ValleyView | None) -> None:
  held_out = spots[0].held_out
  colour = style.HELD_OUT if held_out else view.budget_ramp(spots[0].budget)
  sizes = np.array([spot.params for spot in spots])
  ends = (sizes.min() / 1.06, sizes.max() * 1.06)
  if valley:
    params = np.geomspace(*ends, 80)
    axes.plot(params, valley(params), color=colour, lw=1.1, ls=(0, (3.5, 1.5)) if held_out else "-", zorder=3)
    if not held_out:
      axes.plot(valley.params, valley.loss, "D", ms=5.4, mfc=colour, mec=style.PAPER, mew=1.0, zorder=6)
  for spot in spots:
    _draw_spot(axes, view, spot, colour)
  last = spots[-1]
  height = max(last.loss, float(valley(np.array(ends[1]))) if valley else last.loss)
  unit = " FLOPs" if spots[0].budget == view.budgets[0] else ""
  words = style.power_of_ten(spots[0].budget) + ("\nheld out" if held_out else unit)
  axes.annotate(
    words, (ends[1], height), (3.5, 1), textcoords="offset points", color=colour, va="center", fontsize=9,
    zorder=3.5, bbox=_GROUND,
  )  # fmt: skip


def _draw_spot(axes: Axes, view: ResultsView, spot: RunPoint, colour: str) -> None:
  several = len(spot.members) > 1
  for index in spot.members:
    loss = view.runs[index].number_or_nan("loss")
    face = style.PAPER if spot.held_out else colour
    look: dict[str, Any] = (
      {"ms": 3.0, "mec": "none", "alpha": 0.4} if several else {"ms": 4.2, "mec": colour, "mew": 1.0}
    )
    axes.plot(spot.params, loss, "o", mfc=face, zorder=4, gid=f"run-{index}", **look)
  if several:
    axes.plot(spot.params, spot.loss, "o", ms=4.2, mfc=colour, mec=colour, mew=1.0, zorder=5)


def _join_vertices(axes: Axes, valleys: list[ValleyView]) -> None:
  if len(valleys) > 1:
    sizes, losses = [valley.params for valley in valleys], [valley.loss for valley in valleys]
    axes.plot(sizes, losses, color=style.MUTED, lw=0.8, ls=(0, (1, 1.6)), zorder=2)


def _draw_prediction(axes: Axes, view: ResultsView) -> None:
  guess = view.held_out_prediction
  if view.held_out is None or guess is None:
    return
  size, loss = guess
  axes.plot(size, loss, "*", ms=9, mfc=style.HELD_OUT, mec=style.PAPER, mew=0.8, zorder=7)
  position = _clear_of(axes, view, (size, loss))
  if position is None:  # the caption names the star
    return
  axes.annotate(
    "predicted", (size, loss), position, textcoords="offset points", color=style.HELD_OUT,
    ha="center", va="center", fontsize=8, zorder=8, bbox=_GROUND,
  )  # fmt: skip


def _clear_of(axes: Axes, view: ResultsView, star: tuple[float, float]) -> tuple[float, float] | None:
  """Returns where beside the star, in points, the word is farthest from curves and marks; None where none is clear."""
  places = [(spot.params, spot.loss) for spot in view.spots]
  places += [
    (run.number_or_nan("params"), run.number_or_nan("loss"))
    for run in view.runs
    if run.get("params") and run.get("loss")
  ]
  for valley in view.valleys:
    sizes = [spot.params for spot in view.spots if spot.budget == valley.budget]
    if sizes:
      places += [(n, float(valley(np.array(n)))) for n in np.geomspace(min(sizes), max(sizes), 60)]
  points = axes.transData.transform(np.array([*places, star])) * 72 / axes.figure.dpi
  last = {
    spot.budget: (spot.params, spot.loss) for spot in view.spots
  }  # beside these stand the budgets' names
  ends = axes.transData.transform(np.array(list(last.values()))) * 72 / axes.figure.dpi
  names = [ends + np.array([x, y]) for x in range(6, 54, 8) for y in (-8, 0, 8)]
  off = np.concatenate([points[:-1], *names]) - points[-1]
  frame = axes.transAxes.transform([(0, 0), (1, 1)]) * 72 / axes.figure.dpi - points[-1]
  choices = [(x, y) for y in (11, -11, 16, -16, 0) for x in (0, -20, 20, -32, 32) if abs(x) > 30 or y]

  def clearance(position: tuple[float, float]) -> float:
    beyond = np.maximum(np.abs(off - position) - (_WORD_WIDTH / 2, _WORD_HEIGHT / 2), 0)
    return float(np.min(np.hypot(*beyond.T), initial=math.inf))

  low, high = frame + np.array([[_WORD_WIDTH / 2 + 2, 8], [-_WORD_WIDTH / 2, -8]])
  inside = [position for position in choices if np.all(low < position) and np.all(position < high)]
  clear = [position for position in inside if clearance(position) > 1]
  return max(clear, key=lambda position: clearance(position) - 0.15 * math.hypot(*position), default=None)
