"""Splits a sweep into fitted and held-out runs, and compares predictions with the held-out budget.

The parabola of its own runs gives N* and loss of the held-out budget; each approach predicts them from the other
budgets alone. Approach 3 uses the k(N) of all sizes, which follows from their shapes. C FLOPs, N parameters, D tokens.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop, three_fits
from gen.scaling.laws.approaches import Fits
from gen.scaling.laws.isoflop import IsoflopValley
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.laws.three_fits import OptimumEntry
from gen.scaling.runs import runs_table
from gen.scaling.runs.runs_table import RunsTable
from gen.training.run_log.rows import RowValues


class HeldOutSplit(NamedTuple):
  """The runs of a sweep: fitted, held out, and the names of those too short to be either; `all_runs` has them all.

  `rows` are the indices of the fitted runs in the results, `held_rows` of the held-out ones.
  """

  fitted: RunsTable
  rows: np.ndarray
  held_out: RunsTable
  held_rows: np.ndarray
  short: list[str]
  all_runs: RunsTable


def split_runs(results: Sequence[RowValues], least_steps: int) -> HeldOutSplit:
  """Separates held-out runs and runs with too few steps from the others; runs with unknown steps are kept.

  Raises:
    UserError: for rows that are not runs, or if nothing is left to fit.
  """
  table = runs_table.runs_from_rows(results, "the sweep")
  short = table.steps < least_steps
  rows, held_rows = np.flatnonzero(~short & ~table.held_out), np.flatnonzero(~short & table.held_out)
  if not len(rows):
    raise UserError(
      f"none of the {len(table)} runs is both {least_steps} steps long and not held out: nothing to fit"
    )
  names = [str(name) for name in table.names[short]]
  return HeldOutSplit(table.select(rows), rows, table.select(held_rows), held_rows, names, table)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutPrediction(OptimumEntry):
  """One approach's prediction for the held-out budget.

  Attributes:
    N_factor: N predicted over measured.
    loss_error: loss predicted over measured at the minimum, minus 1; None if the approach predicts no loss.
    mean_loss_error: exp of the mean of ln(predicted / measured) over the held-out runs, minus 1; None if the approach
      predicts no loss of a run. It averages the noise of all runs, where the minimum of a few sizes multiplies it.
  """

  N_factor: float
  loss_error: float | None = None
  mean_loss_error: float | None = None


@dataclasses.dataclass(frozen=True)
class HeldOutComparison:
  """The measured valley of the held-out budget, and what each approach predicts there.

  Attributes:
    budget: FLOPs.
    valley: of the held-out runs; None if they have no minimum.
    envelope: prediction of approach 1, if it gave a law.
    isoflop: prediction of approach 2.
    parametric: prediction of approach 3.
    error: why N* was not measured; None if it was.
  """

  budget: float
  valley: IsoflopValley | None = None
  envelope: HeldOutPrediction | None = None
  isoflop: HeldOutPrediction | None = None
  parametric: HeldOutPrediction | None = None
  error: str | None = None


@dataclasses.dataclass(frozen=True)
class LeftOutBudget:
  """The exponent a of approaches 2 and 3 with one budget left out.

  Attributes:
    left_out: FLOPs of the budget.
    isoflop_a: of approach 2; None if it is not fitted.
    isoflop_shift: by how much that moves a.
    parametric_a: of approach 3.
    parametric_shift: by how much that moves a.
  """

  left_out: float
  isoflop_a: float | None = None
  isoflop_shift: float | None = None
  parametric_a: float | None = None
  parametric_shift: float | None = None


def compare_prediction(fits: Fits, parts: HeldOutSplit) -> HeldOutComparison | None:
  """Compares the measured valley of the held-out budget with what each approach predicts there.

  Returns:
    None if nothing is held out.
  """
  if not len(parts.held_out):
    return None
  # The largest: extrapolation is judged farthest from the fitted budgets.
  budget = float(parts.held_out.group_flops()[-1])
  valleys = isoflop.find_valleys(parts.held_out)
  if not valleys:
    reason = "the held-out budget has no valley: it needs three sizes whose losses bend up in ln N"
    return HeldOutComparison(budget, error=reason)
  valley = valleys[-1]
  edge = "the held-out budget has its minimum at the edge of its sizes, so its N* is not measured"
  return HeldOutComparison(
    budget=valley.budget,
    valley=three_fits.valley_entry(valley, parts.held_rows),
    **{name: _predict(fitted, valley, parts.held_out) for name, fitted in fits.items()},
    error=None if valley.inside else edge,
  )


def _predict(fitted: PowerLawFit, valley: IsoflopValley, runs: RunsTable) -> HeldOutPrediction:
  entry = three_fits.optimum_entry(fitted, valley.budget)
  loss_error = None if entry.loss is None else entry.loss / valley.vertex_loss - 1
  mean_error = None
  if isinstance(fitted, ParametricFit):  # only approach 3 predicts the loss of any N and D
    # Means of logarithms: over- and underestimates by the same factor cancel.
    logs = np.log(fitted.law.loss(runs.params, runs.tokens) / runs.loss)
    mean_error = float(np.expm1(logs.mean()))
  values = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
  factor = entry.N / valley.vertex_N
  return HeldOutPrediction(**values, N_factor=factor, loss_error=loss_error, mean_loss_error=mean_error)
