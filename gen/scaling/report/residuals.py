"""Figures of the parametric law's residuals ln(measured / predicted) against N and D, and of loss against loss."""

import numpy as np
from matplotlib.axes import Axes

from gen.figures import style
from gen.scaling.report.sections import Section
from gen.scaling.report.view import ResultsView


def draw_residuals(axes: Axes, view: ResultsView, letter: str) -> None:
  """Draws the residuals in per cent against N or D; held-out runs are hollow."""
  if not _can_draw(axes, view):
    return
  name, label = {"N": ("params", "parameters N"), "D": ("tokens", f"data D ({view.unit})")}[letter]
  values = [run.number_or_nan(name) for run in _runs(view)]
  style.log_axis(axes, "x", label, min(values) / 1.3, max(values) * 1.3)
  residuals = []
  for index, run in enumerate(view.runs):
    if run.number("loss") is not None:
      guess = view.predicted_loss(run.number_or_nan("params"), run.number_or_nan("tokens"))
      residuals.append(100 * float(np.log(run.number_or_nan("loss") / guess)))
      _mark(axes, view, index, run.number_or_nan(name), residuals[-1])
  # Room for the labels of the largest residuals.
  reach = 1.35 * max(1.0, *(abs(value) for value in residuals))
  axes.set_ylim(-reach, reach)
  axes.axhline(0, color=style.INK, lw=0.8, zorder=2)
  axes.set_ylabel("measured over predicted loss (%)")
  _shade_noise(axes, view)


def draw_agreement(axes: Axes, view: ResultsView) -> None:
  """Draws measured against predicted loss; on the diagonal the law is right."""
  if not _can_draw(axes, view):
    return
  ends: list[float] = []
  for index, run in enumerate(view.runs):
    if run.number("loss") is not None:
      guess = float(view.predicted_loss(run.number_or_nan("params"), run.number_or_nan("tokens")))
      loss = run.number_or_nan("loss")
      ends += [guess, loss]
      _mark(axes, view, index, guess, loss)
  room = 0.05 * (max(ends) - min(ends) or 1.0)
  limits = (min(ends) - room, max(ends) + room)
  axes.plot(limits, limits, color=style.INK, lw=0.8, zorder=2)
  axes.set(xlim=limits, ylim=limits, xlabel="predicted loss (nats)", ylabel="measured loss (nats)")
  axes.set_aspect("equal", adjustable="box")
  _key(axes, view)


def _can_draw(axes: Axes, view: ResultsView) -> bool:
  if view.constants is None or not _runs(view):
    reason = view.part("parametric").first_reason("it was not fitted")
    style.write_note(axes, f"No residuals, because there is no parametric law: {reason}")
    return False
  return True


def _runs(view: ResultsView) -> list[Section]:
  return [view.runs[index] for spot in view.spots for index in spot.members]


def _mark(axes: Axes, view: ResultsView, index: int, across: float, up: float) -> None:
  run = view.runs[index]
  held_out = bool(run.get("held_out"))
  colour = style.HELD_OUT if held_out else view.budget_ramp(run.number("budget"))
  face = style.PAPER if held_out else colour
  axes.plot(across, up, "o", ms=3.8, mfc=face, mec=colour, mew=0.9, alpha=0.9, zorder=4, gid=f"run-{index}")


def _shade_noise(axes: Axes, view: ResultsView) -> None:
  noise = view.results.number("seed_noise")
  if noise:
    share = 100 * noise / float(np.mean([run.number_or_nan("loss") for run in _runs(view)]))
    axes.axhspan(-share, share, color=style.GRID, alpha=0.7, lw=0, zorder=0)
    axes.text(
      0.98,
      0.97,
      "band: ±1 sd of seeds",
      transform=axes.transAxes,
      color=style.MUTED,
      ha="right",
      va="top",
      fontsize=8,
    )


def _key(axes: Axes, view: ResultsView) -> None:
  rows = [(style.power_of_ten(budget), view.budget_ramp(budget)) for budget in view.budgets]
  if view.held_out is not None:
    rows.append((f"{style.power_of_ten(view.held_out)} held out", style.HELD_OUT))
  for row, (words, colour) in enumerate(rows):
    axes.text(0.04, 0.97 - 0.075 * row, words, transform=axes.transAxes, color=colour, va="top", fontsize=8)
