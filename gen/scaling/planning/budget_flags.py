"""Flags of an experiment that takes a compute budget, in any unit, and the devices that train."""

from typing import Any

from absl import flags

from gen.errors import UserError
from gen.io import quantities
from gen.scaling.planning import budget_words, budgets
from gen.scaling.planning.budget_words import BudgetAmounts
from gen.scaling.planning.budgets import ComputeBudget
from gen.scaling.planning.plan import DeviceOptions

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

NUMBERS = ("flops", "pf_days", "machine_minutes", "hours")  # flags that give a budget as one number


def define_flags() -> None:
  """Defines `--budget`, its alternatives in one unit, and the flags of the devices."""
  number = quantities.DEFINE_float
  flags.DEFINE_string(
    "budget", None, "C in words: 5.76e23, '3640 PF-days', '8 h100 for 3 days at 40 %', '24 GPU-days of h100'."
  )
  number("flops", None, "C in FLOPs.", lower_bound=0)
  number("pf_days", None, "C in PF/s-days, 8.64e19 FLOPs.", lower_bound=0)
  number(
    "machine_minutes", None, "C in minutes of this machine, whose matrix products are timed.", lower_bound=0
  )
  number("hours", None, "C in hours of --count devices of the kind --gpu at --utilization.", lower_bound=0)
  flags.DEFINE_string("gpu", None, "Device by name, or its peak in FLOP/s; h100 by default.")
  number("count", None, "Number of devices; 1 by default.", lower_bound=0)
  number("utilization", None, "Share of the peak that training reaches; 0.4 by default.", 0, 1)
  number("price_per_hour", None, "Price of one device per hour.", lower_bound=0)


def amounts_from_flags(optional: bool) -> BudgetAmounts | None:
  """Returns the budget that one flag gives.

  Args:
    optional: whether a plan without a budget is possible; it is None then.

  Raises:
    UserError: if there are several budgets, or none where one is needed.
  """
  named = [name for name in (*NUMBERS, "budget") if flags.FLAGS[name].value is not None]
  if not named and optional:
    return None
  if len(named) != 1:
    which = "none is given" if not named else "given are " + ", ".join(f"--{name}" for name in named)
    raise UserError(
      "a plan needs one budget, --flops, --pf_days, --hours (with --gpu and --count), --machine_minutes or --budget, "
      f"or else --params, --tokens or --model; {which}"
    )
  name = named[0]
  given: Any = flags.FLAGS[name].value
  if name == "budget":
    return budget_words.read_amounts(given, budgets.PEAKS)
  value = budgets.require_positive(f"--{name}", given)
  if name in ("flops", "pf_days"):
    return BudgetAmounts(flops=value * (budgets.PF_DAY if name == "pf_days" else 1.0))
  if name == "hours":
    return BudgetAmounts(hours=value)
  return BudgetAmounts(hours=value / 60, device=budget_words.THIS_MACHINE)


def resolve_flags(amounts: BudgetAmounts | None) -> tuple[ComputeBudget, DeviceOptions]:
  """Returns the budget in FLOPs, and the devices as arguments of `plan.make_plan`, which are none if none are given.

  Args:
    amounts: as of `amounts_from_flags`; None resolves the devices alone.
  """
  values = flags.FLAGS
  budget = budgets.resolve_budget(
    amounts or BudgetAmounts(flops=1.0), values.gpu, values.count, values.utilization, values.price_per_hour
  )
  if not budget.device_given:
    return budget, {}
  devices: DeviceOptions = {"gpu": budget.device, "count": budget.count, "utilization": budget.utilization}
  devices["price_per_hour"] = budget.price
  return budget, devices
