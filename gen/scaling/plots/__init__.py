"""Figures of a scaling study, fit for a paper: PNG and PDF of each, and SVG panels for the report.

Every figure is made from results.json (and, for the loss curves, the journal's rows of training) alone. What a study
lacks is said in words where the drawing would be.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gen.figures import style
from gen.scaling.plots import curves as curves_
from gen.scaling.plots import frontier, residuals, valleys
from gen.scaling.plots.view import View, read

__all__ = ["FIGURES", "write_all"]


def loss_curves(view: View, lines: Sequence[curves_.Curve]) -> Figure:
  """Loss against FLOPs of every run, coloured by size, with the envelope."""
  made, (axes,) = style.figure(style.COLUMN * 1.25, 2.8)
  curves_.draw(axes, view, lines)
  return made


def isoflop_valleys(view: View, lines: Sequence[curves_.Curve]) -> Figure:
  """Loss against N, one parabola a budget."""
  made, (axes,) = style.figure(style.COLUMN * 1.25, 2.8)
  valleys.draw(axes, view)
  return made


def optimum(view: View, lines: Sequence[curves_.Curve]) -> Figure:
  """N* and D* against C by the three approaches, up to the prediction."""
  made, axes = style.figure(style.PAGE, 3.2, 2)
  for one, letter in zip(axes, "ND", strict=True):
    frontier.draw(one, view, letter)
  return made


def residuals_(view: View, lines: Sequence[curves_.Curve]) -> Figure:
  """Residuals of the parametric law against N and D, and measured against predicted loss."""
  made, axes = style.figure(style.PAGE, 2.5, 3)
  residuals.draw(axes[0], view, "N")
  residuals.draw(axes[1], view, "D")
  residuals.draw_agreement(axes[2], view)
  return made


def curve(view: View, lines: Sequence[curves_.Curve]) -> Figure:
  """The picture for the top of a page: valleys at the left, N* against C at the right."""
  made, axes = style.figure(8.6, 3.7, 2)
  valleys.draw(axes[0], view)
  frontier.draw(axes[1], view, "N")
  axes[0].set_title("Loss at equal compute")
  axes[1].set_title("Compute-optimal size")
  return made


FIGURES: dict[str, Callable[[View, Sequence[curves_.Curve]], Figure]] = {
  "loss_curves": loss_curves,
  "isoflop_valleys": isoflop_valleys,
  "optimum": optimum,
  "residuals": residuals_,
  "curve": curve,
}


def write_all(results: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
  """Writes every figure as PNG and PDF into a folder.

  Args:
    results: what results.json holds.
    curves: rows of kind "train" of the sweep's journal.
    folder: made if need be.

  Returns:
    The files, in the order of `FIGURES`.
  """
  folder.mkdir(parents=True, exist_ok=True)
  view = read(results)
  lines = curves_.read(view, curves)
  paths = []
  with style.paper():
    for name, make in FIGURES.items():
      paths += style.save(make(view, lines), folder, name)
  return paths
