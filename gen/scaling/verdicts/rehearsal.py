"""Rehearses a study before it trains: draws losses from a law with noise, fits and judges them, many times.

    config, law, noise -> losses of every run -> fits and criteria of `verdict` -> how often each criterion is met

The result shows how the design alone affects the verdict. It assumes the form of the law, equally well trained runs,
and normal, independent noise of equal size. A real study may violate each of these, so its chances can be better or
worse. N parameters, D tokens, C FLOPs, losses in nats.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from gen import counts
from gen.config import Run, Sweep
from gen.errors import UserError
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.sweeps import design
from gen.scaling.verdicts import verdict
from gen.scaling.verdicts.criteria import Reason
from gen.training import loop
from gen.training.run_log.rows import RowValues

# Of the verdict's: a drawn study has no curves for approach 1, whose interval one of them compares.
NOT_REHEARSED = ("intervals_overlap", "seed_noise")
CONFIDENCE = 0.95  # of the interval of the share of rehearsals that were credible


@dataclasses.dataclass(frozen=True)
class CriterionShare:
  """The share of drawn studies that met one criterion.

  Attributes:
    name: name of the criterion in the verdict.
    limit: limit in the config.
    met: number of studies that met it.
    median: median of its value over the studies that have one; NaN if none has.
  """

  name: str
  limit: Any
  met: int
  median: float


@dataclasses.dataclass(frozen=True)
class RehearsalReport:
  """The results of all drawn studies of a design.

  Attributes:
    studies: number of drawn studies.
    credible: number of studies that met every criterion that can be rehearsed.
    interval: 95 % Wilson interval [low, high] of that share.
    criteria: the shares by criterion.
    runs: number of runs in the design, held-out ones included.
    flops: training FLOPs of all runs; for trunks and branches the charged FLOPs.
    noise: sd of a run's loss, in nats.
  """

  studies: int
  credible: int
  interval: list[float]
  criteria: list[CriterionShare]
  runs: int
  flops: float
  noise: float


def rehearse_sweep(
  sweep: Sweep,
  vocab: int,
  law: ParametricLaw,
  noise: float,
  *,
  studies: int = 20,
  seed: int = 0,
  report: Callable[[int], None] | None = None,
) -> RehearsalReport:
  """Draws a design's losses from a law, and fits and judges them, `studies` times.

  Args:
    sweep: the design, with its criteria.
    vocab: number of ids of the tokenizer.
    law: the assumed law of N (as results count it: matrices, without embeddings) and D.
    noise: sd of one run's loss about the law, in nats.
    studies: number of studies to draw.
    seed: seed of the draws.
    report: called after each study with the number of studies done.

  Raises:
    UserError: for an invalid design or noise, and for a law without finite losses at the runs.
  """
  if not (math.isfinite(noise) and noise >= 0):
    raise UserError(f"the noise is {noise:g} nats; the standard deviation of a run's loss is 0 or more")
  if studies < 1:
    raise UserError(f"{studies} studies cannot be drawn; draw at least 1")
  runs = design.canonical_order(design.expand_sweep(sweep, vocab))
  rows = [_row(sweep, run) for run in runs]
  params, tokens = (np.array([row[name] for row in rows]) for name in ("params", "tokens"))
  true = np.asarray(law.loss(params, tokens))
  if not np.all(np.isfinite(true) & (true > 0)):
    raise UserError(f"the law gives {rows[int(np.argmin(true))]['name']} no loss; it must be above 0")
  random = np.random.default_rng(seed)
  judged = []
  for done in range(studies):
    # Above 0 however large the noise: fits take logarithms.
    losses = np.maximum(true + noise * random.standard_normal(len(true)), 1e-9)
    drawn = [row | {"loss": float(loss)} for row, loss in zip(rows, losses, strict=True)]
    # No bootstrap: the criterion of intervals is not rehearsed, and the others read point estimates.
    reasons = verdict.analyse_sweep(drawn, [], sweep.criteria, bootstraps=0).verdict.reasons
    judged.append({reason.name: reason for reason in reasons if reason.name not in NOT_REHEARSED})
    if report is not None:
      report(done + 1)
  return _summary(judged, len(runs), sum(run.flops for run in runs), noise)


def _row(sweep: Sweep, run: Run) -> RowValues:
  """Returns the result row of a run, without its loss."""
  steps = loop.count_steps(run)
  return {
    "run": run.name,
    "name": run.name,
    "params": counts.count_matrices(run.model),
    "tokens": steps * run.data.batch * loop.row_length(run).tokens,
    "flops": steps * design.flops_per_step(run),
    "budget": run.flops,
    "seed": run.seed,
    "steps": steps,
    "held_out": design.is_held_out(sweep, run),
  }


def _summary(judged: list[dict[str, Reason]], runs: int, flops: float, noise: float) -> RehearsalReport:
  names = list(dict.fromkeys(name for reasons in judged for name in reasons))
  criteria = []
  for name in names:
    reasons_of_name = [reasons[name] for reasons in judged if name in reasons]
    values = [float(reason.value) for reason in reasons_of_name if reason.value is not None]
    median = float(np.median(values)) if values else math.nan
    criteria.append(
      CriterionShare(name, reasons_of_name[0].limit, sum(reason.passed for reason in reasons_of_name), median)
    )
  credible = sum(all(reason.passed for reason in reasons.values()) for reasons in judged)
  # Wilson's interval, because Wald's has length zero where all or none of the studies are credible.
  ends = stats.binomtest(credible, len(judged)).proportion_ci(CONFIDENCE, method="wilson")
  return RehearsalReport(
    len(judged), credible, [float(ends.low), float(ends.high)], criteria, runs, float(flops), noise
  )


def rehearsal_lines(report: RehearsalReport) -> list[str]:
  """Returns the lines of the report for a terminal."""
  width = max(len(criterion.name) for criterion in report.criteria)
  table = [
    f"  {criterion.name:{width}}  met {criterion.met:4} of {report.studies}   limit {_shown(criterion.limit):12} "
    f"median {criterion.median:.4g}"
    for criterion in report.criteria
  ]
  low, high = report.interval
  return [
    f"{report.runs} runs, {report.flops:.3g} FLOPs, noise {report.noise:.4f} nats a run",
    *table,
    f"credible: {report.credible} of {report.studies} drawn studies, {100 * low:.0f} to {100 * high:.0f} % (95 %), "
    f"by all criteria but {' and '.join(NOT_REHEARSED)}",
    "The law, equal noise and equally good training are assumed: for a real study this is an estimate, not a bound.",
  ]


def _shown(limit: Any) -> str:
  if isinstance(limit, list):
    return f"[{', '.join(f'{bound:g}' for bound in limit)}]"
  return "-" if limit is None else f"{limit:g}"
