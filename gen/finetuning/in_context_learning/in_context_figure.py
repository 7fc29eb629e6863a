"""The figure of learning in context: accuracy against the examples, in the prompt and fine-tuned on."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import ticker
from matplotlib.axes import Axes

from gen.evaluation.few_shot_tasks.few_shot_figure import COLOURS, draw_points
from gen.figures import style
from gen.finetuning.in_context_learning.in_context_study import InContextRow

NAME = "in_context"
TITLES = {"letter": "Mappings of the trained kind", "digit": "Mappings of another kind"}


def draw_accuracy(folder: Path, rows: Sequence[InContextRow], best: Mapping[int, float]) -> list[Path]:
  """Draws each model's accuracy, one column of panels per family, and returns the files.

  Args:
    folder: of the output files.
    rows: models, as experiments/in_context.py writes them.
    best: the best possible accuracy with k examples of the trained kind.
  """
  families = list(dict.fromkeys(row["family"] for row in rows))
  with style.paper_style():
    figure, panels = style.new_figure(style.PAGE, 4.4, len(families), len(TITLES), sharex=True, sharey=True)
    cells = [(kind, family) for kind in TITLES for family in families]
    for axes, (kind, family) in zip(panels, cells, strict=True):
      _panel(axes, [row for row in rows if row["family"] == family], kind)
      if kind == "letter":
        axes.set_title(family.replace("_", "-"))
        axes.plot(
          list(best), list(best.values()), color=style.MUTED, linewidth=0.8, linestyle=":", label="possible"
        )
      else:
        axes.set_xlabel("examples")
    for axes, title in zip(panels[:: len(families)], TITLES.values(), strict=True):
      axes.set_ylabel(f"{title}\naccuracy")
    # Examples of another kind leave the upper half of their panels empty; above, every corner has its points.
    for axes, below in zip(panels[: len(families)], panels[len(families) :], strict=True):
      below.legend(*axes.get_legend_handles_labels(), loc="upper left")
    return style.save_figure(figure, folder, NAME)


def _panel(axes: Axes, rows: Sequence[InContextRow], kind: str) -> None:
  """Draws models of one family on questions of one kind."""
  for row, colour in zip(rows, itertools.cycle(COLOURS), strict=False):
    draw_points(axes, row["kinds"][kind]["in_context"], colour, "-", f"{row['width']}, in the prompt")
    draw_points(axes, row["kinds"][kind]["tuned"], colour, (0, (4, 2)), f"{row['width']}, fine-tuned")
  axes.set_xscale("symlog", base=2, linthresh=1)
  axes.set_xticks(
    sorted(
      {point["k"] for row in rows for way in ("in_context", "tuned") for point in row["kinds"][kind][way]}
    )
  )
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
  axes.set_ylim(0, 1.05)
