"""How much of a step is the model's own products, against devices, by the paper model of `gen.parallel.scale_out`."""

from pathlib import Path

from gen.errors import UserError
from gen.figures import style
from gen.parallel import scale_out

SIZES = (1e9, 1e10, 7e10, 5e11, 2e12)
MOST = 17  # powers of two: 131,072 devices


def lines(cluster: scale_out.Cluster, tokens: float, length: int) -> dict[float, list[tuple[int, float]]]:
  """Returns (devices, efficiency of the best layout) wherever one fits, by parameters."""
  found: dict[float, list[tuple[int, float]]] = {}
  for size in SIZES:
    for devices in (2**power for power in range(MOST + 1)):
      try:
        best = scale_out.best(scale_out.Job(size, tokens, length), cluster, devices)
      except UserError:
        continue
      found.setdefault(size, []).append((devices, scale_out.efficiency(best)))
  return found


def write(cluster: scale_out.Cluster, tokens: float, length: int, label: str, path: str) -> None:
  """Draws a line for each size and writes the figure in the format that the path ends in."""
  with style.paper():
    made, (axes,) = style.figure(style.COLUMN * 1.5, 2.8)
    drawn = lines(cluster, tokens, length)
    ramp = style.size_ramp(list(drawn))
    for size, points in drawn.items():
      devices, shares = zip(*points, strict=True)
      axes.plot(devices, shares, marker="o", markersize=3, color=ramp(size), label=style.short(size))
    style.log_axis(axes, "x", label, 0.8, 1.5 * 2**MOST)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of a step that is products")
    axes.set_title(style.literal(f"Best layout, {tokens:.3g} tokens a step, by parameters"))
    axes.legend(frameon=False, loc="lower left")
    made.savefig(Path(path), dpi=style.DPI)
