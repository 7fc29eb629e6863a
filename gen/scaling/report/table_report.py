"""Writes the page of a study for any table of runs: audit, three approaches, figures, and the next budget.

The results have the form of a sweep's results.json, so `study_page.render_page` draws both.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.laws import approaches, three_fits
from gen.scaling.report import study_page
from gen.scaling.runs.runs_table import RunsTable
from gen.scaling.verdicts.verdict import Prediction

LEVEL = 0.9  # of the intervals on a page
_AHEAD = 10.0  # times the largest budget, where the page predicts


def fit_results(
  runs: RunsTable,
  curves: Sequence[Mapping[str, Any]],
  name: str,
  bootstraps: int,
  seed: int,
  audit: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Fits the approaches and returns what the page shows.

  Args:
    runs: all of the table, held-out ones too.
    curves: rows of training curves, or none.
    name: of the study.
    bootstraps: resamples for the intervals.
    seed: of the resampling.
    audit: an `AuditReport` as plain values, or {"error": sentence} for runs that the audit refuses.
  """
  rows = np.flatnonzero(~runs.held_out)
  points = runs.select(rows)
  fits = three_fits.fit_approaches(
    points, curves, [str(run_name) for run_name in points.names], LEVEL, bootstraps, seed
  )
  budgets = points.group_flops()
  low, high = float(budgets.min()) / 2, float(budgets.max()) * 12
  target = float(budgets.max()) * _AHEAD
  optima = {key: three_fits.optimum_entry(fitted, target) for key, fitted in fits.items()}
  return {
    "name": name,
    "points": _entries(runs),
    "laws": typed_json.encode_record(three_fits.law_entries(fits, points, rows, low, high)),
    "prediction": typed_json.encode_record(Prediction(flops=target, **optima)),
    **({"audit": dict(audit)} if audit else {}),
  }


def write_page(path: Path, results: Mapping[str, Any], curves: Sequence[Mapping[str, Any]]) -> None:
  """Writes the page.

  Raises:
    UserError: if the disk is full or refuses.
  """
  text = study_page.render_page(results, curves)
  try:
    path.write_text(text, encoding="utf-8", errors="replace")
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}") from error


def next_lines(results: Mapping[str, Any]) -> list[str]:
  """Returns one line for each approach: its optimum at ten times the largest budget."""
  advice, text = results["prediction"], []
  for name in approaches.NAMES:
    if name in advice:
      optimum = advice[name]
      loss = f", loss {optimum['loss']:.3f}" if "loss" in optimum else ""
      text.append(
        f"next, at {advice['flops']:.3g} FLOPs by {name}: {optimum['N']:.3g} parameters, {optimum['D']:.3g} "
        f"tokens{loss}"
      )
  return text


def _entries(runs: RunsTable) -> list[dict[str, Any]]:
  budgets = runs.group_flops()[runs.groups()]
  entries = []
  for i in range(len(runs)):
    entry: dict[str, Any] = {"name": str(runs.names[i]), "held_out": bool(runs.held_out[i])}
    entry["budget"] = float(budgets[i])
    for field in ("params", "tokens", "loss", "flops", "seed", "steps"):
      value = float(getattr(runs, field)[i])
      if np.isfinite(value):
        entry[field] = value
    entries.append(entry)
  return entries
