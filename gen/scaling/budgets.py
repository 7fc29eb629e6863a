"""Compute budgets in every unit that people use, read and written: FLOPs, PF/s-days, device hours, minutes here.

    read("3640 PF-days")                       # 3.14e23 FLOPs
    read("64 x 72 h of h100 at 40 %")          # 64 devices for 72 hours at 40 % of their peak
    read("30 min of this machine")             # at the measured rate of its matrix products

One PF/s-day is 1e15 FLOP/s for a day, 8.64e19 FLOPs (Kaplan et al. 2020, arXiv:2001.08361, section 1.3). A device's
peak is that of dense bfloat16 (V100: float16) products by its maker's data sheet; utilization is the share of the
peak that training reaches.
"""

import difflib
import functools
import math
import re
import time

import numpy as np

from gen.errors import UserError

PF_DAY = 8.64e19  # FLOPs
HOUR = 3600.0  # seconds
UTILIZATION = 0.4  # of a device's peak, where nothing is said
PEAKS = {  # FLOP/s
  "v100": 125e12,
  "a100": 312e12,
  "h100": 989e12,
  "h200": 989e12,
  "b200": 2250e12,
  "l4": 121e12,
  "l40s": 362e12,
  "mi250x": 383e12,
  "mi300x": 1307e12,
  "tpu-v3": 123e12,
  "tpu-v4": 275e12,
  "tpu-v5e": 197e12,
  "tpu-v5p": 459e12,
  "tpu-v6e": 918e12,
}
_NUMBER = r"([0-9][0-9_,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)"
_DAYS = re.compile(
  rf"{_NUMBER}\s*(?:pf(?:lops?)?(?:/s)?[ -]?days?|petaflops?(?:/s)?[ -]?days?)", re.IGNORECASE
)
_DEVICES = re.compile(
  rf"(?:{_NUMBER}\s*[x*]\s*)?{_NUMBER}\s*h(?:ours?)?\s*(?:of|on|x)?\s*([a-z][a-z0-9-]*)(?:\s*(?:at|@)\s*{_NUMBER}\s*(%?))?",
  re.IGNORECASE,
)
_MINUTES = re.compile(rf"{_NUMBER}\s*(min(?:utes?)?|h(?:ours?)?)\s*(?:of|on)?\s*this machine", re.IGNORECASE)
_PLAIN = re.compile(rf"{_NUMBER}\s*(?:flops?)?", re.IGNORECASE)


def read(text: str) -> float:
  """Returns FLOPs of a budget in any unit.

  >>> read("5.76e23"), read("1 PF-day"), read("2 x 1 h of a100 at 50%") / 1e18
  (5.76e+23, 8.64e+19, 1.1232)

  Raises:
    UserError: for what is no budget, an unknown device, or one that is not above zero.
  """
  said = text.strip()
  if match := _PLAIN.fullmatch(said):
    return positive("the budget", _number(match[1]))
  if match := _DAYS.fullmatch(said):
    return of_pf_days(_number(match[1]))
  if match := _MINUTES.fullmatch(said):
    minutes = _number(match[1]) * (60 if match[2][0] in "hH" else 1)
    return of_machine_minutes(minutes)
  if match := _DEVICES.fullmatch(said):
    share = _number(match[4]) / (100 if match[5] else 1) if match[4] else UTILIZATION
    return of_devices(match[3], _number(match[1] or "1"), _number(match[2]), share)
  raise UserError(
    f"{text!r} is no budget; write FLOPs (5.76e23), 3640 PF-days, '64 x 72 h of h100 at 40 %' or "
    "'30 min of this machine'"
  )


def of_pf_days(days: float) -> float:
  """Returns FLOPs of so many PF/s-days."""
  return positive("the budget in PF/s-days", days) * PF_DAY


def pf_days(flops: float) -> float:
  """Returns PF/s-days of so many FLOPs.

  >>> round(pf_days(3.14e23))
  3634
  """
  return flops / PF_DAY


def of_devices(device: str, count: float, hours: float, utilization: float = UTILIZATION) -> float:
  """Returns the FLOPs that devices do in a time.

  Args:
    device: a name in `PEAKS`, or its peak in FLOP/s as a number.
    count: how many.
    hours: of wall time.
    utilization: share of the peak, above 0 and at most 1.

  Raises:
    UserError: for an unknown device, with the nearest, and values that cannot be.
  """
  return positive("count", count) * positive("hours", hours) * HOUR * rate(device, utilization)


def rate(device: str, utilization: float = UTILIZATION) -> float:
  """Returns the FLOP/s that one device reaches in training."""
  if not (math.isfinite(utilization) and 0 < utilization <= 1):
    raise UserError(f"utilization is {utilization:g}; it is a share of the peak, above 0 and at most 1")
  return peak(device) * utilization


def peak(device: str) -> float:
  """Returns the peak of a device by name, FLOP/s, or the number itself.

  >>> peak("H100") == peak("989e12")
  True
  """
  name = device.strip().lower().replace("_", "-").replace(" ", "-")
  if name in PEAKS:
    return PEAKS[name]
  try:
    return positive("the peak of a device", float(name))
  except ValueError:
    nearest = difflib.get_close_matches(name, PEAKS, 1, 0.0)[0]
    raise UserError(
      f"no peak of a device {device!r} is known; the nearest is {nearest!r}, or give its peak in FLOP/s"
    ) from None


def device_hours(flops: float, device: str, utilization: float = UTILIZATION) -> float:
  """Returns the hours that one such device takes."""
  return flops / rate(device, utilization) / HOUR


def of_machine_minutes(minutes: float) -> float:
  """Returns the FLOPs that this machine does in so many minutes, at the rate of `machine_rate`."""
  return positive("the minutes of this machine", minutes) * 60 * machine_rate()


def machine_minutes(flops: float) -> float:
  """Returns the minutes that this machine takes, at the rate of `machine_rate`."""
  return flops / machine_rate() / 60


@functools.cache
def machine_rate() -> float:
  """Returns the FLOP/s of this machine's float32 matrix products on all its cores, measured now (about .1 s).

  A small model's training step reaches a third to two thirds of it: minutes from here are a lower bound.
  """
  size = 768
  left, right = np.ones((2, size, size), np.float32)
  left @ right
  best, begun = math.inf, time.perf_counter()
  while time.perf_counter() - begun < 0.1 or not math.isfinite(best):
    start = time.perf_counter()
    left @ right
    best = min(best, time.perf_counter() - start)
  return 2.0 * size**3 / best


def describe(
  flops: float, device: str = "h100", count: float = 1, utilization: float = UTILIZATION
) -> dict[str, float | str]:
  """Returns a budget in every unit: flops, pf_days, device_hours, hours on `count` devices, machine_minutes."""
  hours = device_hours(flops, device, utilization)
  return {
    "flops": flops,
    "pf_days": pf_days(flops),
    "device": device,
    "utilization": utilization,
    "device_hours": hours,
    "count": count,
    "hours": hours / count,
    "machine_flops_per_second": machine_rate(),
    "machine_minutes": machine_minutes(flops),
  }


def duration(hours: float) -> str:
  """Returns a time for people.

  >>> duration(0.01), duration(7.5), duration(100), duration(2e5)
  ('36 s', '7.5 h', '4.2 days', '22.8 years')
  """
  for size, name in ((24 * 365.25, "years"), (24, "days"), (1, "h"), (1 / 60, "min")):
    if hours >= size * (2 if name in ("years", "days") else 1):
      value = hours / size
      return f"{value:.1f} {name}" if value < 1e4 else f"{value:.2g} {name}"
  return f"{hours * HOUR:.3g} s"


def positive(name: str, value: float) -> float:
  """Returns the value.

  Raises:
    UserError: if it is not finite and above zero.
  """
  if not (math.isfinite(value) and value > 0):
    raise UserError(f"{name} is {value:g}; it must be finite and above zero")
  return float(value)


def _number(text: str) -> float:
  return float(text.replace(",", "").replace("_", ""))
