"""The figure of a study of a curation: loss over budgets after each stage, and what repetition costs over epochs."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gen.figures import style
from gen.scaling.comparisons.curation_records import CurationResults

NAME = "curation"


def write_figure(results: CurationResults, folder: Path) -> list[Path]:
  """Writes the figure as PNG and PDF into a folder; returns the files."""
  with style.paper_style():
    return style.save_figure(draw_curation(results), folder, NAME)


def draw_curation(results: CurationResults) -> Figure:
  """Returns the figure, a panel for the stages and one for repetition."""
  made, (left, right) = style.new_figure(style.PAGE, 3.2, 2)
  _draw_stages(left, results)
  if results.repeated:
    _draw_repetition(right, results)
  else:
    style.write_note(right, "No run repeats a part of the final text.")
  return made


def _draw_stages(axes: Axes, results: CurationResults) -> None:
  ramp = style.budget_ramp([float(number) for number in range(len(results.stages))])
  for number, stage in enumerate(results.stages):
    arms = [arm for arm in results.arms if arm.stage == stage.stage]
    colour = ramp(float(number))
    axes.plot([arm.budget for arm in arms], [arm.mean.mean for arm in arms], "o-", color=colour, ms=3.2, lw=1.1,
              label=stage.stage)  # fmt: skip
    for arm in arms:
      axes.plot([arm.budget] * len(arm.bits), list(arm.bits.values()), "_", color=colour, ms=5, mew=0.6)
  budgets = [arm.budget for arm in results.arms]
  style.log_axis(axes, "x", "compute C (FLOPs)", min(budgets) / 1.4, max(budgets) * 1.4, style.power_of_ten)
  axes.set_ylabel("bits per byte of the judging text")
  axes.legend(loc="best", fontsize=6.5)


def _draw_repetition(axes: Axes, results: CurationResults) -> None:
  budgets = sorted({arm.budget for arm in results.repeated})
  ramp = style.budget_ramp(budgets)
  for budget in budgets:
    arms = [arm for arm in results.repeated if arm.budget == budget and arm.cost is not None]
    epochs, costs = [1.0, *(arm.epochs for arm in arms)], [0.0, *(arm.cost.mean for arm in arms if arm.cost)]
    axes.plot(epochs, costs, "o-", color=ramp(budget), ms=3.2, lw=1.1, label=style.power_of_ten(budget))
    gain = next((verdict.gain for verdict in results.verdicts if verdict.budget == budget), None)
    if gain is not None and gain.mean < 0:
      axes.axhline(-gain.mean, color=ramp(budget), lw=0.7, ls=(0, (2, 2)))
  top = max(arm.epochs for arm in results.repeated)
  style.log_axis(axes, "x", "epochs of the final text", 0.9, top * 1.2)
  axes.set_ylabel("cost of repetition (bits per byte)")
  axes.set_title("Dashed: what the curation gained", fontsize=8.5)
  axes.legend(loc="upper left", fontsize=6.5)
