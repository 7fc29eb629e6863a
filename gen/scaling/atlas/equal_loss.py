"""The cost ratio of two families at equal loss, in FLOPs or in seconds.

    L*(C) of each, at its compute-optimal sizes -> C(L) -> C_other(L) / C_one(L) at losses that both have reached

Between two budgets ln C is a straight line in the loss; nothing is said of losses that one of them has not measured.
Only families that answer the same question at the same targets may be set side by side so. B draws, G budgets.
"""

from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.atlas.comparison import FamilyComparison, FamilyOptima

# Losses at which the two are compared; chosen: ends, middle and quarters of the range that both reach.
PLACES = 5


class EqualLossRatio(NamedTuple):
  """What two families pay for one loss, the second's cost over the first's, and its interval if there are draws."""

  loss: float
  first: float
  second: float
  ratio: float
  interval: list[float] | None


def cost_multipliers(
  comparison: FamilyComparison, first_name: str, other_name: str, cost: str = "flops"
) -> list[EqualLossRatio]:
  """Returns what `other_name` pays over `first_name`, at losses from the highest to the lowest that both measured.

  Args:
    comparison: families side by side.
    first_name: the family whose cost is the unit.
    other_name: the family whose cost is compared.
    cost: flops, or seconds (inside steps, at the compute-optimal sizes).

  Raises:
    UserError: where they have no loss in common.
  """
  sides = [comparison.sides[name] for name in (first_name, other_name)]
  known = [_known(side.optima) for side in sides]
  for name, which in zip((first_name, other_name), known, strict=True):
    if which.sum() < 2:
      raise UserError(
        f"{name} has {which.sum()} budgets with a minimum; costs at equal loss take at least two"
      )
  ranges = [side.optima.loss_bg[0, which] for side, which in zip(sides, known, strict=True)]
  low, high = max(losses.min() for losses in ranges), min(losses.max() for losses in ranges)
  if not low < high:
    spans = ", ".join(
      f"{name} from {losses.max():.3f} to {losses.min():.3f}"
      for name, losses in zip((first_name, other_name), ranges, strict=True)
    )
    raise UserError(f"the families share no loss ({spans} nats), so they cannot be compared at equal loss")
  losses = np.linspace(high, low, PLACES)
  prices = [_prices(side.optima, which, losses, cost)[0] for side, which in zip(sides, known, strict=True)]
  drawn = None
  if all(side.drawn is not None for side in sides):
    at = [_prices(side.drawn, which, losses, cost) for side, which in zip(sides, known, strict=True)]  # type: ignore[arg-type]
    drawn = at[1] - at[0]
  rows = []
  for i, loss in enumerate(losses):
    gap = float(prices[1][i] - prices[0][i])
    reach = comparison.interval(None if drawn is None else drawn[:, i], gap)
    rows.append(
      EqualLossRatio(
        loss=float(loss),
        first=float(np.exp(prices[0][i])),
        second=float(np.exp(prices[1][i])),
        ratio=float(np.exp(gap)),
        interval=None if reach is None else [float(np.exp(end)) for end in reach],
      )
    )
  return rows


def _known(optima: FamilyOptima) -> np.ndarray:
  return np.isfinite(optima.loss_bg[0])


def _prices(optima: FamilyOptima, which: np.ndarray, losses: np.ndarray, cost: str) -> np.ndarray:
  """Returns ln cost at each loss, one row a draw; NaN for a draw whose loss does not fall from budget to budget."""
  if cost == "flops":
    logs_bg = np.broadcast_to(np.log(optima.flops[which]), (len(optima.loss_bg), int(which.sum())))
  else:
    logs_bg = optima.measures[cost][:, which]
  return np.stack(
    [_inverse(row, log, losses) for row, log in zip(optima.loss_bg[:, which], logs_bg, strict=True)]
  )


def _inverse(loss: np.ndarray, logs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """Returns ln cost at the wanted losses, by straight lines; the outer ones go on beyond the ends."""
  if not (np.all(np.isfinite(loss)) and np.all(np.diff(loss) < 0)):
    return np.full(len(wanted), np.nan)
  x, y = loss[::-1], logs[::-1]
  piece = np.clip(np.searchsorted(x, wanted) - 1, 0, len(x) - 2)
  share = (wanted - x[piece]) / (x[piece + 1] - x[piece])
  return y[piece] + share * (y[piece + 1] - y[piece])
