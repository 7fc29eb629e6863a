"""Mean test scores of fine-tunings that differ by their seed alone."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # it imports the workers of scaling sweeps
  from gen.finetuning.sweep_members import MemberRow


@dataclasses.dataclass(frozen=True)
class SeedMean:
  """Mean scores over seeds.

  Attributes:
    score: mean over seeds.
    low: mean over seeds of the lower ends of the 95 % intervals. They are of the test examples for a usual seed, and
      not of the spread over seeds.
    high: the same of the upper ends.
    by_seed: the scores, ascending.
  """

  score: float
  low: float
  high: float
  by_seed: tuple[float, ...]


def mean_over_seeds(rows: Sequence["MemberRow"]) -> SeedMean:
  """Returns the mean scores of rows that differ by their seed alone; rows without a score are left out."""
  scored = [(row["score"], row["low"], row["high"]) for row in rows if row["score"] is not None]
  score, low, high = (float(value) for value in np.mean(np.array(scored, np.float64), axis=0))
  return SeedMean(score, low, high, tuple(sorted(float(value) for value, _, _ in scored)))
