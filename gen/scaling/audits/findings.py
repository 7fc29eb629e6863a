"""The facts that the checks of an audit read, and the findings that they return."""

import dataclasses
from typing import Any

import numpy as np

from gen.scaling.laws.isoflop import IsoflopFit
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.runs.runs_table import RunsTable

PASS, ALARM, SKIP = "pass", "alarm", "skip"


@dataclasses.dataclass(frozen=True)
class Finding:
  """The finding of one check.

  Attributes:
    name: name of the check.
    status: pass, alarm or skip.
    value: measured value; None if nothing could be measured.
    limit: limit beyond which the check raises an alarm.
    sentence: the finding in words.
  """

  name: str
  status: str
  value: Any
  limit: Any
  sentence: str


@dataclasses.dataclass(frozen=True)
class StudyFacts:
  """The facts that the checks read.

  Attributes:
    points: the runs.
    law: the parametric fit, with every run left out in turn.
    designed: whether the runs are grouped in budgets, so that valleys are meaningful.
    valleys: the IsoFLOP fit; None if there is none.
    other_params: N in other conventions.
    interval: of the exponent a, from a fit of these runs that the caller reports; None for the audit's own resamples.
  """

  points: RunsTable
  law: ParametricFit
  designed: bool
  valleys: IsoflopFit | None
  other_params: dict[str, np.ndarray]
  interval: list[float] | None = None


def make_finding(name: str, bad: bool, value: Any, limit: Any, sentence: str) -> Finding:
  """Returns a finding that is an alarm if `bad`, else a pass."""
  return Finding(name, ALARM if bad else PASS, value, limit, sentence)


def error_of(draws: np.ndarray) -> float:
  """Returns a robust standard error of the draws, from their quartiles."""
  draws = draws[np.isfinite(draws)]
  if len(draws) < 2:
    return 0.0
  low, high = np.quantile(draws, [0.25, 0.75])
  # 1.349 is the distance of a normal distribution's quartiles, in standard deviations.
  return float(high - low) / 1.349
