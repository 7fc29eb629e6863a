"""Parses and formats compute budgets in common units: FLOPs, PF/s-days, device hours, minutes of this machine.

    parse_budget("3640 PF-days")               # 3.14e23 FLOPs
    parse_budget("64 x 72 h of h100 at 40 %")  # 64 devices for 72 hours at 40 % of their peak
    parse_budget("30 min of this machine")     # at the measured rate of its matrix products
    parse_words("8 h100 for 3 days")           # FLOPs, device, count and wall time

One PF/s-day is 1e15 FLOP/s for a day, 8.64e19 FLOPs (Kaplan et al. 2020, arXiv:2001.08361, section 1.3). A device's
peak is that of dense bfloat16 (V100: float16) products by its maker's data sheet; utilization is the share of the
peak that training reaches.
"""

import dataclasses
import difflib
import functools
import math
import time
from typing import TypedDict, TypeVar, Unpack

import numpy as np

from gen.errors import UserError
from gen.scaling.planning import budget_words
from gen.scaling.planning.budget_words import BudgetAmounts
from gen.sharding import chip_peaks

PF_DAY = 8.64e19  # FLOPs: 1e15 for 86,400 seconds
HOUR = 3600.0  # seconds
# Of a device's peak, where nothing is said; chosen: well-tuned large trainings report .4 to .5, such as PaLM's .46
# (arXiv:2204.02311).
UTILIZATION = 0.4
DEVICES = (
  "v100", "a100", "h100", "h200", "b200", "l4", "l40s", "mi250x", "mi300x",
  "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e",
)  # fmt: skip
PEAKS = {name: chip_peaks.chip_peak(name) for name in DEVICES}  # FLOP/s
DEVICE = "h100"  # where nothing is said


Amount = TypeVar("Amount")
Default = TypeVar("Default")


@dataclasses.dataclass(frozen=True)
class ComputeBudget:
  """A training budget and the devices that it is spent on.

  Attributes:
    flops: C, training FLOPs.
    device: a name in `PEAKS`, a peak in FLOP/s as a number, or "this machine".
    count: devices side by side.
    hours: wall time on them.
    utilization: share of the peak that training reaches.
    price: price of one device-hour; None if unknown.
    device_given: whether devices, a time or a price were given; otherwise device and count are the default ones.
  """

  flops: float
  device: str = DEVICE
  count: float = 1.0
  hours: float = math.nan
  utilization: float = UTILIZATION
  price: float | None = None
  device_given: bool = False


def parse_budget(text: str) -> float:
  """Returns FLOPs of a budget in any unit, as `parse_words` reads it.

  >>> parse_budget("5.76e23"), parse_budget("1 PF-day"), parse_budget("2 x 1 h of a100 at 50%") / 1e18
  (5.76e+23, 8.64e+19, 1.1232)

  Raises:
    UserError: for a text that is not a budget, an unknown device, or a budget that is not above zero.
  """
  return parse_words(text).flops


@dataclasses.dataclass(frozen=True, slots=True)
class BudgetInUnits:
  """A budget in every unit.

  Attributes:
    flops: C.
    pf_days: C in PF/s-days.
    device: kind of device.
    utilization: share of the device's peak.
    device_hours: hours over all devices.
    count: number of devices.
    hours: wall time on `count` devices.
    machine_flops_per_second: of this machine's matrix products.
    machine_minutes: time of this machine.
    device_given: whether somebody chose the devices.
  """

  flops: float
  pf_days: float
  device: str
  utilization: float
  device_hours: float
  count: float
  hours: float
  machine_flops_per_second: float
  machine_minutes: float
  device_given: bool


class DeviceKeywords(TypedDict, total=False):
  """The devices that are given beside a budget in words, as `resolve_budget` takes them."""

  device: str | None
  count: float | None
  utilization: float | None
  price: float | None


def parse_words(text: str, **known: Unpack[DeviceKeywords]) -> ComputeBudget:
  """Returns the budget that words state.

  Args:
    text: such as "8 H100 for 3 days", "24 GPU-days of h100", "3640 PF-days on 1024 a100", "$10k at $2/h".
    **known: device, count, utilization and price, as `resolve_budget` takes them.

  Raises:
    UserError: for an unknown word, and an amount that is missing or given twice.

  >>> budget = parse_words("3 days on 8 H100")
  >>> budget.count, budget.hours, budget == parse_words("8xh100 for 72 h")
  (8.0, 72.0, True)
  """
  return resolve_budget(budget_words.read_amounts(text, PEAKS), **known)


def resolve_budget(
  amounts: BudgetAmounts,
  device: str | None = None,
  count: float | None = None,
  utilization: float | None = None,
  price: float | None = None,
) -> ComputeBudget:
  """Returns the budget of stated amounts.

  Args:
    amounts: FLOPs, a time, device-hours or money, with or without the devices.
    device: device given elsewhere, such as by a flag; `DEVICE` by default.
    count: number of devices given elsewhere; 1 by default.
    utilization: share of the peak given elsewhere; `UTILIZATION` by default.
    price: price of a device-hour given elsewhere; unknown by default.

  Raises:
    UserError: for two different values of one amount, money without a price, and invalid values.
  """
  if amounts.device == budget_words.THIS_MACHINE:
    return _on_this_machine(amounts, device, count, utilization, price)
  stated = dataclasses.replace(amounts, flops=None) != BudgetAmounts()
  device_given = stated or any(value is not None for value in (device, count, utilization, price))
  device = _device(amounts.device, device)
  count = require_positive("count", _agreed("count", amounts.count, count, 1.0))
  utilization = _agreed("utilization", amounts.utilization, utilization, UTILIZATION)
  price = _agreed("the price", amounts.price, price, None)
  speed = device_rate(device, utilization)
  check_price(price)
  if amounts.flops is not None:
    flops = require_positive("the budget in FLOPs", amounts.flops)
    hours = flops / speed / HOUR / count
  elif amounts.hours is not None:
    hours = require_positive("the time in hours", amounts.hours)
    flops = count * hours * HOUR * speed
  else:
    spent = amounts.device_hours
    if amounts.money is not None:
      if not price:
        raise UserError(
          "a budget in money needs the price of a device's hour: add 'at $2/h' or --price_per_hour=2"
        )
      spent = require_positive("the money", amounts.money) / price
    assert spent is not None
    hours = require_positive("the device-hours", spent) / count
    flops = spent * HOUR * speed
  return ComputeBudget(
    require_positive("the budget in FLOPs", flops), device, count, hours, utilization, price, device_given
  )


def _on_this_machine(
  amounts: BudgetAmounts,
  device: str | None,
  count: float | None,
  utilization: float | None,
  price: float | None,
) -> ComputeBudget:
  """Returns a budget in time of this machine, planned for it or for the devices that are given elsewhere."""
  if amounts.hours is None or amounts.count not in (None, 1.0) or amounts.utilization is not None:
    raise UserError("a budget of this machine is a time, such as '30 min of this machine'")
  flops = of_machine_minutes(60 * amounts.hours)
  if device is None and count is None and utilization is None:
    price = _agreed("the price", amounts.price, price, None)
    check_price(price)
    return ComputeBudget(flops, budget_words.THIS_MACHINE, 1.0, amounts.hours, 1.0, price, True)
  return resolve_budget(BudgetAmounts(flops=flops, price=amounts.price), device, count, utilization, price)


def _device(in_words: str | None, known: str | None) -> str:
  named = None if in_words in (None, budget_words.ANY, budget_words.ANY_TPU) else in_words
  device = _agreed("the device", named, known and _name(known), DEVICE)
  if in_words == budget_words.ANY_TPU and not device.startswith("tpu"):
    raise UserError(
      f"the TPU has no version; write one of {', '.join(name for name in PEAKS if name.startswith('tpu'))}"
    )
  return device


def _agreed(what: str, in_words: Amount | None, known: Amount | None, otherwise: Default) -> Amount | Default:
  """Returns the value that is given in words or elsewhere; raises UserError if both are given and differ."""
  if in_words is not None and known is not None and in_words != known:
    raise UserError(f"{what} is given twice, {in_words} in the budget and {known} by a flag; give one")
  return in_words if in_words is not None else known if known is not None else otherwise


def pf_days_of(flops: float) -> float:
  """Converts FLOPs to PF/s-days.

  >>> round(pf_days_of(3.14e23))
  3634
  """
  return flops / PF_DAY


def device_rate(device: str, utilization: float = UTILIZATION) -> float:
  """Returns the FLOP/s that one device reaches in training."""
  if not (math.isfinite(utilization) and 0 < utilization <= 1):
    raise UserError(f"utilization is {utilization:g}; it is a share of the peak, above 0 and at most 1")
  return device_peak(device) * utilization


def device_peak(device: str) -> float:
  """Returns the peak of a device by name, FLOP/s, or the number itself; `machine_rate` for "this machine".

  >>> device_peak("H100") == device_peak("989e12")
  True
  """
  name = _name(device)
  if name in PEAKS:
    return PEAKS[name]
  if device == budget_words.THIS_MACHINE:
    return machine_rate()
  try:
    return require_positive("the peak of a device", float(name))
  except ValueError:
    nearest = difflib.get_close_matches(name, PEAKS, 1, 0.0)[0]
    raise UserError(
      f"no peak of a device {device!r} is known; the nearest is {nearest!r}, or give its peak in FLOP/s"
    ) from None


def _name(device: str) -> str:
  """Returns the name of a device as `PEAKS` has it: tpu-v4 for "TPU v4" and tpuv4."""
  plain = device.strip().lower().replace("_", "-").replace(" ", "-")
  return {name.replace("-", ""): name for name in PEAKS}.get(plain.replace("-", ""), plain)


def device_hours(flops: float, device: str, utilization: float = UTILIZATION) -> float:
  """Returns the hours that one device of this kind takes."""
  return flops / device_rate(device, utilization) / HOUR


def of_machine_minutes(minutes: float) -> float:
  """Returns the FLOPs that this machine computes in the given minutes, at the rate of `machine_rate`."""
  return require_positive("the minutes of this machine", minutes) * 60 * machine_rate()


def machine_minutes(flops: float) -> float:
  """Returns the minutes that this machine takes for a budget, at the rate of `machine_rate`."""
  return flops / machine_rate() / 60


@functools.cache
def machine_rate() -> float:
  """Returns the FLOP/s of this machine's float32 matrix products on all its cores, measured now (about .1 s).

  A small model's training step reaches a third to two thirds of it: minutes from here are a lower bound.
  """
  # Large enough for the full rate of a BLAS, small enough for several products in .1 s on one core.
  size = 768
  left, right = np.ones((2, size, size), np.float32)
  left @ right
  best, begun = math.inf, time.perf_counter()
  while time.perf_counter() - begun < 0.1 or not math.isfinite(best):
    start = time.perf_counter()
    left @ right
    best = min(best, time.perf_counter() - start)
  return 2.0 * size**3 / best


def describe_budget(
  flops: float,
  device: str = "h100",
  count: float = 1,
  utilization: float = UTILIZATION,
  device_given: bool = True,
) -> BudgetInUnits:
  """Returns a budget in every unit; `device_given` says whether somebody chose the devices."""
  hours = device_hours(flops, device, utilization)
  return BudgetInUnits(
    flops=flops,
    pf_days=pf_days_of(flops),
    device=device,
    utilization=utilization,
    device_hours=hours,
    count=count,
    hours=hours / count,
    machine_flops_per_second=machine_rate(),
    machine_minutes=machine_minutes(flops),
    device_given=device_given,
  )


def format_duration(hours: float) -> str:
  """Formats a time in hours for people.

  >>> format_duration(0.01), format_duration(7.5), format_duration(100), format_duration(2e5)
  ('36 s', '7.5 h', '4.2 days', '22.8 years')
  """
  for size, name in ((24 * 365.25, "years"), (24, "days"), (1, "h"), (1 / 60, "min")):
    if hours >= size * (2 if name in ("years", "days") else 1):
      value = hours / size
      return f"{value:.1f} {name}" if value < 1e4 else f"{value:.2g} {name}"
  return f"{hours * HOUR:.3g} s"


def check_price(price: float | None) -> None:
  """Raises UserError unless a price is unknown, or finite and at least zero."""
  if price is not None and not (math.isfinite(price) and price >= 0):
    raise UserError(f"price_per_hour is {price:g}; it is money for one device's hour, 0 or more")


def require_positive(name: str, value: float) -> float:
  """Returns the value.

  Raises:
    UserError: if it is not finite and above zero.
  """
  if not (math.isfinite(value) and value > 0):
    raise UserError(f"{name} is {value:g}; it must be finite and above zero")
  return float(value)
