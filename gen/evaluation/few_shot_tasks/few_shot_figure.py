"""The figure of few-shot tasks: each checkpoint's accuracy against the number of examples, one panel per task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes

from gen.evaluation.few_shot_tasks.few_shot import AccuracyValues
from gen.evaluation.few_shot_tasks.few_shot_report import FewShotRow
from gen.figures import style

NAME = "few_shot"
COLOURS = ("#0072b2", "#d1495b", "#b8860b", "#459c8e", "#8d3474")


def draw_accuracy(folder: Path, rows: Sequence[FewShotRow]) -> list[Path]:
  """Draws the accuracy of each model on each task and returns the files.

  Args:
    folder: of the output files.
    rows: models and tasks, as experiments/few_shot.py writes them.
  """
  tasks, models = (
    list(dict.fromkeys(row["task"] for row in rows)),
    list(dict.fromkeys(row["model"] for row in rows)),
  )
  with style.paper_style():
    figure, panels = style.new_figure(style.PAGE, 2.7, len(tasks), sharey=True)
    for axes, task in zip(panels, tasks, strict=True):
      task_rows = [row for row in rows if row["task"] == task]
      for row in task_rows:
        colour = COLOURS[models.index(row["model"]) % len(COLOURS)]
        draw_points(axes, row["points"], colour, "-", style.escape_mathtext(row["model"]))
      axes.axhline(task_rows[0]["chance"], color=style.MUTED, linewidth=0.8, linestyle=":", label="chance")
      axes.set_title(task)
      axes.set_xlabel("examples")
      axes.set_xscale("symlog", base=2, linthresh=1)
      axes.set_xticks(sorted({point["k"] for row in task_rows for point in row["points"]}))
      axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
      axes.set_ylim(0, 1.05)
    panels[0].set_ylabel("accuracy")
    panels[0].legend(loc="upper left")
    return style.save_figure(figure, folder, NAME)


def draw_points(axes: Axes, points: Sequence[AccuracyValues], colour: str, line: Any, label: str) -> None:
  """Draws a line of accuracies with their intervals."""
  ks, middles = [point["k"] for point in points], [point["accuracy"] for point in points]
  errors = [
    [max(0.0, point["accuracy"] - point["low"]) for point in points],
    [max(0.0, point["high"] - point["accuracy"]) for point in points],
  ]
  axes.errorbar(
    ks, middles, errors, color=colour, linestyle=line, marker="o", markersize=3, elinewidth=0.7, label=label
  )
