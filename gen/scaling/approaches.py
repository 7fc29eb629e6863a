"""The three approaches of Hoffmann et al. 2022 (arXiv:2203.15556) fitted to one set of runs, as results hold them.

An approach that cannot be fitted leaves its reason, {"error": sentence}, and the others go on.
C FLOPs, N parameters, D tokens.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.scaling import envelope, isoflop, parametric
from gen.scaling.envelope import EnvelopeFit
from gen.scaling.isoflop import IsoflopFit, Valley
from gen.scaling.laws import Law
from gen.scaling.parametric import ParametricFit
from gen.scaling.points import Points

NAMES = ("envelope", "isoflop", "parametric")
TITLES = {"envelope": "approach 1", "isoflop": "approach 2", "parametric": "approach 3"}
_ROUNDS = 6
_BAND = 25  # budgets of an interval's band
_FRONTIER = 200  # places of the envelope that are kept: no eye can tell them from 1,500


@dataclasses.dataclass(frozen=True)
class Fits:
  """What the approaches gave; None, and a sentence in `errors`, where one gave nothing."""

  envelope: EnvelopeFit | None
  isoflop: IsoflopFit | None
  parametric: ParametricFit | None
  errors: dict[str, str]

  def items(self) -> list[tuple[str, Any]]:
    """Returns (name, fit) of the approaches that gave a law."""
    return [(name, getattr(self, name)) for name in NAMES if getattr(self, name) is not None]


def fit(
  points: Points,
  curves: Iterable[Mapping[str, Any]],
  runs: Sequence[str],
  level: float,
  bootstraps: int,
  seed: int,
) -> Fits:
  """Fits the three approaches.

  Args:
    points: the runs that may be seen.
    curves: rows of training.
    runs: what the rows call each of the points.
    level: of the intervals.
    bootstraps: draws for the intervals.
    seed: of the draws.
  """
  options: dict[str, Any] = {"bootstraps": bootstraps, "seed": seed, "level": level}
  attempts = {
    "envelope": lambda: envelope.fit(points, curves, runs=runs, **options),
    "isoflop": lambda: isoflop.fit(points, **options),
    "parametric": lambda: parametric.fit(points, **options),
  }
  made: dict[str, Any] = dict.fromkeys(NAMES)
  errors = {}
  for name, attempt in attempts.items():
    try:
      made[name] = attempt()
    except UserError as error:
      errors[name] = str(error)
  return Fits(**made, errors=errors)


def optimum(fitted: Any, flops: float, runs: Points) -> dict[str, Any]:
  """Returns N, D and, where the approach gives one, loss at so many FLOPs, with intervals.

  Args:
    fitted: what one approach gave.
    flops: C.
    runs: whose k, of C = k N D, approach 3 is to follow over N; beyond their sizes that of the nearest. Its law is one
      of N and D, with one k for all the runs that it was fitted to; but attention and head are a smaller part of a
      larger model, so a law of runs of 1e4 to 4e5 parameters foretells a loss 1 % too high at 3e5 without this.
  """
  if isinstance(fitted, ParametricFit):
    flops *= _for_their_k(fitted.law, runs, flops)
  found = fitted.predict(flops)
  return {name: value for name, value in found.items() if name != "interval"} | {"ci90": found["interval"]}


def _for_their_k(law: Law, runs: Points, flops: float) -> float:
  """Returns the law's k over that of the runs at the optimum: as it depends on C / k alone, C times this is as good."""
  sizes, of_run = np.unique(runs.params, return_inverse=True)
  log_k_of_run = np.log(runs.flops / runs.params / runs.tokens)
  log_n, log_k = np.log(sizes), np.bincount(of_run, log_k_of_run) / np.bincount(of_run)
  ratio = 1.0
  for _ in range(_ROUNDS):  # each is closer by the slope of ln k over ln N, about a tenth
    n = law.optimum(flops * ratio)[0]
    if not n > 0:  # also NaN: a law without an optimum
      return 1.0
    ratio = float(law.k / np.exp(np.interp(np.log(n), log_n, log_k)))
  return ratio


def laws(fits: Fits, points: Points, rows: np.ndarray, low: float, high: float) -> dict[str, Any]:
  """Returns each approach's entry of the results.

  Args:
    fits: the approaches.
    points: the runs that they were fitted to.
    rows: indices of those in the results.
    low: FLOPs where the bands of intervals begin.
    high: and where they end.
  """
  found: dict[str, Any] = {}
  for name in NAMES:
    fitted = getattr(fits, name)
    found[name] = {"error": fits.errors[name]} if fitted is None else _law(fitted, low, high)
  valleys = isoflop.valleys(points) if fits.isoflop is None else fits.isoflop.valleys
  found["isoflop"]["valleys"] = [valley(one, rows) for one in valleys]
  if fits.envelope is not None:
    found["envelope"] |= {"frontier": _frontier(fits.envelope), "form": fits.envelope.form}
  if fits.parametric is not None:
    found["parametric"] |= _constants(fits.parametric)
  return found


def valley(found: Valley, rows: np.ndarray) -> dict[str, Any]:
  """Returns a valley's entry of the results; `rows` are the indices of the runs there."""
  return dataclasses.asdict(found) | {"points": [int(rows[i]) for i in found.points]}


def _law(fitted: Any, low: float, high: float) -> dict[str, Any]:
  if isinstance(fitted, ParametricFit):
    coefficients = fitted.law.n_coefficient, fitted.law.d_coefficient
  else:
    coefficients = fitted.n_law.coefficient, fitted.d_law.coefficient
  return {
    "a": fitted.a,
    "b": fitted.b,
    "N_coefficient": coefficients[0],
    "D_coefficient": coefficients[1],
    "ci90": dict(fitted.intervals),
    "interval_method": fitted.interval_method,
    "warnings": list(fitted.warnings),
    **_band(fitted, low, high),
  }


def _band(fitted: Any, low: float, high: float) -> dict[str, Any]:
  """Returns the intervals of N* and D* along C, if there are any."""
  flops = np.geomspace(low, high, _BAND)
  pairs = [fitted.predict(float(c))["interval"] for c in flops]
  if not all("N" in pair and "D" in pair for pair in pairs):
    return {}
  sides = {letter: [[pair[letter][side] for pair in pairs] for side in (0, 1)] for letter in "ND"}
  return {"band": {"flops": flops.tolist(), **sides}}


def _constants(fitted: ParametricFit) -> dict[str, Any]:
  law = fitted.law
  return {
    **{name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta", "G", "k")},
    "objective": fitted.objective,
    "gradient_norm": fitted.gradient_norm,
    "starts": fitted.starts,
    "starts_at_best": fitted.starts_at_best,
    "residuals": fitted.residuals.tolist(),
  }


def _frontier(fitted: EnvelopeFit) -> list[dict[str, float]]:
  shown = np.unique(np.linspace(0, len(fitted.flops) - 1, _FRONTIER).round().astype(int))
  columns = {"flops": fitted.flops, "params": fitted.params, "tokens": fitted.tokens, "loss": fitted.loss}
  return [{name: float(values[i]) for name, values in columns.items()} for i in shown]
