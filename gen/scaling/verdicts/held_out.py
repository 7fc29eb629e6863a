"""Splits a sweep into fitted and held-out runs, and compares predictions with the held-out budget.

The parabola of its own runs gives N* and loss of the held-out budget; each approach predicts them from the other
budgets alone. Approach 3 uses the k(N) of all sizes, which follows from their shapes. C FLOPs, N parameters, D tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop, three_fits
from gen.scaling.laws.approaches import Fits
from gen.scaling.runs import runs_table
from gen.scaling.runs.runs_table import RunsTable


class HeldOutSplit(NamedTuple):
  """The runs of a sweep: fitted, held out, and the names of those too short to be either; `whole` has all runs.

  `rows` are the indices of the fitted runs in the results, `held_rows` of the held-out ones.
  """

  fitted: RunsTable
  rows: np.ndarray
  held_out: RunsTable
  held_rows: np.ndarray
  short: list[str]
  whole: RunsTable


def split_runs(results: Sequence[Mapping[str, Any]], least_steps: int) -> HeldOutSplit:
  """Separates held-out runs and runs with too few steps from the others; runs with unknown steps are kept.

  Raises:
    UserError: for rows that are not runs, or if nothing is left to fit.
  """
  whole = runs_table.runs_from_rows(results, "the sweep")
  short = whole.steps < least_steps
  rows, held_rows = np.flatnonzero(~short & ~whole.held_out), np.flatnonzero(~short & whole.held_out)
  if not len(rows):
    raise UserError(
      f"none of the {len(whole)} runs is both {least_steps} steps long and not held out: nothing to fit"
    )
  names = [str(name) for name in whole.names[short]]
  return HeldOutSplit(whole.select(rows), rows, whole.select(held_rows), held_rows, names, whole)


def compare_prediction(fits: Fits, parts: HeldOutSplit) -> dict[str, Any] | None:
  """Compares the measured valley of the held-out budget with what each approach predicts there.

  Returns:
    None if nothing is held out; an error if the held-out runs have no minimum; else the valley, and for each approach
    N, loss, N_factor (predicted over measured), loss_error (relative) and ci90.
  """
  if not len(parts.held_out):
    return None
  budget = float(parts.held_out.group_flops()[-1])
  found = isoflop.find_valleys(parts.held_out)
  if not found:
    said = "the held-out budget has no valley: it needs three sizes whose losses bend up in ln N"
    return {"budget": budget, "error": said}
  valley = found[-1]
  entry: dict[str, Any] = {
    "budget": valley.budget,
    "valley": three_fits.valley_entry(valley, parts.held_rows),
  }
  for name, fitted in fits.items():
    guess = three_fits.optimum_entry(fitted, valley.budget)
    guess["N_factor"] = guess["N"] / valley.vertex_N
    if "loss" in guess:
      guess["loss_error"] = guess["loss"] / valley.vertex_loss - 1
    entry[name] = guess
  if not valley.inside:
    entry["error"] = "the held-out budget has its minimum at the edge of its sizes, so its N* is not measured"
  return entry
