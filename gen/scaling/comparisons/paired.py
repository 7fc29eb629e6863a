"""Differences between runs that share their seeds, with Student's t intervals over the seeds.

Runs of one seed share their first parameters and the order in which rows are drawn. What a seed does to both cancels in
their difference, so the scatter of the differences gives the interval.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True)
class PairedGap:
  """The mean difference of two runs over the seeds that both have.

  Attributes:
    mean: first minus second.
    low: lower end of its interval; None for a single seed.
    high: upper end of its interval; None for a single seed.
    seeds: number of pairs.
  """

  mean: float
  low: float | None
  high: float | None
  seeds: int

  @property
  def below_zero(self) -> bool:
    """Whether the whole interval is below 0."""
    return self.high is not None and self.high < 0

  @property
  def above_zero(self) -> bool:
    """Whether the whole interval is above 0."""
    return self.low is not None and self.low > 0


def mean_interval(values: Sequence[float], level: float) -> PairedGap:
  """Returns the mean of values and its Student's t interval.

  >>> format_gap(mean_interval([1.0, 2.0, 3.0], 0.9))
  '+2.000 [+0.314, +3.686]'

  Args:
    values: one a seed, at least one.
    level: of the interval, between 0 and 1.
  """
  count, mean = len(values), float(np.mean(values))
  if count < 2:
    return PairedGap(mean, None, None, count)
  error = float(np.std(values, ddof=1)) / math.sqrt(count)
  reach = float(special.stdtrit(count - 1, (1 + level) / 2)) * error
  return PairedGap(mean, mean - reach, mean + reach, count)


def paired_gap(
  first: Mapping[int, float], second: Mapping[int, float], level: float, comparisons: int = 1
) -> PairedGap | None:
  """Returns first minus second over the seeds that both have; None without such a seed.

  Args:
    first: values by seed.
    second: values by seed.
    level: of the interval.
    comparisons: number of comparisons that are to hold together at that level (Bonferroni's correction).
  """
  shared = sorted(first.keys() & second.keys())
  if not shared:
    return None
  return mean_interval([first[seed] - second[seed] for seed in shared], 1 - (1 - level) / comparisons)


def format_gap(gap: PairedGap | None, places: int = 3) -> str:
  """Writes a difference with its interval.

  >>> format_gap(PairedGap(-0.05, -0.06, -0.04, 3))
  '-0.050 [-0.060, -0.040]'
  """
  if gap is None:
    return "unknown"
  if gap.low is None or gap.high is None:
    return f"{gap.mean:+.{places}f}"
  return f"{gap.mean:+.{places}f} [{gap.low:+.{places}f}, {gap.high:+.{places}f}]"
