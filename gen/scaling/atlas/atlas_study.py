"""The atlas: IsoFLOP studies of several families on one text, each judged by itself, then set side by side.

    studies -> same text? -> trained in one pool -> laws and verdict of each -> optima, differences, equal loss

A study's own results are those of any sweep (`gen.scaling.workers.study.collect_results`). This module adds, for every
number between families, whether it may be compared, and whether the curves behind it are credible.
"""

import dataclasses
import datetime
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from gen import versions
from gen.config import Atlas, Sweep, to_dict
from gen.errors import UserError
from gen.io import formats, typed_json
from gen.scaling.atlas import comparable, comparison, equal_loss
from gen.scaling.atlas.atlas_records import (
  AtlasPoint,
  AtlasResults,
  EqualCompute,
  EqualLoss,
  EqualLossCosts,
  ExponentDifference,
  FamilyOptimum,
  FamilyResults,
  LossDifference,
  MeasuredValue,
)
from gen.scaling.atlas.comparison import MEANINGS, MEASURES, ComparisonSide, FamilyComparison, FamilyFits
from gen.scaling.laws.three_fits import LawEntries
from gen.scaling.verdicts import held_out, verdict
from gen.scaling.workers import study
from gen.scaling.workers.executors import LOCAL, RunExecutor
from gen.scaling.workers.study import StudyResults, TrainedStudy
from gen.training.run_log.rows import RowValues

_POINT_FIELDS = [field.name for field in dataclasses.fields(AtlasPoint)]


class CollectedAtlas(NamedTuple):
  """What an atlas found, and the whole results of each of its studies."""

  results: AtlasResults
  studies: dict[str, StudyResults]


def train_studies(
  chosen: Mapping[str, Sweep], folder: Path, console: Console, workers: int, executor: RunExecutor = LOCAL
) -> dict[str, TrainedStudy]:
  """Trains what is left of all studies; the caller holds the folder's lock."""
  return study.train_all(dict(chosen), folder, console, workers, executor=executor)


def collect_results(
  atlas: Atlas, chosen: Mapping[str, Sweep], trained: Mapping[str, TrainedStudy]
) -> CollectedAtlas:
  """Returns what the atlas found, and the results of each study.

  Args:
    atlas: the configuration.
    chosen: its studies, by family.
    trained: their runs.
  """
  studies = {name: _study(atlas, chosen[name], trained[name]) for name in chosen}
  credible = {name: study.verdict.credible for name, study in studies.items()}
  any_of = next(iter(studies.values()))
  level = next(iter(chosen.values())).criteria.confidence
  compared = _compared(atlas, chosen, trained, level)
  comparison, error = (compared, None) if isinstance(compared, FamilyComparison) else (None, compared)
  results = AtlasResults(
    format=formats.RESULTS,
    name=atlas.name,
    created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    credible=credible,
    caution=_caution(credible),
    comparable=comparable.comparison_statements(list(chosen)),
    meanings_of_D=MEANINGS,
    confidence=level,
    families={name: _summary(name, study, comparison) for name, study in studies.items()},
    differences=[] if comparison is None else _differences(comparison, credible),
    equal_loss=None if comparison is None else _equal_loss(comparison, credible),
    equal_compute=None if comparison is None else _equal_compute(comparison, credible),
    intervals="none" if comparison is None else comparison.how,
    error=error,
    seconds=max(study.seconds for study in trained.values()),
    corpus=any_of.corpus,
    tokenizer=any_of.tokenizer,
    versions=versions.installed_versions(),
    machine=versions.describe_machine() | next(iter(trained.values())).executor.described(atlas.workers),
    config=to_dict(atlas),
  )
  return CollectedAtlas(results, studies)


def without_curves(laws: LawEntries) -> LawEntries:
  """Returns the laws of a study without their bands, curves, frontier and residuals."""
  return LawEntries(
    envelope=dataclasses.replace(laws.envelope, band=None, curve=None, frontier=None),
    isoflop=dataclasses.replace(laws.isoflop, band=None, curve=None),
    parametric=dataclasses.replace(laws.parametric, band=None, curve=None, residuals=None),
  )


def with_families(results: AtlasResults, families: dict[str, FamilyResults]) -> AtlasResults:
  """Returns an atlas' results with other families, and what their verdicts say of the comparisons.

  Args:
    results: as `collect_results` gave them.
    families: their entries, judged anew.
  """
  credible = {name: family.verdict.credible for name, family in families.items()}
  loss, compute = results.equal_loss, results.equal_compute
  if loss is not None:
    loss = dataclasses.replace(loss, credible=credible[loss.of] and credible[loss.over])
  if compute is not None:
    compute = dataclasses.replace(compute, credible=credible[compute.of] and credible[compute.minus])
  return dataclasses.replace(
    results,
    families=families,
    credible=credible,
    caution=_caution(credible),
    differences=[
      dataclasses.replace(row, credible=all(credible[name] for name in row.families))
      for row in results.differences
    ],
    equal_loss=loss,
    equal_compute=compute,
  )


def _study(atlas: Atlas, sweep: Sweep, trained: TrainedStudy) -> StudyResults:
  analysis = verdict.analyse_sweep(
    trained.results, trained.curves, sweep.criteria, bootstraps=atlas.bootstraps, seed=atlas.seed
  )
  return study.collect_results(sweep, trained, analysis)


def _summary(name: str, study: StudyResults, comparison: FamilyComparison | None) -> FamilyResults:
  """Returns the part of a study's results that the atlas keeps: no bands, no frontier, no configuration."""
  ratios = [point["flops"] / point["flops_6nd"] for point in study.points]
  side = None if comparison is None else comparison.sides[name]
  return FamilyResults(
    title=comparable.family_title(name),
    objective=study.points[0]["objective"] if study.points else None,
    flops_over_6nd=[min(ratios), max(ratios)] if ratios else None,
    laws=without_curves(study.laws),
    points=[_point(point) for point in study.points],
    verdict=study.verdict,
    held_out=study.held_out,
    leave_one_budget_out=study.leave_one_budget_out,
    seed_noise=study.seed_noise,
    left_out=study.left_out,
    failed=study.failed,
    utilization=study.utilization,
    optima=None if comparison is None or side is None else _optima(comparison, side),
    exponents=None if comparison is None or side is None else _exponents(comparison, side),
  )


def _point(row: RowValues) -> AtlasPoint:
  values = {key: row.get(key) for key in _POINT_FIELDS}
  return typed_json.decode_record(AtlasPoint, values, f"the result of {row.get('name')}")


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


def _exponents(comparison: FamilyComparison, side: ComparisonSide) -> dict[str, MeasuredValue]:
  """Returns the exponents of N* and of each measure of a family, with intervals."""
  return {
    name: _value(comparison, side.optima.exponents(name), side.drawn and side.drawn.exponents(name))
    for name in ("N", *MEASURES)
  }


def _optima(comparison: FamilyComparison, side: ComparisonSide) -> list[FamilyOptimum]:
  """Returns the optimum of a family at each budget, with intervals."""
  return [
    _optimum(comparison, side, g) if side.inside[g] else FamilyOptimum(float(flops), False)
    for g, flops in enumerate(side.optima.flops)
  ]


def _optimum(comparison: FamilyComparison, side: ComparisonSide, g: int) -> FamilyOptimum:
  optima, drawn = side.optima, side.drawn
  measures = {
    name: _value(comparison, optima.measures[name][:, g], drawn and drawn.measures[name][:, g], True)
    for name in MEASURES
  }
  return FamilyOptimum(
    budget=float(optima.flops[g]),
    inside=True,
    N=_value(comparison, optima.log_n_bg[:, g], drawn and drawn.log_n_bg[:, g], True),
    loss=_value(comparison, optima.loss_bg[:, g], drawn and drawn.loss_bg[:, g]),
    **measures,
    per_parameter={
      meaning: _value(
        comparison,
        optima.measures[meaning][:, g] - optima.log_n_bg[:, g],
        drawn and drawn.measures[meaning][:, g] - drawn.log_n_bg[:, g],
        True,
      )
      for meaning in MEANINGS
    },
  )


def _value(
  comparison: FamilyComparison, estimate: np.ndarray, draws: np.ndarray | None, logs: bool = False
) -> MeasuredValue:
  """Returns a value and its interval, out of logarithms if need be."""
  value = float(estimate[0])
  reach = comparison.interval(draws, value)
  write = np.exp if logs else np.asarray
  return MeasuredValue(float(write(value)), None if reach is None else [float(write(x)) for x in reach])


def _differences(comparison: FamilyComparison, credible: Mapping[str, bool]) -> list[ExponentDifference]:
  """Returns differences of exponents of each two families."""
  differences = []
  for first, second in itertools.combinations(comparison.sides, 2):
    pair = comparison.sides[first], comparison.sides[second]
    gaps = {}
    for name in ("N", *MEANINGS):
      gap = pair[0].optima.exponents(name) - pair[1].optima.exponents(name)
      drawn = None
      if pair[0].drawn is not None and pair[1].drawn is not None:
        drawn = pair[0].drawn.exponents(name) - pair[1].drawn.exponents(name)
      gaps["a" if name == "N" else f"exponent_of_{name}"] = _value(comparison, gap, drawn)
    differences.append(
      ExponentDifference(
        families=[first, second],
        credible=credible[first] and credible[second],
        residual_correlation=comparison.correlation.get((first, second)),
        **gaps,
      )
    )
  return differences


def _equal_loss(comparison: FamilyComparison, credible: Mapping[str, bool]) -> EqualLoss | None:
  first, second = comparable.EQUAL
  if not {first, second} <= set(comparison.sides):
    return None
  costs: dict[str, list[EqualLossCosts]] = {}
  error = None
  for cost in ("flops", "seconds"):
    try:
      rows = equal_loss.cost_multipliers(comparison, first, second, cost)
    except UserError as mistake:
      rows, error = [], str(mistake)
    costs[cost] = [EqualLossCosts(row.loss, row.first, row.second, row.ratio, row.interval) for row in rows]
  both = credible[first] and credible[second]
  return EqualLoss(
    of=second, over=first, credible=both, flops=costs["flops"], seconds=costs["seconds"], error=error
  )


def _equal_compute(comparison: FamilyComparison, credible: Mapping[str, bool]) -> EqualCompute | None:
  """Returns by how much the loss of the second of the equals lies above the first's at each budget."""
  name, other_name = comparable.EQUAL
  if not {name, other_name} <= set(comparison.sides):
    return None
  first, second = comparison.sides[name], comparison.sides[other_name]
  rows = []
  for g, flops in enumerate(first.optima.flops):
    h = np.flatnonzero(second.optima.flops == flops)
    if not len(h) or not (first.inside[g] and second.inside[h[0]]):
      continue
    gap = second.optima.loss_bg[:, h[0]] - first.optima.loss_bg[:, g]
    drawn = None
    if first.drawn is not None and second.drawn is not None:
      drawn = second.drawn.loss_bg[:, h[0]] - first.drawn.loss_bg[:, g]
    rows.append(LossDifference(float(flops), _value(comparison, gap, drawn)))
  return EqualCompute(other_name, name, credible[name] and credible[other_name], rows)
