"""The figure of decoding: the next token under each setting, repetition, and diversity against temperature."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from gen.evaluation.decoding import NextToken, SampledTexts
from gen.figures import style

NEXT, TEXTS = "next_token", "decoding"
BLUE, RED = "#0072b2", "#d1495b"


def draw_next(folder: Path, names: Sequence[str], steps: Sequence[NextToken]) -> list[Path]:
  """Draws the probabilities of the likeliest tokens under each setting, and returns the files.

  Args:
    folder: where they go.
    names: of the tokens.
    steps: the distribution under each setting.
  """
  with style.paper_style():
    figure, panels = style.new_figure(style.PAGE, 2.6, len(steps))
    for axes, step in zip(panels, steps, strict=True):
      places = range(len(names))
      axes.barh(places, step.probabilities, color=BLUE, height=0.7)
      axes.set_title(step.setting.replace(" ", "\n", 1), fontsize=8)
      axes.set_yticks(list(places), ["" for _ in names])
      axes.set_ylim(len(names) - 0.5, -0.5)
      axes.set_xlim(0, max(0.05, 1.1 * max(step.probabilities)))
      axes.set_xlabel(f"{step.entropy:.2f} nats\n{step.kept:,} kept", fontsize=7)
      axes.tick_params(axis="x", labelsize=6)
      axes.locator_params(axis="x", nbins=2)
    panels[0].set_yticks(
      list(range(len(names))), [style.escape_mathtext(_visible(name)) for name in names], fontsize=7
    )
    return style.save_figure(figure, folder, NEXT)


def draw_texts(
  folder: Path, settings: Sequence[SampledTexts], temperatures: Sequence[tuple[float, SampledTexts]]
) -> list[Path]:
  """Draws repetition of each setting, and diversity, repetition and surprise against temperature.

  Args:
    folder: where the files go.
    settings: statistics of each.
    temperatures: the same, each with its temperature.
  """
  with style.paper_style():
    figure, (bars, curves) = style.new_figure(style.PAGE, 2.6, 2)
    places = list(range(len(settings)))
    bars.barh(
      places, [setting.repetition for setting in settings], color=BLUE, height=0.7,
      xerr=[setting.repetition_error for setting in settings], error_kw={"elinewidth": 0.7},
    )  # fmt: skip
    bars.set_yticks(places, [setting.setting for setting in settings])
    bars.set_ylim(len(settings) - 0.5, -0.5)
    bars.set_title("Repetition")
    bars.set_xlabel("runs of 4 tokens that the text had before")
    _against_temperature(curves, temperatures)
    return style.save_figure(figure, folder, TEXTS)


def _against_temperature(axes: Axes, points: Sequence[tuple[float, SampledTexts]]) -> None:
  across = [temperature for temperature, _ in points]
  for key, colour, label in (
    ("diversity", BLUE, "different runs of 2"),
    ("repetition", RED, "repeated runs of 4"),
  ):
    axes.plot(
      across,
      [getattr(point, key) for _, point in points],
      color=colour,
      marker="o",
      markersize=3,
      label=label,
    )
  axes.set_title("Diversity")
  axes.set_xlabel("temperature")
  axes.set_ylabel("part of all runs")
  axes.set_ylim(0, 1.05)
  axes.legend(loc="center right")


def _visible(name: str) -> str:
  return name.replace("\n", "\\n").replace(" ", "\u2423") if name.strip() != name else name
