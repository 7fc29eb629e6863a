"""What a check of an audit looks at, and what it says."""

import dataclasses
from typing import Any

import numpy as np

from gen.scaling.laws.isoflop import IsoflopFit
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.runs.runs_table import RunsTable

PASS, ALARM, SKIP = "pass", "alarm", "skip"


@dataclasses.dataclass(frozen=True)
class Finding:
  """What one check found.

  Attributes:
    name: of the check.
    status: pass, alarm or skip.
    value: what was measured; None where nothing could be.
    limit: beyond which it is an alarm.
    sentence: what it means.
  """

  name: str
  status: str
  value: Any
  limit: Any
  sentence: str


@dataclasses.dataclass(frozen=True)
class StudyFacts:
  """What the checks look at.

  Attributes:
    points: the runs.
    law: the parametric fit, with every run left out in turn.
    designed: whether the runs were made in budgets, so that valleys mean something.
    valleys: the IsoFLOP fit; None where there is none.
    other_params: N in other conventions.
  """

  points: RunsTable
  law: ParametricFit
  designed: bool
  valleys: IsoflopFit | None
  other_params: dict[str, np.ndarray]


def make_finding(name: str, bad: bool, value: Any, limit: Any, sentence: str) -> Finding:
  """Returns an alarm where it is bad, else a pass."""
  return Finding(name, ALARM if bad else PASS, value, limit, sentence)


def error_of(draws: np.ndarray) -> float:
  """Returns the standard error that draws show, by their quartiles."""
  draws = draws[np.isfinite(draws)]
  if len(draws) < 2:
    return 0.0
  low, high = np.quantile(draws, [0.25, 0.75])
  return float(high - low) / 1.349
