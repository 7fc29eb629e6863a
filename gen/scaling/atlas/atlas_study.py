"""The atlas: IsoFLOP studies of several families on one text, each judged by itself, then set side by side.

    studies -> same text? -> trained in one pool -> laws and verdict of each -> optima, differences, equal loss

A study's own results are those of any sweep (`gen.scaling.workers.study.collect_results`). This module adds, for every
number between families, whether it may be compared, and whether the curves behind it are credible.
"""

import datetime
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gen import versions
from gen.config import Atlas, Sweep, to_dict
from gen.errors import UserError
from gen.io import formats
from gen.scaling.atlas import comparable, comparison, equal_loss
from gen.scaling.atlas.comparison import MEANINGS, MEASURES, ComparisonSide, FamilyComparison, FamilyFits
from gen.scaling.verdicts import held_out, verdict
from gen.scaling.workers import study
from gen.scaling.workers.executors import LOCAL, RunExecutor
from gen.scaling.workers.study import TrainedStudy

# What a published row keeps of a run; the whole row is in its family's own results.json.
_COLUMNS = (
  *("name", "width", "depth", "budget", "seed", "held_out", "batch", "steps", "learning_rate", "params"),
  *("tokens", "positions", "loss_tokens", "flops", "flops_6nd", "loss", "bits_per_byte", "seconds", "gflops"),
)

_LEFT_OUT = ("band", "curve", "frontier", "residuals")  # of a law


def train_studies(
  chosen: Mapping[str, Sweep], folder: Path, console: Console, workers: int, executor: RunExecutor = LOCAL
) -> dict[str, TrainedStudy]:
  """Trains what is left of all studies; the caller holds the folder's lock."""
  return study.train_all(dict(chosen), folder, console, workers, executor=executor)


def collect_results(
  atlas: Atlas, chosen: Mapping[str, Sweep], trained: Mapping[str, TrainedStudy]
) -> dict[str, Any]:
  """Returns what the atlas found, as results.json holds it; the whole results of each study are under `studies`.

  Args:
    atlas: the configuration.
    chosen: its studies, by family.
    trained: their runs.
  """
  studies = {name: _study(atlas, chosen[name], trained[name]) for name in chosen}
  credible = {name: bool(study["verdict"]["credible"]) for name, study in studies.items()}
  any_of = next(iter(studies.values()))
  level = next(iter(chosen.values())).criteria.confidence
  comparison = _compared(atlas, chosen, trained, level)
  families = {name: _summary(name, study) for name, study in studies.items()}
  sides: dict[str, Any] = {"differences": [], "equal_loss": {}, "equal_compute": {}, "intervals": "none"}
  if isinstance(comparison, FamilyComparison):
    for name, side in comparison.sides.items():
      families[name] |= _optima(comparison, side)
    sides = _between(comparison, credible)
  else:
    sides["error"] = comparison
  return {
    formats.FORMAT: formats.RESULTS,
    "name": atlas.name,
    "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "credible": credible,
    "caution": _caution(credible),
    "comparable": comparable.comparison_statements(list(chosen)),
    "meanings_of_D": MEANINGS,
    "confidence": level,
    "families": families,
    **sides,
    "seconds": max(study.seconds for study in trained.values()),
    "corpus": any_of["corpus"],
    "tokenizer": any_of["tokenizer"],
    "versions": versions.installed_versions(),
    "machine": versions.describe_machine() | next(iter(trained.values())).executor.described(atlas.workers),
    "config": to_dict(atlas),
    "studies": studies,
  }


def without_curves(results: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a study's results without the bands, frontier and residuals of its laws."""
  laws = {
    approach: {key: value for key, value in law.items() if key not in _LEFT_OUT}
    for approach, law in results["laws"].items()
  }
  return {**results, "laws": laws}


def with_families(results: Mapping[str, Any], families: Mapping[str, Any]) -> dict[str, Any]:
  """Returns an atlas' results with other families, and what their verdicts say of the comparisons.

  Args:
    results: as `collect_results` gave them.
    families: their entries, judged anew.
  """
  credible = {name: bool(family["verdict"]["credible"]) for name, family in families.items()}
  made = {**results, "families": dict(families), "credible": credible, "caution": _caution(credible)}
  made["differences"] = [
    row | {"credible": all(credible[name] for name in row["families"])} for row in results["differences"]
  ]
  for name, base in (("equal_loss", "over"), ("equal_compute", "minus")):
    entry = results[name]
    made[name] = entry | {"credible": credible[entry["of"]] and credible[entry[base]]} if entry else entry
  return made


def _study(atlas: Atlas, sweep: Sweep, trained: TrainedStudy) -> dict[str, Any]:
  analysis = verdict.analyse_sweep(
    trained.results, trained.curves, sweep.criteria, bootstraps=atlas.bootstraps, seed=atlas.seed
  )
  return study.collect_results(sweep, trained, analysis)


def _summary(name: str, study: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the part of a study's results that the atlas keeps: no bands, no frontier, no configuration."""
  laws = without_curves(study)["laws"]
  points = [{key: point.get(key) for key in _COLUMNS} for point in study["points"]]
  ratios = [point["flops"] / point["flops_6nd"] for point in study["points"]]
  names = ("verdict", "held_out", "leave_one_budget_out", "seed_noise", "left_out", "failed", "utilization")
  return {
    "title": comparable.family_title(name),
    "objective": study["points"][0]["objective"] if study["points"] else None,
    "flops_over_6nd": [min(ratios), max(ratios)] if ratios else None,
    "laws": laws,
    "points": points,
    **{key: study.get(key) for key in names},
  }


def _caution(credible: Mapping[str, bool]) -> str:
  bad = [comparable.family_title(name) for name, good in credible.items() if not good]
  if not bad:
    return "Every family's curve is credible by the criteria that were written down before the runs."
  if len(bad) == len(credible):
    sentence = "No family's curve is credible"
  else:
    curves, verb = ("curve", "is") if len(bad) == 1 else ("curves", "are")
    sentence = f"The {curves} of {_listed(bad)} {verb} not credible"
  return (
    f"{sentence} by the criteria that were written down before the runs; what rests on it is a measurement of these "
    "runs, not a law."
  )


def _listed(names: list[str]) -> str:
  return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _compared(
  atlas: Atlas, chosen: Mapping[str, Sweep], trained: Mapping[str, TrainedStudy], level: float
) -> FamilyComparison | str:
  """Returns the families side by side, or why they cannot be."""
  try:
    families = [_family(name, trained[name], chosen[name].criteria.min_steps) for name in chosen]
    return comparison.compare_families(families, bootstraps=atlas.bootstraps, seed=atlas.seed, level=level)
  except UserError as error:
    return str(error)


def _family(name: str, trained: TrainedStudy, min_steps: int) -> FamilyFits:
  try:
    parts = held_out.split_runs(trained.results, min_steps)
  except UserError as error:
    raise UserError(f"{comparable.family_title(name)}: {error}") from error
  rows = [trained.results[i] for i in parts.rows]
  measures = {measure: np.array([float(row[measure]) for row in rows]) for measure in MEASURES}
  return FamilyFits(name, parts.fitted, measures)


def _optima(comparison: FamilyComparison, side: ComparisonSide) -> dict[str, Any]:
  """Returns the optimum of a family at each budget, and the exponents, with intervals."""
  names = {"N": None} | {measure: measure for measure in MEASURES}
  exponents = {
    name: _value(comparison, side.found.exponents(name), side.drawn and side.drawn.exponents(name))
    for name in names
  }
  rows = []
  for g, flops in enumerate(side.found.flops):
    row: dict[str, Any] = {"budget": float(flops), "inside": bool(side.inside[g])}
    if side.inside[g]:
      row["N"] = _value(comparison, side.found.log_n_bg[:, g], side.drawn and side.drawn.log_n_bg[:, g], True)
      row["loss"] = _value(comparison, side.found.loss_bg[:, g], side.drawn and side.drawn.loss_bg[:, g])
      for measure in MEASURES:
        row[measure] = _value(
          comparison,
          side.found.measures[measure][:, g],
          side.drawn and side.drawn.measures[measure][:, g],
          True,
        )
      row["per_parameter"] = {
        meaning: _value(
          comparison,
          side.found.measures[meaning][:, g] - side.found.log_n_bg[:, g],
          side.drawn and side.drawn.measures[meaning][:, g] - side.drawn.log_n_bg[:, g],
          True,
        )
        for meaning in MEANINGS
      }
    rows.append(row)
  return {"optima": rows, "exponents": exponents}


def _value(
  comparison: FamilyComparison, estimate: np.ndarray, draws: Any, logs: bool = False
) -> dict[str, Any]:
  """Returns a value and its interval, out of logarithms if need be."""
  value = float(estimate[0])
  reach = comparison.interval(draws, value)
  write = np.exp if logs else np.asarray
  return {
    "value": float(write(value)),
    "interval": None if reach is None else [float(write(x)) for x in reach],
  }


def _between(comparison: FamilyComparison, credible: Mapping[str, bool]) -> dict[str, Any]:
  """Returns differences of exponents of each two families, and what equal loss and equal compute say of the equals."""
  differences = []
  for first, second in itertools.combinations(comparison.sides, 2):
    pair = comparison.sides[first], comparison.sides[second]
    row: dict[str, Any] = {
      "families": [first, second],
      "credible": credible[first] and credible[second],
      "residual_correlation": comparison.correlation.get((first, second)),
    }
    for name in ("N", *MEANINGS):
      gap = pair[0].found.exponents(name) - pair[1].found.exponents(name)
      drawn = None
      if pair[0].drawn is not None and pair[1].drawn is not None:
        drawn = pair[0].drawn.exponents(name) - pair[1].drawn.exponents(name)
      row["a" if name == "N" else f"exponent_of_{name}"] = _value(comparison, gap, drawn)
    differences.append(row)
  return {
    "intervals": comparison.how,
    "differences": differences,
    "equal_loss": _equal_loss(comparison, credible),
    "equal_compute": _equal_compute(comparison, credible),
  }


def _equal_loss(comparison: FamilyComparison, credible: Mapping[str, bool]) -> dict[str, Any]:
  first, second = comparable.EQUAL
  if not {first, second} <= set(comparison.sides):
    return {}
  entry: dict[str, Any] = {"of": second, "over": first, "credible": credible[first] and credible[second]}
  for cost in ("flops", "seconds"):
    try:
      entry[cost] = equal_loss.cost_multipliers(comparison, first, second, cost)
    except UserError as error:
      entry[cost], entry["error"] = [], str(error)
  return entry


def _equal_compute(comparison: FamilyComparison, credible: Mapping[str, bool]) -> dict[str, Any]:
  """Returns by how much the loss of the second of the equals lies above the first's at each budget."""
  name, other_name = comparable.EQUAL
  if not {name, other_name} <= set(comparison.sides):
    return {}
  first, second = comparison.sides[name], comparison.sides[other_name]
  rows = []
  for g, flops in enumerate(first.found.flops):
    h = np.flatnonzero(second.found.flops == flops)
    if not len(h) or not (first.inside[g] and second.inside[h[0]]):
      continue
    gap = second.found.loss_bg[:, h[0]] - first.found.loss_bg[:, g]
    drawn = None
    if first.drawn is not None and second.drawn is not None:
      drawn = second.drawn.loss_bg[:, h[0]] - first.drawn.loss_bg[:, g]
    rows.append({"budget": float(flops), "difference": _value(comparison, gap, drawn)})
  return {"of": other_name, "minus": name, "credible": credible[name] and credible[other_name], "rows": rows}
