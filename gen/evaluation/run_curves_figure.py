"""Figures and a page of the curves of runs, side by side."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib import colormaps, colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gen.errors import UserError
from gen.evaluation.run_curves import AXES, CurvePoint, RunCurves, config_differences
from gen.figures import page, style

LABELS = {"steps": "steps", "tokens": "tokens", "flops": "training FLOPs", "seconds": "seconds of training"}
# Okabe and Ito's colours, which most colour-blind readers can tell apart; more runs are a ramp.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#22262e")
_IN_LEGEND = 12  # runs; more would cover the curves


def draw_runs(runs: Sequence[RunCurves], x: str = "steps", *, logarithmic: bool = False) -> Figure:
  """Returns a figure of the training loss (thin) and the validation loss (marks) of each run.

  Args:
    runs: as `run_curves.read_runs` gave them.
    x: one of `run_curves.AXES`.
    logarithmic: whether both axes are.
  """
  figure, (axes,) = style.new_figure(style.PAGE, 4.2)
  for run, colour in zip(runs, _run_colours(len(runs)), strict=True):
    _draw_run(axes, run, x, colour)
  axes.set_xlabel(LABELS[x])
  axes.set_ylabel("loss, nats per token")
  if logarithmic:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
      set_formatter(lambda value, _: f"{value:g}")
  elif x in ("tokens", "flops"):
    axes.xaxis.set_major_formatter(lambda value, _: style.short_count(value))
  if len(runs) <= _IN_LEGEND:
    axes.legend(loc="upper right", title="line: training, marks: validation")
  return figure


def _draw_run(axes: Axes, run: RunCurves, x: str, colour: str) -> None:
  label = style.escape_mathtext(run.name)
  if run.train:
    axes.plot(*_points(run.train, x), color=colour, linewidth=0.9, alpha=0.75, label=label)
  if run.evaluation:
    name = None if run.train else label
    axes.plot(
      *_points(run.evaluation, x), marker="o", markersize=3.4, linewidth=1.4, color=colour, label=name
    )


def _points(points: tuple[CurvePoint, ...], x: str) -> tuple[list[float], list[float]]:
  return [getattr(point, x) for point in points], [point.loss for point in points]


def _run_colours(count: int) -> list[str]:
  if count <= len(_COLOURS):
    return list(_COLOURS[:count])
  return [colors.to_hex(colormaps["viridis"](0.92 * index / (count - 1))) for index in range(count)]


def save_png(runs: Sequence[RunCurves], path: Path, x: str = "steps", *, logarithmic: bool = False) -> None:
  """Writes the figure as a PNG.

  Raises:
    UserError: if the file cannot be written.
  """
  try:
    with style.paper_style():
      figure = draw_runs(runs, x, logarithmic=logarithmic)
      figure.savefig(path, format="png", dpi=style.DPI, metadata={"Software": None})
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def write_page(runs: Sequence[RunCurves], path: Path, *, logarithmic: bool = False) -> None:
  """Writes one HTML page: the curves against each axis, the last losses, and what differs between the configs.

  Raises:
    UserError: if the file cannot be written.
  """
  with style.paper_style():
    figures = {
      x: Markup(_svg(style.to_svg(draw_runs(runs, x, logarithmic=logarithmic), f"runs-{x}"))) for x in AXES
    }
  try:
    page.write_page(
      path,
      "runs",
      {},
      title=f"Runs: {', '.join(run.name for run in runs[:3])}{', ...' if len(runs) > 3 else ''}",
      figures=figures,
      labels=LABELS,
      runs=[_summary(run) for run in runs],
      differences={
        name: [_shown(value) for value in values] for name, values in config_differences(runs).items()
      },
    )
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _svg(text: str) -> str:
  return text[text.index("<svg") :]


def _summary(run: RunCurves) -> dict[str, str | bool]:
  last = max((*run.train, *run.evaluation), key=lambda point: point.steps)
  return {
    "name": run.name,
    "folder": run.folder,
    "finished": run.finished,
    "steps": f"{last.steps:,}",
    "tokens": style.short_count(last.tokens),
    "flops": f"{last.flops:.3g}",
    "seconds": f"{last.seconds:,.0f}",
    "train": f"{run.train[-1].loss:.4f}" if run.train else "-",
    "evaluation": f"{run.evaluation[-1].loss:.4f}" if run.evaluation else "-",
  }


def _shown(value: object) -> str:
  return "-" if value is None else str(value)
