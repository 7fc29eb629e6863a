"""The figure of a study of labelled examples: score against their number, and against the pre-training loss."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import ticker
from matplotlib.axes import Axes

from gen.evaluation.few_shot_tasks.few_shot_figure import COLOURS
from gen.figures import style
from gen.finetuning.worth_of_labels.label_curves import LabelCurve, StartPoint

NAME = "worth_of_labels"
LABELS = {
  "full": "fine-tuned", "lora": "LoRA", "head": "head alone", "prompt": "examples in the prompt",
  "tfidf": "tf-idf, logistic regression",
}  # fmt: skip
_METRICS = {"rougeL": "ROUGE-L", "bleu": "BLEU", "f1": "F1"}


def draw_curves(
  folder: Path, curves: Sequence[LabelCurve], baseline: float, starts: Sequence[StartPoint], metric: str
) -> list[Path]:
  """Draws the curves of all methods, beside them the starts with a known loss, and returns the files.

  Args:
    folder: of the output files.
    curves: of the methods.
    baseline: score that needs no model; NaN for none.
    starts: further starts, fine-tuned on the most examples.
    metric: name of the score.
  """
  known = [each for each in starts if each.loss is not None]
  panels = 2 if len(known) > 1 else 1
  with style.paper_style():
    figure, axes = style.new_figure(style.PAGE if panels == 2 else 4.6, 3.0, panels, sharey=True)
    _draw_methods(axes[0], curves, baseline)
    axes[0].set_ylabel(_METRICS.get(metric, metric.replace("_", " ")))
    if panels == 2:
      _draw_starts(axes[1], known)
    return style.save_figure(figure, folder, NAME)


def _draw_methods(axes: Axes, curves: Sequence[LabelCurve], baseline: float) -> None:
  for curve, colour in zip(curves, COLOURS * len(curves), strict=False):
    if not curve.points:
      continue
    counts, scores = [p.examples for p in curve.points], [p.score for p in curve.points]
    errors = [
      [max(0.0, p.score - p.low) for p in curve.points],
      [max(0.0, p.high - p.score) for p in curve.points],
    ]
    label = LABELS.get(curve.method, curve.method)
    axes.errorbar(counts, scores, errors, color=colour, marker="o", markersize=3, elinewidth=0.7, label=label)
  if baseline == baseline:
    axes.axhline(baseline, color=style.MUTED, linewidth=0.8, linestyle=":", label="without a model")
  # An untrained model without examples stands at 0.
  axes.set_xscale("symlog", base=2, linthresh=1)
  counted = sorted({point.examples for curve in curves for point in curve.points})
  if counted:  # half a step of the scale beside the outermost points
    axes.set_xlim(counted[0] / 2**0.5 if counted[0] else -0.5, max(1, counted[-1]) * 2**0.5)
  axes.set_xticks(counted)
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: style.short_count(value)))
  axes.set_xlabel("labelled examples")
  axes.legend(loc="upper left")  # scores rise; "best" sees no error bars


def _draw_starts(axes: Axes, starts: Sequence[StartPoint]) -> None:
  ordered = sorted(starts, key=lambda each: each.loss or 0.0)
  errors = [
    [max(0.0, each.point.score - each.point.low) for each in ordered],
    [max(0.0, each.point.high - each.point.score) for each in ordered],
  ]
  losses, scores = [each.loss or 0.0 for each in ordered], [each.point.score for each in ordered]
  axes.errorbar(losses, scores, errors, color=COLOURS[0], marker="o", markersize=3, elinewidth=0.7)
  axes.set_xlabel("pre-training loss (nats per token)")
  axes.set_title(f"{ordered[0].point.examples:,} examples")
