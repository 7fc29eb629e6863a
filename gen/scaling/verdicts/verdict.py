"""Fits the three approaches to a sweep, predicts, compares with the held-out budget, and gives the verdict.

    results -> split -> laws -> prediction, held_out, leave_one_budget_out -> criteria -> verdict

Fits never use held-out runs or runs that are too short. A part that cannot be fitted gives the reason
({"error": sentence}) and fails its criteria; it never ends the analysis.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gen.config import Criteria
from gen.errors import UserError
from gen.scaling.laws import approaches, cost_model, isoflop, parametric, three_fits, valley_minimum
from gen.scaling.laws.approaches import Fits
from gen.scaling.runs.runs_table import RunsTable
from gen.scaling.verdicts import held_out
from gen.scaling.verdicts.criteria import judge_sweep, unfitted_reason

EXTRAPOLATION_FACTOR = 10.0  # the prediction is for so many times the largest fitted budget


def analyse_sweep(
  results: Sequence[Mapping[str, Any]],
  curves: Iterable[Mapping[str, Any]],
  criteria: Criteria,
  *,
  bootstraps: int = 1000,
  seed: int = 0,
) -> dict[str, Any]:
  """Fits, predicts and judges a sweep; returns plain values for JSON.

  Args:
    results: result rows, with run, params, tokens, flops, loss, budget, seed, steps and held_out.
    curves: the journal's training rows.
    criteria: the criteria of credibility, set before the sweep ran.
    bootstraps: draws for the intervals.
    seed: seed of the draws.

  Returns:
    laws (by approach), prediction, held_out, leave_one_budget_out, seed_noise and verdict.
  """
  try:
    parts = held_out.split_runs(results, criteria.min_steps)
  except UserError as error:
    return _nothing(str(error))
  runs = [str(results[i].get("run")) for i in parts.rows]
  whole = parts.whole
  cost = cost_model.measured_cost(whole.params, whole.tokens, whole.flops)
  fits = three_fits.fit_approaches(parts.fitted, curves, runs, criteria.confidence, bootstraps, seed, cost)
  budgets = [budget.flops for budget in valley_minimum.split_budgets(parts.fitted)]
  target = EXTRAPOLATION_FACTOR * budgets[-1]
  analysis = {
    "laws": three_fits.law_entries(fits, parts.fitted, parts.rows, budgets[0] / 2, 1.2 * target),
    "prediction": {"flops": target}
    | {name: three_fits.optimum_entry(fitted, target) for name, fitted in fits.items()},
    "held_out": held_out.compare_prediction(fits, parts),
    "leave_one_budget_out": leave_one_budget_out(fits, parts.fitted),
    "seed_noise": seed_noise(parts.fitted),
    "left_out": parts.short,
    "confidence": criteria.confidence,
  }
  return analysis | {"verdict": _verdict(judge_sweep(fits, parts, analysis, criteria))}


def seed_noise(fitted: RunsTable) -> float | None:
  """Returns the sd of a run's loss over seeds, pooled over all sizes with several seeds; None if there are none."""
  squares, freedom = 0.0, 0
  for budget in valley_minimum.split_budgets(fitted):
    squares += float(np.sum((budget.run_loss - budget.loss[budget.size_of_run]) ** 2))
    freedom += len(budget.run_loss) - len(budget.loss)
  return math.sqrt(squares / freedom) if freedom else None


def leave_one_budget_out(fits: Fits, fitted: RunsTable) -> list[dict[str, Any]]:
  """Returns the exponent a of approaches 2 and 3 with each budget left out in turn, and its largest change."""
  budgets = [budget.flops for budget in valley_minimum.split_budgets(fitted)]
  if len(budgets) < 3:
    return []
  entries: list[dict[str, Any]] = [{"left_out": flops} for flops in budgets]
  if fits.isoflop is not None:
    moved = isoflop.leave_out(fits.isoflop)
    for entry in entries:
      if entry["left_out"] in moved:
        a = moved[entry["left_out"]]
        entry |= {"isoflop_a": a, "isoflop_shift": a - fits.isoflop.a}
  if fits.parametric is not None:
    laws = parametric.leave_out(fitted, fits.parametric, fitted.groups())
    exponents = fits.parametric.exponents(np.stack([law.theta_p for law in laws])).tolist()
    for entry, a in zip(entries, exponents, strict=True):
      entry |= {"parametric_a": a, "parametric_shift": a - fits.parametric.a}
  return entries


def _verdict(reasons: list[dict[str, Any]]) -> dict[str, Any]:
  return {"credible": all(reason["passed"] for reason in reasons), "reasons": reasons}


def _nothing(said: str) -> dict[str, Any]:
  """Returns the analysis of a sweep to which nothing can be fitted."""
  return {
    "laws": {name: {"error": said} for name in approaches.NAMES},
    "prediction": {},
    "held_out": None,
    "leave_one_budget_out": [],
    "seed_noise": None,
    "verdict": _verdict(unfitted_reason(said)),
  }
