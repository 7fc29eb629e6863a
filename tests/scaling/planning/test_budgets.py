"""Budgets in every unit."""

import math
import time

import hypothesis
import pytest
from hypothesis import strategies

from gen.errors import UserError
from gen.scaling.planning import budgets


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
    ("7 EF-hours", 7e18 * 3600),
    ("2.5 x 10^23 FLOPs", 2.5e23),
    ("2.5×10²³", 2.5e23),
    ("576 ZFLOPs", 5.76e23),
    ("576Z", 5.76e23),
    ("3 million GPU hours of h100", 3e6 * 3600 * 989e12 * 0.4),
    ("$10k at $2/h", 5000 * 3600 * 989e12 * 0.4),
    ("10,000 € on a100 at 1.5 €/gpu-hour", 10_000 / 1.5 * 3600 * 312e12 * 0.4),
    ("1 day 12 h of 8 h200", 8 * 36 * 3600 * 989e12 * 0.4),
    ("2h30min on 3 b200", 3 * 2.5 * 3600 * 2250e12 * 0.4),
    ("a week on mi300x x 5", 5 * 168 * 3600 * 1307e12 * 0.4),
    ("40 TPU v4 hours", 40 * 3600 * 275e12 * 0.4),
  ],
)
def test_a_budget_is_read_in_any_unit(text, flops):
  assert budgets.parse_budget(text) == pytest.approx(flops, rel=1e-12)


def test_units_come_back():
  flops = 64 * 72 * 3600 * budgets.device_rate("h100", 0.4)
  described = budgets.describe_budget(flops, "h100", 64, 0.4)
  assert (described.hours, described.device_hours) == (pytest.approx(72), pytest.approx(64 * 72))
  assert described.pf_days * budgets.PF_DAY == pytest.approx(flops)
  assert budgets.of_machine_minutes(described.machine_minutes) == pytest.approx(flops)


def test_minutes_of_this_machine_are_measured_once_and_quickly():
  budgets.machine_rate()
  begun = time.process_time()
  assert budgets.parse_budget("30 min of this machine") == pytest.approx(1800 * budgets.machine_rate())
  assert budgets.parse_budget("2 h on this machine") == pytest.approx(7200 * budgets.machine_rate())
  assert time.process_time() - begun < 1
  assert 1e7 < budgets.machine_rate() < 1e16


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("much", "is not a budget"),
    ("0", "above zero"),
    ("1e400", "finite"),
    ("3 h of h10", "nearest is 'h100'"),
    ("3 h of a100 at 140 %", "utilization is 1.4"),
    ("-3", "is not a budget"),
    ("", "is empty"),
    ("nan", "'nan' is not understood"),
    ("1e999 FLOPs", "finite"),
    ("3 h of abacus", "'abacus' is not understood"),
    ("8 h100 for 3 days with a dog", "'dog' is not understood"),
    ("8 h100 for 3 days;", "';' is not understood"),
    ("3,5 h of h100", "the number 3 has no unit"),
    ("24 GPU-days of h100 on 8", "the number 8 has no unit"),
    ("64 2 h of h100", "the number 64 has no unit"),
    ("8 h100", "no amount"),
    ("3 h x 2 h", "times cannot be multiplied"),
    ("3 days on 8 h100 for 2 h", "hours twice"),
    ("1e21 FLOPs on 8 h100 for 2 h", "FLOPs and a time"),
    ("3 h of h100 and a100", "two devices"),
    ("days on h100", "'days' has no number"),
    ("400 TFLOP/s for 3 days", "is a rate"),
    ("10 m of h100", "min or M"),
    ("64 x x 2 h of h100", "nothing precedes"),
    ("128 TPU hours", "the TPU has no version"),
    ("$10k", "needs the price"),
    ("$10k at €2/h", "two currencies"),
    ("7" * 400, "too long"),
  ],
)
def test_what_is_no_budget_is_said(text, words):
  with pytest.raises(UserError, match=words):
    budgets.parse_budget(text)


def spellings(device, count, days):
  """Every way of writing a number of devices for a number of days, whole ones."""
  hours = 24 * days
  for x in (" x ", "x", " * ", "×", " times "):
    yield f"{count}{x}{hours} h of {device}"
    yield f"{count}{x}{device} for {days} days"
    yield f"{device}{x}{count} for {hours}h"
    yield f"{hours} hours x {count}{x}{device.upper()}"
  yield f"{count} {device.upper()} for {days} days"
  yield f"{days} days on {count} {device}s"
  yield f"in {days}d using {count} nvidia {device} gpus"
  yield f"{count} GPUs ({device}) for {hours * 60:,} minutes"
  yield f"{count * hours} GPU-hours on {count} {device}"
  yield f"{count * days} {device}-days with {count} gpus"
  yield f"{count * hours * 3600} device-seconds of {device} on {count} devices"
  yield f"{days - 1} days 24 h on {count} {device}" if days > 1 else f"24 h on {count} {device}"
  yield f"{count * hours * 3600 * budgets.PEAKS[device] * 0.4!r} FLOPs on {count} {device}"
  yield f"{count * hours * 3600 * budgets.PEAKS[device] * 0.4 / 1e15!r} PFLOPs on {count} {device}"
  yield f"{count * days * budgets.PEAKS[device] * 0.4 / 1e15!r} PF/s-days on {count} {device}"
  yield f"${3 * count * hours} at $3/h on {count} {device}"


SHARES = ("{} at 35 %", "{} @ 0.35", "{} with 35% MFU", "at 35 % of peak {}", "mfu=0.35 {}")


@hypothesis.given(
  device=strategies.sampled_from(("h100", "a100", "l40s", "mi300x", "b200")),
  count=strategies.integers(1, 5000),
  days=strategies.integers(1, 400),
)
@hypothesis.settings(max_examples=25, deadline=None)
def test_every_spelling_of_a_budget_gives_one_answer(device, count, days):
  wanted = count * days * 86_400 * budgets.PEAKS[device] * 0.4
  for text in spellings(device, count, days):
    found = budgets.parse_words(text)
    assert math.isclose(found.flops, wanted, rel_tol=1e-12), text
    assert (found.count, found.device) == (count, device), text
    assert math.isclose(found.hours, 24 * days, rel_tol=1e-12), text
  for share in SHARES:
    found = budgets.parse_words(share.format(f"{count} {device} for {days} days"))
    assert found.utilization == pytest.approx(0.35) and found.hours == 24 * days
    assert math.isclose(found.flops, wanted * 0.35 / 0.4, rel_tol=1e-12), share


@hypothesis.given(strategies.text("0123456789 .xe%$@/-,hdapmkfgu", max_size=24))
@hypothesis.settings(max_examples=300, deadline=None)
def test_any_text_is_a_budget_or_one_sentence(text):
  try:
    found = budgets.parse_words(text)
  except UserError as error:
    assert "\n" not in str(error) and len(str(error)) < 500
  else:
    assert math.isfinite(found.flops) and found.flops > 0 and found.hours > 0


@pytest.mark.parametrize(
  "word", ["8", "dog", "h100", "40 %", "2 h", "$2/h", "x", "days", ";", "1e21", "of h200"]
)
def test_no_part_of_a_budget_is_dropped(word):
  """Whatever stands beside a whole budget changes it, or is refused."""
  before = budgets.parse_words("7 a100 for 3 days at 30 % and $3/h")
  with pytest.raises(UserError):
    assert budgets.parse_words(f"7 a100 for 3 days at 30 % and $3/h {word}") != before


def test_flags_fill_what_the_words_leave_out_and_may_not_contradict_them():
  assert budgets.parse_words("64 x 2 h", device="a100") == budgets.parse_words("64 x 2 h of a100")
  assert budgets.parse_words("24 GPU-days", count=8, device="TPU v4").hours == 72
  assert budgets.parse_words("64 x 2 h of h100", device="H100", count=64).count == 64
  assert budgets.parse_words("$600", price=2, count=3).hours == 100
  for known in ({"count": 8}, {"device": "a100"}, {"utilization": 0.5}, {"price": 3.0}):
    with pytest.raises(UserError, match="given twice"):
      budgets.parse_words("64 x 2 h of h100 at 40 % and $2/h", **known)
