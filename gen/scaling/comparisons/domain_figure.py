"""The figure of a study of a domain: bits per byte of each arm over the budgets, on the domain and on general text."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gen.figures import style
from gen.scaling.comparisons import domain_design
from gen.scaling.comparisons.domain_records import DomainArm, DomainResults

NAME = "adapt_domain"
_COLOURS = {
  domain_design.GENERAL: "#555555",
  domain_design.SCRATCH: "#d55e00",
  domain_design.SCRATCH_OWN: "#8d3474",
}
_ADAPTED = ("#9ecae1", "#0072b2", "#08306b", "#009e73", "#44aa99")  # by replay, in order


def write_figure(results: DomainResults, folder: Path) -> list[Path]:
  """Writes the figure as PNG and PDF into a folder; returns the files."""
  with style.paper_style():
    return style.save_figure(draw_arms(results), folder, NAME)


def draw_arms(results: DomainResults) -> Figure:
  """Returns the figure: one panel for each text, one line for each arm, a dash for each seed."""
  made, axes = style.new_figure(style.PAGE, 3.2, 2)
  arms = list(dict.fromkeys(arm.arm for arm in results.arms))
  adapted = [arm for arm in arms if arm.startswith(domain_design.ADAPTED)]
  colours = _COLOURS | {arm: _ADAPTED[i % len(_ADAPTED)] for i, arm in enumerate(adapted)}
  for panel, text in zip(axes, ("domain", "general"), strict=True):
    for arm in arms:
      _draw_arm(panel, [row for row in results.arms if row.arm == arm], text, colours.get(arm, style.MUTED))
    budgets = [arm.budget for arm in results.arms]
    style.log_axis(
      panel, "x", "compute C (FLOPs)", min(budgets) / 1.4, max(budgets) * 1.4, style.power_of_ten
    )
    panel.set_title(
      "Held-out text of the domain" if text == "domain" else "Held-out general text", fontsize=9
    )
  axes[0].set_ylabel("bits per byte")
  axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=6.5)
  return made


def _draw_arm(axes: Axes, rows: list[DomainArm], text: str, colour: str) -> None:
  means = [getattr(row, text).mean for row in rows]
  title = domain_design.arm_title(rows[0].arm)
  axes.plot([row.budget for row in rows], means, color=colour, marker="o", ms=3.4, lw=1.1, label=title)
  for row in rows:
    bits = [getattr(run, text) for run in row.runs]
    axes.plot([row.budget] * len(bits), bits, "_", color=colour, ms=5, mew=0.6)
