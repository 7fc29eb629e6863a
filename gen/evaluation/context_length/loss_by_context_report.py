"""A transformer and a recurrent model side by side: loss by words in sight and cost by length, as lines."""

from collections.abc import Sequence

from gen.evaluation.context_length import loss_by_context, loss_by_context_figure
from gen.evaluation.context_length.loss_by_context import ComparedModel, ContextPoint
from gen.training.run_log.rows import RunResult

RESULT_FIELDS = ("family", "width", "depth", "params", "params_total", "tokens", "flops", "loss", "seconds")


def report_model(
  result: RunResult,
  points: Sequence[loss_by_context.ContextPoint],
  costs: Sequence[loss_by_context.PassCost],
) -> ComparedModel:
  """Returns one model's part of the comparison.

  Args:
    result: of its training.
    points: its loss by words in sight.
    costs: its time and memory by length.
  """
  return ComparedModel(
    **{name: getattr(result, name) for name in RESULT_FIELDS},
    learning_rate=result.learning_rate,
    reach=loss_by_context.useful_context(points),
    by_words=points,
    by_length=costs,
  )


def report_lines(rows: Sequence[ComparedModel]) -> list[str]:
  """Returns the comparison of two models.

  Args:
    rows: of the transformer and of the recurrent model; losses in nats per token, sizes in bytes.
  """
  lines = []
  first, second = rows
  names = [loss_by_context_figure.name_of(row.family) for row in rows]
  for name, row in zip(names, rows, strict=True):
    lines.append(
      f"{name}: {row.params_total:,} parameters, {row.tokens:,} tokens, rate {row.learning_rate:g}, "
      f"validation loss {row.loss:.3f}, {row.seconds:.0f} s in steps"
    )
  lines += [
    "",
    f"{'words in sight':>15}  {names[0]:>20}  {names[1]:>20}   nats per token (gain since the row above)",
  ]
  for a, b in zip(first.by_words, second.by_words, strict=True):
    lines.append(f"{a.words:>15}  {_loss(a):>20}  {_loss(b):>20}")
  lines += ["", f"{'tokens of text':>15}  {names[0]:>20}  {names[1]:>20}   µs per token, bytes of state"]
  for cost, other_cost in zip(first.by_length, second.by_length, strict=True):
    cells = [f"{c.seconds_per_token * 1e6:>8.1f} {c.remembered_bytes:>11,}" for c in (cost, other_cost)]
    lines.append(f"{cost.length:>15}  {cells[0]}  {cells[1]}")
  return [*lines, "", *_verdict(names, rows)]


def _loss(point: ContextPoint) -> str:
  gain = "" if point.gain is None else f" ({point.gain:+.3f} ± {point.gain_error:.3f})"
  return f"{point.loss:.3f}{gain}"


def _verdict(names: list[str], rows: Sequence[ComparedModel]) -> list[str]:
  """Returns the verdict on the claim that the transformer makes better use of distant words."""
  max_words = rows[0].by_words[-1].words
  reaches = [f"{name} up to {row.reach}" for name, row in zip(names, rows, strict=True)]
  gap = rows[1].by_words[-1].loss - rows[0].by_words[-1].loss
  which = "below" if gap > 0 else "above"
  return [
    f"Words in sight that reduce the loss by more than twice the standard error: {', '.join(reaches)}.",
    f"With {max_words} words in sight the {names[0]} is {abs(gap):.3f} nats {which} the {names[1]}.",
  ]
