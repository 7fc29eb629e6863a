"""Writes the page of a study for any table of runs: audit, three approaches, figures, and the next budget.

The results have the form of a sweep's results.json, so `study_page.render_page` draws both.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.laws import approaches, three_fits
from gen.scaling.laws.three_fits import LawEntries, OptimumEntry
from gen.scaling.report import study_page
from gen.scaling.runs.runs_table import RunsTable
from gen.scaling.verdicts.verdict import Prediction
from gen.training.run_log.rows import RowValues

_AHEAD = 10.0  # times the largest budget, where the page predicts: as `verdict.EXTRAPOLATION_FACTOR`


_MEASURED = ("params", "tokens", "loss", "flops", "seed", "steps")


@dataclasses.dataclass(frozen=True, slots=True)
class TablePoint:
  """A run of a table; what is unknown is None."""

  name: str
  held_out: bool
  budget: float
  params: float | None = None
  tokens: float | None = None
  loss: float | None = None
  flops: float | None = None
  seed: float | None = None
  steps: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TableStudy:
  """What the page of a table of runs shows.

  Attributes:
    name: of the study.
    points: the runs.
    laws: the law of each approach, or why there is none.
    prediction: the optimum at ten times the largest budget.
    confidence: coverage of the intervals.
    audit: an `AuditReport` as plain values, or {"error": sentence}; None without an audit.
  """

  name: str
  points: list[TablePoint]
  laws: LawEntries
  prediction: Prediction
  confidence: float
  audit: dict[str, object] | None = None


def fit_results(
  runs: RunsTable,
  curves: Sequence[RowValues],
  name: str,
  bootstraps: int,
  seed: int,
  level: float,
  audit: Mapping[str, object] | None = None,
) -> TableStudy:
  """Fits the approaches and returns what the page shows.

  Args:
    runs: all of the table, held-out ones too.
    curves: rows of training curves, or none.
    name: of the study.
    bootstraps: resamples for the intervals.
    seed: of the resampling.
    level: coverage of the intervals, between 0 and 1.
    audit: an `AuditReport` as plain values, or {"error": sentence} for runs that the audit refuses.
  """
  rows = np.flatnonzero(~runs.held_out)
  points = runs.select(rows)
  fits = three_fits.fit_approaches(
    points, curves, [str(run_name) for run_name in points.names], level, bootstraps, seed
  )
  budgets = points.group_flops()
  low, high = float(budgets.min()) / 2, float(budgets.max()) * 12
  target = float(budgets.max()) * _AHEAD
  optima = {key: three_fits.optimum_entry(fitted, target) for key, fitted in fits.items()}
  return TableStudy(
    name=name,
    points=_entries(runs),
    laws=three_fits.law_entries(fits, points, rows, low, high),
    prediction=Prediction(flops=target, **optima),
    confidence=level,
    audit=dict(audit) if audit else None,
  )


def write_page(path: Path, results: TableStudy, curves: Sequence[RowValues]) -> None:
  """Writes the page.

  Raises:
    UserError: if the disk is full or refuses.
  """
  text = study_page.render_page(typed_json.encode_record(results), curves)
  try:
    path.write_text(text, encoding="utf-8", errors="replace")
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}") from error


def next_lines(results: TableStudy) -> list[str]:
  """Returns one line for each approach: its optimum at ten times the largest budget."""
  advice, text = results.prediction, []
  for name in approaches.NAMES:
    optimum: OptimumEntry | None = getattr(advice, name)
    if optimum is not None:
      loss = "" if optimum.loss is None else f", loss {optimum.loss:.3f}"
      text.append(
        f"next, at {advice.flops:.3g} FLOPs by {name}: {optimum.N:.3g} parameters, {optimum.D:.3g} tokens{loss}"
      )
  return text


def _entries(runs: RunsTable) -> list[TablePoint]:
  budgets = runs.group_flops()[runs.groups()]
  entries = []
  for i in range(len(runs)):
    values = {field: float(getattr(runs, field)[i]) for field in _MEASURED}
    known = {field: value for field, value in values.items() if np.isfinite(value)}
    entries.append(TablePoint(str(runs.names[i]), bool(runs.held_out[i]), float(budgets[i]), **known))
  return entries
