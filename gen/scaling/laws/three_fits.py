"""Fits the three approaches of Hoffmann et al. 2022 (arXiv:2203.15556) to one set of runs, for results.json.

An approach that cannot be fitted gives its reason, {"error": sentence}; the others are still fitted.
C FLOPs, N parameters, D tokens.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import envelope, isoflop, parametric
from gen.scaling.laws.approaches import Fits
from gen.scaling.laws.envelope import FrontierPoint
from gen.scaling.laws.isoflop import IsoflopValley
from gen.scaling.laws.loss_law.cost_model import CostEntry, CostModel
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.runs.runs_table import RunsTable

if TYPE_CHECKING:
  from gen.training.run_log.rows import RowValues

_Fit = TypeVar("_Fit", bound=PowerLawFit)
_BAND = 25  # budgets of an interval's band; a line in logarithms needs few


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimumEntry:
  """One approach's optimum at a budget.

  Attributes:
    N: parameters.
    D: tokens.
    loss: nats per token, if the approach predicts it.
    ci90: [low, high] by name (N, D, loss).
    k: FLOPs per parameter and token at N, where k varies with N.
    outside_sizes: whether N lies outside the sizes at which k was counted, where k varies.
  """

  N: float
  D: float
  loss: float | None = None
  ci90: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  k: float | None = None
  outside_sizes: bool | None = None


@dataclasses.dataclass(frozen=True)
class OptimumCurve:
  """N* and D* along C."""

  flops: list[float]
  N: list[float]
  D: list[float]


@dataclasses.dataclass(frozen=True)
class OptimumBand:
  """Intervals along C: N and D each hold the low ends and the high ends."""

  flops: list[float]
  N: list[list[float]]
  D: list[list[float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawEntry:
  """What results.json says of one approach: its law, or the reason why there is none.

  Attributes:
    error: the reason, if there is no law; then all else is None.
    a: exponent of N* = N_coefficient C^a.
    b: exponent of D* = D_coefficient C^b.
    N_coefficient: of N*.
    D_coefficient: of D*.
    ci90: [low, high] by name.
    interval_method: how the intervals were made.
    warnings: limits of the data, one sentence each.
    curve: N* and D* along C.
    band: their intervals.
  """

  error: str | None = None
  a: float | None = None
  b: float | None = None
  N_coefficient: float | None = None
  D_coefficient: float | None = None
  ci90: dict[str, list[float]] | None = None
  interval_method: str | None = None
  warnings: list[str] | None = None
  curve: OptimumCurve | None = None
  band: OptimumBand | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvelopeEntry(LawEntry):
  """Approach 1: also its frontier, and the kind of curves that it was read from (decayed, curves or ends)."""

  frontier: list[FrontierPoint] | None = None
  form: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsoflopEntry(LawEntry):
  """Approach 2: also its valleys, which there may be without a law."""

  valleys: list[IsoflopValley] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParametricEntry(LawEntry):
  """Approach 3: also the constants of L(N, D) and how its fit ended (see `ParametricFit`)."""

  E: float | None = None
  A: float | None = None
  B: float | None = None
  alpha: float | None = None
  beta: float | None = None
  G: float | None = None
  k: float | None = None
  cost: CostEntry | None = None
  a_of_one_k: float | None = None
  objective: float | None = None
  gradient_norm: float | None = None
  starts: int | None = None
  starts_at_best: int | None = None
  residuals: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class LawEntries:
  """The entries of the three approaches."""

  envelope: EnvelopeEntry
  isoflop: IsoflopEntry
  parametric: ParametricEntry


def fit_approaches(
  points: RunsTable,
  curves: Iterable["RowValues"],
  runs: Sequence[str],
  level: float,
  bootstraps: int,
  seed: int,
  cost: CostModel | None = None,
) -> Fits:
  """Fits the three approaches.

  Args:
    points: the runs to fit.
    curves: rows of training curves.
    runs: the name of each point in those rows.
    level: coverage of the intervals.
    bootstraps: draws for the intervals.
    seed: seed of the draws.
    cost: k(N) of all sizes of the study, held-out ones included; by default that of `points`.
  """
  shared: FitArguments = {"bootstraps": bootstraps, "seed": seed, "level": level, "cost": cost}
  # The three are independent: a table without budgets still has approach 3.
  errors: dict[str, str] = {}
  return Fits(
    _attempt("envelope", lambda: envelope.fit(points, curves, runs=runs, **shared), errors),
    _attempt("isoflop", lambda: isoflop.fit(points, **shared), errors),
    _attempt("parametric", lambda: parametric.fit(points, **shared), errors),
    errors,
  )


class FitArguments(TypedDict):
  """Arguments of the fits of all approaches."""

  bootstraps: int
  seed: int
  level: float
  cost: CostModel | None


def _attempt(name: str, fit: Callable[[], _Fit], errors: dict[str, str]) -> _Fit | None:
  """Returns the fit, or None with the reason in `errors`."""
  try:
    return fit()
  except UserError as error:
    errors[name] = str(error)
    return None


def optimum_entry(fitted: PowerLawFit, flops: float) -> OptimumEntry:
  """Returns an approach's optimum at a budget in FLOPs, with intervals."""
  optimum, cost = fitted.predict(flops), fitted.cost
  # With one k for all sizes, fields on k would say nothing, and are left out of the JSON.
  if cost.is_constant:
    return OptimumEntry(N=optimum.N, D=optimum.D, loss=optimum.loss, ci90=optimum.intervals)
  k, outside = float(cost.k(optimum.N)), bool(cost.outside(optimum.N))
  return OptimumEntry(
    N=optimum.N, D=optimum.D, loss=optimum.loss, ci90=optimum.intervals, k=k, outside_sizes=outside
  )


def law_entries(fits: Fits, points: RunsTable, rows: np.ndarray, low: float, high: float) -> LawEntries:
  """Returns each approach's entry of the results.

  Args:
    fits: the fits of the approaches.
    points: the runs that they were fitted to.
    rows: indices of those runs in the results.
    low: FLOPs at the lower end of the interval bands.
    high: FLOPs at the upper end.
  """
  first, two, three = fits.envelope, fits.isoflop, fits.parametric
  # Valleys are worth showing even where they give no law.
  valleys = isoflop.find_valleys(points) if two is None else two.valleys
  entries = [valley_entry(valley, rows) for valley in valleys]
  return LawEntries(
    envelope=EnvelopeEntry(error=fits.errors["envelope"])
    if first is None
    else EnvelopeEntry(**_law(first, low, high), frontier=first.frontier(), form=first.form),
    isoflop=IsoflopEntry(error=fits.errors["isoflop"], valleys=entries)
    if two is None
    else IsoflopEntry(**_law(two, low, high), valleys=entries),
    parametric=ParametricEntry(error=fits.errors["parametric"])
    if three is None
    else ParametricEntry(**_law(three, low, high), **_constants(three)),
  )


def failed_entries(sentence: str) -> LawEntries:
  """Returns the entries of a study to which no approach can be fitted, with the reason."""
  return LawEntries(
    EnvelopeEntry(error=sentence), IsoflopEntry(error=sentence), ParametricEntry(error=sentence)
  )


def valley_entry(valley: IsoflopValley, rows: np.ndarray) -> IsoflopValley:
  """Returns a valley for the results; `rows` are the indices of the runs there."""
  return dataclasses.replace(valley, points=[int(rows[i]) for i in valley.points])


def _law(fitted: PowerLawFit, low: float, high: float) -> dict[str, Any]:
  """Returns the fields that the entries of all approaches have."""
  curve, band = _band(fitted, low, high)
  return {
    "a": fitted.a,
    "b": fitted.b,
    "N_coefficient": fitted.n_law.coefficient,
    "D_coefficient": fitted.d_law.coefficient,
    "ci90": dict(fitted.intervals),
    "interval_method": fitted.interval_method,
    "warnings": list(fitted.warnings),
    "curve": curve,
    "band": band,
  }


def _band(fitted: PowerLawFit, low: float, high: float) -> tuple[OptimumCurve | None, OptimumBand | None]:
  """Returns N* and D* along C, and their intervals, where there are any."""
  flops = np.geomspace(low, high, _BAND)
  optima = [fitted.predict(float(c)) for c in flops]
  # JSON has no infinity, and a figure could not draw it.
  if not all(math.isfinite(optimum.N) and math.isfinite(optimum.D) for optimum in optima):
    return None, None
  curve = OptimumCurve(flops.tolist(), [optimum.N for optimum in optima], [optimum.D for optimum in optima])
  # A band takes draws of both at each C; approaches without noise to draw from have none.
  if not all({"N", "D"} <= optimum.intervals.keys() for optimum in optima):
    return curve, None
  sizes, data = (
    [[optimum.intervals[letter][side] for optimum in optima] for side in (0, 1)] for letter in "ND"
  )
  return curve, OptimumBand(flops.tolist(), sizes, data)


def _constants(fitted: ParametricFit) -> dict[str, Any]:
  """Returns the fields that only approach 3 has."""
  law = fitted.law
  return {
    **{name: float(getattr(law, name)) for name in ("E", "A", "B", "alpha", "beta", "G", "k")},
    "cost": fitted.cost.entry(),
    "a_of_one_k": law.a,
    "objective": fitted.objective,
    "gradient_norm": fitted.gradient_norm,
    "starts": fitted.starts,
    "starts_at_best": fitted.starts_at_best,
    "residuals": fitted.residuals.tolist(),
  }
