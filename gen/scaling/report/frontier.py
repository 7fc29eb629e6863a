"""N*(C) and D*(C): the three approaches with their bands, the valleys' vertices, and Chinchilla's rule beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gen.figures import style
from gen.scaling.laws.approaches import TITLES
from gen.scaling.report.view import CHINCHILLA, LawView, ResultsView

_LABELS = {"N": "optimal parameters N*", "D": "optimal data D*"}
_EXPONENTS = {"N": "a", "D": "b"}


def draw_frontier(axes: Axes, view: ResultsView, letter: str) -> None:
  """Draws one panel, letter N or D, up to the budget of the prediction."""
  if not view.laws and not view.valleys:
    reason = view.absent.get("isoflop", "no run has finished")
    style.write_note(axes, f"No approach gave a law: {reason}")
    return
  low, top = _reach(view)
  label = _LABELS[letter] + (f" ({view.unit})" if letter == "D" else "")
  style.log_axis(axes, "x", "compute C (FLOPs)", low / 1.4, top * 1.35, style.power_of_ten)
  heights = _heights(view, letter, low, top)
  room = (max(heights) / min(heights)) ** 0.7  # for the words above the lines
  style.log_axis(axes, "y", label, min(heights) / 1.5, max(heights) * room)
  _shade_beyond(axes, view, top)
  _draw_chinchilla(axes, view, letter, low, top)
  _draw_runs(axes, view, letter)
  for law in view.laws.values():
    _draw_law(axes, view, law, letter, low, top)
  _draw_vertices(axes, view, letter)
  _explain(axes, view, letter)


def _reach(view: ResultsView) -> tuple[float, float]:
  budgets = [*view.budgets, *([view.held_out] if view.held_out else [])]
  budgets = budgets or [valley.budget for valley in view.valleys]
  return min(budgets), max(view.target or 0.0, max(budgets))


def _heights(view: ResultsView, letter: str, low: float, top: float) -> list[float]:
  ends = np.array([low, top])
  heights = [float(value) for law in view.laws.values() for value in law(letter, ends)]
  heights += [valley.params if letter == "N" else valley.tokens for valley in view.valleys]
  rule = float(np.sqrt(top / (6 * CHINCHILLA))) * (1 if letter == "N" else CHINCHILLA)
  named_above = max(heights) / 3 < rule < 4 * max(heights)  # There the rule's name stands, under the legend.
  return heights + ([1.6 * rule] if named_above else [])


def _shade_beyond(axes: Axes, view: ResultsView, top: float) -> None:
  measured = max(view.budgets, default=top)
  if measured < top:
    axes.axvspan(measured, top * 1.35, color=style.GRID, alpha=0.35, lw=0, zorder=0)
    axes.text(
      top * 1.25, axes.get_ylim()[0] * 1.12, "extrapolated", color=style.MUTED, ha="right", fontsize=8
    )


def _draw_law(axes: Axes, view: ResultsView, law: LawView, letter: str, low: float, top: float) -> None:
  colour = style.APPROACHES[law.name]
  measured = max(view.budgets, default=top)
  inside, beyond = np.geomspace(low / 1.2, measured, 40), np.geomspace(measured, top, 40)
  axes.plot(inside, law(letter, inside), color=colour, lw=1.5, zorder=4)
  axes.plot(beyond, law(letter, beyond), color=colour, lw=1.2, ls=(0, (3, 1.6)), zorder=4)
  if law.band:
    flops = law.band["flops"]
    visible = (flops >= low / 1.2) & (flops <= top * 1.001)
    lower, upper = law.band[letter][:, visible]
    axes.fill_between(flops[visible], lower, upper, color=colour, alpha=0.14, lw=0, zorder=2)


def _draw_runs(axes: Axes, view: ResultsView, letter: str) -> None:
  name = "params" if letter == "N" else "tokens"
  roof = 1.2 * max(_heights(view, letter, *_reach(view)))
  for spot in view.spots:
    if getattr(spot, name) > roof:  # There the words are.
      continue
    for index in spot.members:
      axes.plot(
        spot.budget, view.runs[index].number_or_nan(name), "o", gid=f"run-{index}",
        ms=2.4, mfc=style.MUTED, mec="none", alpha=0.45, zorder=3,
      )  # fmt: skip


def _draw_vertices(axes: Axes, view: ResultsView, letter: str) -> None:
  ramp = view.budget_ramp
  for valley in view.valleys:
    height = valley.params if letter == "N" else valley.tokens
    colour = style.HELD_OUT if valley.held_out else ramp(valley.budget)
    face, edge = (style.PAPER, colour) if valley.held_out else (colour, style.PAPER)
    axes.plot(valley.budget, height, "D", ms=5.4, mew=1.1, mfc=face, mec=edge, zorder=6)


def _draw_chinchilla(axes: Axes, view: ResultsView, letter: str, low: float, top: float) -> None:
  flops = np.geomspace(low / 1.4, top * 1.3, 2)
  size = np.sqrt(flops / (6 * CHINCHILLA))
  heights = size if letter == "N" else CHINCHILLA * size
  axes.plot(flops, heights, color=style.MUTED, lw=1.0, ls=(0, (1, 1.8)), zorder=1)
  ends = np.stack([_fraction(axes, *end) for end in zip(flops, heights, strict=True)])
  taken = _taken(axes, view, letter)
  rise = float(np.divide(*(ends[1] - ends[0])[::-1]))
  clear = 0.06 + 0.2 * rise  # so that the name's box keeps off its own line
  across = np.linspace(0.24, 0.76, 8)
  places = [(x, float(np.interp(x, *ends.T)) + off) for x in across for off in (clear, -clear)]
  free = [
    position
    for position in places
    if 0.13 < position[1] < 0.95 and not (position[0] < 0.62 and position[1] > 0.66)
  ]
  if not free:
    return
  # The lines fill a picture's diagonal: a name is clear of them where the nearest is farthest.
  best = max(free, key=lambda position: min(_distance(position, point) for point in taken))
  axes.text(
    *best, f"20 {view.unit} per parameter\n({_caveat(view)})", transform=axes.transAxes, color=style.MUTED,
    fontsize=8, zorder=5, linespacing=1.0, ha="center", va="center",
  )  # fmt: skip


def _fraction(axes: Axes, flops: float, height: float) -> np.ndarray:
  """Returns where a point stands, as shares of the axes' width and height."""
  (left, right), (bottom, roof) = np.log(axes.get_xlim()), np.log(axes.get_ylim())
  return np.array([(np.log(flops) - left) / (right - left), (np.log(height) - bottom) / (roof - bottom)])


def _taken(axes: Axes, view: ResultsView, letter: str) -> list[np.ndarray]:
  """Returns places on the laws' lines and at the valleys' minima, as shares of the axes."""
  low, top = _reach(view)
  points = [
    (c, float(law(letter, c))) for law in view.laws.values() for c in np.geomspace(low / 1.2, top, 30)
  ]
  points += [(valley.budget, valley.params if letter == "N" else valley.tokens) for valley in view.valleys]
  return [_fraction(axes, *point) for point in points]


def _distance(position: tuple[float, float], point: np.ndarray) -> float:
  """Returns how far a point is from a name's box, which is about .4 wide and .1 high."""
  across, up = abs(position[0] - point[0]) - 0.2, abs(position[1] - point[1]) - 0.05
  return float(np.hypot(max(across, 0), max(up, 0))) if max(across, up) > 0 else max(across, up)


def _explain(axes: Axes, view: ResultsView, letter: str) -> None:
  exponent = _EXPONENTS[letter]
  handles, words = [], []
  for law in view.laws.values():
    colour, name = style.APPROACHES[law.name], TITLES[law.name]
    value = law.a if letter == "N" else law.b
    reach = law.intervals.get(exponent)
    interval = f" [{reach[0]:.2f}, {reach[1]:.2f}]" if reach else ""
    handles.append(Line2D([], [], color=colour, lw=1.5))
    words.append(f"{name}  ${exponent}$ = {value:.2f}{interval}")
  if view.valleys:
    handles.append(Line2D([], [], marker="D", ls="", ms=4.6, mfc=style.MUTED, mec=style.PAPER))
    words.append("IsoFLOP minima" + (", hollow: held out" if view.valleys[-1].held_out else ""))
  axes.legend(handles, words, loc="upper left", handlelength=1.3)


def _caveat(view: ResultsView) -> str:
  # Bytes per parameter and tokens per parameter are not the same quantity; neither are two tokenizers' tokens.
  return "Chinchilla's 20 are tokens" if view.bytes else "depends on the tokenizer"
