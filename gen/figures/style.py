"""The common style of all figures: sizes, fonts, colours, ticks, and saving.

Sizes are for print: a column is 3.4 inches, a page 7, fonts 8 to 9.5 points. Colours have one meaning everywhere:
a cool ramp is the budget (C), a warm ramp the model's size (N), three fixed colours are the three approaches.
Both ramps are monotone in lightness and the fixed colours are Okabe and Ito's, so no figure depends on hue alone.

Nothing here uses pyplot, which keeps global state.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Inches: a column and the text of a two-column page, as in IEEE's and ACM's templates.
COLUMN, PAGE = 3.4, 7.0
# Dots per inch of PNG files: twice a screen's, so that figures stay sharp in print and small as files.
DPI = 200

INK, MUTED, GRID, PAPER = "#22262e", "#6a7180", "#e4e7ec", "#ffffff"
HELD_OUT = "#c2185b"

# Anchors from the smallest to the largest; on a dark page light stands for large.
_BUDGETS = ("#76be98", "#459c8e", "#2a7a8d", "#215482", "#2b2a6d")
_BUDGETS_DARK = ("#3f7f9c", "#46a2a4", "#6cc3a4", "#a5deac", "#e4f7c4")
_SIZES = ("#eba673", "#e2735c", "#c44a67", "#8d3474", "#4f2363")
_SIZES_DARK = ("#93528f", "#c75f8a", "#ea7f76", "#f5aa75", "#fcdc9f")

APPROACHES = {  # colours
  "envelope": "#b8860b",
  "isoflop": "#0072b2",
  "parametric": "#d1495b",
}
# On and off lengths in units of the line's width; approaches differ without colour too.
DASHES = {"envelope": (0, (4.5, 1.4)), "isoflop": "-", "parametric": (0, (6, 1.3, 1.2, 1.3))}

# Colours that a page replaces in dark mode.
DARK = {
  INK: "#e6e8ec",
  MUTED: "#9aa2b1",
  GRID: "#2e333d",
  PAPER: "#14171c",
  HELD_OUT: "#ff6fa3",
  "#b8860b": "#e3b341",
  "#0072b2": "#58a6ff",
  "#d1495b": "#ff7b72",
}

_RC: dict[str, Any] = {
  "font.family": "STIXGeneral",  # ships with matplotlib, so text looks the same on every machine
  "mathtext.fontset": "stix",
  "font.size": 9.0,
  "axes.titlesize": 10.5,
  "axes.titleweight": "bold",
  "axes.titlelocation": "left",
  "axes.titlepad": 7.0,
  "axes.labelsize": 9.5,
  "axes.labelcolor": INK,
  "axes.edgecolor": MUTED,
  "axes.linewidth": 0.6,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.axisbelow": True,
  "axes.grid": True,
  "grid.color": GRID,
  "grid.linewidth": 0.6,
  "grid.alpha": 1.0,
  "text.color": INK,
  "xtick.color": MUTED,
  "ytick.color": MUTED,
  "xtick.labelcolor": INK,
  "ytick.labelcolor": INK,
  "xtick.labelsize": 9.0,
  "ytick.labelsize": 9.0,
  "xtick.major.size": 2.5,
  "ytick.major.size": 2.5,
  "xtick.major.width": 0.6,
  "ytick.major.width": 0.6,
  "xtick.minor.size": 0,
  "ytick.minor.size": 0,
  "legend.fontsize": 8.0,
  "legend.frameon": True,
  "legend.facecolor": PAPER,
  "legend.edgecolor": "none",
  "legend.framealpha": 0.8,
  "legend.borderpad": 0.2,
  "legend.handlelength": 2.2,
  "legend.borderaxespad": 0.2,
  "legend.labelspacing": 0.35,
  "lines.linewidth": 1.3,
  "lines.solid_capstyle": "round",
  "pdf.fonttype": 42,  # keeps text editable in the PDF
  "svg.fonttype": "path",
  "figure.facecolor": PAPER,
  "axes.facecolor": "none",
  "savefig.facecolor": PAPER,
}


class Ramp(NamedTuple):
  """A colour for each of several ordered values, with its counterpart on a dark page."""

  light: dict[float, str]
  dark: dict[str, str]

  def __call__(self, value: float | None) -> str:
    """Returns the colour of a value, grey for a value outside the ramp."""
    return self.light.get(value, MUTED) if value is not None else MUTED


def budget_ramp(budgets: Sequence[float]) -> Ramp:
  """Colours budgets (FLOPs), small to large."""
  return _ramp(budgets, _BUDGETS, _BUDGETS_DARK)


def size_ramp(sizes: Sequence[float]) -> Ramp:
  """Colours model sizes (parameters), small to large."""
  return _ramp(sizes, _SIZES, _SIZES_DARK)


def _ramp(values: Sequence[float], light: Sequence[str], dark: Sequence[str]) -> Ramp:
  ordered = sorted(set(values))
  # Evenly spaced by rank, not by value. A single value gets a colour from the upper half of the ramp.
  fractions = [i / (len(ordered) - 1) if len(ordered) > 1 else 0.6 for i in range(len(ordered))]
  maps = [colors.LinearSegmentedColormap.from_list("ramp", anchors) for anchors in (light, dark)]
  day, night = ([colors.to_hex(colormap(fraction)) for fraction in fractions] for colormap in maps)
  return Ramp(dict(zip(ordered, day, strict=True)), dict(zip(day, night, strict=True)))


@contextlib.contextmanager
def paper_style() -> Iterator[None]:
  """Sets the style inside a `with`, and restores the previous one."""
  settings: Any = {**matplotlib.rcParamsDefault, **_RC}
  with matplotlib.rc_context(settings), warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="constrained_layout not applied")
    yield


def new_figure(
  width: float, height: float, columns: int = 1, rows: int = 1, **grid: Any
) -> tuple[Figure, list[Axes]]:
  """Returns a figure with a grid of axes, and the axes row by row.

  Args:
    width: inches.
    height: inches.
    columns: number of axes in a row.
    rows: number of rows.
    grid: other arguments of `Figure.subplots`.
  """
  layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.04)
  made = Figure(figsize=(width, height), layout=layout, dpi=DPI)
  FigureCanvasAgg(made)
  axes = made.subplots(rows, columns, squeeze=False, **grid)
  return made, list(axes.flat)


def save_figure(made: Figure, folder: Path, name: str) -> list[Path]:
  """Writes NAME.png and NAME.pdf, the same bytes for the same figure; returns their paths."""
  # Without the metadata of time and versions, which would differ between calls.
  paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
  made.savefig(paths[0], dpi=DPI, metadata={"Software": None})
  made.savefig(paths[1], metadata={"CreationDate": None, "Creator": None, "Producer": None})
  return paths


def to_svg(made: Figure, salt: str) -> str:
  """Returns the figure as SVG text on a transparent background; `salt` makes its ids reproducible."""
  buffer = io.StringIO()
  with matplotlib.rc_context({"svg.hashsalt": salt}):
    made.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
  return buffer.getvalue()


def write_note(axes: Axes, sentence: str) -> None:
  """Writes into empty axes why there is no plot."""
  axes.set_axis_off()
  axes.text(0.5, 0.5, _wrapped(sentence), transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _wrapped(sentence: str, width: int = 42) -> str:
  lines, line = [], ""
  for word in escape_mathtext(sentence).split():
    if line and len(line) + len(word) >= width:
      lines.append(line)
      line = ""
    line = f"{line} {word}".strip()
  return "\n".join([*lines, line])


def escape_mathtext(text: str) -> str:
  """Returns text that matplotlib does not interpret as mathematics."""
  return text.replace("$", r"\$")


def short_count(value: float) -> str:
  """Writes a count for a tick or a label.

  >>> [short_count(v) for v in (950, 33_000, 1_250_000, 70e9, 1.4e12)]
  ['950', '33k', '1.25M', '70B', '1.4T']
  """
  for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
    if abs(value) >= 0.9995 * limit:
      return f"{value / limit:.3g}{letter}"
  return f"{value:.3g}"


def power_of_ten(value: float) -> str:
  r"""Writes FLOPs as a power of ten in mathtext.

  >>> print(power_of_ten(3e12), power_of_ten(1e12))
  $3{\times}10^{12}$ $10^{12}$
  """
  mantissa, exponent = f"{value:.1e}".split("e")
  factor = mantissa.removesuffix(".0")
  ten = f"10^{{{int(exponent)}}}"
  return f"${ten}$" if factor == "1" else f"${factor}{{\\times}}{ten}$"


LABEL_INCHES = 0.5  # width of a tick label and the space beside it
# More labels than six crowd an axis of a column's width at 9 points.
MAX_TICKS = 6


def log_axis(axes: Axes, letter: str, label: str, low: float, high: float, text: Any = short_count) -> None:
  """Makes one axis logarithmic with a few round, labelled ticks.

  Args:
    axes: the axes.
    letter: x or y.
    label: of the axis.
    low: lower limit.
    high: upper limit.
    text: function from a tick to its label.
  """
  inches = axes.get_position().width * axes.figure.get_figure(root=True).get_figwidth()
  # Labels of the x axis stand side by side, so a narrow plot has fewer of them.
  count = MAX_TICKS if letter == "y" else max(2, min(MAX_TICKS, int(inches / LABEL_INCHES)))
  ticks = round_ticks(low, high, count)
  getattr(axes, f"set_{letter}scale")("log")
  getattr(axes, f"set_{letter}lim")(low, high)
  axis = getattr(axes, f"{letter}axis")
  axis.set_major_locator(ticker.FixedLocator(ticks))
  axis.set_minor_locator(ticker.NullLocator())
  axis.set_major_formatter(ticker.FixedFormatter([text(tick) for tick in ticks]))
  axis.set_label_text(label)


def round_ticks(low: float, high: float, max_ticks: int = MAX_TICKS) -> list[float]:
  """Returns at most `max_ticks` round numbers between low and high, evenly spread in the logarithm.

  >>> [float(tick) for tick in round_ticks(15e3, 700e3)]
  [20000.0, 50000.0, 100000.0, 200000.0, 500000.0]
  """
  low_power, high_power = math.floor(math.log10(low)), math.ceil(math.log10(high))
  # From dense to sparse: the first set of digits that gives few enough ticks.
  for digits in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
    ticks = [float(f"{d}e{e}") for e in range(low_power, high_power + 1) for d in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) <= max_ticks:
      break
  if len(ticks) < 2:  # a range of less than a factor of two, for which even steps are as good
    even = ticker.MaxNLocator(max(2, max_ticks - 2), steps=[1, 2, 5, 10]).tick_values(low, high)
    ticks = [float(tick) for tick in even if low <= tick <= high]
  return ticks[:: math.ceil(len(ticks) / max_ticks)]
