"""Efficiency (share of a step's time in the model's own products) against devices, by `gen.costs.scale_out`."""

from pathlib import Path

from gen.costs import scale_out
from gen.errors import UserError
from gen.figures import style

SIZES = (1e9, 1e10, 7e10, 5e11, 2e12)  # parameters N, one line each
MAX_DEVICES = 17  # powers of two: 131,072 devices


def efficiency_lines(
  cluster: scale_out.PaperCluster, tokens: float, length: int
) -> dict[float, list[tuple[int, float]]]:
  """Returns (devices, efficiency of the fastest layout) by parameters, for each number of devices that fits one."""
  lines: dict[float, list[tuple[int, float]]] = {}
  for size in SIZES:
    for devices in (2**power for power in range(MAX_DEVICES + 1)):
      try:
        best = scale_out.fastest_layout(scale_out.TrainingJob(size, tokens, length), cluster, devices)
      except UserError:
        continue
      lines.setdefault(size, []).append((devices, scale_out.useful_share(best)))
  return lines


def write_figure(cluster: scale_out.PaperCluster, tokens: float, length: int, label: str, path: str) -> None:
  """Draws a line for each size of `SIZES`.

  Args:
    cluster: the machines.
    tokens: tokens per step.
    length: tokens per row.
    label: of the axis of devices.
    path: the file; its suffix is the format.
  """
  with style.paper_style():
    made, (axes,) = style.new_figure(style.COLUMN * 1.5, 2.8)
    drawn = efficiency_lines(cluster, tokens, length)
    ramp = style.size_ramp(list(drawn))
    for size, points in drawn.items():
      devices, shares = zip(*points, strict=True)
      axes.plot(devices, shares, marker="o", markersize=3, color=ramp(size), label=style.short_count(size))
    style.log_axis(axes, "x", label, 0.8, 1.5 * 2**MAX_DEVICES)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of a step that is products")
    axes.set_title(style.escape_mathtext(f"Fastest layout, {tokens:.3g} tokens per step, by parameters"))
    axes.legend(frameon=False, loc="lower left")
    made.savefig(Path(path), dpi=style.DPI)
