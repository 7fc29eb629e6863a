"""Figures of a scaling study, fit for a paper: PNG and PDF of each, and SVG panels for the report.

Every figure is made from results.json (and, for the loss curves, the journal's rows of training) alone. What a study
lacks is said in words where the drawing would be.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from gen.figures import style
from gen.scaling.report import frontier, residuals, valleys
from gen.scaling.report.curves import TrainingCurve, draw_curves, read_curves
from gen.scaling.report.view import ResultsView, read_results
from gen.training.run_log.rows import RowValues

__all__ = ["FIGURES", "write_figures"]


def draw_loss_curves(view: ResultsView, lines: Sequence[TrainingCurve]) -> Figure:
  """Loss against FLOPs of every run, coloured by size, with the envelope."""
  made, (axes,) = style.new_figure(style.COLUMN * 1.25, 2.8)
  draw_curves(axes, view, lines)
  return made


def draw_valleys(view: ResultsView, lines: Sequence[TrainingCurve]) -> Figure:
  """Loss against N, one parabola a budget."""
  made, (axes,) = style.new_figure(style.COLUMN * 1.25, 2.8)
  valleys.draw_valleys(axes, view)
  return made


def draw_optimum(view: ResultsView, lines: Sequence[TrainingCurve]) -> Figure:
  """N* and D* against C by the three approaches, up to the prediction."""
  made, axes = style.new_figure(style.PAGE, 3.2, 2)
  for panel, letter in zip(axes, "ND", strict=True):
    frontier.draw_frontier(panel, view, letter)
  return made


def draw_residuals(view: ResultsView, lines: Sequence[TrainingCurve]) -> Figure:
  """Residuals of the parametric law against N and D, and measured against predicted loss."""
  made, axes = style.new_figure(style.PAGE, 2.5, 3)
  residuals.draw_residuals(axes[0], view, "N")
  residuals.draw_residuals(axes[1], view, "D")
  residuals.draw_agreement(axes[2], view)
  return made


def draw_curve(view: ResultsView, lines: Sequence[TrainingCurve]) -> Figure:
  """The picture for the top of a page: valleys at the left, N* against C at the right."""
  made, axes = style.new_figure(8.6, 3.7, 2)
  valleys.draw_valleys(axes[0], view)
  frontier.draw_frontier(axes[1], view, "N")
  axes[0].set_title("Loss at equal compute")
  axes[1].set_title("Compute-optimal size")
  return made


FIGURES: dict[str, Callable[[ResultsView, Sequence[TrainingCurve]], Figure]] = {
  "loss_curves": draw_loss_curves,
  "isoflop_valleys": draw_valleys,
  "optimum": draw_optimum,
  "residuals": draw_residuals,
  "curve": draw_curve,
}


def write_figures(results: Mapping[str, object], curves: Sequence[RowValues], folder: Path) -> list[Path]:
  """Writes every figure as PNG and PDF into a folder.

  Args:
    results: what results.json holds.
    curves: rows of kind "train" of the sweep's journal.
    folder: made if need be.

  Returns:
    The files, in the order of `FIGURES`.
  """
  folder.mkdir(parents=True, exist_ok=True)
  view = read_results(results)
  lines = read_curves(view, curves)
  paths = []
  with style.paper_style():
    for name, make in FIGURES.items():
      paths += style.save_figure(make(view, lines), folder, name)
  return paths
