"""Fits a rule for the peak learning rate over width and horizon to measured losses.

    losses at several rates -> a parabola in ln rate, each width and horizon -> ln rate* -> one plane through all

    rate* = peak (D / rate_width)^p_width (steps / rate_steps)^p_steps

D width. The best rate of a cell (width, steps) is the minimum of the parabola through its three lowest neighbouring
rates, seeds averaged. If the lowest rate is at the edge, the best rate is unknown: the rule ignores such a cell, and a
warning names it. Intervals come from the scatter of the cells about the plane (Student's t).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from gen.config import Sweep
from gen.errors import UserError
from gen.training.run_log.rows import RowValues

# Nats that the rule may cost at the largest run, over the best of the rates tried there; chosen: less than the noise
# between seeds of small sweeps (docs/notes/sweep_trials.md).
WORST_RATIO = 0.02


@dataclasses.dataclass(frozen=True)
class RateCell:
  """One width and horizon.

  Attributes:
    width: D.
    steps: steps of each run.
    rates: learning rates tried, ascending.
    losses: loss at each rate, mean over seeds, nats.
    best: rate of least loss by the parabola; NaN if the lowest is at the edge.
    least: loss at the best rate, nats.
    curvature: half the second derivative of loss in ln rate, nats.
  """

  width: int
  steps: int
  rates: list[float]
  losses: list[float]
  best: float
  least: float
  curvature: float

  @property
  def at_edge(self) -> bool:
    """Whether the best rate is at the edge of the rates tried."""
    return not math.isfinite(self.best)


@dataclasses.dataclass(frozen=True)
class LearningRateRule:
  """The learning-rate rule, its intervals, and the cells that it was fitted to.

  Attributes:
    peak: learning rate at rate_width and rate_steps.
    rate_width: reference width D of the peak.
    rate_steps: reference steps of the peak.
    width_power: p_width.
    steps_power: p_steps; 0 if only one horizon was tried.
    intervals: [low, high] of peak, width_power and steps_power; empty without spare degrees of freedom.
    scatter: sd of the cells about the rule, in ln rate.
    cells: all measured cells.
    warnings: limits of the runs, one sentence each.
  """

  peak: float
  rate_width: float
  rate_steps: float
  width_power: float
  steps_power: float
  intervals: dict[str, list[float]]
  scatter: float | None
  cells: list[RateCell]
  warnings: list[str]

  def __call__(self, width: float, steps: float) -> float:
    """Returns the learning rate by the rule."""
    by_width = (width / self.rate_width) ** self.width_power
    return self.peak * by_width * (steps / self.rate_steps) ** self.steps_power

  def fields(self) -> dict[str, float]:
    """Returns the fields of a config that hold the rule, to four digits."""
    values = {
      "optimizer.peak_learning_rate": self.peak,
      "rate_width": self.rate_width,
      "rate_width_power": self.width_power,
      "rate_steps": self.rate_steps,
      "rate_steps_power": self.steps_power,
    }
    return {name: float(f"{value:.4g}") for name, value in values.items()}

  def of(self, sweep: Sweep) -> Sweep:
    """Returns the sweep with this rule."""
    fields = self.fields()
    optimizer = dataclasses.replace(
      sweep.optimizer, peak_learning_rate=fields.pop("optimizer.peak_learning_rate")
    )
    return dataclasses.replace(sweep, optimizer=optimizer, **fields)  # type: ignore[arg-type]


def held_out_sweep(sweep: Sweep, multiples: tuple[float, ...]) -> Sweep:
  """Returns the sweep of the held-out budget and widths alone.

  Args:
    sweep: a sweep with the rule to verify.
    multiples: learning rates to train at, as multiples of the rule's.
  """
  return dataclasses.replace(
    sweep,
    budgets=(sweep.held_out,),
    widths=(sweep.held_out_widths,),
    batches=sweep.batches[-1:],
    seeds=sweep.seeds[-1:],
    learning_rate_multipliers=multiples,
    held_out=0.0,
    held_out_widths=(),
  )


def measured_cells(rows: Sequence[RowValues]) -> list[RateCell]:
  """Returns the measured cells, by width and steps, from result rows.

  >>> losses = [3.0 + math.log(r / 4e-3) ** 2 for r in (1e-3, 2e-3, 4e-3, 8e-3)]
  >>> rows = [{"width": 8, "steps": 50, "learning_rate": r, "loss": l}
  ...         for r, l in zip((1e-3, 2e-3, 4e-3, 8e-3), losses)]
  >>> round(measured_cells(rows)[0].best, 6)
  0.004
  """
  tried: dict[tuple[int, int], dict[float, list[float]]] = {}
  for row in rows:
    losses = tried.setdefault((int(row["width"]), int(row["steps"])), {})
    losses.setdefault(float(row["learning_rate"]), []).append(float(row["loss"]))
  return [_cell(width, steps, tried[width, steps]) for width, steps in sorted(tried)]


def _cell(width: int, steps: int, by_rate: Mapping[float, list[float]]) -> RateCell:
  rates = sorted(by_rate)
  losses = [sum(by_rate[rate]) / len(by_rate[rate]) for rate in rates]
  lowest = int(np.argmin(losses))
  # At the edge of the rates tried the minimum is only bounded from one side.
  best, least, curvature = math.nan, losses[lowest], math.nan
  if 0 < lowest < len(rates) - 1:
    three = slice(lowest - 1, lowest + 2)
    x = np.log(rates[three]) - math.log(rates[lowest])
    # Three rates alone: farther from its minimum the loss rises faster than a parabola, above all at high rates.
    c2, c1, c0 = np.polyfit(x, losses[three], 2)
    if c2 > 0:
      best, curvature = rates[lowest] * math.exp(-c1 / (2 * c2)), float(c2)
      least = float(c0 - c1**2 / (4 * c2))
  return RateCell(width, steps, rates, losses, best, least, curvature)


def fit_rule(
  measured: Sequence[RateCell], rate_width: float, rate_steps: float, level: float = 0.9
) -> LearningRateRule:
  """Fits the rule to the cells whose best rate was enclosed.

  Args:
    measured: the cells.
    rate_width: reference width D of the peak.
    rate_steps: reference steps of the peak.
    level: coverage of the intervals.

  Raises:
    UserError: if too few cells enclose their best rate, with the direction in which to widen the rates.
  """
  inside = [cell for cell in measured if not cell.at_edge]
  warnings = [_beyond(cell) for cell in measured if cell.at_edge]
  axes = [("width", rate_width), ("steps", rate_steps)]
  # A power needs two different values of its variable.
  varied = [pair for pair in axes if len({getattr(cell, pair[0]) for cell in inside}) > 1]
  if not inside or len(inside) < 1 + len(varied):
    reasons = "; ".join(warnings) or "no run has finished"
    raise UserError(
      f"{len(inside)} of {len(measured)} widths and horizons enclose their best rate: {reasons}"
    )
  columns = [np.log([getattr(cell, name) / middle for cell in inside]) for name, middle in varied]
  design_nk = np.stack([np.ones(len(inside)), *columns], 1)
  # In logarithms the rule is a plane, and relative errors of the rates count alike.
  height_n = np.log([cell.best for cell in inside])
  if np.linalg.matrix_rank(design_nk) < design_nk.shape[1]:
    raise UserError(
      "widths and horizons vary together, so their effects cannot be told apart; try all combinations"
    )
  found_k = np.linalg.lstsq(design_nk, height_n, rcond=None)[0]
  powers = dict.fromkeys(("width", "steps"), 0.0) | {
    name: float(value) for (name, _), value in zip(varied, found_k[1:], strict=True)
  }
  for name, _ in axes:
    if powers[name] == 0.0:
      warnings.append(
        f"one {name if name == 'width' else 'horizon'} was tried, so the rule has no power of it"
      )
  scatter, intervals = _intervals(design_nk, height_n, found_k, [name for name, _ in varied], level)
  if scatter is None:
    warnings.append("no cell is left to measure the rule's scatter by, so there are no intervals")
  return LearningRateRule(
    peak=float(np.exp(found_k[0])),
    rate_width=rate_width,
    rate_steps=rate_steps,
    width_power=powers["width"],
    steps_power=powers["steps"],
    intervals=intervals,
    scatter=scatter,
    cells=list(measured),
    warnings=warnings,
  )


def _beyond(cell: RateCell) -> str:
  lowest = int(np.argmin(cell.losses))
  rate = cell.rates[lowest]
  where = "lower" if lowest == 0 else "higher" if lowest == len(cell.rates) - 1 else "more"
  return (
    f"width {cell.width} at {cell.steps} steps is best at {rate:.3g}, at the edge of its rates: left out; try {where} "
    "ones"
  )


def _intervals(
  design_nk: np.ndarray, height_n: np.ndarray, found_k: np.ndarray, names: list[str], level: float
) -> tuple[float | None, dict[str, list[float]]]:
  """Returns the scatter and Student's t intervals of least squares; none without degrees of freedom."""
  freedom = len(height_n) - len(found_k)
  if freedom < 1:
    return None, {}
  from scipy import stats

  scatter = math.sqrt(float(np.sum((height_n - design_nk @ found_k) ** 2)) / freedom)
  errors_k = scatter * np.sqrt(np.diag(np.linalg.inv(design_nk.T @ design_nk)))
  reach_k = stats.t.ppf((1 + level) / 2, freedom) * errors_k
  ends = [[float(v - r), float(v + r)] for v, r in zip(found_k, reach_k, strict=True)]
  named = {"peak": [math.exp(end) for end in ends[0]]}
  return scatter, named | {f"{name}_power": pair for name, pair in zip(names, ends[1:], strict=True)}


@dataclasses.dataclass(frozen=True)
class RuleCheck:
  """A rule judged by runs larger than those that it was fitted to.

  Attributes:
    width: of those runs.
    steps: of those runs.
    rule: the rule's rate.
    rates: that were tried.
    losses: by rate.
    best: the measured best rate; None at the edge of the rates.
    off_by: the rule's rate over the best.
    cost: nats that the rule's rate loses to the best rate tried.
    limit: of the cost.
    passed: whether the cost is within the limit, and the best rate enclosed.
  """

  width: int
  steps: int
  rule: float
  rates: list[float]
  losses: list[float]
  best: float | None
  off_by: float | None
  cost: float
  limit: float
  passed: bool


def verify_rule(
  rule: LearningRateRule, rows: Sequence[RowValues], max_cost: float = WORST_RATIO
) -> RuleCheck:
  """Judges the rule by runs larger than those that it was fitted to, at its rate and at multiples of it.

  Args:
    rule: fitted without these runs.
    rows: result rows of one width and horizon.
    max_cost: nats that the rule's rate may lose to the best rate tried.

  Raises:
    UserError: where there is no such run.
  """
  cells = measured_cells(rows)
  if len(cells) != 1:
    raise UserError(f"a rule is verified at one width and horizon; the runs have {len(cells)}")
  (cell,) = cells
  wanted = rule(cell.width, cell.steps)
  # Rates are rounded in configs, so the rule's own is found by its distance in ln rate.
  nearest = int(np.argmin(np.abs(np.log(np.array(cell.rates) / wanted))))
  cost = cell.losses[nearest] - min(cell.losses)
  return RuleCheck(
    width=cell.width,
    steps=cell.steps,
    rule=wanted,
    rates=cell.rates,
    losses=cell.losses,
    best=None if cell.at_edge else cell.best,
    off_by=None if cell.at_edge else wanted / cell.best,
    cost=cost,
    limit=max_cost,
    passed=bool(cost <= max_cost and not cell.at_edge),
  )
