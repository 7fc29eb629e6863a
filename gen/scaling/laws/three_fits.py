"""Fits the three approaches of Hoffmann et al. 2022 (arXiv:2203.15556) to one set of runs, for results.json.

An approach that cannot be fitted gives its reason, {"error": sentence}; the others are still fitted.
C FLOPs, N parameters, D tokens.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import envelope, isoflop, parametric
from gen.scaling.laws.approaches import NAMES, Fits
from gen.scaling.laws.cost_model import CostModel
from gen.scaling.laws.envelope import EnvelopeFit
from gen.scaling.laws.isoflop import IsoflopValley
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.runs.runs_table import RunsTable

_BAND = 25  # budgets of an interval's band
_FRONTIER = 200  # places of the envelope that are kept: no eye can tell them from 1,500


def fit_approaches(
  points: RunsTable,
  curves: Iterable[Mapping[str, Any]],
  runs: Sequence[str],
  level: float,
  bootstraps: int,
  seed: int,
  cost: CostModel | None = None,
) -> Fits:
  """Fits the three approaches.

  Args:
    points: the runs to fit.
    curves: rows of training curves.
    runs: the name of each point in those rows.
    level: coverage of the intervals.
    bootstraps: draws for the intervals.
    seed: seed of the draws.
    cost: k(N) of all sizes of the study, held-out ones included; by default that of `points`.
  """
  options: dict[str, Any] = {"bootstraps": bootstraps, "seed": seed, "level": level}
  attempts = {
    "envelope": lambda: envelope.fit(points, curves, runs=runs, cost=cost, **options),
    "isoflop": lambda: isoflop.fit(points, cost=cost, **options),
    "parametric": lambda: parametric.fit(points, cost=cost, **options),
  }
  made: dict[str, Any] = dict.fromkeys(NAMES)
  errors = {}
  for name, attempt in attempts.items():
    try:
      made[name] = attempt()
    except UserError as error:
      errors[name] = str(error)
  return Fits(**made, errors=errors)


def optimum_entry(fitted: PowerLawFit, flops: float) -> dict[str, Any]:
  """Returns N, D and, if the approach predicts it, the loss at a budget in FLOPs, with intervals.

  If k(N) varies, also k at N, and whether N lies outside the sizes at which k was counted.

  Args:
    fitted: the fit of one approach.
    flops: C.
  """
  found = fitted.predict(flops)
  entry: dict[str, Any] = {"N": found.N, "D": found.D}
  entry |= ({} if found.loss is None else {"loss": found.loss}) | {"ci90": found.intervals}
  if not fitted.cost.is_constant:
    entry |= {"k": fitted.cost.k(found.N), "outside_sizes": bool(fitted.cost.outside(found.N))}
  return entry


def law_entries(fits: Fits, points: RunsTable, rows: np.ndarray, low: float, high: float) -> dict[str, Any]:
  """Returns each approach's entry of the results.

  Args:
    fits: the fits of the approaches.
    points: the runs that they were fitted to.
    rows: indices of those runs in the results.
    low: FLOPs at the lower end of the interval bands.
    high: FLOPs at the upper end.
  """
  found: dict[str, Any] = {}
  for name in NAMES:
    fitted = getattr(fits, name)
    found[name] = {"error": fits.errors[name]} if fitted is None else _law(fitted, low, high)
  valleys = isoflop.find_valleys(points) if fits.isoflop is None else fits.isoflop.valleys
  found["isoflop"]["valleys"] = [valley_entry(one, rows) for one in valleys]
  if fits.envelope is not None:
    found["envelope"] |= {"frontier": _frontier(fits.envelope), "form": fits.envelope.form}
  if fits.parametric is not None:
    found["parametric"] |= _constants(fits.parametric)
  return found


def valley_entry(found: IsoflopValley, rows: np.ndarray) -> dict[str, Any]:
  """Returns a valley's entry of the results; `rows` are the indices of the runs there."""
  return dataclasses.asdict(found) | {"points": [int(rows[i]) for i in found.points]}


def _law(fitted: PowerLawFit, low: float, high: float) -> dict[str, Any]:
  return {
    "a": fitted.a,
    "b": fitted.b,
    "N_coefficient": fitted.n_law.coefficient,
    "D_coefficient": fitted.d_law.coefficient,
    "ci90": dict(fitted.intervals),
    "interval_method": fitted.interval_method,
    "warnings": list(fitted.warnings),
    **_band(fitted, low, high),
  }


def _band(fitted: PowerLawFit, low: float, high: float) -> dict[str, Any]:
  """Returns N* and D* along C, and their intervals if there are any."""
  flops = np.geomspace(low, high, _BAND)
  found = [fitted.predict(float(c)) for c in flops]
  if not all(math.isfinite(one.N) and math.isfinite(one.D) for one in found):
    return {}
  curve = {"flops": flops.tolist()} | {"N": [one.N for one in found], "D": [one.D for one in found]}
  if not all({"N", "D"} <= one.intervals.keys() for one in found):
    return {"curve": curve}
  sides = {letter: [[one.intervals[letter][side] for one in found] for side in (0, 1)] for letter in "ND"}
  return {"curve": curve, "band": {"flops": flops.tolist(), **sides}}


def _constants(fitted: ParametricFit) -> dict[str, Any]:
  law = fitted.law
  return {
    **{name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta", "G", "k")},
    "cost": fitted.cost.as_dict(),
    "a_of_one_k": law.a,
    "objective": fitted.objective,
    "gradient_norm": fitted.gradient_norm,
    "starts": fitted.starts,
    "starts_at_best": fitted.starts_at_best,
    "residuals": fitted.residuals.tolist(),
  }


def _frontier(fitted: EnvelopeFit) -> list[dict[str, float]]:
  shown = np.unique(np.linspace(0, len(fitted.flops) - 1, _FRONTIER).round().astype(int))
  columns = {"flops": fitted.flops, "params": fitted.params, "tokens": fitted.tokens, "loss": fitted.loss}
  return [{name: float(values[i]) for name, values in columns.items()} for i in shown]
