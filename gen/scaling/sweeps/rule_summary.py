"""A learning-rate rule and its verification as lines for the terminal."""

from collections.abc import Sequence

from gen.scaling.sweeps.learning_rate_rule import LearningRateRule, RuleCheck


def rule_lines(rule: LearningRateRule) -> list[str]:
  """Returns the measured cells, the warnings, and the config fields that hold the rule.

  Args:
    rule: the rule; losses are in nats.
  """
  lines = []
  for cell in rule.cells:
    best = (
      "the best rate is at the edge"
      if cell.at_edge
      else f"best {cell.best:.3g}, by the rule {rule(cell.width, cell.steps):.3g}"
    )
    lines.append(f"width {cell.width}, {cell.steps} steps: {_tried(cell.rates, cell.losses)}; {best}")
  lines += [f"warning: {text}" for text in rule.warnings]
  lines += ["", "The rule, as config fields:"]
  lines.append("  " + " ".join(f"--config.{name}={value:g}" for name, value in rule.fields().items()))
  lines += [f"  {name} in [{low:.3g}, {high:.3g}], 90 %" for name, (low, high) in rule.intervals.items()]
  if rule.scatter is not None:
    lines.append(f"  the best rates scatter around the rule by {100 * rule.scatter:.0f} % (sd)")
  return lines


def verification_line(verified: RuleCheck) -> str:
  """Returns one line about the rule at the held-out width.

  Args:
    verified: as `learning_rate_rule.verify_rule` returns it.
  """
  best = "not enclosed" if verified.best is None else f"{verified.best:.3g}"
  return (
    f"verified at width {verified.width}, {verified.steps} steps: "
    f"{_tried(verified.rates, verified.losses)}; by the rule {verified.rule:.3g}, best {best}; the rule costs "
    f"{verified.cost:.4f} nats, limit {verified.limit:g}: {'passed' if verified.passed else 'NOT PASSED'}"
  )


def _tried(rates: Sequence[float], losses: Sequence[float]) -> str:
  return ", ".join(f"{rate:.3g}: {loss:.4f}" for rate, loss in zip(rates, losses, strict=True))
