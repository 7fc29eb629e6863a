"""Finds the optimum of a law L(N, D) under C = k(N) N D; all other modules use this search.

    least L(N, D) over x = ln N,  with ln D = ln C - ln k(N) - x

In small models attention and head take FLOPs of their own, so k falls with N: from 11 to 7 between 1e4 and 1e6
parameters of gen's decoders. With s = d ln k / d ln N the law E + A / N^alpha + B / D^beta is least where

  ln(alpha A) - alpha ln N = ln(beta B) - beta ln D + ln(1 + s)

(Hoffmann et al. 2022, arXiv:2203.15556, equation 4, has s = 0). The left side less the right falls in ln N, so Newton's
method within a bracket finds the root. Rows are theta = (ln A, ln B, ln E, alpha, beta), one per law.
N parameters, D tokens, C training FLOPs, losses in nats per token; S laws, B budgets.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError
from gen.scaling.laws.loss_law.cost_model import CostModel, constant_cost

# Of Newton or bisection; about six are taken, and 200 bisections end at float64's resolution from any bracket.
_STEPS = 200
_CLOSE = 1e-13  # relative change of ln N that ends the search: a few hundred roundings of float64
# Of the grid that brackets the minimum of any law; chosen: a tenth apart in ln N over seventeen decades, so a valley of
# any law holds several.
_PLACES = 400
_STENCIL = (
  np.array([-1, 9, -45, 45, -9, 1]) / 60
)  # sixth-order first derivative, at offsets -3 .. 3 without 0
# In steps of the stencil; without 0, whose weight in a central difference is 0.
_OFFSETS = np.array([-3, -2, -1, 1, 2, 3])
_SPACING = 1e-2  # in ln N: rounding and truncation both below 1e-11 there


class LawOptimum(NamedTuple):
  """The model of least loss at a budget.

  Attributes:
    params: N*.
    tokens: D* = C / (k N*).
    loss: at both.
    k: training FLOPs a parameter and token at N*.
    outside: whether N* lies beyond the sizes that k(N) was measured at.
  """

  params: float
  tokens: float
  loss: float
  k: float
  outside: bool

  @property
  def ratio(self) -> float:
    """Tokens per parameter."""
    return self.tokens / self.params


def find_optimum(law: Any, flops: float, cost: CostModel | float = 6.0) -> LawOptimum:
  """Returns the optimum of any law at a budget.

  Args:
    law: an object with predict(N, D) or loss(N, D), or such a function; it must accept arrays.
    flops: C.
    cost: k(N), or one k for all sizes.

  Raises:
    UserError: for a budget that is not positive, and a law whose loss is least at one parameter or one token.

  >>> best = find_optimum(lambda n, d: 1.7 + 400 / n**0.34 + 410 / d**0.28, 1e21)
  >>> print(f"{best.params:.4g} parameters, {best.tokens:.4g} tokens")
  1.783e+09 parameters, 9.348e+10 tokens
  """
  flops, cost = _positive(flops), as_cost(cost)
  loss = _loss_of(law)

  def along(log_n: np.ndarray) -> np.ndarray:
    return np.asarray(loss(np.exp(log_n), np.exp(cost.log_tokens(flops, log_n))), np.float64)

  # From one parameter to one token: N D = C / k leaves no other models.
  log_n = _least(along, math.log(flops) - float(cost.log_k(np.zeros(1))[0]))
  params, tokens = (math.exp(min(value, 709.0)) for value in (log_n, float(cost.log_tokens(flops, log_n))))
  return LawOptimum(
    params, tokens, float(along(np.array([log_n]))[0]), cost.k(params), bool(cost.outside(params))
  )


def log_sizes(theta_sp: np.ndarray, flops: ArrayLike, cost: CostModel | float = 6.0) -> np.ndarray:
  """Returns ln N* of parametric laws to machine precision; NaN if an exponent allows no optimum.

  Args:
    theta_sp: laws, one a row.
    flops: C, one for all laws or one for each.
    cost: k(N), or one k for all sizes.
  """
  cost = as_cost(cost)
  with np.errstate(all="ignore"):
    a, b, _, alpha, beta = np.asarray(theta_sp, np.float64).T
    log_c = np.broadcast_to(np.log(np.asarray(flops, np.float64)), np.shape(alpha))
    # The closed form with one k, which is the start where k varies.
    height = np.log(alpha / beta) + a - b
    x = (height + beta * (log_c - cost.log_reference)) / (alpha + beta)
  sound = (alpha > 0) & (beta > 0) & np.isfinite(x)
  if cost.is_constant or not sound.any():
    return np.where(sound, x, np.nan)
  rows = (height[sound], alpha[sound], beta[sound], log_c[sound])
  log_n = np.full(len(x), np.nan)
  log_n[sound] = _roots(rows, cost, x[sound])
  return log_n


def optima_of_rows(
  theta_sp: np.ndarray, flops: ArrayLike, cost: CostModel | float = 6.0
) -> dict[str, np.ndarray]:
  """Returns N, D, ratio (tokens a parameter) and loss of parametric laws at their optimum (see `log_sizes`)."""
  cost = as_cost(cost)
  a, b, e, alpha, beta = np.asarray(theta_sp, np.float64).T
  log_n = log_sizes(theta_sp, flops, cost)
  log_d = cost.log_tokens(flops, log_n)
  with np.errstate(all="ignore"):
    loss = np.exp(e) + np.exp(a - alpha * log_n) + np.exp(b - beta * log_d)
    return {"N": np.exp(log_n), "D": np.exp(log_d), "ratio": np.exp(log_d - log_n), "loss": loss}


def optimum_lines(theta_sp: np.ndarray, budgets: ArrayLike, cost: CostModel | float = 6.0) -> np.ndarray:
  """Returns (ln k_N, a, ln k_D, b) of N* = k_N C^a and D* = k_D C^b, one row a law.

  With one k these are the law's own power laws. Otherwise they are least-squares lines through the optima at the
  budgets, as approach 2 has lines through its valleys: exponents in the same C.
  """
  cost, log_c = as_cost(cost), np.log(np.unique(np.asarray(budgets, np.float64)))
  if len(log_c) == 1 or cost.is_constant:  # the slope at one place
    # Two budgets 0.2 % apart give the local exponent.
    log_c = log_c.mean() + np.array([-1e-3, 1e-3])
  log_n_sb = np.stack([log_sizes(theta_sp, c, cost) for c in np.exp(log_c)], 1)
  log_d_sb = cost.log_tokens(np.exp(log_c), log_n_sb)
  x = log_c - log_c.mean()
  a, b = (log_sb @ x / (x @ x) for log_sb in (log_n_sb, log_d_sb))
  if cost.is_constant:
    _, _, _, alpha, beta = np.asarray(theta_sp, np.float64).T
    with np.errstate(all="ignore"):
      # Exact, where the line's slope has rounding.
      a = beta / (alpha + beta)
    b = 1 - a
  heights = (log_n_sb.mean(1) - a * log_c.mean(), log_d_sb.mean(1) - b * log_c.mean())
  return np.stack([heights[0], a, heights[1], b], 1)


def as_cost(cost: CostModel | float) -> CostModel:
  """Returns the cost model, or a constant one for a number k."""
  return cost if isinstance(cost, CostModel) else constant_cost(float(cost))


def _roots(rows: tuple[np.ndarray, ...], cost: CostModel, start: np.ndarray) -> np.ndarray:
  """Returns the ln N at which the condition for the optimum holds, one per law."""
  height, alpha, beta, log_c = rows

  def condition(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    slope, bend = cost.slope(x), cost.bend(x)
    value = height - alpha * x + beta * (log_c - cost.log_k(x) - x) - np.log1p(slope)
    # Its derivative in x, for Newton's step.
    return value, -alpha - beta * (1 + slope) - bend / (1 + slope)

  # Newton within a bracket: a step that leaves it is replaced by a bisection, so 200 steps always suffice.
  # A factor e of size to either side of the optimum with one k.
  low, high = start - 1, start + 1
  for _ in range(60):  # the bracket doubles until the condition changes its sign in it
    short, far = condition(low)[0] < 0, condition(high)[0] > 0
    if not (short.any() or far.any()):
      break
    width = high - low
    low, high = np.where(short, low - width, low), np.where(far, high + width, high)
  x = np.clip(start, low, high)
  for _ in range(_STEPS):
    value, steepness = condition(x)
    low, high = np.where(value > 0, x, low), np.where(value > 0, high, x)
    with np.errstate(all="ignore"):
      step = x - value / steepness
    inside = (step > low) & (step < high) & (steepness < 0)
    moved = np.where(value == 0, x, np.where(inside, step, (low + high) / 2))
    done = np.abs(moved - x) <= _CLOSE * np.maximum(1, np.abs(x))
    x = moved
    if done.all():
      break
  return x


def _least(along: Callable[[np.ndarray], np.ndarray], top: float) -> float:
  """Returns the minimum of a function of ln N between 0 and top: the best grid point, then the root of the slope."""
  with np.errstate(all="ignore"):
    grid = np.linspace(0, top, _PLACES)
    values = along(grid)
    # Laws of users may overflow or be undefined far from their data.
    values = np.where(np.isfinite(values), values, np.inf)
    best = int(np.argmin(values))
    if not 0 < best < _PLACES - 1:
      end = "one parameter" if best == 0 else "one token"
      raise UserError(f"the law's loss at this budget is least at {end}: it has no optimum")
    low, high = grid[best - 1], grid[best + 1]
    for _ in range(_STEPS):
      middle = (low + high) / 2
      # The sign of the slope is bisected, not the value: values near a minimum are equal to 1e-16 over 1e-8
      # in ln N.
      slope = float(_STENCIL @ along(middle + _SPACING * _OFFSETS))
      low, high = (low, middle) if slope > 0 else (middle, high)
      if high - low <= _CLOSE * max(1.0, abs(middle)):
        break
  return float((low + high) / 2)


def _loss_of(law: Any) -> Callable[[np.ndarray, np.ndarray], Any]:
  for name in ("loss", "predict"):
    if callable(getattr(law, name, None)):
      return getattr(law, name)  # type: ignore[no-any-return]
  if callable(law):
    return law  # type: ignore[no-any-return]
  raise UserError(f"a {type(law).__name__} gives no loss: a law has predict(N, D) or loss(N, D)")


def _positive(flops: float) -> float:
  if not (math.isfinite(flops) and flops > 0):
    raise UserError(f"the budget is {flops:g} FLOPs; it must be finite and above zero")
  return float(flops)
