"""Answers of a law for a model that is given by its parameters, its tokens, or both.

  for_params    N is given: the D at which it is optimal, and C
  for_tokens    D is given: the N for which it is enough, and C
  distance      both are given: how far from the optimum at the same C, in size and loss, and what compute
                reaches that loss at the optimum
  side_by_side  the same question asked of every published law, and of the rule of 20 tokens a parameter

N*(C) and D*(C) rise with C and L*(C) falls, so each answer is one root in ln C, found by bisection for all resamples of
a law at once. N parameters, D tokens, C training FLOPs, loss in nats per token; S laws.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from gen import presets
from gen.errors import UserError
from gen.scaling.laws.loss_law import law_batch
from gen.scaling.planning import budgets, law_source, published, published_models
from gen.scaling.planning.law_source import BudgetOptimum, LawSource
from gen.scaling.planning.plan_question import NamedModel, PlanQuestion
from gen.scaling.planning.plan_records import Intervals, OptimumDistance
from gen.scaling.runs import conventions

_SIZES = (1.0, 1e30)  # N and D that float64 and the shapes of models can hold: products stay below 1e308
# FLOPs of anything that is trained: from a toy to far beyond the largest published run, of 3.8e25 (arXiv:2407.21783).
BUDGETS = (1e7, 1e36)
_LOG_FLOPS = (0.0, 160.0)  # ln C: up to 1e69
# 2^-70 of an interval of 160 in ln C is 1e-19, below float64's resolution.
_BISECTIONS = 70
_LOSSES = ("loss", "loss_rise", "equal_loss_flops", "equal_loss_share", "equal_loss_N", "equal_loss_D")
# FLOPs; chosen: published laws rest on far larger runs, Hoffmann et al.'s valleys on 6e18 to 3e21 (section 3.2).
_SMALLEST = 1e16


@dataclasses.dataclass(frozen=True, slots=True)
class RuleAnswer:
  """N and D by 20 tokens per parameter, and C = 6 N D."""

  N: float
  D: float
  flops: float
  tokens_per_parameter: float


@dataclasses.dataclass(frozen=True, slots=True)
class NamedOptimum:
  """The optimum of a law by name, and the convention in which it counts N."""

  law: str
  N: float
  D: float
  flops: float
  ratio: float
  counting: str


def read_question(
  known: LawSource, flops: float | None, params: float | None, tokens: float | None, model_name: str | None
) -> PlanQuestion:
  """Returns the checked question, with a model's sizes filled in, and D = C / (k N) if C and N are given.

  Raises:
    UserError: if nothing or too much is given, or a value is invalid.
  """
  model: NamedModel | None = None
  if model_name is not None:
    if params is not None:
      raise UserError(f"--model={model_name} gives the parameters; leave out --params")
    model = model_by_name(model_name, known.counting)
    params = model.params
    if tokens is None and flops is None:
      tokens = model.tokens
  amounts = {"flops": flops, "params": params, "tokens": tokens}
  for name, value in amounts.items():
    if value is not None:
      budgets.require_positive({"flops": "the budget in FLOPs"}.get(name, name), value)
  for name, value in {"params": params, "tokens": tokens}.items():
    if value is not None and not _SIZES[0] <= value <= _SIZES[1]:
      raise UserError(f"{name} is {value:.3g}; it must be from {_SIZES[0]:g} to {_SIZES[1]:g}")
  if flops is not None and not BUDGETS[0] <= flops <= BUDGETS[1]:
    raise UserError(
      f"{flops:.3g} FLOPs are not a budget of a training run, which lies between {BUDGETS[0]:g} and {BUDGETS[1]:g}; "
      "is the unit right, as in --budget='3640 PF-days'?"
    )
  if all(value is None for value in amounts.values()):
    raise UserError(
      "a plan needs a budget, a size, data or a model: give one of --flops, --budget, --params, --tokens and --model"
    )
  if all(value is not None for value in amounts.values()):
    raise UserError("a budget, parameters and tokens are given; two of them fix the third: leave one out")
  if flops is not None and params is not None:
    tokens = float(known.cost.tokens(flops, params))
  if flops is not None and tokens is not None:
    params = params or _params_at(known, flops, tokens)
  return PlanQuestion(flops, params, tokens, model)


def model_by_name(name: str, counting: str) -> NamedModel:
  """Returns a published model or a preset by name.

  Args:
    name: of a published model or a preset.
    counting: convention of N that the law has; a preset's parameters are counted in it.

  Raises:
    UserError: for an unknown name, with the nearest.
  """
  known, preset = published_models.find_model(name), _preset(name)
  family = presets.get_model(preset).family if preset is not None else "decoder"
  if known is None and preset is None:
    raise published_models.unknown_model(name, presets.preset_names())
  if preset is not None and (known is None or counting != "all"):
    params = float(conventions.count_parameters(presets.get_model(preset), counting))
    if known is None:
      return NamedModel(preset, params, None, "a preset of gen", "", counting, family)
    return NamedModel(known.name, params, known.tokens, known.source, known.unconfirmed, counting, family)
  assert known is not None
  return NamedModel(known.name, known.params, known.tokens, known.source, known.unconfirmed, "all", family)


def _preset(name: str) -> str | None:
  names = {published_models.name_key(preset): preset for preset in presets.preset_names()}
  names |= {published_models.name_key(preset): target for preset, target in presets.ALIASES.items()}
  return names.get(published_models.name_key(name))


def optimum_at(known: LawSource, flops: float) -> BudgetOptimum:
  """Returns the optimum at C, with intervals.

  Raises:
    UserError: if the law has no optimum, or one that is no possible model.
  """
  with np.errstate(all="ignore"):
    sizes = known.optimum(flops)
  n, d = sizes.N, sizes.D
  if not (math.isfinite(n) and math.isfinite(d)):
    raise UserError(f"the law {known.name} has no optimum at {flops:.3g} FLOPs: an exponent is not positive")
  if not (_SIZES[0] <= n <= _SIZES[1] and _SIZES[0] <= d <= _SIZES[1]):
    raise UserError(
      f"by the law {known.name} the optimum at {flops:.3g} FLOPs has {n:.3g} parameters and {d:.3g} tokens, which no "
      "model has; check its constants"
    )
  return sizes


def for_params(known: LawSource, params: float) -> BudgetOptimum:
  """Returns the optimum, with intervals, at the budget at which N is optimal."""
  return _where(known, "N", params)


def for_tokens(known: LawSource, tokens: float) -> BudgetOptimum:
  """Returns the optimum, with intervals, at the budget at which D is optimal."""
  return _where(known, "D", tokens)


def distance_from_optimum(known: LawSource, params: float, tokens: float) -> OptimumDistance:
  """Returns the distance of a model from the optimum at its own FLOPs.

  Args:
    known: the law; a law of the optimum alone gives sizes, but no losses.
    params: N.
    tokens: D.
  """
  flops = float(known.cost.flops(params, tokens))
  if known.rows_sp is None:
    best = optimum_at(known, flops)
    over = (params / best.N, tokens / best.D)
    return OptimumDistance(
      params, tokens, tokens / params, flops, *over, loss=None, loss_rise=None, equal_loss_flops=None,
      equal_loss_share=None, equal_loss_N=None, equal_loss_D=None, interval={},
    )  # fmt: skip

  def measured(rows_sp: np.ndarray) -> law_batch.BatchOptimum:
    best = law_batch.batch_optimum(rows_sp, flops, known.cost)
    loss = law_batch.batch_loss(rows_sp, np.array(math.log(params)), np.array(math.log(tokens)))
    equal = _root(lambda c_s: -law_batch.batch_optimum(rows_sp, c_s, known.cost)["loss"], -loss)
    # Rounding may put the root a little above C where the model is the optimum itself.
    equal = np.minimum(equal, flops)
    there = law_batch.batch_optimum(rows_sp, equal, known.cost)
    over = {"params_over_optimum": params / best["N"], "tokens_over_optimum": tokens / best["D"]}
    losses = (loss, loss - best["loss"], equal, equal / flops, there["N"], there["D"])
    return over | dict(zip(_LOSSES, losses, strict=True))

  with np.errstate(all="ignore"):
    distance = known.measure(measured)
  return OptimumDistance(
    N=params,
    D=tokens,
    tokens_per_parameter=tokens / params,
    flops=flops,
    **distance.values,
    interval=distance.interval,
  )


def side_by_side(
  known: LawSource, flops: float, params: float | None, tokens: float | None
) -> list[NamedOptimum]:
  """Returns the answers of every published law, the law of the plan first.

  Args:
    known: the law of the plan.
    flops: C of the plan's answer, or as given.
    params: N, if N alone is given.
    tokens: D, if D alone is given.
  """
  laws = [known]
  if flops >= _SMALLEST:
    laws += [law_source.make_source(name) for name in published.LAWS if name != known.name]
  rows = []
  for law in laws:
    if params is not None:
      best = for_params(law, params)
    elif tokens is not None:
      best = for_tokens(law, tokens)
    else:
      best = law.optimum(flops)
    rows.append(NamedOptimum(law.name, best.N, best.D, best.flops, best.ratio, law.counting))
  return rows


def rule_of_thumb(flops: float, params: float | None = None, tokens: float | None = None) -> RuleAnswer:
  """Returns N, D and C = 6 N D by 20 tokens per parameter, from whichever of them is given.

  >>> rule_of_thumb(0, params=70e9).D
  1400000000000.0
  """
  if params is not None:
    n, d = params, published.RULE * params
  elif tokens is not None:
    n, d = tokens / published.RULE, tokens
  else:
    n = math.sqrt(flops / 6 / published.RULE)
    d = flops / 6 / n
  return RuleAnswer(n, d, conventions.six_nd(n, d), published.RULE)


def _where(known: LawSource, name: str, wanted: float) -> BudgetOptimum:
  """Returns the optimum whose N or D has a value."""
  if known.rows_sp is None:
    return _on_frontier(known, name, wanted)

  def measured(rows_sp: np.ndarray) -> law_batch.BatchOptimum:
    target = np.full(len(rows_sp), math.log(wanted))
    flops_s = _root(lambda c_s: np.log(law_batch.batch_optimum(rows_sp, c_s, known.cost)[name]), target)
    return law_batch.batch_optimum(rows_sp, flops_s, known.cost) | {"flops": flops_s}

  with np.errstate(all="ignore"):
    best = known.measure(measured)
  return _checked(known, name, wanted, BudgetOptimum(**best.values, interval=best.interval))


def _on_frontier(known: LawSource, name: str, wanted: float) -> BudgetOptimum:
  """Returns the same of a law of the optimum alone; the interval of C is where the band of N or D holds the value."""

  def values(c_s: np.ndarray) -> np.ndarray:
    return np.log([known.optimum(float(c)).size(name) for c in c_s])

  def ends(c_s: np.ndarray) -> np.ndarray:
    pairs = [known.optimum(float(c)).interval[name] for c in c_s]
    # The higher end of the band holds the value at the lower C.
    return np.log(np.maximum([pairs[0][1], pairs[1][0]], 1e-300))

  flops = float(_root(values, np.array([math.log(wanted)]))[0])
  if not math.isfinite(flops):
    return _checked(known, name, wanted, BudgetOptimum(math.nan, math.nan, math.nan, None, math.nan, {}))
  point = known.optimum(flops)
  interval: Intervals = {}
  if "N" in point.interval:
    low, high = map(float, _root(ends, np.full(2, math.log(wanted))))
    partner = "D" if name == "N" else "N"
    sizes = [_other_size(known, name, wanted, c) for c in (low, high)]
    ratio = [size / wanted if name == "N" else wanted / size for size in sizes]
    interval = {"flops": [low, high], partner: sizes, "ratio": sorted(ratio)}
  return _checked(known, name, wanted, dataclasses.replace(point, interval=interval))


def _other_size(known: LawSource, name: str, size: float, flops: float) -> float:
  """Returns D at C where N has a size, or N where D has it."""
  return float(known.cost.tokens(flops, size)) if name == "N" else _params_at(known, flops, size)


def _params_at(known: LawSource, flops: float, tokens: float) -> float:
  """Returns N of C = k(N) N D."""
  return float(_root(lambda n_s: np.log(known.cost.flops(n_s, tokens)), np.array([math.log(flops)]))[0])


def _checked(known: LawSource, name: str, wanted: float, answer: BudgetOptimum) -> BudgetOptimum:
  """Returns the answer with the wanted N or D exactly, which has no interval; raises UserError without an answer."""
  if not (
    math.isfinite(answer.flops) and all(_SIZES[0] <= size <= _SIZES[1] for size in (answer.N, answer.D))
  ):
    what = "parameters" if name == "N" else "tokens"
    raise UserError(
      f"by the law {known.name} {wanted:.3g} {what} are not optimal at any budget that a model can have"
    )
  interval = {key: pair for key, pair in answer.interval.items() if key != name}
  if name == "N":
    return dataclasses.replace(answer, N=wanted, interval=interval)
  return dataclasses.replace(answer, D=wanted, interval=interval)


def _root(function: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> np.ndarray:
  """Returns C at which increasing functions of C reach the target values, one per law; NaN if they never do."""
  low, high = (np.full(len(wanted), end) for end in _LOG_FLOPS)
  with np.errstate(all="ignore"):
    inside = (function(np.exp(low)) < wanted) & (function(np.exp(high)) > wanted)
    for _ in range(_BISECTIONS):
      middle = (low + high) / 2
      short = function(np.exp(middle)) < wanted
      low, high = np.where(short, middle, low), np.where(short, high, middle)
  return np.where(inside, np.exp((low + high) / 2), np.nan)
