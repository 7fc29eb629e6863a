"""The loss that rounding adds, measured and fitted: against bits for each run, and against tokens per parameter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gen.figures import style
from gen.scaling.precision.precision_law import PrecisionFit, RoundedLoss


def write_figure(fit: PrecisionFit, rows: Sequence[RoundedLoss], folder: Path) -> list[Path]:
  """Draws the measurements of a study and its law as precision_law.png and .pdf; returns the files.

  Args:
    fit: of the law.
    rows: measurements; those that are not clearly above zero are hollow.
    folder: of the files.
  """
  sizes = sorted({row.N for row in rows})
  colours = style.size_ramp(sizes)
  with style.paper_style():
    made, (by_bits, by_ratio) = style.new_figure(style.PAGE, 3.0, columns=2)
    shown = [row for row in rows if row.added > 0]
    for row in shown:
      clear = row.low > 0
      for axes, x in ((by_bits, row.bits), (by_ratio, row.D / row.N)):
        colour = colours(row.N)
        axes.plot(
          x, row.added, "o", color=colour, markerfacecolor=colour if clear else "none", markersize=3.5
        )
    for size in sizes:
      ratios = sorted({row.D / row.N for row in rows if size == row.N})
      bits = np.linspace(min(row.bits for row in rows), max(row.bits for row in rows), 50)
      middle = ratios[len(ratios) // 2] * size
      by_bits.plot(
        bits, [fit.law.added_loss(size, middle, each) for each in bits], color=colours(size),
        label=f"N = {style.short_count(size)}",
      )  # fmt: skip
      for count in sorted({row.bits for row in rows}):
        if len(ratios) > 1:
          spread = np.geomspace(ratios[0], ratios[-1], 20)
          by_ratio.plot(
            spread,
            [fit.law.added_loss(size, each * size, count) for each in spread],
            color=colours(size),
            lw=0.7,
          )
    low, high = min(row.added for row in shown) / 1.5, max(row.added for row in shown) * 1.5
    ratios = [row.D / row.N for row in rows]
    style.log_axis(by_ratio, "x", "tokens per parameter", min(ratios) / 1.2, max(ratios) * 1.2)
    by_bits.set_xlabel("bits of a weight")
    for axes in (by_bits, by_ratio):
      style.log_axis(axes, "y", "added loss (nats per token)", low, high)
    by_bits.legend(frameon=False)
    return style.save_figure(made, folder, "precision_law")
