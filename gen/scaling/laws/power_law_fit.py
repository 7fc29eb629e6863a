"""What the fits of all three approaches are: N*(C) and D*(C) as power laws, with intervals and predictions.

C FLOPs, N parameters, D tokens; B draws, K clusters left out. A row of four holds (ln k_N, a, ln k_D, b).
"""

import dataclasses
import math
from typing import Any

import numpy as np

from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import PowerLaw, bounded_exp
from gen.scaling.laws.loss_trend import LossTrend
from gen.scaling.runs import bootstrap


@dataclasses.dataclass(frozen=True)
class PredictedOptimum:
  """The optimum that a law predicts at one budget.

  Attributes:
    N: parameters.
    D: tokens.
    loss: nats per token; None if the approach predicts none.
    intervals: [low, high] of those that have draws, by name (N, D, loss).
  """

  N: float
  D: float
  loss: float | None = None
  intervals: dict[str, list[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class PowerLawFit:
  """Power laws N* = k_N C^a and D* = k_D C^b.

  Attributes:
    n_law: N*(C).
    d_law: D*(C).
    level: coverage of the intervals.
    intervals: [low, high] by name, of a, b, N_coefficient, D_coefficient and, for approach 3, the law's constants.
    interval_method: how they were made.
    warnings: limits of the data, one sentence each.
    cost: k(N) of the runs; where it varies, a prediction's D is C / (k N).
  """

  n_law: PowerLaw
  d_law: PowerLaw
  level: float
  intervals: dict[str, list[float]]
  interval_method: str
  warnings: list[str]
  cost: CostModel = dataclasses.field(default_factory=cost_model.constant_cost)

  @property
  def a(self) -> float:
    """Exponent of N* over C."""
    return self.n_law.exponent

  @property
  def b(self) -> float:
    """Exponent of D* over C."""
    return self.d_law.exponent

  def __repr__(self) -> str:
    """Returns one line; the fields hold arrays of thousands of resamples."""
    n_law = f"N* = {self.n_law.coefficient:.4g} C^{self.a:.4f}"
    return f"<{type(self).__name__} {n_law}, D* = {self.d_law.coefficient:.4g} C^{self.b:.4f}>"

  def __str__(self) -> str:
    """Returns the constants with their intervals, and the warnings, one a line."""
    values = {
      "a": self.a, "b": self.b, "N_coefficient": self.n_law.coefficient, "D_coefficient": self.d_law.coefficient
    }  # fmt: skip
    values |= self._constants()
    head = f"N* = N_coefficient C^a and D* = D_coefficient C^b ({type(self).__name__})"
    lines = [head + (f", with {100 * self.level:.6g} % intervals" if self.intervals else "")]
    for name, value in values.items():
      pair = self.intervals.get(name)
      lines.append(f"  {name:14} {value:>10.4g}" + (f"  [{pair[0]:.4g}, {pair[1]:.4g}]" if pair else ""))
    return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

  def _constants(self) -> dict[str, float]:
    """Returns the constants of the law by name, beside those of N* and D*."""
    return {}

  def predict(self, flops: float) -> PredictedOptimum:
    """Returns the optimum at a budget in FLOPs, with intervals."""
    values, draws, left_out = self._estimate(flops), self._draws(flops), self._left_out(flops)
    intervals = {
      name: bootstrap.draw_interval(draws[name], value, self.level, left_out.get(name))
      for name, value in values.items()
      if len(draws.get(name, ()))
    }
    return PredictedOptimum(values["N"], values["D"], values.get("loss"), intervals)

  def _estimate(self, flops: float) -> dict[str, float]:
    """Returns N and D, and the loss if the approach predicts it."""
    raise NotImplementedError

  def _draws(self, flops: float) -> dict[str, np.ndarray]:
    """Returns the same of each draw."""
    raise NotImplementedError

  def _left_out(self, flops: float) -> dict[str, np.ndarray]:
    """Returns the same with each cluster left out; empty for percentile intervals."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class FrontierFit(PowerLawFit):
  """Power laws through measured optima: approaches 1 and 2.

  Attributes:
    trend: L*(C); None with fewer than three budgets.
    draws_b4: (ln k_N, a, ln k_D, b) of each draw.
    trends: L*(C) of each draw.
    left_out_k4: the rows with each cluster left out (BCa only).
  """

  trend: LossTrend | None
  draws_b4: np.ndarray
  trends: LossTrend | None
  left_out_k4: np.ndarray | None = None

  def _estimate(self, flops: float) -> dict[str, float]:
    n = self.n_law(flops)
    # D follows from N and C, so that the point lies on the budget.
    values = {"N": n, "D": float(tokens_at_sizes(flops, n, self.d_law(flops), self.cost))}
    return values if self.trend is None else values | {"loss": float(self.trend(flops))}

  def _draws(self, flops: float) -> dict[str, np.ndarray]:
    draws = optima_of_lines(self.draws_b4, flops, self.cost)
    return draws if self.trends is None else draws | {"loss": self.trends(flops)}

  def _left_out(self, flops: float) -> dict[str, np.ndarray]:
    return {} if self.left_out_k4 is None else optima_of_lines(self.left_out_k4, flops, self.cost)


def optima_of_lines(rows_b4: np.ndarray, flops: float, cost: CostModel) -> dict[str, np.ndarray]:
  """Returns N* and D* at a budget in FLOPs under each row (ln k_N, a, ln k_D, b)."""
  log_c = math.log(flops)
  # A draw of a steep line may overflow far from the budgets; intervals leave out what is not finite.
  with np.errstate(over="ignore", invalid="ignore"):
    # Columns 0 and 1 are N*, 2 and 3 are D*.
    n, d = (np.exp(rows_b4[:, i] + rows_b4[:, i + 1] * log_c) for i in (0, 2))
    return {"N": n, "D": tokens_at_sizes(flops, n, d, cost)}


def tokens_at_sizes(flops: float, params: Any, tokens: Any, cost: CostModel) -> Any:
  """Returns D* of N*: by its power law if k is constant, else C / (k(N) N).

  Outside the fitted budgets two power laws violate C = k(N) N D, because k levels off.
  """
  return tokens if cost.is_constant else cost.tokens(flops, params)


def laws_of_row(row: np.ndarray) -> tuple[PowerLaw, PowerLaw]:
  """Returns N*(C) and D*(C) of a row (ln k_N, a, ln k_D, b)."""
  n_height, a, d_height, b = map(float, row)
  return PowerLaw(bounded_exp(n_height), a), PowerLaw(bounded_exp(d_height), b)


def intervals_of_row(
  row: np.ndarray, draws_b4: np.ndarray, level: float, left_out_k4: np.ndarray | None
) -> dict[str, list[float]]:
  """Returns [low, high] of a, b, N_coefficient and D_coefficient; empty without draws."""
  if not len(draws_b4):
    return {}
  intervals = {}
  for column, name in ((1, "a"), (3, "b"), (0, "N_coefficient"), (2, "D_coefficient")):
    left_out = None if left_out_k4 is None else left_out_k4[:, column]
    pair = bootstrap.draw_interval(draws_b4[:, column], float(row[column]), level, left_out)
    # Heights are logarithms: the interval is taken there, where draws are symmetric, and then exponentiated.
    intervals[name] = pair if column % 2 else [bounded_exp(end) for end in pair]
  return intervals
