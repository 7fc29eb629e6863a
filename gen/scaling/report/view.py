"""The view of a sweep's results that figures and report read; absent parts have a reason in `absent`.

Letters: C budget or FLOPs, N parameters, D tokens, a and b the exponents of N*(C) and D*(C).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gen.figures import style
from gen.scaling.laws.approaches import NAMES
from gen.scaling.report.sections import Section

CHINCHILLA = 20.0  # tokens per parameter, Hoffmann et al. 2022


@dataclasses.dataclass(frozen=True)
class RunPoint:
  """One size at one budget, its seeds averaged."""

  budget: float
  held_out: bool
  params: float
  tokens: float
  loss: float
  members: tuple[int, ...]  # indices of the runs


@dataclasses.dataclass(frozen=True)
class ValleyView:
  """A budget's parabola of loss in ln N."""

  budget: float
  params: float  # at the vertex
  tokens: float
  loss: float
  curvature: float  # half the second derivative of loss in ln N
  r_squared: float | None
  inside: bool
  held_out: bool = False

  def __call__(self, params: np.ndarray) -> np.ndarray:
    """Returns the parabola's loss at sizes N."""
    return self.loss + self.curvature * np.log(params / self.params) ** 2


@dataclasses.dataclass(frozen=True)
class LawView:
  """One approach's N*(C) and D*(C)."""

  name: str
  a: float
  b: float
  coefficients: dict[str, float]  # by letter, N and D
  intervals: dict[str, tuple[float, float]]
  band: dict[str, np.ndarray]  # flops, and [2, len(flops)] for N and D; empty if unknown
  curve: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # flops, N and D; empty if unknown

  def __call__(self, letter: str, flops: np.ndarray) -> np.ndarray:
    """Returns N*(C) or D*(C): the optima themselves where the results hold them, else the power law."""
    if self.curve:
      places, values = np.log(self.curve["flops"]), np.log(self.curve[letter])
      return np.asarray(np.exp(np.interp(np.log(flops), places, values)))
    return self.coefficients[letter] * flops ** (self.a if letter == "N" else self.b)


@dataclasses.dataclass(frozen=True)
class PredictionView:
  """One approach's optimum at a budget: N, D and, where it gives one, loss; with 90 % intervals."""

  values: dict[str, float]
  intervals: dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class ResultsView:
  """A sweep as the figures see it.

  Attributes:
    results: the whole of results.json.
    runs: its points, in order.
    spots: sizes within budgets, seeds averaged, by budget and size.
    budgets: FLOPs, ascending, the held-out one not among them.
    held_out: FLOPs of the held-out budget, if one was run.
    valleys: by ascending budget, the held-out one last.
    laws: the approaches that gave a law.
    predictions: their optima at `target` FLOPs.
    absent: why a part is missing, by its name.
    bytes: whether D counts bytes rather than tokens of a trained tokenizer.
  """

  results: Section
  runs: list[Section]
  spots: list[RunPoint]
  budgets: list[float]
  held_out: float | None
  valleys: list[ValleyView]
  laws: dict[str, LawView]
  predictions: dict[str, PredictionView]
  absent: dict[str, str]
  bytes: bool

  @property
  def budget_ramp(self) -> style.Ramp:
    """Colours of the fitted budgets; the held-out one has a colour of its own."""
    ramp = style.budget_ramp(self.budgets)
    if self.held_out is not None:
      ramp.light.setdefault(self.held_out, style.HELD_OUT)
    return ramp

  @property
  def size_ramp(self) -> style.Ramp:
    """Colours of the models' sizes."""
    return style.size_ramp([params for run in self.runs if (params := run.number("params"))])

  @property
  def unit(self) -> str:
    """What D counts."""
    return "bytes" if self.bytes else "tokens"

  @property
  def level(self) -> str:
    """What share of the draws an interval holds, in words."""
    return f"{100 * (self.results.number('confidence') or 0.9):g} %"

  @property
  def constants(self) -> dict[str, float] | None:
    """E, A, B, alpha, beta of the parametric law, if all are known."""
    laws = {name: self.part("parametric").number(name) for name in ("E", "A", "B", "alpha", "beta")}
    known = {name: value for name, value in laws.items() if value is not None}
    return known if len(known) == len(laws) else None

  @property
  def held_out_prediction(self) -> tuple[float, float] | None:
    """N* and loss that the parametric fit, which never saw it, predicts for the held-out budget."""
    guess = self.results.section("held_out").section("parametric")
    params, loss = guess.number("N"), guess.number("loss")
    return None if params is None or loss is None else (params, loss)

  @property
  def target(self) -> float | None:
    """FLOPs of the prediction; ten times the largest budget where the results do not say."""
    flops = self.results.section("prediction").number("flops")
    return flops or (10 * self.budgets[-1] if self.budgets else None)

  def part(self, approach: str) -> Section:
    """Returns an approach's entry in the results, empty if it has none."""
    return self.results.section("laws").section(approach)

  def predicted_loss(self, params: Any, tokens: Any) -> Any:
    """Returns E + A / N^alpha + B / D^beta.

    Raises:
      ValueError: if the parametric law is not known; ask `constants` first.
    """
    law = self.constants
    if law is None:
      raise ValueError("the results hold no parametric law")
    return law["E"] + law["A"] / params ** law["alpha"] + law["B"] / tokens ** law["beta"]


def read_results(values: Mapping[str, object]) -> ResultsView:
  """Reads a results dictionary; nothing in it is required."""
  results = Section(values)
  runs = results.sections("points")
  spots = _spots(runs)
  held_out = {spot.budget for spot in spots if spot.held_out}
  budgets = sorted({spot.budget for spot in spots if not spot.held_out})
  absent: dict[str, str] = {}
  laws = {}
  for name in NAMES:
    law, reason = _law(name, results.section("laws").section(name))
    if law is None:
      absent[name] = reason
    else:
      laws[name] = law
  valleys = _valleys(results)
  if not valleys:
    absent["valleys"] = results.section("laws").section("isoflop").first_reason("no budget gave a valley")
  if not held_out:
    absent["held_out"] = "no budget was held out of the fits"
  return ResultsView(
    results=results,
    runs=runs,
    spots=spots,
    budgets=budgets,
    held_out=max(held_out, default=None),
    valleys=valleys,
    laws=laws,
    predictions=_predictions(results.section("prediction")),
    absent=absent,
    bytes=_counts_bytes(results),
  )


def _spots(runs: Sequence[Section]) -> list[RunPoint]:
  groups: dict[tuple[float, bool, float], list[int]] = {}
  for index, run in enumerate(runs):
    budget, params = run.number("budget"), run.number("params")
    if budget and params and run.number("tokens") and run.number("loss") is not None:
      groups.setdefault((budget, bool(run.get("held_out")), params), []).append(index)
  return [
    RunPoint(
      budget, held_out, params, _mean(runs, members, "tokens"), _mean(runs, members, "loss"), tuple(members)
    )
    for (budget, held_out, params), members in sorted(groups.items())
  ]


def _mean(runs: Sequence[Section], members: Iterable[int], name: str) -> float:
  return float(np.mean([runs[index].number_or_nan(name) for index in members]))


def _valleys(results: Section) -> list[ValleyView]:
  read = [(entry, False) for entry in results.section("laws").section("isoflop").sections("valleys")]
  held_out = results.section("held_out")
  read.append((held_out.section("valley"), True))
  valleys = [_valley(entry, is_held_out) for entry, is_held_out in read]
  return sorted(
    (valley for valley in valleys if valley), key=lambda parabola: (parabola.held_out, parabola.budget)
  )


def _valley(entry: Section, held_out: bool) -> ValleyView | None:
  names = ("budget", "vertex_N", "vertex_D", "vertex_loss", "curvature")
  values = [entry.number(name) for name in names]
  budget, params, tokens, loss, curvature = values
  if not budget or not params or not tokens or loss is None or curvature is None or min(params, tokens) < 0:
    return None
  r_squared, inside = entry.number("r_squared"), bool(entry.get("inside", True))
  return ValleyView(budget, params, tokens, loss, curvature, r_squared, inside, held_out)


def _law(name: str, part: Section) -> tuple[LawView | None, str]:
  values = [part.number(key) for key in ("a", "b", "N_coefficient", "D_coefficient")]
  a, b, size, data = values
  if a is None or b is None or not size or not data or size < 0 or data < 0:
    return None, part.first_reason("no law was fitted")
  intervals = {key: pair for key in part.section("ci90") if (pair := part.section("ci90").interval(key))}
  return LawView(
    name,
    a,
    b,
    {"N": size, "D": data},
    intervals,
    _band(part.section("band")),
    _curve(part.section("curve")),
  ), ""


def _curve(entry: Section) -> dict[str, np.ndarray]:
  try:
    curve = {name: np.asarray(entry[name], float) for name in ("flops", "N", "D")}
  except (KeyError, TypeError, ValueError):
    return {}
  sound = all(
    column.shape == curve["flops"].shape and np.all(column > 0) and np.isfinite(column).all()
    for column in curve.values()
  )
  return curve if sound and len(curve["flops"]) > 1 else {}


def _band(entry: Section) -> dict[str, np.ndarray]:
  try:
    band = {name: np.asarray(entry[name], float) for name in ("flops", "N", "D")}
  except (KeyError, TypeError, ValueError):
    return {}
  band = {
    name: values.T if values.ndim == 2 and values.shape[1] == 2 else values for name, values in band.items()
  }
  shapes = {"flops": (len(band["flops"]),), "N": (2, len(band["flops"])), "D": (2, len(band["flops"]))}
  fine = all(band[name].shape == shape and np.isfinite(band[name]).all() for name, shape in shapes.items())
  return band if fine else {}


def _predictions(entry: Section) -> dict[str, PredictionView]:
  predictions = {}
  for name in NAMES:
    part = entry.section(name)
    reach = part.section("ci90")
    values = {key: value for key in ("N", "D", "loss") if (value := part.number(key)) is not None}
    intervals = {key: pair for key in values if (pair := reach.interval(key))}
    if {"N", "D"} <= set(values):
      predictions[name] = PredictionView(values, intervals)
  return predictions


def _counts_bytes(results: Section) -> bool:
  tokenizer = results.section("tokenizer")
  kind = tokenizer.get("kind", tokenizer.get("name"))
  if kind is None:
    kind = results.section("config").section("data").get("tokenizer")
  return kind == "bytes"
