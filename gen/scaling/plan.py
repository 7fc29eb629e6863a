"""From a law and a budget to a plan: N, D, tokens a parameter, loss, time and cost, each with its interval.

    from gen.scaling import fit, plan

    found = plan.plan("hoffmann2022", flops=5.76e23)               # a published law
    found = plan.plan(fit.parametric(params, tokens, loss), flops=1e21, inference_tokens=1e12)
    found["N"], found["interval"]["N"]

C = k N D training FLOPs (k = 6 where nothing else is known), N parameters, D tokens, loss in nats per token. What a
law says of served, overtrained and repeated models is in `gen.scaling.surfaces`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.scaling import budgets, next_runs, shapes, surfaces
from gen.scaling.basis import Basis, basis

PLACES = 10  # budgets of the table
_BELOW, _ABOVE = 100.0, 10.0  # the table reaches from flops / 100 to 10 flops
_FAR = 30.0  # times the largest budget of the law's runs: beyond, an extrapolation that is worth a warning
_MOST_EPOCHS = 40.0  # of Muennighoff et al. 2023: beyond, repeating did harm


def plan(
  law: Any,
  flops: float,
  *,
  gpu: str = "h100",
  count: float = 1,
  utilization: float = budgets.UTILIZATION,
  price_per_hour: float | None = None,
  family: str = "chinchilla",
  inference_tokens: float | None = None,
  unique_tokens: float | None = None,
  overtrain: Sequence[float] = (),
  add: int = 0,
  most_run_flops: float | None = None,
) -> dict[str, Any]:
  """Returns a plan for a training budget, as `experiments/plan.py` writes it.

  Args:
    law: a `Basis`, or what `basis` takes.
    flops: C, the training budget.
    gpu: device whose hours are counted: a name in `budgets.PEAKS`, or a peak in FLOP/s.
    count: devices side by side.
    utilization: share of the peak that training reaches.
    price_per_hour: of one device; None leaves out the cost.
    family: of presets, for the shape.
    inference_tokens: tokens that the model will process in its life; None leaves that out.
    unique_tokens: tokens that there are, if they are fewer than D; None: enough.
    overtrain: factors by which models smaller than the optimum are priced.
    add: so many runs to add to the law's own, chosen such that N becomes known best per FLOP.
    most_run_flops: of one of them; the largest so far if left out.

  Returns:
    N, D, tokens_per_parameter, loss, hours, cost, interval (of each), shape, budget, law, table, and, where asked
    for, inference, repetition, overtrain and next; warnings.

  Raises:
    UserError: for values that cannot be, and questions that the law does not answer.
  """
  flops = budgets.positive("the budget in FLOPs", flops)
  known = law if isinstance(law, Basis) else basis(law)
  price = _Price(gpu, budgets.positive("count", count), utilization, price_per_hour)
  price.check()
  best = _entry(known.optimum(flops), flops, price)
  if not math.isfinite(best["N"]):
    raise UserError(f"the law {known.name} has no optimum at {flops:.3g} FLOPs: an exponent is not positive")
  report = {
    "law": {"name": known.name, "source": known.source, "counting": known.counting, "k": known.k,
            "intervals": known.how, "level": None if math.isnan(known.level) else known.level},
    "budget": budgets.describe(flops, gpu, count, utilization),
    "flops": flops,
    **best,
    "shape": shapes.nearest(best["N"], family, known.counting).as_dict(),
    "table": table(known, flops, price),
  }  # fmt: skip
  if inference_tokens is not None:
    report["inference"] = _inference(known, flops, inference_tokens, price)
  if unique_tokens is not None:
    report["repetition"] = _repetition(known, flops, unique_tokens)
  if len(overtrain):
    report["overtrain"] = [_overtrain(known, flops, factor, price) for factor in overtrain]
  if add:
    report["next"] = _next(known, report, add, most_run_flops)
  return report | {"warnings": _warnings(known, report)}


def table(known: Basis, flops: float, price: "_Price", places: int = PLACES) -> list[dict[str, Any]]:
  """Returns the optimum at budgets around one, each with hours and cost."""
  spread = np.geomspace(flops / _BELOW, flops * _ABOVE, places)
  return [_entry(known.optimum(float(c)), float(c), price) | {"flops": float(c)} for c in spread]


@dataclasses.dataclass(frozen=True)
class _Price:
  """What FLOPs cost in time and money."""

  gpu: str
  count: float
  utilization: float
  per_hour: float | None

  def check(self) -> None:
    budgets.rate(self.gpu, self.utilization)
    if self.per_hour is not None and not (math.isfinite(self.per_hour) and self.per_hour >= 0):
      raise UserError(f"price_per_hour is {self.per_hour:g}; it is money for one device's hour, 0 or more")

  def of(self, flops: float) -> dict[str, float | None]:
    hours = budgets.device_hours(flops, self.gpu, self.utilization)
    return {"hours": hours / self.count, "cost": None if self.per_hour is None else hours * self.per_hour}


def _entry(found: dict[str, Any], flops: float, price: _Price) -> dict[str, Any]:
  """Returns an optimum with its time and cost, which the budget fixes."""
  spent = price.of(flops)
  interval = dict(found["interval"])
  if "ratio" in interval:
    interval["tokens_per_parameter"] = interval.pop("ratio")
  if interval:
    interval |= {name: [value, value] for name, value in spent.items() if value is not None}
  loss = found.get("loss")
  return {
    "N": found["N"],
    "D": found["D"],
    "tokens_per_parameter": found["ratio"],
    "loss": None if loss is None or math.isnan(loss) else loss,
    **spent,
    "interval": interval,
  }


def _inference(known: Basis, flops: float, tokens: float, price: _Price) -> dict[str, Any]:
  known.needs_surface("--inference_tokens")
  tokens = budgets.positive("inference_tokens", tokens)
  found = known.measure(lambda rows_sp: surfaces.served(rows_sp, flops, tokens, known.cost))
  return {"tokens": tokens} | _renamed(found) | price.of(found["training_flops"])


def _repetition(known: Basis, flops: float, tokens: float) -> dict[str, Any]:
  known.needs_surface("--unique_tokens")
  tokens = budgets.positive("unique_tokens", tokens)
  found = known.measure(lambda rows_sp: surfaces.repeated(rows_sp, flops, tokens, known.cost))
  return {"unique_tokens": tokens} | _renamed(found)


def _overtrain(known: Basis, flops: float, factor: float, price: _Price) -> dict[str, Any]:
  known.needs_surface("--overtrain")
  factor = budgets.positive("overtrain", factor)
  found = known.measure(lambda rows_sp: surfaces.overtrained(rows_sp, flops, factor, known.cost))
  possible = math.isfinite(found["training_flops"])
  return {"factor": factor, "possible": possible} | _renamed(found) | price.of(found["training_flops"])


def _next(known: Basis, report: dict[str, Any], add: int, most: float | None) -> dict[str, Any]:
  known.needs_surface("--next")
  if known.runs is None or known.rows_sp is None:
    raise UserError(
      f"--next adds runs to a study, and of the law {known.name} no runs are at hand; give --law=FILE of runs"
    )
  pair = report["interval"].get("N")
  return next_runs.choose(
    known.runs,
    known.rows_sp[0],
    report["flops"],
    add,
    cost=known.cost,
    now=pair,
    level=known.level,
    most_flops=most,
  )


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
  interval = {_NAMES.get(name, name): pair for name, pair in found["interval"].items()}
  return {_NAMES.get(name, name): value for name, value in found.items()} | {"interval": interval}


_NAMES = {"ratio": "tokens_per_parameter"}


def _warnings(known: Basis, report: dict[str, Any]) -> list[str]:
  said, flops = [], report["flops"]
  if flops > _FAR * known.largest:
    said.append(
      f"{flops:.3g} FLOPs are {flops / known.largest:.3g} times the largest budget behind the law: extrapolated"
    )
  size = report["interval"].get("N")
  if size and not size[1] < 2 * size[0]:
    said.append(f"N is only known to lie in [{size[0]:.3g}, {size[1]:.3g}]: a factor {size[1] / size[0]:.2g}")
  shape = report["shape"]
  if abs(math.log(shape["params"] / report["N"])) > 0.1:
    said.append(f"no shape of the family comes within 10 % of N: the nearest has {shape['params']:.3g}")
  if report.get("repetition", {}).get("epochs", 1) > _MOST_EPOCHS:
    said.append(
      f"{report['repetition']['epochs']:.0f} epochs: beyond about {_MOST_EPOCHS:.0f} repetition did harm, which the "
      "law of repeated data does not know"
    )
  for entry in report.get("overtrain", []):
    if not entry["possible"]:
      said.append(
        f"a model {entry['factor']:g} times smaller never reaches the optimum's loss, whatever its data"
      )
  return said
