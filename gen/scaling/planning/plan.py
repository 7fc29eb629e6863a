"""Makes a plan from a law and a budget: N, D, tokens per parameter, loss, time and cost, each with its interval.

    from gen.scaling.laws import fit
    from gen.scaling.planning import plan

    answer = plan.make_plan("besiroglu2024", flops=5.76e23)         # a published law
    answer = plan.make_plan(fit.fit_parametric(params, tokens, loss), flops=1e21, inference_tokens=1e12)
    answer = plan.make_plan("besiroglu2024", params=70e9)           # how many tokens?
    answer = plan.make_plan("besiroglu2024", model="gpt-3")         # how far from the optimum is it?
    answer.N, answer.interval["N"]

C = k N D training FLOPs (k = 6 where nothing else is known), N parameters, D tokens, loss in nats per token.
`gen.scaling.laws.loss_law.law_batch` has the optima with inference, overtraining and repeated data, and
`questions` the plans for given sizes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypedDict, Unpack

import numpy as np

from gen.errors import UserError
from gen.scaling.laws.loss_law import law_batch
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.laws.power_law_fit import PowerLawFit
from gen.scaling.planning import budgets, model_shapes, next_runs, plan_warnings, questions
from gen.scaling.planning.law_source import BudgetOptimum, LawSource, MeasuredValues, make_source
from gen.scaling.planning.plan_question import LawDescription, PlanQuestion
from gen.scaling.planning.plan_records import (
  BudgetRow,
  InferencePlan,
  Intervals,
  LawAnswer,
  NextRuns,
  OptimumDistance,
  OvertrainedPlan,
  Plan,
  ProposedShape,
  RepetitionPlan,
  RuleOfThumb,
)

PLACES = 10  # budgets of the table
_BELOW, _ABOVE = 100.0, 10.0  # the table reaches from flops / 100 to 10 flops
# Our choice; beyond it a family of presets is the better template than a study of small models.
_STUDY_REACH = 10.0  # times a study's largest model, up to which a shape is scaled from its own


@dataclasses.dataclass(frozen=True)
class PlanOptions:
  """What a plan computes beside the optimum.

  Attributes:
    gpu: device whose hours are counted: a name in `budgets.PEAKS`, or a peak in FLOP/s; `budgets.DEVICE` if left out.
    count: devices side by side; 1 if left out.
    utilization: share of the peak that training reaches; `budgets.UTILIZATION` if left out.
    price_per_hour: of one device; None leaves out the cost.
    family: of presets, for the shape.
    vocab: of the shape; the study's or the family's if left out.
    inference_tokens: tokens that the model will process in its life; None leaves that out.
    unique_tokens: tokens that there are, if they are fewer than D; None: enough.
    overtrain: factors by which models smaller than the optimum are priced.
    add: so many runs to add to the law's own, chosen such that N becomes known best per FLOP.
    max_run_flops: the most FLOPs of one of them; those of the largest run so far if left out.
  """

  gpu: str | None = None
  count: float | None = None
  utilization: float | None = None
  price_per_hour: float | None = None
  family: str = "chinchilla"
  vocab: int | None = None
  inference_tokens: float | None = None
  unique_tokens: float | None = None
  overtrain: Sequence[float] = ()
  add: int = 0
  max_run_flops: float | None = None

  @property
  def device_given(self) -> bool:
    """Whether any option names devices: without one, times would be those of a device that nobody chose."""
    return any(value is not None for value in (self.gpu, self.count, self.utilization, self.price_per_hour))


class DeviceOptions(TypedDict, total=False):
  """The fields of `PlanOptions` about devices."""

  gpu: str | None
  count: float | None
  utilization: float | None
  price_per_hour: float | None


class PlanKeywords(DeviceOptions, total=False):
  """The fields of `PlanOptions`, which says what they mean."""

  family: str
  vocab: int | None
  inference_tokens: float | None
  unique_tokens: float | None
  overtrain: Sequence[float]
  add: int
  max_run_flops: float | None


def make_plan(
  law: str | ParametricLaw | PowerLawFit | LawSource,
  flops: float | None = None,
  *,
  params: float | None = None,
  tokens: float | None = None,
  model: str | None = None,
  **options: Unpack[PlanKeywords],
) -> Plan:
  """Returns a plan, which `experiments/plan.py` prints and writes.

  Given are one or two of flops, params and tokens; a model stands for its params and tokens.

  Args:
    law: a `LawSource`, or what `make_source` takes.
    flops: C, the training budget.
    params: N of a model: the plan is the budget at which it is optimal.
    tokens: D that there are: the plan is the budget at which they are optimal; with params, how far from it they are.
    model: a published model or a preset by name, which stands for its params and tokens.
    **options: of `PlanOptions`.

  Raises:
    UserError: for invalid values, and for questions that the law does not answer.
  """
  known = law if isinstance(law, LawSource) else make_source(law)
  chosen = PlanOptions(**options)
  price = _price(chosen)
  question = questions.read_question(known, flops, params, tokens, model)
  answered = _extra_answers(known, _answer_question(known, question, chosen, price), chosen, price)
  # In this order: warnings read how far the answer lies beyond the runs.
  answered = dataclasses.replace(answered, beyond=plan_warnings.times_beyond(known, answered))
  return dataclasses.replace(
    answered,
    notes=tuple(plan_warnings.rule_notes(answered)),
    warnings=tuple(plan_warnings.plan_warnings(known, answered)),
  )


def _answer_question(known: LawSource, question: PlanQuestion, chosen: PlanOptions, price: "_Price") -> Plan:
  """Returns the answer to the question itself: the optimum, its budget and shape, and other laws' answers."""
  answer, distance = _optimum(known, question)
  flops = float(answer.flops)
  best = price.row(answer, flops)
  params, tokens = (question.params, question.tokens) if distance is None else (None, None)
  thumb = questions.rule_of_thumb(flops, params, tokens)
  return Plan(
    law=_describe_law(known),
    question=question,
    budget=budgets.describe_budget(flops, price.gpu, price.count, price.utilization, chosen.device_given),
    flops=flops,
    N=best.N,
    D=best.D,
    tokens_per_parameter=best.tokens_per_parameter,
    loss=best.loss,
    hours=best.hours,
    cost=best.cost,
    interval=best.interval,
    rule_of_thumb=RuleOfThumb(
      thumb.N,
      thumb.D,
      thumb.flops,
      thumb.tokens_per_parameter,
      price.hours(thumb.flops),
      price.cost(thumb.flops),
    ),
    by_law=tuple(
      LawAnswer(
        row.law,
        row.N,
        row.D,
        row.flops,
        row.ratio,
        row.counting,
        price.hours(row.flops),
        price.cost(row.flops),
      )
      for row in questions.side_by_side(known, flops, params, tokens)
    ),
    shape=_shape(known, question.params or best.N, chosen.family, chosen.vocab),
    table=tuple(budget_table(known, flops, price)),
    beyond={},
    distance=distance,
  )


def _extra_answers(known: LawSource, answered: Plan, chosen: PlanOptions, price: "_Price") -> Plan:
  """Returns the plan with the answers that options ask for: inference, repetition, overtraining, further runs."""
  flops = answered.flops
  if chosen.inference_tokens is not None:
    inference = _inference(known, flops, chosen.inference_tokens, price)
    answered = dataclasses.replace(answered, inference=inference)
  if chosen.unique_tokens is not None:
    repetition = _repetition(known, flops, chosen.unique_tokens)
    answered = dataclasses.replace(answered, repetition=repetition)
  if len(chosen.overtrain):
    overtrain = tuple(_overtrain(known, flops, factor, price) for factor in chosen.overtrain)
    answered = dataclasses.replace(answered, overtrain=overtrain)
  if chosen.add:
    further = _next(known, answered, chosen.add, chosen.max_run_flops)
    answered = dataclasses.replace(answered, next=further)
  return answered


def _describe_law(known: LawSource) -> LawDescription:
  level = None if math.isnan(known.level) else known.level
  return LawDescription(known.name, known.source, known.columns, known.counting, known.k, known.how, level)


def _optimum(known: LawSource, question: PlanQuestion) -> tuple[BudgetOptimum, OptimumDistance | None]:
  """Returns the optimum for the question, and the distance of a given model from it."""
  if question.params is not None and question.tokens is not None:
    flops = float(known.cost.flops(question.params, question.tokens))
    best = questions.optimum_at(known, flops)
    return best, questions.distance_from_optimum(known, question.params, question.tokens)
  if question.params is not None:
    return questions.for_params(known, question.params), None
  if question.tokens is not None:
    return questions.for_tokens(known, question.tokens), None
  assert question.flops is not None
  return questions.optimum_at(known, question.flops), None


def _shape(known: LawSource, params: float, family: str, vocab: int | None) -> ProposedShape:
  """Returns a shape with the study's vocabulary, scaled from the study's own models if N is near theirs."""
  study = known.models
  if study:
    vocab = vocab or next(iter(study.values())).vocab
    largest = max(known.runs.params) if known.runs is not None else 0.0
    study = study if params < _STUDY_REACH * largest else {}
  return model_shapes.nearest_shape(params, family, known.counting, vocab, study).proposal()


def budget_table(known: LawSource, flops: float, price: "_Price", places: int = PLACES) -> list[BudgetRow]:
  """Returns the optimum at budgets around one, each with hours and cost."""
  spread = np.geomspace(flops / _BELOW, flops * _ABOVE, places)
  return [price.row(known.optimum(float(c)), float(c)) for c in spread]


@dataclasses.dataclass(frozen=True)
class _Price:
  """Converts FLOPs to time and money."""

  gpu: str
  count: float
  utilization: float
  per_hour: float | None
  timed: bool  # whether the user named devices

  def hours(self, flops: float) -> float:
    """Returns the wall time on all devices."""
    return self._device_hours(flops) / self.count

  def cost(self, flops: float) -> float | None:
    """Returns the money; None without a price."""
    return None if self.per_hour is None else self._device_hours(flops) * self.per_hour

  def row(self, optimum: BudgetOptimum, flops: float) -> BudgetRow:
    """Returns an optimum with its time and cost, which follow from C."""
    interval = dict(optimum.interval)
    if "ratio" in interval:
      interval["tokens_per_parameter"] = interval.pop("ratio")
    if interval and self.timed:  # times of a device that nobody chose say nothing
      ends = interval.get("flops", [flops, flops])
      interval["hours"] = [self.hours(c) for c in ends]
      costs = [cost for c in ends if (cost := self.cost(c)) is not None]
      interval |= {"cost": costs} if costs else {}
    loss = optimum.loss
    return BudgetRow(
      N=optimum.N,
      D=optimum.D,
      tokens_per_parameter=optimum.ratio,
      loss=None if loss is None or math.isnan(loss) else loss,
      hours=self.hours(flops),
      cost=self.cost(flops),
      interval=interval,
      flops=flops,
    )

  def _device_hours(self, flops: float) -> float:
    return budgets.device_hours(flops, self.gpu, self.utilization)


def _price(chosen: PlanOptions) -> _Price:
  """Returns the price by the chosen devices, or by the default ones.

  Raises:
    UserError: for an unknown device and invalid values.
  """
  gpu = budgets.DEVICE if chosen.gpu is None else chosen.gpu
  count = budgets.require_positive("count", 1 if chosen.count is None else chosen.count)
  utilization = budgets.UTILIZATION if chosen.utilization is None else chosen.utilization
  budgets.device_rate(gpu, utilization)
  budgets.check_price(chosen.price_per_hour)
  return _Price(gpu, count, utilization, chosen.price_per_hour, chosen.device_given)


def _inference(known: LawSource, flops: float, tokens: float, price: _Price) -> InferencePlan:
  known.needs_surface("--inference_tokens")
  tokens = budgets.require_positive("inference_tokens", tokens)
  best = known.measure(lambda rows_sp: law_batch.inference_optimum(rows_sp, flops, tokens, known.cost))
  values, spent = best.values, best.values["training_flops"]
  return InferencePlan(
    tokens=tokens,
    N=values["N"],
    D=values["D"],
    tokens_per_parameter=values["ratio"],
    loss=values["loss"],
    training_flops=spent,
    inference_flops=values["inference_flops"],
    total_flops=values["total_flops"],
    saving=values["saving"],
    interval=_intervals(best),
    hours=price.hours(spent),
    cost=price.cost(spent),
  )


def _repetition(known: LawSource, flops: float, tokens: float) -> RepetitionPlan:
  known.needs_surface("--unique_tokens")
  tokens = budgets.require_positive("unique_tokens", tokens)
  best = known.measure(lambda rows_sp: law_batch.repeated_optimum(rows_sp, flops, tokens, known.cost))
  values = best.values
  return RepetitionPlan(
    unique_tokens=tokens,
    N=values["N"],
    D=values["D"],
    tokens_per_parameter=values["ratio"],
    epochs=values["epochs"],
    effective_D=values["effective_D"],
    loss=values["loss"],
    loss_rise=values["loss_rise"],
    interval=_intervals(best),
  )


def _overtrain(known: LawSource, flops: float, factor: float, price: _Price) -> OvertrainedPlan:
  known.needs_surface("--overtrain")
  factor = budgets.require_positive("overtrain", factor)
  model = known.measure(lambda rows_sp: law_batch.overtrained_model(rows_sp, flops, factor, known.cost))
  values, spent = model.values, model.values["training_flops"]
  return OvertrainedPlan(
    factor=factor,
    possible=math.isfinite(spent),
    N=values["N"],
    D=values["D"],
    tokens_per_parameter=values["ratio"],
    training_flops=spent,
    compute_factor=values["compute_factor"],
    loss_at_equal_flops=values["loss_at_equal_flops"],
    loss_rise=values["loss_rise"],
    inference_factor=values["inference_factor"],
    interval=_intervals(model),
    hours=price.hours(spent),
    cost=price.cost(spent),
  )


def _next(known: LawSource, answered: Plan, add: int, max_flops: float | None) -> NextRuns:
  known.needs_surface("--next")
  if known.runs is None or known.rows_sp is None:
    raise UserError(
      f"--next adds runs to a study, but the law {known.name} has no runs; give --law=FILE of runs"
    )
  return next_runs.choose_runs(
    known.runs,
    known.rows_sp[0],
    answered.flops,
    add,
    cost=known.cost,
    now=answered.interval.get("N"),
    level=known.level,
    max_flops=max_flops,
  )


def _intervals(measured: MeasuredValues) -> Intervals:
  """Returns the intervals by the names of a plan."""
  return {
    "tokens_per_parameter" if name == "ratio" else name: interval
    for name, interval in measured.interval.items()
  }
