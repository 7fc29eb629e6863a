"""The bits of a number in each format as coloured squares, and the spacing of each format over its range."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gen.figures import style
from gen.precision import formats
from gen.precision.format_report import NumberReport

SIGN, EXPONENT, FRACTION = "#d1495b", "#459c8e", "#215482"
_LINES = ("#22262e", "#6a7180", "#d1495b", "#0072b2", "#b8860b", "#459c8e")


def write_figure(report: NumberReport, path: str) -> None:
  """Draws the report of a number.

  Args:
    report: of `format_report.report_number`.
    path: the file; its suffix is the format.
  """
  with style.paper_style():
    made, (bits, spacing) = style.new_figure(style.PAGE, 5.6, rows=2, height_ratios=(3, 2))
    _draw_bits(bits, report)
    _draw_spacing(spacing)
    made.savefig(Path(path), dpi=style.DPI)


def _draw_bits(axes: Axes, report: NumberReport) -> None:
  """Draws a row of squares for each format, filled where the bit is 1."""
  rows = report.formats
  for row, entry in enumerate(rows):
    column = 0
    for bits, colour in ((entry.sign, SIGN), (entry.exponent, EXPONENT), (entry.fraction, FRACTION)):
      for bit in bits:
        filled = colour if bit == "1" else "none"
        axes.add_patch(
          Rectangle((column + 0.08, row - 0.4), 0.84, 0.8, facecolor=filled, edgecolor=colour, linewidth=0.8)
        )
        column += 1
    # Right of the widest format, which has 32 squares.
    text = "no pattern" if entry.pattern is None else entry.value_text
    axes.text(32.6, row, text, va="center", fontsize=8)
  for left, word, colour in (
    (0, "sign", SIGN),
    (4, "exponent", EXPONENT),
    (11, "fraction, integer or index", FRACTION),
  ):
    axes.text(left, len(rows) - 0.2, word, color=colour, va="top", fontsize=8)
  axes.set_yticks(range(len(rows)), [entry.title for entry in rows])
  axes.set_xticks([])
  # 32 squares, and room for a value of nine digits.
  axes.set_xlim(0, 41)
  axes.set_ylim(len(rows) + 0.4, -0.6)
  axes.grid(False)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0)
  axes.set_title(f"{report.number_text} in each format, and what its bits stand for")


def _draw_spacing(axes: Axes) -> None:
  """Draws the relative spacing of each float format over its range."""
  floats = [found for found in formats.FORMATS.values() if isinstance(found, formats.FloatFormat)]
  for found, colour in zip(floats, _LINES, strict=False):
    # At powers of two, where the relative spacing of a format is largest.
    numbers = 2.0 ** np.arange(np.floor(np.log2(found.smallest)), np.floor(np.log2(found.largest)) + 1)
    relative = [found.spacing(number) / number for number in numbers]
    axes.plot(numbers, relative, color=colour, label=found.title)
  axes.set_xscale("log")
  axes.set_yscale("log")
  # From below FP32's spacing, 2^-23 (1.2e-7), to above the spacing of subnormal numbers, which reaches 1.
  axes.set_ylim(3e-8, 2)
  axes.set_xlabel("number")
  axes.set_ylabel("spacing / number")
  axes.legend(ncols=2, fontsize=7.5)
