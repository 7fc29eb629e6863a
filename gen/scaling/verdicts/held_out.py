"""What the fits may see of a sweep, and what the budget that they may not see says of them.

The held-out budget is measured by the parabola of its own runs; each approach predicts its N* and its loss from the
other budgets alone, approach 3 with the k(N) of all sizes, which their shapes tell. C FLOPs, N parameters, D tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop, three_fits
from gen.scaling.laws.three_fits import ThreeFits
from gen.scaling.runs import runs_table
from gen.scaling.runs.runs_table import RunsTable


class HeldOutSplit(NamedTuple):
  """The runs of a sweep: fitted, held out, and the names of those that are too short to be either; `whole` are all.

  `rows` are the indices of the fitted runs in the results, `held_rows` of the held-out ones.
  """

  fitted: RunsTable
  rows: np.ndarray
  held_out: RunsTable
  held_rows: np.ndarray
  short: list[str]
  whole: RunsTable


def split_runs(results: Sequence[Mapping[str, Any]], least_steps: int) -> HeldOutSplit:
  """Sets apart the held-out runs and those with fewer steps than asked for; unknown steps are enough.

  Raises:
    UserError: for rows that are no runs, or if nothing is left to fit.
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


def compare_prediction(fits: ThreeFits, parts: HeldOutSplit) -> dict[str, Any] | None:
  """Compares the measured valley of the held-out budget with what each approach predicts there.

  Returns:
    None if nothing is held out; an error where the held-out runs have no minimum; else the valley, and by approach N,
    loss, N_factor (predicted over measured), loss_error (relative), ci90.
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
