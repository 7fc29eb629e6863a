"""A table of memory by bits: 4 bytes a weight in float32 and 20 more to train it, and halves and quarters.

The rule of thumb scales with the bytes of a number: 24 GB for 1 B parameters in 32 bits, 12 in 16, 6 in 8. Beside it
stands what this trainer holds: gradients are float32 whatever parameters and moments are, and activations are extra.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gen.figures import style
from gen.precision import formats
from gen.sharding import state_bytes

GRADIENT = 4  # bytes of a gradient in this trainer, float32
_FORMATS = ("fp32", "bf16", "int8", "int4")


@dataclasses.dataclass(frozen=True, slots=True)
class BitsRow:
  """Bytes of a model in one format.

  Attributes:
    format: of the weights.
    bits: of a weight.
    weights_bytes: of the weights alone.
    rule_of_thumb_bytes: of training by the rule of thumb, in as many bits throughout; None below 8 bits.
    state_bytes: parameters, gradients and two moments in this trainer; None for formats that it does not train in.
  """

  format: str
  bits: int
  weights_bytes: float
  rule_of_thumb_bytes: float | None
  state_bytes: float | None


def bits_rows(parameters: float) -> list[BitsRow]:
  """Returns the table for a number of parameters.

  >>> [round(row.weights_bytes / 1e9, 2) for row in bits_rows(1e9)]
  [4.0, 2.0, 1.0, 0.5]
  >>> [row.rule_of_thumb_bytes and round(row.rule_of_thumb_bytes / 1e9) for row in bits_rows(1e9)]
  [24, 12, 6, None]
  """
  rows = []
  for name in _FORMATS:
    weights = formats.parameter_bytes(parameters, name)
    each = weights / parameters
    bits = round(8 * each)
    # Moments of fewer than 8 bits are not part of the rule.
    thumb = state_bytes.rule_of_thumb(parameters) * each / 4 if bits >= 8 else None
    # Parameters and two moments of one size: optimizer.param_dtype and moment_dtype.
    state = parameters * (3 * each + GRADIENT) if bits >= 16 else None
    rows.append(BitsRow(name, bits, weights, thumb, state))
  return rows


def table_lines(parameters: float, rows: Sequence[BitsRow]) -> list[str]:
  """Returns the table as text, in GB."""

  def cell(size: float | None) -> str:
    return f"{'-' if size is None else f'{size / 1e9:,.4g}':>16}"

  return [
    f"{style.short_count(parameters)} parameters, GB",
    f"{'format':<8}{'weights':>16}{'train, by rule':>16}{'state of gen':>16}",
    *(
      f"{row.format:<8}{cell(row.weights_bytes)}{cell(row.rule_of_thumb_bytes)}{cell(row.state_bytes)}"
      for row in rows
    ),
    "by rule: 4 bytes a weight and 20 more to train it, and as many fewer as a number has fewer bits",
    "state of gen: parameters and two moments of the format, gradients in float32; activations are extra",
  ]


def write_figure(parameters: float, rows: Sequence[BitsRow], path: str) -> None:
  """Draws the table as bars.

  Args:
    parameters: N, for the title.
    rows: of `bits_rows`.
    path: the file; its suffix is the format.
  """
  with style.paper_style():
    made, (axes,) = style.new_figure(style.COLUMN * 1.25, 2.6)
    kinds: tuple[tuple[str, str, list[float | None]], ...] = (
      ("weights", "#0072b2", [row.weights_bytes for row in rows]),
      ("training, by rule", "#d1495b", [row.rule_of_thumb_bytes for row in rows]),
      ("state of gen", "#b8860b", [row.state_bytes for row in rows]),
    )
    for index, (label, colour, sizes) in enumerate(kinds):
      places = [place + 0.27 * (index - 1) for place, size in enumerate(sizes) if size is not None]
      heights = [size / 1e9 for size in sizes if size is not None]
      bars = axes.bar(places, heights, 0.25, color=colour, label=label)
      axes.bar_label(bars, [f"{height:.3g}" for height in heights], fontsize=7)
    axes.set_xticks(range(len(rows)), [row.format for row in rows])
    axes.set_ylabel("GB")
    axes.set_title(f"{style.short_count(parameters)} parameters")
    axes.legend(frameon=False)
    made.savefig(Path(path), dpi=style.DPI)
