"""The options of a fit, as keywords."""

from typing import TypedDict


class FitKeywords(TypedDict, total=False):
  """The fields of `gen.scaling.laws.fit.FitOptions`, which says what they mean."""

  delta: float
  tied: bool
  method: str
  edge: str
  bootstraps: int
  seed: int
  level: float
  interval: str
  cluster: str
