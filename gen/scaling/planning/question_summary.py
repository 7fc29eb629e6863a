"""Formats a plan's answers for given parameters, tokens or models: the laws side by side, and the distance."""

from collections.abc import Callable

from gen.scaling.planning import budgets, published
from gen.scaling.planning.plan_records import LawAnswer, OptimumDistance, Plan, RuleOfThumb
from gen.scaling.runs.quantity_text import format_count

_COUNTED = {
  "all": "all parameters",
  "matrices": "the parameters of matrices, with the head",
  "no_embedding": "all parameters but look-up tables",
  "no_head": "all parameters but the head",
  "non_embedding": "all parameters but look-up tables and head",
}


def describe_counting(convention: str) -> str:
  """Returns what N counts in a convention, as a plan says it.

  >>> describe_counting("all")
  'all parameters'
  """
  return _COUNTED.get(convention, convention)


def question_title(report: Plan) -> str:
  """Returns the question that the plan's optimum answers."""
  question = report.question
  if report.distance is not None or question.flops is not None:
    return "optimum"
  if question.params is not None:
    return f"for {format_count(question.params)} parameters"
  return f"for {format_count(question.tokens or 0.0)} tokens"


def model_lines(report: Plan) -> list[str]:
  """Returns a line with the size, tokens and source of a named model."""
  model = report.question.model
  if model is None:
    return []
  tokens = "tokens not published" if model.tokens is None else f"{format_count(model.tokens)} tokens"
  return [f"model      {model.name}: {format_count(model.params)} parameters, {tokens}; {model.source}"]


def distance_lines(report: Plan) -> list[str]:
  """Returns lines on the distance of a given model from the optimum at its FLOPs."""
  part = report.distance
  if part is None:
    return []
  over = part.params_over_optimum
  size = (
    f"{over:.3g} times the optimum's parameters"
    if over >= 1
    else f"the optimum's parameters divided by {1 / over:.3g}"
  )
  text = [
    f"asked      {format_count(part.N)} parameters on {format_count(part.D)} tokens: "
    f"{part.tokens_per_parameter:.3g} tokens a parameter, {part.flops:.4g} FLOPs",
    f"           {size}, and {part.tokens_over_optimum:.3g} times its tokens, at equal FLOPs",
  ]
  if (
    part.loss is None or part.loss_rise is None or part.equal_loss_flops is None or part.equal_loss_share is None
    or part.equal_loss_N is None or part.equal_loss_D is None
  ):  # fmt: skip
    return [*text, "           this law gives the optimum alone, so it does not say what that costs in loss"]
  return [
    *text,
    f"           loss {part.loss:.4f}{_pair(part, 'loss', '{:.4f}'.format)} where the optimum has "
    f"{report.loss:.4f}: {part.loss_rise:+.4f}{_pair(part, 'loss_rise', '{:+.4f}'.format)} nats",
    f"           the optimum has that loss with {part.equal_loss_flops:.3g} FLOPs, "
    f"{100 * part.equal_loss_share:.3g} % of these{_pair(part, 'equal_loss_share', '{:.0%}'.format)}: "
    f"{format_count(part.equal_loss_N)} parameters on {format_count(part.equal_loss_D)} tokens",
  ]


def side_by_side_lines(report: Plan) -> list[str]:
  """Returns the rule of thumb and every law's answer as a table."""
  thumb = report.rule_of_thumb
  rows: list[tuple[str, RuleOfThumb | LawAnswer, str]] = [
    (f"{published.RULE:g} tokens a parameter", thumb, "the rule of thumb")
  ]
  rows += [(row.law, row, f"N is {describe_counting(row.counting)}") for row in report.by_law]
  timed = report.budget.device_given
  text = [f"{'by law':24} {'N':>10} {'D':>10} {'D/N':>8} {'FLOPs':>10}" + (f" {'time':>11}" if timed else "")]
  for name, row, about in rows:
    spent = f" {budgets.format_duration(row.hours):>11}" if timed else ""
    text.append(
      f"  {name:22} {format_count(row.N):>10} {format_count(row.D):>10} {row.tokens_per_parameter:>8.3g} "
      f"{row.flops:>10.3g}{spent}  {about}"
    )
  return text


def _pair(part: OptimumDistance, name: str, form: Callable[[float], str]) -> str:
  pair = part.interval.get(name)
  return f" [{form(pair[0])}, {form(pair[1])}]" if pair else ""
