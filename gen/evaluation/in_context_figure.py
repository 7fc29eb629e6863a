"""The figure of learning in context: accuracy against the examples, in the prompt and fine-tuned on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes

from gen.figures import style

NAME = "in_context"
TITLES = {"letter": "Mappings of the trained kind", "digit": "Mappings of another kind"}
COLOURS = ("#0072b2", "#d1495b", "#b8860b", "#459c8e", "#8d3474")


def draw(folder: Path, rows: Sequence[Mapping[str, Any]], best: Mapping[int, float]) -> list[Path]:
  """Draws each model's accuracy and returns the files.

  Args:
    folder: where they go.
    rows: models, as experiments/in_context.py writes them.
    best: accuracy that k examples of the trained kind allow.
  """
  with style.paper():
    figure, panels = style.figure(style.PAGE, 2.7, 2)
    for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
      for number, row in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        _points(axes, row["kinds"][kind]["in_context"], colour, "-", f"{row['name']}, in the prompt")
        _points(axes, row["kinds"][kind]["tuned"], colour, (0, (4, 2)), f"{row['name']}, fine-tuned")
      axes.set_title(title)
      axes.set_xlabel("examples")
      axes.set_xscale("symlog", base=2, linthresh=1)
      axes.set_xticks(
        sorted({point["k"] for row in rows for way in row["kinds"][kind].values() for point in way})
      )
      axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
      axes.set_ylim(0, 1.05)
    panels[0].plot(
      list(best), list(best.values()), color=style.MUTED, linewidth=0.8, linestyle=":", label="possible"
    )
    panels[0].set_ylabel("accuracy")
    panels[0].legend(loc="lower right")
    return style.save(figure, folder, NAME)


def _points(axes: Axes, points: Sequence[Mapping[str, Any]], colour: str, line: Any, label: str) -> None:
  ks, middles = [point["k"] for point in points], [point["accuracy"] for point in points]
  errors = [
    [max(0.0, point["accuracy"] - point["low"]) for point in points],
    [max(0.0, point["high"] - point["accuracy"]) for point in points],
  ]
  axes.errorbar(
    ks, middles, errors, color=colour, linestyle=line, marker="o", markersize=3, elinewidth=0.7, label=label
  )
