"""The lines about a learning-rate rule."""

import dataclasses
import math

from gen.config import Sweep
from gen.scaling.sweeps import learning_rate_rule, rule_summary

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)


def rows_of(width, best, steps=50):
  return [
    {"width": width, "steps": steps, "learning_rate": rate, "loss": 3.0 + math.log(rate / best) ** 2}
    for rate in RATES
  ]


def rule_of(*rows):
  return learning_rate_rule.fit_rule(
    learning_rate_rule.measured_cells([row for part in rows for row in part]), 16, 50
  )


def test_each_cell_the_fields_and_the_warnings_have_a_line():
  lines = rule_summary.rule_lines(rule_of(rows_of(8, 4e-3), rows_of(16, 2e-3), rows_of(32, 1e-4)))
  assert lines[0].startswith("width 8, 50 steps: 0.001: ") and lines[0].endswith(
    "best 0.004, by the rule 0.004"
  )
  assert lines[2].endswith("the best rate is at the edge")
  assert any(line.startswith("warning: width 32 at 50 steps is best at 0.001") for line in lines)
  assert (
    "  --config.optimizer.peak_learning_rate=0.002 --config.rate_width=16 --config.rate_width_power=-1"
    in (line.partition(" --config.rate_steps=")[0] for line in lines)
  )


def test_a_verification_says_what_the_rule_costs_and_whether_it_passed():
  rule = rule_of(rows_of(8, 4e-3), rows_of(16, 2e-3))
  verified = learning_rate_rule.verify_rule(rule, rows_of(16, 2e-3))
  line = rule_summary.verification_line(verified)
  assert "by the rule 0.002, best 0.002; the rule costs 0.0000 nats" in line and line.endswith(": passed")
  assert rule_summary.verification_line(dataclasses.replace(verified, best=None, passed=False)).endswith(
    "NOT PASSED"
  )


def test_a_rule_is_verified_at_the_held_out_budget_and_width_alone():
  sweep = Sweep(budgets=(1e9, 2e9), widths=((8,), (16,)), held_out=3e9, held_out_widths=(24, 48))
  largest = learning_rate_rule.held_out_sweep(sweep, (0.5, 2.0))
  assert (largest.budgets, largest.widths, largest.held_out) == ((3e9,), ((24, 48),), 0.0)
  assert largest.learning_rate_multipliers == (0.5, 2.0)
