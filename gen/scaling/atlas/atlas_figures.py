"""Figures of an atlas of families, from its results.json alone: PNG and PDF of each, and SVG panels for its page.

A family has one colour everywhere. Losses of different objectives never share axes: only the families that answer the
same question do.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gen.figures import style
from gen.io import typed_json
from gen.scaling.atlas.atlas_records import AtlasResults, EqualLossCosts, FamilyResults, MeasuredValue
from gen.scaling.atlas.comparable import EQUAL, family_title
from gen.scaling.laws.three_fits import LawEntry
from gen.scaling.report import valleys, view
from gen.scaling.report.sections import Section, finite_number

COLOURS = {"decoder": "#0072b2", "encoder": "#d55e00", "encoder_decoder": "#009e73", "lstm": "#8d3474"}
DARK = {"#0072b2": "#58a6ff", "#d55e00": "#ff9e57", "#009e73": "#4fd1a5", "#8d3474": "#d78cc0"}
_MARKS = {"decoder": "o", "encoder": "s", "encoder_decoder": "D", "lstm": "^"}
_WORDS = {
  "tokens": "corpus tokens",
  "positions": "positions processed",
  "loss_tokens": "loss-bearing tokens",
}


def draw_loss_by_flops(results: AtlasResults) -> Figure:
  """Least loss against FLOPs, axes of their own for each objective."""
  return _losses(results, "budget", "compute C (FLOPs)")


def draw_loss_by_seconds(results: AtlasResults) -> Figure:
  """Least loss of each budget against the seconds that it took at the compute-optimal size."""
  return _losses(results, "seconds", "seconds in steps, one core")


def draw_sizes(results: AtlasResults) -> Figure:
  """N* against C of every family, and its exponent with its interval."""
  made, (left, right) = style.new_figure(style.PAGE, 2.9, 2)
  drawn = [_course(left, name, family, "budget", "N") for name, family in results.families.items()]
  if any(len(xs) for xs, _ in drawn):
    _axes(left, drawn, "compute C (FLOPs)", "optimal parameters N*")
    left.legend(loc="upper left")
  else:
    style.write_note(left, "No family has a budget with a minimum.")
  _exponents(right, results)
  return made


def draw_per_parameter(results: AtlasResults) -> Figure:
  """Tokens per parameter at the optimum, one panel for each meaning of D."""
  made, axes = style.new_figure(style.PAGE, 2.7, 3)
  for panel, (meaning, words) in zip(axes, _WORDS.items(), strict=True):
    drawn = [
      _course(panel, name, family, "budget", "per_parameter", meaning)
      for name, family in results.families.items()
    ]
    if not any(len(xs) for xs, _ in drawn):
      style.write_note(panel, "No family has a budget with a minimum.")
      continue
    _axes(panel, drawn, "compute C (FLOPs)", "per parameter, at N*")
    panel.set_title(words.capitalize(), fontsize=9)
  if axes[0].get_legend_handles_labels()[0]:
    axes[0].legend(loc="best", fontsize=7)
  return made


def draw_valleys(results: AtlasResults) -> Figure:
  """The valleys of every family, side by side."""
  families = list(results.families.items())
  made, axes = style.new_figure(style.PAGE * 1.25, 2.7, max(1, len(families)))
  for panel, (name, family) in zip(axes, families, strict=False):
    seen = view.read_results(typed_json.encode_record(family) | {"config": {"data": _data(results, name)}})
    valleys.draw_valleys(panel, seen)
    panel.set_title(family_title(name), fontsize=9)
  return made


def draw_equal_loss(results: AtlasResults) -> Figure:
  """FLOPs and seconds that the LSTM pays over the decoder's, at losses that both reach."""
  made, axes = style.new_figure(style.PAGE, 2.7, 2)
  entry = results.equal_loss
  for panel, cost in zip(axes, ("flops", "seconds"), strict=True):
    rows = [] if entry is None else entry.flops if cost == "flops" else entry.seconds
    if entry is None or not rows:
      error = entry and entry.error
      style.write_note(panel, error or "The decoder and the LSTM are not both in this atlas.")
      continue
    _ratio(panel, rows, entry.of)
    words = "FLOPs" if cost == "flops" else "seconds, at sizes best for FLOPs"
    panel.set_ylabel(f"{family_title(entry.of)} over {family_title(entry.over)}\n({words})")
  return made


FIGURES: dict[str, Callable[[AtlasResults], Figure]] = {
  "loss_by_flops": draw_loss_by_flops,
  "loss_by_seconds": draw_loss_by_seconds,
  "sizes": draw_sizes,
  "tokens_per_parameter": draw_per_parameter,
  "valleys": draw_valleys,
  "equal_loss": draw_equal_loss,
}


def write_figures(results: AtlasResults, folder: Path) -> list[Path]:
  """Writes every figure as PNG and PDF into a folder, made if need be; returns the files."""
  folder.mkdir(parents=True, exist_ok=True)
  paths = []
  with style.paper_style():
    for name, make in FIGURES.items():
      paths += style.save_figure(make(results), folder, name)
  return paths


def page_panels(results: AtlasResults) -> dict[str, str]:
  """Returns every figure as SVG text for a page; marks of runs carry no names, which several families share."""
  with style.paper_style():
    drawn = {name: style.to_svg(make(results), f"atlas-{name}") for name, make in FIGURES.items()}
  return {name: re.sub(r'<g id="(?:run|line)-\d+">', "<g>", svg) for name, svg in drawn.items()}


def _data(results: AtlasResults, name: str) -> Section:
  return Section(results.config).section(name).section("data")


def _losses(results: AtlasResults, across: str, label: str) -> Figure:
  names = list(results.families)
  together = [name for name in EQUAL if name in names]
  groups = ([together] if together else []) + [[name] for name in names if name not in EQUAL]
  made, axes = style.new_figure(style.PAGE * (1 if len(groups) > 1 else 0.6), 2.7, max(1, len(groups)))
  for panel, group in zip(axes, groups, strict=False):
    drawn = [_course(panel, name, results.families[name], across, "loss") for name in group]
    if not any(len(xs) for xs, _ in drawn):
      style.write_note(panel, f"{' and '.join(map(family_title, group))}: no budget with a minimum.")
      continue
    _axes(panel, drawn, label, "least loss (nats)", log_y=False)
    panel.set_title(_what(group), fontsize=8.5)
    panel.legend(loc="upper right", fontsize=7)
  return made


def _what(group: Sequence[str]) -> str:
  questions = {"encoder": "per masked token", "encoder_decoder": "per target of a hidden span"}
  return f"Nats {questions.get(group[0], 'per token')}"


def _course(
  axes: Axes, name: str, family: FamilyResults, across: str, up: str, inner: str = ""
) -> tuple[list[float], list[float]]:
  """Draws one value of a family's optima against another, with intervals; returns the points."""
  xs, ys, lows, highs = [], [], [], []
  for row in family.optima or []:
    measured: MeasuredValue | None = None if across == "budget" else getattr(row, across)
    x = finite_number(row.budget if across == "budget" else measured and measured.value)
    entry: MeasuredValue | None = (row.per_parameter or {}).get(inner) if inner else getattr(row, up)
    y = finite_number(entry and entry.value)
    if x is None or y is None or entry is None:
      continue
    low, high = entry.interval or (y, y)
    xs.append(x)
    ys.append(y)
    lows.append(max(0.0, y - low))
    highs.append(max(0.0, high - y))
  if xs:
    axes.errorbar(
      xs, ys, [lows, highs], color=COLOURS.get(name, style.MUTED), marker=_MARKS.get(name, "o"), markersize=3.8,
      elinewidth=0.8, capsize=1.6, label=family_title(name),
    )  # fmt: skip
  return xs, ys


def _axes(
  axes: Axes, drawn: Sequence[tuple[list[float], list[float]]], x: str, y: str, log_y: bool = True
) -> None:
  across = [value for xs, _ in drawn for value in xs]
  up = [value for _, ys in drawn for value in ys]
  text = style.power_of_ten if "FLOPs" in x else style.short_count
  style.log_axis(axes, "x", x, min(across) / 1.25, max(across) * 1.25, text)
  if log_y:
    style.log_axis(axes, "y", y, min(up) / 1.8, max(up) * 2.4)
  else:
    axes.set_ylabel(y)
    room = 0.12 * max(max(up) - min(up), 0.05)
    axes.set_ylim(min(up) - room, max(up) + 2 * room)


def _exponents(axes: Axes, results: AtlasResults) -> None:
  """Draws a of each family by approaches 2 and 3, with intervals."""
  rows = []
  for name, family in results.families.items():
    laws: list[tuple[LawEntry, str]] = [(family.laws.isoflop, "o"), (family.laws.parametric, "D")]
    for law, mark in laws:
      value, reach = finite_number(law.a), (law.ci90 or {}).get("a")
      if value is not None:
        rows.append((name, mark, value, reach or (value, value)))
  if not rows:
    style.write_note(axes, "No family gave a law.")
    return
  for height, (name, mark, value, (low, high)) in enumerate(reversed(rows)):
    colour = COLOURS.get(name, style.MUTED)
    axes.plot([low, high], [height, height], color=colour, lw=1.1)
    axes.plot(value, height, mark, color=colour, ms=4.2, mec=style.PAPER, mew=0.4)
  axes.set_yticks(
    range(len(rows)),
    [f"{family_title(name)}, {2 if mark == 'o' else 3}" for name, mark, _, _ in reversed(rows)],
    fontsize=7,
  )
  values = [value for _, _, value, _ in rows]
  axes.set_xlim(min(0.2, min(values) - 0.1), max(0.9, max(values) + 0.1))
  axes.set_xlabel("exponent a of N*(C), approaches 2 and 3")


def _ratio(axes: Axes, rows: Sequence[EqualLossCosts], name: str) -> None:
  losses = [row.loss for row in rows]
  ratios = np.array([row.ratio for row in rows])
  axes.axhline(1.0, color=style.MUTED, lw=0.8, ls=(0, (2, 2)))
  ends = [row.interval for row in rows]
  if all(ends):
    low, high = np.array(ends).T
    axes.fill_between(losses, low, high, color=COLOURS.get(name), alpha=0.16, lw=0)
  axes.plot(losses, ratios, color=COLOURS.get(name), marker=_MARKS.get(name), ms=3.8)
  axes.invert_xaxis()
  axes.set_xlabel("loss that both reach (nats per token)")
  top = max([1.15, *ratios.tolist(), *(end[1] for end in ends if end)])
  axes.set_ylim(0, min(1.1 * top, 4 * max(1.15, float(ratios.max()))))
