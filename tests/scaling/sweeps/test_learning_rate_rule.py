"""A rule for learning rates, from losses whose best rates are known."""

import math

import numpy as np
import pytest

from gen.config import Model, Sweep
from gen.errors import UserError
from gen.scaling.sweeps import design, learning_rate_rule

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def best(width, steps):
  return 0.004 * (width / 64) ** -0.8 * (steps / 1000) ** -0.25


def rows_of(width, steps, rates, noise=0.0, seeds=1, random=None):
  rows = []
  for rate in rates:
    for _ in range(seeds):
      loss = 2.0 + 0.08 * math.log(rate / best(width, steps)) ** 2
      loss += noise * (random.standard_normal() if random else 0.0)
      rows.append({"width": width, "steps": steps, "learning_rate": rate, "loss": loss})
  return rows


def grid(widths=(16, 32, 64), horizons=(500, 1000, 4000), off=1.3, **more):
  return [row for w in widths for s in horizons
          for row in rows_of(w, s, [f * off * best(w, s) for f in FACTORS], **more)]  # fmt: skip


def test_the_rule_comes_back_from_losses_that_follow_it():
  rule = learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(grid()), 64, 1000)
  assert (rule.peak, rule.width_power, rule.steps_power) == pytest.approx((0.004, -0.8, -0.25), rel=1e-6)
  assert rule(96, 6000) == pytest.approx(best(96, 6000), rel=1e-6)
  assert rule.scatter == pytest.approx(0, abs=1e-6) and not rule.warnings


def test_a_sweep_with_the_rule_s_fields_has_the_rule_s_rates():
  rule = learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(grid()), 64, 1000)
  study = rule.of(Sweep(model=Model(heads=2), rate_width=10, rate_steps=10))
  for width, steps in ((16, 700), (128, 9000)):
    assert design.learning_rate(study, width, steps) == pytest.approx(rule(width, steps), rel=1e-3)


def test_intervals_hold_the_powers_as_often_as_they_say():
  held = 0
  for number in range(60):
    random = np.random.default_rng(number)
    measured = learning_rate_rule.measured_cells(grid(noise=0.006, seeds=2, random=random))
    rule = learning_rate_rule.fit_rule(measured, 64, 1000)
    low, high = rule.intervals["width_power"]
    held += low <= -0.8 <= high
  assert 47 <= held <= 60


def test_a_best_rate_at_the_edge_has_no_say_and_is_named():
  rows = grid(horizons=(500, 1000)) + rows_of(128, 500, [4 * best(128, 500), 8 * best(128, 500), 9.0])
  rule = learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(rows), 64, 1000)
  assert rule.width_power == pytest.approx(-0.8, rel=1e-6)
  assert len(rule.warnings) == 1 and "width 128 at 500 steps" in rule.warnings[0]
  assert "try lower ones" in rule.warnings[0]


def test_one_horizon_leaves_its_power_unknown_and_says_so():
  rule = learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(grid(horizons=(1000,))), 64, 1000)
  assert rule.steps_power == 0 and "one horizon was tried" in rule.warnings[0]
  assert rule.width_power == pytest.approx(-0.8, rel=1e-6)


def test_too_little_is_refused():
  edge = rows_of(16, 500, [1.0, 2.0, 4.0])
  with pytest.raises(UserError, match=r"0 of 1 widths and horizons enclose their best rate.*try lower ones"):
    learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(edge), 64, 1000)
  together = [row for w, s in ((16, 500), (32, 1000), (64, 2000)) for row in grid((w,), (s,))]
  with pytest.raises(UserError, match="vary together"):
    learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(together), 64, 1000)


def test_the_rule_passes_where_its_rate_is_best_and_fails_where_it_is_not():
  rule = learning_rate_rule.fit_rule(learning_rate_rule.measured_cells(grid()), 64, 1000)
  around = [f * rule(96, 6000) for f in (0.5, 1, 2)]
  good = learning_rate_rule.verify_rule(rule, rows_of(96, 6000, around))
  assert good.passed and good.cost == 0 and good.off_by == pytest.approx(1, rel=1e-6)
  bad = [
    row | {"loss": 2 + 0.08 * math.log(row["learning_rate"] / 9e-5) ** 2} for row in rows_of(96, 6000, around)
  ]
  found = learning_rate_rule.verify_rule(rule, bad)
  assert not found.passed and found.best is None and found.cost > found.limit
  with pytest.raises(UserError, match="have 9"):
    learning_rate_rule.verify_rule(rule, grid())
