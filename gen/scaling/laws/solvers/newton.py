"""Newton's method on the parametric objective: value, gradient, Hessian, and a descent to rounding precision.

Same objective and letters as `huber_solver`, without jax and for one parameter vector. `huber_solver` finds the basin
and this module the minimum, so published constants do not depend on where an iteration stopped. Steps are smaller and
more numerous than in `huber_solver`, because narrow deltas are not smooth and the objective is flat as E nears zero.
"""

from typing import NamedTuple

import numpy as np

MAX_STEPS = 60  # Newton doubles the digits in each, so few are taken from a close start
# Ten times the default delta: inside it most residuals of a usual study are quadratic.
WIDEST = 1e-2  # delta at which a descent begins, if the wanted one is narrower
_NARROWING = 0.5  # of delta a level, gentler than `huber_solver`'s half decade
_LONGEST, _LONGEST_SHARE = 3.0, 0.1  # step in any parameter, in absolute terms plus relative to the parameter
_MAX_DAMPING = 1e8  # a step is then too short to change theta's digits


class LogLossModel(NamedTuple):
  """Predicted log losses and their derivatives by theta = (a, b, e, alpha, beta)."""

  residual: np.ndarray
  jacobian_np: np.ndarray
  shares_n3: np.ndarray  # of the terms of N, D and E


class NewtonResult(NamedTuple):
  """The minimum of the objective, and its curvature there."""

  theta: np.ndarray
  value: float
  gradient: np.ndarray
  model: LogLossModel


def evaluate_model(theta: np.ndarray, x: np.ndarray, y: np.ndarray, l: np.ndarray) -> LogLossModel:
  """Returns residuals of log loss and derivatives at theta."""
  a, b, e, alpha, beta = theta
  # e^300 squared is still finite in float64.
  u = np.exp(np.clip(a - e - alpha * x, -300, 300))
  v = np.exp(np.clip(b - e - beta * y, -300, 300))
  pe = 1 / (1 + u + v)
  pa, pb = u * pe, v * pe
  residual = e + np.log1p(u + v) - l
  return LogLossModel(residual, np.stack([pa, pb, pe, -pa * x, -pb * y], 1), np.stack([pa, pb, pe], 1))


def huber_value(residual: np.ndarray, delta: float) -> float:
  """Returns the sum of Huber losses; squares / 2 for an infinite delta."""
  size = np.abs(residual)
  with np.errstate(invalid="ignore"):
    return float(np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum())


def huber_gradient(model: LogLossModel, delta: float) -> np.ndarray:
  """Returns the derivative of the sum of Huber losses by theta."""
  return np.clip(model.residual, -delta, delta) @ model.jacobian_np


def huber_hessian(model: LogLossModel, x: np.ndarray, y: np.ndarray, delta: float) -> np.ndarray:
  """Returns the second derivative of the sum of Huber losses by theta."""
  # The Huber function's derivative: the residual, clipped at delta on either side.
  slope = np.clip(model.residual, -delta, delta)
  # In log loss the model is not linear: the residual's own curvature enters with the slope.
  inner = (np.abs(model.residual) <= delta) - slope
  return (model.jacobian_np * inner[:, None]).T @ model.jacobian_np + weighted_curvature(model, slope, x, y)


def weighted_curvature(model: LogLossModel, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the weighted sum over runs and terms k of share_k q_k q_k', q_k the term's slope in theta."""
  ones, zero = np.ones_like(x), np.zeros_like(x)
  slopes = ([ones, zero, zero, -x, zero], [zero, ones, zero, zero, -y], [zero, zero, ones, zero, zero])
  total_pp = np.zeros((5, 5))
  for share, slope in zip(model.shares_n3.T, slopes, strict=True):
    slope_np = np.stack(slope, 1)
    total_pp += (slope_np * (weights * share)[:, None]).T @ slope_np
  return total_pp


def newton_steps(
  theta: np.ndarray, x: np.ndarray, y: np.ndarray, l: np.ndarray, delta: float, moves_pp: np.ndarray
) -> NewtonResult:
  """Takes Newton steps as long as the gradient shrinks, from a point that is already close."""
  model = evaluate_model(theta, x, y, l)
  slope = moves_pp.T @ huber_gradient(model, delta)
  for _ in range(MAX_STEPS):
    hessian_pp = moves_pp.T @ huber_hessian(model, x, y, delta) @ moves_pp
    # lstsq, because the Hessian is singular where runs do not show a term: the step of least norm is taken.
    move = moves_pp @ np.linalg.lstsq(hessian_pp, -slope, rcond=1e-15)[0]
    # Near the minimum float64 no longer shows a change of the value, so a shorter gradient decides.
    # Shorter and shorter parts of the step; after the last the gradient is as small as rounding lets it be.
    for shorter in (1.0, 0.5, 0.2, 0.05):
      next_theta = theta + shorter * move
      next_model = evaluate_model(next_theta, x, y, l)
      next_slope = moves_pp.T @ huber_gradient(next_model, delta)
      # A rise of the value by 1e-12 is rounding. 1e-300 is for a value of 0, of runs that follow a law exactly.
      lower = (
        huber_value(next_model.residual, delta) <= huber_value(model.residual, delta) * (1 + 1e-12) + 1e-300
      )
      if lower and np.linalg.norm(next_slope) < np.linalg.norm(slope):
        theta, model, slope = next_theta, next_model, next_slope
        break
    else:
      break
  return NewtonResult(theta, huber_value(model.residual, delta), slope, model)


def descend_from(
  theta: np.ndarray,
  x: np.ndarray,
  y: np.ndarray,
  l: np.ndarray,
  delta: float,
  moves_pp: np.ndarray,
  widest: float = WIDEST,
  max_steps: int = 300,
) -> NewtonResult:
  """Descends from any point through ever narrower deltas, each to its own optimum, the last by Newton steps.

  Args:
    theta: initial parameters.
    x: ln N of each run, centred.
    y: ln D, centred.
    l: ln loss.
    delta: of the Huber function.
    moves_pp: directions in which parameters may move.
    widest: the first delta, if `delta` is narrower.
    max_steps: maximum number of steps at each delta.
  """
  width = max(widest, delta)
  while True:
    theta = _damped(theta, x, y, l, width, moves_pp, max_steps)
    if width <= delta:
      return newton_steps(theta, x, y, l, delta, moves_pp)
    width = max(_NARROWING * width, delta)


def _damped(
  theta: np.ndarray,
  x: np.ndarray,
  y: np.ndarray,
  l: np.ndarray,
  delta: float,
  moves_pp: np.ndarray,
  max_steps: int,
) -> np.ndarray:
  """Takes damped Newton steps that lower the value until none does."""
  model = evaluate_model(theta, x, y, l)
  # 1e-2: nearly Newton's step. Each failure raises it, each success lowers it.
  lowest, damping = huber_value(model.residual, delta), 1e-2
  for _ in range(max_steps):
    further = theta + _shorten(_step(model, x, y, delta, moves_pp, damping), theta)
    next_model = evaluate_model(further, x, y, l)
    height = huber_value(next_model.residual, delta)
    # Not `>=`, because NaN, of a step too far, has to count as a failure.
    if not height < lowest:
      damping *= 4
      if damping > _MAX_DAMPING:
        break
      continue
    gain = lowest - height
    theta, model, lowest, damping = further, next_model, height, max(0.3 * damping, 1e-12)
    # No step gains beyond rounding any more, and it is not the damping that keeps steps short.
    if gain < 1e-15 * lowest and damping < 1e-6:
      break
  return theta


def descend_at(
  theta: np.ndarray, x: np.ndarray, y: np.ndarray, l: np.ndarray, delta: float, moves_pp: np.ndarray
) -> NewtonResult:
  """Descends at the stated delta alone, so the result is never above the start."""
  return newton_steps(_damped(theta, x, y, l, delta, moves_pp, 300), x, y, l, delta, moves_pp)


def _step(
  model: LogLossModel, x: np.ndarray, y: np.ndarray, delta: float, moves_pp: np.ndarray, damping: float
) -> np.ndarray:
  """Returns a step down: Newton's, blended with reweighted least squares as damping grows."""
  size = np.abs(model.residual)
  # Reweighted least squares; min and max keep infinite deltas and zero residuals finite.
  weights = np.where(size <= delta, 1.0, min(delta, 1e6) / np.maximum(size, 1e-300))
  least_squares_pp = moves_pp.T @ (model.jacobian_np * weights[:, None]).T @ model.jacobian_np @ moves_pp
  blend = min(1.0, 0.3 * damping)
  bent_pp = (1 - blend) * (
    moves_pp.T @ huber_hessian(model, x, y, delta) @ moves_pp
  ) + blend * least_squares_pp
  # Parameters are scaled to one curvature each, so that damping treats ln A and alpha alike.
  scales = np.sqrt(np.diag(least_squares_pp)) + 1e-150
  # Absolute eigenvalues: negative curvature counts by its size, so the step also leads down from a saddle.
  bends, axes_pp = np.linalg.eigh(bent_pp / np.outer(scales, scales))
  slope = axes_pp.T @ (moves_pp.T @ huber_gradient(model, delta) / scales)
  move = -(axes_pp @ (slope / (np.maximum(np.abs(bends), 1e-15) + damping))) / scales
  return moves_pp @ move


def _shorten(move: np.ndarray, theta: np.ndarray) -> np.ndarray:
  """Returns the move in its own direction, no longer than the longest step in any parameter.

  Where runs do not show a term, the objective falls along a narrow valley in (a, alpha) or (b, beta) without end.
  A step clipped in each parameter by itself would leave that valley, and descents would end in it.
  """
  return move * min(
    1.0, float(np.min((_LONGEST + _LONGEST_SHARE * np.abs(theta)) / np.maximum(np.abs(move), 1e-300)))
  )
