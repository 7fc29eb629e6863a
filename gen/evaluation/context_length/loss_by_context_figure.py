"""The figure of a comparison: loss against the visible words, time and memory against the length of the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes

from gen.evaluation.context_length.loss_by_context import ComparedModel
from gen.figures import style

COLOURS = ("#0072b2", "#d1495b")  # of the transformer and of the recurrent model
NAMES = {"decoder": "transformer", "rnn": "RNN"}
NAME = "rnn_vs_transformer"


def name_of(family: str) -> str:
  """Returns the displayed name of a family.

  >>> [name_of(family) for family in ("decoder", "rnn", "lstm")]
  ['transformer', 'RNN', 'LSTM']
  """
  return NAMES.get(family, family.upper())


def draw_comparison(folder: Path, models: Sequence[ComparedModel]) -> list[Path]:
  """Draws the rows of two models into a folder and returns the files.

  Args:
    folder: where NAME.png and NAME.pdf go.
    models: a transformer and a recurrent model.
  """
  with style.paper_style():
    figure, (loss, time, memory) = style.new_figure(style.PAGE, 2.5, 3)
    for model, colour in zip(models, COLOURS, strict=True):
      _loss(loss, model, colour)
      _against_length(time, model, colour, "seconds_per_token", 1e-6)
      _against_length(memory, model, colour, "remembered_bytes", 1024)
    _across(loss, [point.words for point in models[0].by_words], "words in sight")
    for axes in (time, memory):
      _across(axes, [point.length for point in models[0].by_length], "tokens of text")
    loss.set_title("Loss")
    loss.set_ylabel("nats per token")
    loss.legend(loc="upper right")
    time.set_title("Time")
    time.set_ylabel("µs per token, training pass")
    time.set_ylim(bottom=0)
    memory.set_title("Memory")
    memory.set_ylabel("KiB kept to go on")
    memory.set_yscale("log", base=4)
    memory.yaxis.set_major_formatter(ticker.FuncFormatter(_tick))
    return style.save_figure(figure, folder, NAME)


def _loss(axes: Axes, model: ComparedModel, colour: str) -> None:
  words, means, errors = (
    [getattr(point, key) for point in model.by_words] for key in ("words", "loss", "standard_error")
  )
  axes.errorbar(
    words,
    means,
    errors,
    color=colour,
    marker="o",
    markersize=3.2,
    elinewidth=0.7,
    label=name_of(model.family),
  )


def _against_length(axes: Axes, model: ComparedModel, colour: str, key: str, unit: float) -> None:
  points = [(point.length, getattr(point, key) / unit) for point in model.by_length]
  axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.2)


def _across(axes: Axes, values: Sequence[int], label: str) -> None:
  axes.set_xscale("log", base=2)
  axes.set_xticks(list(values))
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(_tick))
  axes.set_xlabel(label)


def _tick(value: float, _: Any) -> str:
  return f"{value:g}"
