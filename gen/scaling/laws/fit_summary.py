"""Summarizes a fit as JSON and as a printed table.

E, A, B, alpha, beta of the parametric law; a, b and coefficients of N*(C) = k_N C^a and D*(C) = k_D C^b. N
parameters, D tokens, C FLOPs, losses in nats per token.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gen.scaling.laws import fit
from gen.scaling.laws.approaches import TITLES, Fits
from gen.scaling.laws.envelope import EnvelopeFit
from gen.scaling.laws.isoflop import IsoflopFit
from gen.scaling.laws.power_law_fit import FrontierFit, PowerLawFit
from gen.scaling.runs.runs_table import RunsTable

if TYPE_CHECKING:  # Approach 3 imports jax, which the others do without.
  from gen.scaling.laws.parametric import ParametricFit

CONSTANTS = ("E", "A", "B", "alpha", "beta", "a", "b", "N_coefficient", "D_coefficient")
_RESIDUALS = 3  # the largest, which are named


def summarize_fit(approach: str, fitted: PowerLawFit, runs: RunsTable) -> dict[str, Any]:
  """Returns a fit as plain values, the form that `experiments/fit_scaling_law.py` writes.

  Args:
    approach: parametric, isoflop or envelope.
    fitted: the fit that `fit.fit_approach` returned.
    runs: the runs that it was fitted to.
  """
  points = fit.not_held_out(runs)
  facts: dict[str, Any] = {"approach": approach, "n": len(points), "held_out": len(runs) - len(points)}
  facts |= (
    _laws(fitted) if isinstance(fitted, FrontierFit) else _parametric(cast("ParametricFit", fitted), points)
  )
  return facts | {
    "level": fitted.level,
    interval_key(fitted.level): dict(fitted.intervals),
    "interval_method": fitted.interval_method,
    "warnings": list(fitted.warnings),
  }


def summarize_fits(fits: Fits, runs: RunsTable) -> dict[str, Any]:
  """Returns the summary of each approach under its name, and the parametric fit's entries at the top level.

  An approach that could not be fitted has only "error", the reason.
  """
  fitted = dict(fits.items())
  each = {name: summarize_fit(name, fitted[name], runs) for name in fit.APPROACHES if name in fitted}
  missing = {name: {"error": why} for name, why in fits.errors.items()}
  top = {name: value for name, value in each["parametric"].items() if name != "approach"}
  return {"approach": "all", **top, **each, **missing, "warnings": fits.warnings}


def interval_key(level: float) -> str:
  """Returns the key of the intervals in JSON.

  >>> interval_key(0.95), interval_key(0.999)
  ('ci95', 'ci99.9')
  """
  # 0.95 * 100 is 95.0 after six digits, and 99.9 keeps its decimal.
  return f"ci{100 * level:.6g}"


def summary_lines(report: Mapping[str, Any]) -> list[str]:
  """Returns the lines of a printed table of what `summarize_fit` or `summarize_fits` returned."""
  if report["approach"] == "all":
    parts = {name: report[name] for name in fit.APPROACHES}
  else:
    parts = {report["approach"]: report}
  text = [f"{report['n']} runs" + (f", {report['held_out']} more held out" if report["held_out"] else "")]
  for name, part in parts.items():
    text += ["", *_table(name, part)]
  lines = [f"warning: {warning}" for warning in report["warnings"]]
  return [*text, *([""] if lines else []), *lines]


def _table(name: str, part: Mapping[str, Any]) -> list[str]:
  if "error" in part:
    return [f"{TITLES[name]}: none, {part['error']}"]
  intervals = part[interval_key(part["level"])]
  text = [f"{TITLES[name]:14} {'':>10}  {100 * part['level']:.6g} % interval" if intervals else TITLES[name]]
  for constant in CONSTANTS:
    if constant in part:
      spread = intervals.get(constant)
      interval = f"  [{_number(spread[0])}, {_number(spread[1])}]" if spread else ""
      text.append(f"  {constant:14} {_number(part[constant]):>10}{interval}")
  if "objective" in part:
    text.append(
      f"  objective {part['objective']:.6g} (delta {part['delta']:g}), gradient {part['gradient_norm']:.1e}, "
      f"{part['starts_at_best']:,} of {part['starts']:,} starts end here, residuals {part['residual_rms']:.2g} rms"
    )
  if "valleys" in part:
    inside = sum(valley["inside"] for valley in part["valleys"])
    text.append(f"  {len(part['valleys'])} valleys by {part['method']}, {inside} with their minimum inside")
  if intervals:
    text.append(f"  intervals: {part['interval_method']}")
  return text


def _number(value: float) -> str:
  # Exponents with four decimals, coefficients such as 3e8 with four digits.
  return f"{value:.4f}" if 1e-2 <= abs(value) < 100 else f"{value:.4g}"


def _parametric(fitted: "ParametricFit", points: RunsTable) -> dict[str, Any]:
  law = fitted.law
  worst = np.argsort(-np.abs(fitted.residuals), kind="stable")[:_RESIDUALS]
  return {
    "objective": fitted.objective,
    "gradient_norm": fitted.gradient_norm,
    "starts": fitted.starts,
    "starts_at_best": fitted.starts_at_best,
    "delta": fitted.delta,
    **{name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta", "G", "k")},
    "a": fitted.a,
    "b": fitted.b,
    "cost": dataclasses.asdict(fitted.cost.entry()),
    "N_coefficient": fitted.n_law.coefficient,
    "D_coefficient": fitted.d_law.coefficient,
    "residual_rms": float(np.sqrt(np.mean(fitted.residuals**2))),
    "largest_residuals": [{"run": str(points.names[i]), "residual": fitted.residuals[i]} for i in worst],
  }


def _laws(fitted: FrontierFit) -> dict[str, Any]:
  facts: dict[str, Any] = {"a": fitted.a, "b": fitted.b}
  facts |= {"N_coefficient": fitted.n_law.coefficient, "D_coefficient": fitted.d_law.coefficient}
  if isinstance(fitted, IsoflopFit):
    return facts | {
      "method": fitted.method,
      "valleys": [dataclasses.asdict(point) for point in fitted.valleys],
    }
  assert isinstance(fitted, EnvelopeFit)
  places = [dataclasses.asdict(point) for point in fitted.frontier()]
  return facts | {"form": fitted.form, "frontier": places}
