"""Fits scaling laws to runs by approaches 1, 2 and 3 of Hoffmann et al. 2022 (arXiv:2203.15556).

    from gen.scaling.laws import fit

    fitted = fit.fit_parametric(params, tokens, loss)   # L(N, D) = E + A / N^alpha + B / D^beta
    params, tokens, loss = fitted.law.optimum(1e21)     # at 1e21 FLOPs
    fitted.intervals["a"]                               # of N* = G (C / 6)^a

Plain arrays are enough; nothing here needs gen's trainer. N parameters, D tokens, C FLOPs, loss in nats per token.
The results of `fit_parametric`, `fit_isoflop` and `fit_envelope` all have a, b, intervals, interval_method, warnings
and predict.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import ArrayLike

from gen.errors import UserError
from gen.scaling.laws import approaches
from gen.scaling.laws.approaches import Fits
from gen.scaling.laws.fit_options import FitKeywords
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable, make_runs, read_runs

if TYPE_CHECKING:  # Approach 3 imports jax, which the others do without.
  from gen.scaling.laws.envelope import EnvelopeFit
  from gen.scaling.laws.isoflop import IsoflopFit
  from gen.scaling.laws.parametric import ParametricFit
  from gen.training.run_log.rows import RowValues

APPROACHES = tuple(reversed(approaches.NAMES))  # parametric first: it alone needs no equal budgets


@dataclasses.dataclass(frozen=True)
class FitOptions:
  """Options of a fit; each approach uses those that apply to it.

  Attributes:
    delta: approach 3: residual in log loss where the Huber loss changes from quadratic to linear; inf: least squares.
    tied: approach 3: whether alpha = beta.
    method: approach 2: parabola (loss in ln N) or akima (spline of ln loss in ln N).
    edge: approach 2: drop or keep budgets whose minimum is at the edge of their sizes.
    bootstraps: resamples for the intervals; 0 gives none.
    seed: seed of the resampling.
    level: coverage of the intervals.
    interval: percentile or bca. auto is percentile, which sweeps, plans and fits all use. Its coverage was at least
      nominal where that of bca fell short on small sweeps (docs/fitting.md).
    cluster: the unit of resampling: run, budget or seed.
  """

  delta: float = 1e-3  # Hoffmann et al. 2022, appendix D.3
  tied: bool = False
  method: str = "parabola"
  edge: str = "drop"
  bootstraps: int = 1000
  seed: int = 0
  level: float = 0.95
  interval: str = "auto"
  cluster: str = "run"


def fit_parametric(
  params: ArrayLike | RunsTable,
  tokens: ArrayLike | None = None,
  loss: ArrayLike | None = None,
  flops: ArrayLike | None = None,
  **options: Unpack[FitKeywords],
) -> "ParametricFit":
  """Fits approach 3, L(N, D) = E + A / N^alpha + B / D^beta, to all runs at once.

  Args:
    params: N of each run; or points, which hold the other three as well.
    tokens: D of each run.
    loss: of each run, nats per token.
    flops: C of each run; 6 N D if left out.
    **options: fields of `FitOptions`.

  Returns:
    A `gen.scaling.laws.parametric.ParametricFit`.

  Raises:
    UserError: for runs that cannot identify the law, and for invalid options.
  """
  points, chosen, cost = _prepared(_points(params, tokens, loss, flops), options)
  return _parametric(points, chosen, cost)


def fit_isoflop(
  params: ArrayLike | RunsTable,
  tokens: ArrayLike | None = None,
  loss: ArrayLike | None = None,
  flops: ArrayLike | None = None,
  **options: Unpack[FitKeywords],
) -> "IsoflopFit":
  """Fits approach 2: N*(C) and D*(C) through the valleys of loss at equal FLOPs.

  Arguments are those of `fit_parametric`. Returns a `gen.scaling.laws.isoflop.IsoflopFit`.
  """
  points, chosen, cost = _prepared(_points(params, tokens, loss, flops), options)
  return _isoflop(points, chosen, cost)


def fit_envelope(
  params: ArrayLike | RunsTable,
  tokens: ArrayLike | None = None,
  loss: ArrayLike | None = None,
  flops: ArrayLike | None = None,
  *,
  curves: Iterable["RowValues"] | None = None,
  **options: Unpack[FitKeywords],
) -> "EnvelopeFit":
  """Fits approach 1: N*(C) and D*(C) through the runs of least loss at each number of FLOPs.

  Arguments are those of `fit_parametric`, and the rows of training curves. Returns a
  `gen.scaling.laws.envelope.EnvelopeFit`.
  """
  points, chosen, cost = _prepared(_points(params, tokens, loss, flops), options)
  return _envelope(points, curves, chosen, cost)


def fit_approach(
  runs: RunsTable | Mapping[str, ArrayLike],
  approach: str = "parametric",
  *,
  curves: Iterable["RowValues"] | None = None,
  **options: Unpack[FitKeywords],
) -> PowerLawFit:
  """Fits one approach to the runs that are not held out.

  Args:
    runs: points, or a mapping with params, tokens, loss and perhaps flops, budget, seed, held_out.
    approach: parametric, isoflop or envelope.
    curves: rows of training curves (run: the name of one of the runs, flops, loss), which the envelope uses.
    **options: fields of `FitOptions`.

  Raises:
    UserError: for an unknown approach or option, and for runs that do not suffice for the fit.
  """
  points, chosen, cost = _prepared(runs, options)
  if approach == "parametric":
    return _parametric(points, chosen, cost)
  if approach == "isoflop":
    return _isoflop(points, chosen, cost)
  if approach == "envelope":
    return _envelope(points, curves, chosen, cost)
  raise UserError(f"approach {approach!r} is unknown; there are {', '.join(APPROACHES)}")


def fit_all(
  runs: RunsTable | Mapping[str, ArrayLike],
  *,
  curves: Iterable["RowValues"] | None = None,
  without: Mapping[str, str] | None = None,
  **options: Unpack[FitKeywords],
) -> Fits:
  """Fits every approach with `fit_approach`; records the reason for an approach whose data are missing.

  Args:
    runs: as `fit_approach` takes them.
    curves: as `fit_approach` takes them.
    without: approaches to skip, each with the reason.
    **options: fields of `FitOptions`.

  Raises:
    UserError: if the parametric law cannot be fitted, or for an unknown option.
  """
  # A list, because an iterator of rows would be empty for the second approach that reads it.
  points, curves = _whole(runs), None if curves is None else list(curves)
  fitted: dict[str, Any] = {"parametric": fit_approach(points, **options)}
  # The parametric law alone needs no budgets, so its failure is the table's and is raised; others only lack data.
  errors = {}
  for approach in APPROACHES[1:]:
    try:
      if without and approach in without:
        raise UserError(without[approach])
      fitted[approach] = fit_approach(points, approach, curves=curves, **options)
    except UserError as error:
      errors[approach] = str(error)
  return Fits(fitted.get("envelope"), fitted.get("isoflop"), fitted["parametric"], errors)


def _prepared(
  runs: RunsTable | Mapping[str, ArrayLike], options: FitKeywords
) -> tuple[RunsTable, FitOptions, CostModel]:
  """Returns the runs to fit, the options, and k(N) of all runs."""
  table, chosen = _whole(runs), _options(options)
  points = not_held_out(table)
  # k(N) follows from the shapes alone, not from losses, so held-out sizes may be used.
  return points, chosen, cost_model.measured_cost(table.params, table.tokens, table.flops)


def _points(
  params: ArrayLike | RunsTable, tokens: ArrayLike | None, loss: ArrayLike | None, flops: ArrayLike | None
) -> RunsTable:
  if isinstance(params, RunsTable):
    return params
  if tokens is None or loss is None:
    raise UserError("give params, tokens and loss, one value of each for every run")
  return make_runs(params, tokens, loss, flops)


def not_held_out(runs: RunsTable | Mapping[str, ArrayLike]) -> RunsTable:
  """Returns the runs that are not held out.

  Raises:
    UserError: if there are none, or params, tokens or loss are missing.
  """
  runs = _whole(runs)
  if runs.held_out.all():
    raise UserError(f"all {len(runs)} runs are held out, so none is left to fit")
  return runs.select(~runs.held_out)


def _whole(runs: RunsTable | Mapping[str, ArrayLike]) -> RunsTable:
  """Returns all runs as points."""
  if isinstance(runs, RunsTable):
    return runs
  missing = [name for name in ("params", "tokens", "loss") if name not in runs]
  if missing:
    raise UserError(f"the runs have no {missing[0]!r}; they have {', '.join(map(repr, runs))}")
  known = ("params", "tokens", "loss", "flops", "budget", "seed", "held_out", "steps", "names")
  return make_runs(**{name: runs[name] for name in known if name in runs})  # type: ignore[arg-type]


def _options(changes: FitKeywords) -> FitOptions:
  known = [field.name for field in dataclasses.fields(FitOptions)]
  for name in changes:
    if name not in known:
      # A cutoff of 0: there is always a nearest name.
      nearest = difflib.get_close_matches(name, known, 1, 0.0)[0]
      raise UserError(f"a fit has no option {name!r}; the nearest is {nearest!r}")
  return FitOptions(**changes)


def _parametric(points: RunsTable, options: FitOptions, cost: CostModel) -> "ParametricFit":
  from gen.scaling.laws import parametric  # jax, which the other two do without

  return parametric.fit(
    points,
    delta=options.delta,
    tied=options.tied,
    bootstraps=options.bootstraps,
    seed=options.seed,
    level=options.level,
    method=_interval(options),
    cluster=options.cluster,
    cost=cost,
  )


def _isoflop(points: RunsTable, options: FitOptions, cost: CostModel) -> "IsoflopFit":
  from gen.scaling.laws import isoflop

  return isoflop.fit(
    points,
    method=options.method,
    edge=options.edge,
    bootstraps=options.bootstraps,
    seed=options.seed,
    level=options.level,
    interval_method=_interval(options),
    cluster=options.cluster,
    cost=cost,
  )


def _envelope(
  points: RunsTable, curves: Iterable["RowValues"] | None, options: FitOptions, cost: CostModel
) -> "EnvelopeFit":
  from gen.scaling.laws import envelope

  # An envelope has one kind of interval. A request for another is answered by a warning.
  fitted = envelope.fit(
    points, curves, bootstraps=options.bootstraps, seed=options.seed, level=options.level, cost=cost
  )
  requested = (_interval(options), options.cluster)
  if options.bootstraps == 0 or requested == ("percentile", "run"):
    return fitted
  warning = f"its intervals are from a {fitted.interval_method}, not {requested[0]} over {requested[1]}s"
  return dataclasses.replace(fitted, warnings=[*fitted.warnings, warning])


def _interval(options: FitOptions) -> str:
  return bootstrap.METHODS[0] if options.interval == "auto" else options.interval


__all__ = [
  "APPROACHES",
  "FitOptions",
  "Fits",
  "RunsTable",
  "fit_all",
  "fit_approach",
  "fit_envelope",
  "fit_isoflop",
  "fit_parametric",
  "make_runs",
  "not_held_out",
  "read_runs",
]
