"""Compares families: the optimum of each at every budget, and their differences with paired intervals.

    runs of each family -> valleys -> N*, D*, L*, seconds -> exponents, differences, equal-loss multiplier

The intervals are from a paired residual bootstrap. Families are trained at the same budgets, with as many sizes and the
same seeds, so the runs of a family stand in cells (budget, rank of the size, seed) that the others have too. What the
valleys leave over of a run (scaled for the parabola's three constants) is drawn anew for each cell, and one draw takes
the same cells in all families: an error that they share (the validation text, the order of the batches) cancels in
their differences as it did in the study, and one that they do not share does not.

C FLOPs, N parameters, D by three meanings; B draws, G budgets, M sizes, R runs of a budget.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import isoflop_draws, valley_minimum
from gen.scaling.laws.valley_minimum import BudgetLosses
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable

# What D may mean, by the column of a result row.
MEANINGS = {
  "tokens": "corpus tokens: the text that was read, each token once",
  "positions": "positions processed: every place that a stack was run on, of both stacks in an encoder-decoder",
  "loss_tokens": "loss-bearing tokens: targets with a weight in the loss",
}
MEASURES = (*MEANINGS, "seconds")
# Residuals to draw from; fewer give no intervals. Chosen: the spread of fewer is uncertain by a quarter and more.
MIN_CELLS = 8
CellValues = tuple[float, int, int]  # budget, rank of the size, seed


class FamilyFits(NamedTuple):
  """The fitted runs of one family, and what was measured of each beside its loss (`MEASURES`)."""

  name: str
  points: RunsTable
  measures: Mapping[str, np.ndarray]


class FamilyOptima(NamedTuple):
  """The minimum of every budget: ln N, loss, and ln of each measure there; [B, G], NaN where there is none."""

  flops: np.ndarray
  log_n_bg: np.ndarray
  loss_bg: np.ndarray
  measures: dict[str, np.ndarray]

  def exponents(self, what: str = "N") -> np.ndarray:
    """Returns the exponent of N*, or of a measure, over C; one a draw."""
    heights_bg = self.log_n_bg if what == "N" else self.measures[what]
    return isoflop_draws.draw_lines(self.flops, heights_bg, heights_bg)[:, 1]


@dataclasses.dataclass(frozen=True)
class ComparisonSide:
  """One family, ready to be set beside another.

  Attributes:
    family: its runs.
    budgets: its budgets, by ascending FLOPs.
    optima: their minima; one draw.
    inside: whether each minimum lies between two of its sizes, [G].
    drawn: minima of all draws; None where there are no residuals to draw from.
  """

  family: FamilyFits
  budgets: list[BudgetLosses]
  optima: FamilyOptima
  inside: np.ndarray
  drawn: FamilyOptima | None = None


@dataclasses.dataclass(frozen=True)
class FamilyComparison:
  """Families side by side.

  Attributes:
    sides: by family.
    level: of the intervals.
    how: how they were made.
    correlation: of the residuals of each two families in the cells that they share; None without such.
    cells: how many cells were drawn from.
  """

  sides: dict[str, ComparisonSide]
  level: float
  how: str
  correlation: dict[tuple[str, str], float]
  cells: int

  def interval(self, draws: np.ndarray | None, estimate: float) -> list[float] | None:
    """Returns the percentile interval of draws; None without draws."""
    if draws is None or not np.isfinite(draws).any():
      return None
    return bootstrap.draw_interval(draws, estimate, self.level)


def compare_families(
  families: Sequence[FamilyFits], *, bootstraps: int, seed: int, level: float
) -> FamilyComparison:
  """Finds every family's optima, and draws them anew together.

  Args:
    families: of which runs there are; budgets without a valley have NaN for their optimum.
    bootstraps: draws; 0 gives no intervals.
    seed: of the draws.
    level: of the intervals, such as .9.

  Raises:
    UserError: without a family.
  """
  if not families:
    raise UserError("no family has runs to compare")
  sides = {family.name: _side(family) for family in families}
  residuals = {name: _residuals(side) for name, side in sides.items()}
  shared = sorted(set.intersection(*(set(family) for family in residuals.values())))
  correlation = _correlations(residuals)
  if not bootstraps or len(shared) < MIN_CELLS:
    how = "no intervals were requested"
    if bootstraps:
      how = (
        f"no intervals: the families share {len(shared)} runs (budget, rank of size, seed) whose valley leaves a "
        f"residual, but resampling takes at least {MIN_CELLS}"
      )
    return FamilyComparison(sides, level, how, correlation, len(shared))
  random = np.random.default_rng(seed)
  every = sorted(set().union(*(_cells(side) for side in sides.values())))
  drawn_bc = random.integers(len(shared), size=(bootstraps, len(every)))
  columns = {cell: i for i, cell in enumerate(every)}
  for name, side in sides.items():
    rest = np.array([residuals[name][cell] for cell in shared])
    sides[name] = dataclasses.replace(side, drawn=_draw(side, rest, drawn_bc, columns))
  how = f"paired residual bootstrap, {bootstraps} draws from {len(shared)} runs that every family has"
  return FamilyComparison(sides, level, how, correlation, len(shared))


def _side(family: FamilyFits) -> ComparisonSide:
  budgets = valley_minimum.split_budgets(family.points)
  lows = [valley_minimum.find_minimum(budget, "parabola") for budget in budgets]
  inside = np.array([bool(low.inside[0]) for low in lows])
  return ComparisonSide(family, budgets, _optima(family, budgets, lows, inside), inside)


def _optima(
  family: FamilyFits,
  budgets: Sequence[BudgetLosses],
  lows: Sequence[valley_minimum.ValleyMinimum],
  used: np.ndarray,
) -> FamilyOptima:
  """Returns the minima, those of budgets that are not used as NaN."""
  log_n_bg = np.where(used, np.stack([low.log_n for low in lows], 1), np.nan)
  loss_bg = np.where(used, np.stack([low.loss for low in lows], 1), np.nan)
  measures = {
    name: np.stack([_course(budget, values, log_n_bg[:, g]) for g, budget in enumerate(budgets)], 1)
    for name, values in family.measures.items()
  }
  return FamilyOptima(np.array([budget.flops for budget in budgets]), log_n_bg, loss_bg, measures)


def _course(budget: BudgetLosses, values: np.ndarray, log_n: np.ndarray) -> np.ndarray:
  """Returns ln of a measure at ln N: a parabola through the sizes' means, a straight line through two."""
  means = np.bincount(budget.size_of_run, np.log(values[budget.runs])) / budget.count
  return dataclasses.replace(budget, tokens=means).log_d(log_n)


def _cells(side: ComparisonSide) -> list[CellValues]:
  return [cell for budget in side.budgets for cell in _cells_of(side, budget)]


def _cells_of(side: ComparisonSide, budget: BudgetLosses) -> list[CellValues]:
  """Returns the cell of each run of a budget; a run of an unknown seed has the seed 0."""
  seeds = np.nan_to_num(side.family.points.seed[budget.runs])
  return [(budget.flops, int(m), int(s)) for m, s in zip(budget.size_of_run, seeds, strict=True)]


def _fitted(budget: BudgetLosses) -> np.ndarray:
  """Returns the parabola's loss at each size."""
  return budget.loss - valley_minimum.parabola_residuals(budget.log_n, budget.loss)


def _residuals(side: ComparisonSide) -> dict[CellValues, float]:
  """Returns what the parabolas leave of each run; nothing of budgets that any parabola meets."""
  residuals: dict[CellValues, float] = {}
  for budget, inside in zip(side.budgets, side.inside, strict=True):
    runs = len(budget.runs)
    if not inside or runs <= 3 or len(budget.log_n) < 4:
      continue
    rest = budget.run_loss - _fitted(budget)[budget.size_of_run]
    scale = np.sqrt(runs / (runs - 3))
    residuals |= dict(zip(_cells_of(side, budget), (scale * rest).tolist(), strict=True))
  return residuals


def _correlations(residuals: Mapping[str, Mapping[CellValues, float]]) -> dict[tuple[str, str], float]:
  correlations = {}
  names = list(residuals)
  for i, first in enumerate(names):
    for second in names[i + 1 :]:
      both = sorted(set(residuals[first]) & set(residuals[second]))
      if len(both) >= MIN_CELLS:
        pairs = np.array([(residuals[first][cell], residuals[second][cell]) for cell in both])
        correlations[first, second] = float(np.corrcoef(pairs.T)[0, 1])
  return correlations


def _draw(
  side: ComparisonSide, rest: np.ndarray, drawn_bc: np.ndarray, column_of: Mapping[CellValues, int]
) -> FamilyOptima:
  lows = []
  for budget in side.budgets:
    if len(budget.log_n) < 3:
      lows.append(valley_minimum.find_minimum(budget, "parabola", np.tile(budget.loss, (len(drawn_bc), 1))))
      continue
    columns = [column_of[cell] for cell in _cells_of(side, budget)]
    noise_br = rest[drawn_bc[:, columns]]
    member_rm = (budget.size_of_run[:, None] == np.arange(len(budget.log_n))) / budget.count
    # A loss stays above 0, whatever the noise.
    loss_bm = np.maximum(_fitted(budget) + noise_br @ member_rm, 1e-9)
    lows.append(valley_minimum.find_minimum(budget, "parabola", loss_bm))
  return _optima(side.family, side.budgets, lows, side.inside)
