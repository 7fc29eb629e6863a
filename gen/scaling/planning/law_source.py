"""The law behind a plan, with its resamples: from the literature, a fit, or a file of runs or constants.

C = k N D training FLOPs, N parameters, D tokens, loss in nats per token.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen.config import Model
from gen.errors import UserError
from gen.io import json_lines, json_reading, seals
from gen.scaling.laws import fit
from gen.scaling.laws.approaches import numbered_name
from gen.scaling.laws.loss_law import cost_model, law_batch
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import ParametricLaw, PowerLaw
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.laws.power_law_fit import PowerLawFit, PredictedOptimum
from gen.scaling.planning import published
from gen.scaling.planning.plan_records import Intervals
from gen.scaling.runs import bootstrap, runs_table, study_shapes, table_files, units
from gen.scaling.runs.runs_table import RunsTable


@dataclasses.dataclass(frozen=True, slots=True)
class MeasuredValues:
  """Values that a law gives, and the interval [low, high] of each; without resamples there are no intervals."""

  values: dict[str, float]
  interval: Intervals


@dataclasses.dataclass(frozen=True, slots=True)
class BudgetOptimum:
  """The optimum of a law at a budget.

  Attributes:
    N: parameters.
    D: tokens.
    ratio: D / N.
    loss: nats per token; None if the law predicts none.
    flops: C.
    interval: [low, high] of each of these that has one.
  """

  N: float
  D: float
  ratio: float
  loss: float | None
  flops: float
  interval: Intervals

  def size(self, name: str) -> float:
    """Returns N or D by name."""
    return self.N if name == "N" else self.D


@dataclasses.dataclass(frozen=True)
class LawSource:
  """A law as plans use it.

  Attributes:
    name: of the law.
    source: paper, or the runs that it was fitted to.
    counting: convention of N.
    k: training FLOPs per parameter and token; if k varies with N, its mean over the runs (see `cost`).
    rows_sp: the constants in one row (see `gen.scaling.laws.loss_law.law_batch`); None for a law of the optimum alone.
    draws_sp: the constants of each resample, and with each run left out if intervals are BCa.
    left_out_kp: the constants with each run left out; None for percentile intervals.
    frontier: for a law of the optimum alone: C -> its optimum.
    level: coverage of the intervals.
    largest: FLOPs of the largest runs; NaN if unknown.
    how: method of the intervals, or the reason why there are none.
    runs: the runs that it was fitted to; None if they are not available.
    varying: k(N), if k varies with N; None for one k.
    models: models of those runs by name, if their file has shapes.
    columns: what was taken for what in the runs' file, in sentences.
  """

  name: str
  source: str
  counting: str
  k: float
  rows_sp: np.ndarray | None
  draws_sp: np.ndarray
  left_out_kp: np.ndarray | None
  frontier: Callable[[float], PredictedOptimum] | None
  level: float
  largest: float
  how: str
  runs: RunsTable | None = None
  varying: CostModel | None = None
  models: Mapping[str, Model] = dataclasses.field(default_factory=dict)
  columns: tuple[str, ...] = ()

  @property
  def cost(self) -> CostModel:
    """The cost model k(N) that all optima use."""
    return self.varying or cost_model.constant_cost(self.k)

  def measure(self, function: Callable[[np.ndarray], law_batch.BatchOptimum]) -> MeasuredValues:
    """Returns the values of a function of rows of constants, with the interval of each value."""
    assert self.rows_sp is not None
    values = {name: float(array[0]) for name, array in function(self.rows_sp).items()}
    intervals: Intervals = {}
    if len(self.draws_sp):
      draws = function(self.draws_sp)
      left_out = {} if self.left_out_kp is None else function(self.left_out_kp)
      intervals = {
        name: bootstrap.draw_interval(draws[name], values[name], self.level, left_out.get(name))
        for name in values
      }
    return MeasuredValues(values, intervals)

  def optimum(self, flops: float) -> BudgetOptimum:
    """Returns the optimum at a budget in FLOPs, with its intervals."""
    if self.rows_sp is not None:
      best = self.measure(lambda rows_sp: law_batch.batch_optimum(rows_sp, flops, self.cost))
      return BudgetOptimum(**best.values, flops=flops, interval=best.interval)
    assert self.frontier is not None
    sizes = self.frontier(flops)
    interval = dict(sizes.intervals)
    if "N" in interval and "D" in interval:
      # N and D move against one another at equal FLOPs: the ratio is least where N is largest.
      low, high = interval["N"], interval["D"]
      interval["ratio"] = [high[0] / low[1], high[1] / low[0]]
    return BudgetOptimum(sizes.N, sizes.D, sizes.D / sizes.N, sizes.loss, flops, interval)

  def needs_surface(self, what: str) -> None:
    """Raises UserError if the law predicts no losses off the optimum."""
    if self.rows_sp is None:
      raise UserError(
        f"the law {self.name} gives the optimum alone, but {what} needs losses at other sizes; "
        "use a parametric law, such as besiroglu2024 or hoffmann2022, or --approach=parametric"
      )


def make_source(
  law: str | ParametricLaw | PowerLawFit,
  name: str = "",
  source: str = "",
  counting: str = "matrices",
  largest: float = math.nan,
) -> LawSource:
  """Returns a law as plans use it.

  Args:
    law: the name of a published law, a `ParametricLaw`, or what `fit.fit_parametric`, `fit.fit_isoflop` or
    `fit.fit_envelope` returned.
    name: to call it.
    source: where it is from.
    counting: convention of its N.
    largest: FLOPs of the largest runs that it was fitted to.

  Raises:
    UserError: for an unknown name, or a fit without an optimum.
  """
  none = np.zeros((0, 5))
  if isinstance(law, str):
    known = published.get_law(law)
    about = (known.source, known.counting, known.law.k)
    how = "none: the paper gives no joint uncertainty of its constants"
    key = next(key for key, published_law in published.LAWS.items() if published_law is known)
    if isinstance(known.law, ParametricLaw):
      return LawSource(
        key, *about, law_batch.law_row(known.law), none, None, None, math.nan, known.largest, how
      )
    return LawSource(key, *about, None, none, None, _frontier(known.law), math.nan, known.largest, how)
  if isinstance(law, ParametricLaw):
    _check_law(law)
    how = "none: constants alone, without the runs that they were fitted to"
    return LawSource(
      name or "law", source, counting, law.k, law_batch.law_row(law), none, None, None, math.nan, largest, how,
      varying=law.cost,
    )  # fmt: skip
  if isinstance(law, ParametricFit):
    _check_law(law.law)
    return LawSource(
      name or "parametric", source, counting, law.law.k, law_batch.law_row(law.law), law.draws_sp, law.left_out_kp,
      None, law.level, largest, law.interval_method, varying=law.law.cost,
    )  # fmt: skip
  k = law.cost.reference
  varying = None if law.cost.is_constant else law.cost
  return LawSource(
    name or "law", source, counting, k, None, none, None, law.predict, law.level, largest, law.interval_method,
    varying=varying,
  )  # fmt: skip


def open_law(
  law: str | Path, approach: str = "parametric", counting: str = "matrices", **options: Any
) -> LawSource:
  """Returns a published law by name, or the law of a file.

  Args:
    law: a name in `published.LAWS`, or a path. A name comes first; a text with a suffix is taken for a path.
    approach: as in `read_source`, for a file.
    counting: likewise.
    **options: likewise.

  Raises:
    UserError: for an unknown name, with the nearest, and as `read_source`.
  """
  if isinstance(law, str) and (published.is_law(law) or not _is_path(law)):
    return make_source(law)
  return read_source(law, approach, counting, **options)


def _is_path(text: str) -> bool:
  """Returns whether a law is meant as a file: one that exists, or a name with a suffix."""
  try:
    return bool(Path(text).suffix) or Path(text).exists()
  except OSError:  # a name too long for any file
    return False


def read_source(
  path: str | Path, approach: str = "parametric", counting: str = "matrices", **options: Any
) -> LawSource:
  """Returns the law of a file: runs, fitted anew, or the constants of a law.

  Args:
    path: of the file; its content decides what it is: a results.json, a journal, JSON lines, a table or constants.
    approach: parametric, isoflop or envelope, for files that hold runs.
    counting: convention of the file's N.
    **options: of the fit (see `fit.FitOptions`); columns, names of the file's by ours; params_unit and tokens_unit of
      its counts.

  Raises:
    UserError: for a file that is missing or holds neither runs nor a law, and for runs that do not suffice for the fit.
  """
  path, columns = Path(path), options.pop("columns", None)
  sizes = [options.pop(name, None) for name in ("params_unit", "tokens_unit")]
  constants = _constants(path)
  if constants is not None:
    return _of_constants(constants, path, counting)
  runs, notes = runs_table.read_described(path, columns)
  runs = units.convert_runs(runs, str(path), *sizes)
  curves = runs_table.read_curves(path, fit.not_held_out(runs)) if approach == "envelope" else []
  law = source_of_runs(runs, approach, counting, str(path), curves=curves, **options)
  return dataclasses.replace(law, models=study_shapes.read_shapes(path), columns=tuple(notes))


def source_of_runs(
  runs: RunsTable,
  approach: str = "parametric",
  counting: str = "matrices",
  name: str = "the study",
  **options: Any,
) -> LawSource:
  """Returns the law fitted to runs, together with the runs, which the choice of further runs needs.

  Args:
    runs: those held out are left out.
    approach: parametric, isoflop or envelope.
    counting: convention of their N.
    name: what to call them.
    **options: of `fit.fit_approach`.

  Raises:
    UserError: for runs that do not suffice for the fit, and for invalid options.
  """
  seen = fit.not_held_out(runs)
  fitted = fit.fit_approach(runs, approach, **options)
  source = f"{numbered_name(approach)} fitted to {len(seen)} runs of {name}"
  return dataclasses.replace(
    make_source(fitted, approach, source, counting, float(seen.flops.max())), runs=seen
  )


# Of constants in a file: wide enough for any law that was fitted, narrow enough for float64.
_RANGES = {
  "E": (1e-6, 1e3), "A": (1e-30, 1e100), "B": (1e-30, 1e100), "alpha": (1e-3, 10.0), "beta": (1e-3, 10.0),
  "k": (0.1, 1e4), "a": (1e-3, 0.999), "N_coefficient": (1e-100, 1e100),
}  # fmt: skip


def _constants(path: Path) -> dict[str, object] | None:
  """Returns the entries of a file that holds a fitted law and no runs; None where it holds runs."""
  text = table_files.text_of(path)
  if not table_files.is_json(text) or not table_files.is_one_value(text, path.name):
    return None
  content = json_lines.parse_value(text, str(path))
  if not isinstance(content, dict) or "points" in content:
    return None
  content = seals.without_seal(content, str(path))
  if "N_coefficient" not in content and not {"E", "A", "B", "alpha", "beta"} <= set(content):
    raise UserError(
      f"{path} holds neither runs (points) nor the constants of a law (E, A, B, alpha, beta, or a and N_coefficient)"
    )
  return content


def _of_constants(content: dict[str, object], path: Path, counting: str) -> LawSource:
  names = ("E", "A", "B", "alpha", "beta")
  constants: dict[str, float] = {
    name: json_reading.require_field(content, name, float, str(path))
    for name in (*names, "k", "a", "N_coefficient")
    if name in content
  }
  for name in constants:
    low, high = _RANGES[name]
    if not low <= constants[name] <= high:
      value = min(max(constants[name], -1e308), 1e308)  # an integer of 400 digits has no format
      raise UserError(
        f"{path}: {name} of the law is {value:g}; in a law with an optimum it lies from {low:g} to {high:g}"
      )
  if set(names) <= set(constants):
    cost = cost_model.cost_from_dict(content.get("cost"))
    k = float(constants.get("k", cost_model.SIX))
    law = ParametricLaw(**{name: float(constants[name]) for name in names}, k=k, cost=None)
    if cost is not None and not cost.is_constant:
      law = dataclasses.replace(law, cost=cost)
    return make_source(law, "constants", str(path), counting)
  if "a" not in constants:
    raise UserError(f"{path} has N_coefficient but no a; N* = N_coefficient C^a needs both")
  frontier = published.PublishedFrontier(PowerLaw(float(constants["N_coefficient"]), float(constants["a"])))
  how = "none: constants alone, without the runs that they were fitted to"
  none = np.zeros((0, 5))
  return LawSource(
    "constants",
    str(path),
    counting,
    frontier.k,
    None,
    none,
    None,
    _frontier(frontier),
    math.nan,
    math.nan,
    how,
  )


def _frontier(law: published.PublishedFrontier) -> Callable[[float], PredictedOptimum]:
  return lambda flops: PredictedOptimum(*law.optimum(flops))


def _check_law(law: ParametricLaw) -> None:
  constants = {name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta", "k")}
  for name, value in constants.items():
    if not (math.isfinite(value) and value > 0):
      raise UserError(f"{name} of the law is {value:g}; a law with an optimum has only positive constants")
