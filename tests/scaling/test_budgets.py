"""Budgets in every unit."""

import time

import pytest

from gen.errors import UserError
from gen.scaling import budgets


@pytest.mark.parametrize(
  ("text", "flops"),
  [
    ("5.76e23", 5.76e23),
    ("1e18 FLOPs", 1e18),
    ("576_000_000", 5.76e8),
    ("9300000000000000000000", 9.3e21),
    ("1 PF-day", 8.64e19),
    ("3640 PF/s-days", 3640 * 8.64e19),
    ("2.5 petaflop/s-days", 2.5 * 8.64e19),
    ("10 h of a100 at 50 %", 10 * 3600 * 312e12 * 0.5),
    ("64 x 72 h of h100 @ 0.4", 64 * 72 * 3600 * 989e12 * 0.4),
    ("64 x 72 hours H100", 64 * 72 * 3600 * 989e12 * 0.4),
    ("3 h of tpu-v4", 3 * 3600 * 275e12 * 0.4),
  ],
)
def test_a_budget_is_read_in_any_unit(text, flops):
  assert budgets.read(text) == pytest.approx(flops, rel=1e-12)


def test_units_come_back():
  flops = budgets.of_devices("h100", 64, 72, 0.4)
  said = budgets.describe(flops, "h100", 64, 0.4)
  assert (said["hours"], said["device_hours"]) == (pytest.approx(72), pytest.approx(64 * 72))
  assert budgets.of_pf_days(said["pf_days"]) == pytest.approx(flops)
  assert budgets.of_machine_minutes(said["machine_minutes"]) == pytest.approx(flops)


def test_minutes_of_this_machine_are_measured_once_and_quickly():
  budgets.machine_rate()
  begun = time.process_time()
  assert budgets.read("30 min of this machine") == pytest.approx(1800 * budgets.machine_rate())
  assert budgets.read("2 h on this machine") == pytest.approx(7200 * budgets.machine_rate())
  assert time.process_time() - begun < 1
  assert 1e7 < budgets.machine_rate() < 1e16


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("much", "is no budget"),
    ("0", "above zero"),
    ("1e400", "finite"),
    ("3 h of h10", "nearest is 'h100'"),
    ("3 h of a100 at 140 %", "utilization is 1.4"),
    ("-3", "is no budget"),
  ],
)
def test_what_is_no_budget_is_said(text, words):
  with pytest.raises(UserError, match=words):
    budgets.read(text)
