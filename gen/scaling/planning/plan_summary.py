"""Formats a plan as lines of text."""

from collections.abc import Callable, Sequence

from gen.scaling.planning import budget_words, budgets, question_summary
from gen.scaling.planning.plan_records import Plan
from gen.scaling.runs.quantity_text import format_count

_LONGEST_HERE = 30 * 24 * 60  # minutes of this machine, 30 days; chosen: nobody trains longer on one

_TITLES = {
  "N": "parameters",
  "D": "tokens",
  "tokens_per_parameter": "tokens a parameter",
  "loss": "loss, nats a token",
}


def plan_lines(report: Plan) -> list[str]:
  """Returns the lines of a plan that `plan.make_plan` returned."""
  law = report.law
  text = [
    f"law        {law.name}: {law.source}",
    f"           N is {question_summary.describe_counting(law.counting)}",
  ]
  parts = (
    question_summary.model_lines, question_summary.distance_lines, _budget, _best, _shape,
    _inference, _repetition, _overtrain, _next, question_summary.side_by_side_lines, _table,
  )  # fmt: skip
  for part in parts:
    more = part(report)
    text += ["", *more] if more else []
  lines = [f"note: {note}" for note in report.notes]
  lines += [f"warning: {warning}" for warning in report.warnings]
  return [*text, *([""] if lines else []), *lines]


def _budget(report: Plan) -> list[str]:
  budget = report.budget
  many = "" if budget.count == 1 else f" of {budget.count:g} {budget.device}"
  text = [f"budget     {budget.flops:.4g} FLOPs = {budget.pf_days:.4g} PF/s-days"]
  here = budget.device == budget_words.THIS_MACHINE
  if not budget.device_given:
    text.append("           no device is given: --gpu and --count add times")
  elif not here:
    text.append(
      f"           {budget.device_hours:.4g} {budget.device}-hours at {100 * budget.utilization:g} % "
      f"utilization: {budgets.format_duration(budget.hours)}{many}"
    )
  if here or budget.machine_minutes <= _LONGEST_HERE:
    text.append(
      f"           {budgets.format_duration(budget.machine_minutes / 60)} of this machine, at the "
      f"{budget.machine_flops_per_second / 1e9:.3g} GFLOP/s of its matrix products"
    )
  return text


def _best(report: Plan) -> list[str]:
  level = report.law.level
  head = f"{100 * level:g} % interval" if report.interval and level else f"intervals: {report.law.intervals}"
  text = [f"{question_summary.question_title(report):30} {'':>10} {head}"]
  for name, title in _TITLES.items():
    text.append(_row(title, getattr(report, name), report.interval.get(name), _format(name)))
  if report.budget.device_given:
    text.append(f"  {'time':28} {budgets.format_duration(report.hours):>10}")
  if report.cost is not None:
    text.append(f"  {'cost':28} {report.cost:>10,.0f}")
  return text


def _row(title: str, value: float | None, pair: Sequence[float] | None, form: Callable[[float], str]) -> str:
  if value is None:
    return f"  {title:28} {'unknown':>10}"
  interval = f"  [{form(pair[0])}, {form(pair[1])}]" if pair else ""
  return f"  {title:28} {form(value):>10}{interval}"


def _format(name: str) -> Callable[[float], str]:
  return {"N": format_count, "D": format_count, "loss": "{:.4f}".format}.get(name, "{:.3g}".format)


def _shape(report: Plan) -> list[str]:
  shape = report.shape
  if shape.fault:
    return []
  text = []
  if shape.near:
    text.append(f"{shape.named} is nearest among {shape.named_in}, N {format_count(shape.named_params)}")
  text.append(
    f"scaled to N: width {shape.width}, depth {shape.depth}, {shape.heads} heads of "
    f"{shape.head_width}, feed-forward {shape.feed_forward_width}, vocabulary {shape.vocab:,}: "
    f"N {format_count(shape.params)}"
  )
  return [("shape      " if not number else " " * 11) + line for number, line in enumerate(text)]


def _inference(report: Plan) -> list[str]:
  part = report.inference
  if part is None:
    return []
  return [
    f"inference  {format_count(part.tokens)} tokens: least FLOPs in all, at the optimum's loss",
    *(
      _row(_TITLES[n], getattr(part, n), part.interval.get(n), _format(n))
      for n in ("N", "D", "tokens_per_parameter")
    ),
    f"  training {part.training_flops:.3g} + inference {part.inference_flops:.3g} = "
    f"{part.total_flops:.3g} FLOPs, {100 * part.saving:.1f} % less than with the optimum of training alone",
  ]


def _repetition(report: Plan) -> list[str]:
  part = report.repetition
  if part is None:
    return []
  return [
    f"repetition {format_count(part.unique_tokens)} unique tokens: {part.epochs:.3g} epochs, worth "
    f"{format_count(part.effective_D)} fresh tokens",
    *(_row(_TITLES[n], getattr(part, n), part.interval.get(n), _format(n)) for n in ("N", "D", "loss")),
    f"  {part.loss_rise:.4f} nats above what fresh tokens would give",
  ]


def _overtrain(report: Plan) -> list[str]:
  text = []
  for part in report.overtrain or ():
    at = f"a model {part.factor:g} times smaller ({format_count(part.N)})"
    if not part.possible:
      text.append(
        f"overtrain  {at} never reaches the optimum's loss; at equal FLOPs +{part.loss_rise:.4f} nats"
      )
      continue
    text.append(
      f"overtrain  {at} on {format_count(part.D)} tokens: {part.compute_factor:.3g} times the FLOPs "
      "for equal loss, "
      f"{part.inference_factor:.3g} times the FLOPs a token in use; at equal FLOPs +{part.loss_rise:.4f} nats"
    )
  return text


def _next(report: Plan) -> list[str]:
  part = report.next
  if part is None:
    return []
  text = [
    f"next runs  N is known to [{format_count(part.now[0])}, {format_count(part.now[1])}]; "
    "expected after each run"
  ]
  for run in part.runs:
    low, high = run.interval
    text.append(
      f"  N {format_count(run.N):>8} on {format_count(run.D):>8} tokens, {run.flops:.3g} FLOPs: "
      f"[{format_count(low)}, {format_count(high)}], {100 * run.shrinks_to:.0f} % as wide"
    )
  if part.share_of_grid < 1:
    text.append(
      f"  {100 * part.share_of_grid:.0f} % of the FLOPs that the study's grid again would take for as much"
    )
  return text


def _table(report: Plan) -> list[str]:
  """Returns the table of budgets, with times where a device was given and costs where a price was."""
  timed, priced = report.budget.device_given, report.cost is not None
  head = f"{'FLOPs':>10} {'PF/s-days':>10} {'N':>10} {'D':>10} {'D/N':>8} {'loss':>8}"
  text = [head + (f" {'time':>11}" if timed else "") + (f" {'cost':>14}" if priced else "")]
  for row in report.table:
    loss = "" if row.loss is None else f"{row.loss:.4f}"
    line = (
      f"{row.flops:>10.3g} {budgets.pf_days_of(row.flops):>10.3g} {format_count(row.N):>10} "
      f"{format_count(row.D):>10} {row.tokens_per_parameter:>8.3g} {loss:>8}"
    )
    line += f" {budgets.format_duration(row.hours):>11}" if timed else ""
    text.append(line + (f" {row.cost:>14,.4g}" if priced else ""))
  return text
