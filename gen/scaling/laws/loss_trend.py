"""The trend of the lowest loss with compute, L*(C) = E + k C^-g, for many draws at once.

Least squares; linear in E and k at each g of a fine grid. G budgets, B draws, S exponents of the grid.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Exponents of L*(C) in the literature lie between .03 and .2; the grid leaves wide margins.
_EXPONENTS = np.geomspace(0.005, 2.0, 200)
MIN_BUDGETS = 3  # as many as constants


@dataclasses.dataclass(frozen=True)
class LossTrend:
  """E, k and g of each draw; FLOPs are relative to `middle`, so k has the unit of a loss."""

  floor: np.ndarray
  height: np.ndarray
  exponent: np.ndarray
  middle: float

  def __call__(self, flops: ArrayLike) -> Any:
    """Returns the loss at so many FLOPs, one a draw."""
    values = self.floor + self.height * (np.asarray(flops, np.float64) / self.middle) ** -self.exponent
    return values if len(values) > 1 else values[0]

  @classmethod
  def through(cls, flops: ArrayLike, loss_bg: np.ndarray) -> "LossTrend | None":
    """Fits every row of losses; returns None for fewer than three budgets.

    E stays between 0 and the lowest loss, and k above 0, so losses that do not fall give a flat line.

    >>> float(np.round(LossTrend.through([1e18, 1e19, 1e20], np.array([[2.5, 2.3, 2.2]]))(1e21), 3))
    2.15
    """
    logs = np.log(np.asarray(flops, np.float64))
    if len(logs) < MIN_BUDGETS:
      return None
    # About the middle budget: C^-g itself would under- or overflow for steep g at 1e24 FLOPs.
    middle = logs.mean()
    best = _best(logs - middle, loss_bg)
    return cls(*best, middle=float(np.exp(middle)))


def _best(logs: np.ndarray, loss_bg: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the least-squares E, k and g of each draw: the best grid point, refined by a parabola."""
  draws = np.arange(len(loss_bg))
  # For each g the least squares in E and k are linear, so no iteration depends on a start.
  errors_sb = _solve(np.exp(-_EXPONENTS[:, None, None] * logs), loss_bg)[2]
  best = np.argmin(errors_sb, 0)
  middle = np.clip(best, 1, len(_EXPONENTS) - 2)
  before, here, after = (errors_sb[middle + step, draws] for step in (-1, 0, 1))
  # A parabola through the errors at three neighbours; the grid is even in ln g, so the step is in ln g too.
  bend = before - 2 * here + after
  with np.errstate(divide="ignore", invalid="ignore"):
    offset = np.where(bend > 0, np.clip((before - after) / (2 * bend), -1, 1), 0.0)
  step = np.log(_EXPONENTS[1] / _EXPONENTS[0])
  inner = (best == middle) & (offset != 0)
  refined = np.where(inner, _EXPONENTS[middle] * np.exp(step * offset), _EXPONENTS[best])
  floor, height, error = _solve(np.exp(-refined[:, None] * logs), loss_bg)
  # The bound at E = 0 makes the error not smooth in g, and the parabola can then miss.
  worse = error > errors_sb[best, draws]
  chosen = np.where(worse, _EXPONENTS[best], refined)
  floor, height, _ = _solve(np.exp(-chosen[:, None] * logs), loss_bg)
  return floor, height, chosen


def _solve(falls: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns E, k and the sum of squares, along the last axis; E and k are kept from below zero."""
  off = falls - falls.mean(-1, keepdims=True)
  height = np.sum(off * loss, -1) / np.sum(off**2, -1)
  floor = loss.mean(-1) - height * falls.mean(-1)
  # With E held at 0, least squares in k alone.
  height = np.where(floor < 0, np.sum(falls * loss, -1) / np.sum(falls**2, -1), height)
  floor = np.maximum(floor, 0.0)
  rising = height < 0
  height, floor = np.where(rising, 0.0, height), np.where(rising, loss.mean(-1), floor)
  return floor, height, np.sum((floor[..., None] + height[..., None] * falls - loss) ** 2, -1)
