"""State on each device against the number of devices, one line per ZeRO stage."""

from pathlib import Path

from gen.figures import style
from gen.sharding import state_bytes
from gen.sharding.layouts import STAGES

MAX_DEVICES = 1024  # right end of the axis; beyond it the lines are flat
NAMES = {"ddp": "data parallel", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3"}
# Lines differ in colour and in dashes, so that they can be told apart in print.
COLOURS = ("#22262e", "#b8860b", "#0072b2", "#d1495b")
# Matplotlib's (offset, (on, off, ...)) in units of the line's width; chosen to be told apart without colour.
DASHES = ((0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.3, 1.2, 1.3)), "-")


def memory_lines(parameters: float, precision: str) -> dict[str, list[tuple[int, float]]]:
  """Returns (devices, bytes on each) of every layout, for 1, 2, 4, ... devices."""
  # All powers of two up to 1,024, its bit_length being 11.
  counts = [2**power for power in range(MAX_DEVICES.bit_length())]
  return {
    layout: [(count, state_bytes.state_bytes(parameters, layout, count, precision).total) for count in counts]
    for layout in STAGES
  }


def write_figure(parameters: float, precision: str, path: str, name: str = "") -> None:
  """Draws the state of a model on 1 to 1024 devices.

  Args:
    parameters: N.
    precision: as in `state_bytes.PRECISIONS`.
    path: the file; its suffix is the format.
    name: of the model, for the title.
  """
  with style.paper_style():
    made, (axes,) = style.new_figure(style.COLUMN * 1.25, 2.8)
    drawn = memory_lines(parameters, precision)
    for (layout, points), colour, dash in zip(drawn.items(), COLOURS, DASHES, strict=True):
      devices, sizes = zip(*points, strict=True)
      axes.plot(devices, [size / 1e9 for size in sizes], color=colour, linestyle=dash, label=NAMES[layout])
    style.log_axis(axes, "x", "devices", 1, MAX_DEVICES)
    # The lowest and the highest line's ends, with a third of room.
    low, high = drawn["zero3"][-1][1] / 1e9, drawn["ddp"][0][1] / 1e9
    style.log_axis(axes, "y", "state on each device (GB)", low / 1.3, high * 1.3)
    axes.set_title(
      style.escape_mathtext(f"{name or 'A model'} of {style.short_count(parameters)} parameters, {precision}")
    )
    axes.legend(frameon=False)
    made.savefig(Path(path), dpi=style.DPI)
