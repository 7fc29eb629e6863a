"""How many times the FLOPs a reference would need for the loss that another text reaches at one budget.

    losses of the reference at all budgets -> C(L), straight lines in ln C -> C(L of the other text) / C

Each seed gives one ratio from its own losses, so the interval over seeds holds the noise of both sides.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from gen.scaling.comparisons.paired import mean_interval


@dataclasses.dataclass(frozen=True)
class ComputeRatio:
  """FLOPs for one loss, as a multiple.

  Attributes:
    value: FLOPs of the reference over those of the other text, at equal loss.
    low: lower end of the interval; None for a single seed.
    high: upper end of the interval; None for a single seed.
    beyond: whether a loss lies outside of those that the reference has measured, so that its last line is extended.
  """

  value: float
  low: float | None
  high: float | None
  beyond: bool


def compute_ratio(
  reference: Mapping[int, Mapping[float, float]], losses: Mapping[int, float], budget: float, level: float
) -> ComputeRatio | None:
  """Returns how many times the FLOPs the reference needs; None if no seed's losses fall with the budget.

  Args:
    reference: losses of the reference by seed and budget.
    losses: losses of the other text at the budget, by seed.
    budget: FLOPs.
    level: of the interval.
  """
  logs, beyond = [], False
  for seed in sorted(reference.keys() & losses.keys()):
    flops = np.array(sorted(reference[seed]))
    curve = np.array([reference[seed][c] for c in flops])
    if len(flops) < 2 or not np.all(np.diff(curve) < 0):
      continue
    logs.append(_log_flops(np.log(flops), curve, losses[seed]) - math.log(budget))
    beyond |= not curve[-1] <= losses[seed] <= curve[0]
  if not logs:
    return None
  gap = mean_interval(logs, level)
  # e^700 is near the largest float64.
  low, high = (None if end is None else math.exp(min(end, 700.0)) for end in (gap.low, gap.high))
  return ComputeRatio(math.exp(min(gap.mean, 700.0)), low, high, beyond)


def _log_flops(log_c: np.ndarray, curve: np.ndarray, loss: float) -> float:
  """Returns ln C at a loss on falling straight lines, the outer ones extended."""
  piece = int(np.clip(np.searchsorted(-curve, -loss) - 1, 0, len(curve) - 2))
  share = (loss - curve[piece]) / (curve[piece + 1] - curve[piece])
  return float(log_c[piece] + share * (log_c[piece + 1] - log_c[piece]))


def format_ratio(ratio: ComputeRatio | None) -> str:
  """Writes a ratio with its interval; a star marks one beyond the reference's losses.

  >>> format_ratio(ComputeRatio(1.5, 1.2, 1.9, True))
  '1.50* [1.20, 1.90]'
  """
  if ratio is None:
    return "unknown"
  star = "*" if ratio.beyond else ""
  if ratio.low is None or ratio.high is None:
    return f"{ratio.value:.3g}{star}"
  return f"{ratio.value:.2f}{star} [{ratio.low:.2f}, {ratio.high:.2f}]"
