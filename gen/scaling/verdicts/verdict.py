"""Fits the three approaches to a sweep, predicts, compares with the held-out budget, and gives the verdict.

    results -> split -> laws -> prediction, held_out, leave_one_budget_out -> criteria -> verdict

Fits never use held-out runs or runs that are too short. A part that cannot be fitted gives the reason
({"error": sentence}) and fails its criteria; it never ends the analysis.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gen.config import Criteria
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.laws import isoflop, parametric, three_fits, valley_minimum
from gen.scaling.laws.approaches import Fits
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.three_fits import LawEntries, OptimumEntry
from gen.scaling.runs.runs_table import RunsTable
from gen.scaling.verdicts import held_out
from gen.scaling.verdicts.criteria import Verdict, judge_sweep, make_verdict, unfitted_reason
from gen.scaling.verdicts.held_out import HeldOutComparison, LeftOutBudget
from gen.training.run_log.rows import RowValues

EXTRAPOLATION_FACTOR = 10.0  # the prediction is for so many times the largest fitted budget


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
  """The optimum at `flops`, ten times the largest fitted budget, by each approach that gave a law."""

  flops: float | None = None
  envelope: OptimumEntry | None = None
  isoflop: OptimumEntry | None = None
  parametric: OptimumEntry | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
  """What the runs of a sweep say, as results.json holds it.

  Attributes:
    laws: the law of each approach, or why there is none.
    prediction: the optimum beyond the largest budget.
    held_out: predictions against the held-out budget; None if nothing is held out.
    leave_one_budget_out: exponents with each budget left out; empty with fewer than three.
    seed_noise: sd of a run's loss over seeds, nats; None if no size has two seeds.
    left_out: names of the runs that are too short to be fitted.
    confidence: coverage of the intervals.
    verdict: whether the curve is credible, and why.
  """

  laws: LawEntries
  prediction: Prediction = dataclasses.field(default_factory=Prediction)
  held_out: HeldOutComparison | None
  leave_one_budget_out: list[LeftOutBudget]
  seed_noise: float | None
  left_out: list[str] | None = None
  confidence: float | None = None
  verdict: Verdict


def read_analysis(results: Mapping[str, object], name: str) -> Analysis:
  """Returns the analysis that results hold, beside the runs and what else they say.

  Args:
    results: a study's results, or a family's entry in those of an atlas.
    name: what errors call them.

  Raises:
    UserError: for a field that is missing or of another type.
  """
  fields = {field.name for field in dataclasses.fields(Analysis)}
  present = {key: value for key, value in results.items() if key in fields}
  return typed_json.decode_record(Analysis, present, name)


def analyse_sweep(
  results: Sequence[RowValues],
  curves: Iterable[RowValues],
  criteria: Criteria,
  *,
  bootstraps: int = 1000,
  seed: int = 0,
) -> Analysis:
  """Fits, predicts and judges a sweep.

  Args:
    results: result rows, with run, params, tokens, flops, loss, budget, seed, steps and held_out.
    curves: the journal's training rows.
    criteria: the criteria of credibility, set before the sweep ran.
    bootstraps: draws for the intervals.
    seed: seed of the draws.
  """
  try:
    parts = held_out.split_runs(results, criteria.min_steps)
  except UserError as error:
    return _unfitted(str(error))
  runs = [str(results[i].get("run")) for i in parts.rows]
  table = parts.all_runs
  cost = cost_model.measured_cost(table.params, table.tokens, table.flops)
  fits = three_fits.fit_approaches(parts.fitted, curves, runs, criteria.confidence, bootstraps, seed, cost)
  budgets = [budget.flops for budget in valley_minimum.split_budgets(parts.fitted)]
  target = EXTRAPOLATION_FACTOR * budgets[-1]
  compared = held_out.compare_prediction(fits, parts)
  left_out_budgets, noise = leave_one_budget_out(fits, parts.fitted), seed_noise(parts.fitted)
  reasons = judge_sweep(
    fits, parts, criteria, held_out=compared, left_out_budgets=left_out_budgets, seed_noise=noise
  )
  optima = {name: three_fits.optimum_entry(fitted, target) for name, fitted in fits.items()}
  return Analysis(
    # Bands reach a little beyond the budgets and the prediction, so that figures show both inside.
    laws=three_fits.law_entries(fits, parts.fitted, parts.rows, budgets[0] / 2, 1.2 * target),
    prediction=Prediction(flops=target, **optima),
    held_out=compared,
    leave_one_budget_out=left_out_budgets,
    seed_noise=noise,
    left_out=parts.short,
    confidence=criteria.confidence,
    verdict=make_verdict(reasons),
  )


def seed_noise(fitted: RunsTable) -> float | None:
  """Returns the sd of a run's loss over seeds, pooled over all sizes with several seeds; None if there are none."""
  squares, freedom = 0.0, 0
  for budget in valley_minimum.split_budgets(fitted):
    # Deviations from the mean of each size. A size loses one degree of freedom for its mean, so one seed adds nothing.
    squares += float(np.sum((budget.run_loss - budget.loss[budget.size_of_run]) ** 2))
    freedom += len(budget.run_loss) - len(budget.loss)
  return math.sqrt(squares / freedom) if freedom else None


def leave_one_budget_out(fits: Fits, fitted: RunsTable) -> list[LeftOutBudget]:
  """Returns the exponent a of approaches 2 and 3 with each budget left out in turn, and by how much that moves it."""
  budgets = [budget.flops for budget in valley_minimum.split_budgets(fitted)]
  # A line through the single budget that is left would have no slope.
  if len(budgets) < 3:
    return []
  two, three = fits.isoflop, fits.parametric
  of_valleys = {} if two is None else isoflop.leave_out(two)
  of_laws: list[float] = []
  if three is not None:
    laws = parametric.leave_out(fitted, three, fitted.groups())
    of_laws = three.exponents(np.stack([law.theta_p for law in laws])).tolist()
  entries = []
  for i, flops in enumerate(budgets):
    a, b = of_valleys.get(flops), of_laws[i] if three is not None else None
    entries.append(
      LeftOutBudget(
        left_out=flops,
        isoflop_a=a,
        isoflop_shift=None if a is None or two is None else a - two.a,
        parametric_a=b,
        parametric_shift=None if b is None or three is None else b - three.a,
      )
    )
  return entries


def _unfitted(sentence: str) -> Analysis:
  """Returns the analysis of a sweep to which nothing can be fitted."""
  return Analysis(
    laws=three_fits.failed_entries(sentence),
    prediction=Prediction(),
    held_out=None,
    leave_one_budget_out=[],
    seed_noise=None,
    verdict=make_verdict(unfitted_reason(sentence)),
  )
