"""Makes a plan from a law and a budget: N, D, tokens per parameter, loss, time and cost, each with its interval.

    from gen.scaling.laws import fit
    from gen.scaling.planning import plan

    answer = plan.make_plan("besiroglu2024", flops=5.76e23)         # a published law
    answer = plan.make_plan(fit.fit_parametric(params, tokens, loss), flops=1e21, inference_tokens=1e12)
    answer = plan.make_plan("besiroglu2024", params=70e9)           # how many tokens?
    answer = plan.make_plan("besiroglu2024", model="gpt-3")         # how far from the optimum is it?
    answer["N"], answer["interval"]["N"]

C = k N D training FLOPs (k = 6 where nothing else is known), N parameters, D tokens, loss in nats per token.
`gen.scaling.laws.law_batch` has the optima with inference, overtraining and repeated data, and `questions` the plans
for given sizes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import law_batch
from gen.scaling.planning import budgets, model_shapes, next_runs, plan_warnings, questions
from gen.scaling.planning.law_source import LawSource, make_source
from gen.scaling.planning.questions import PlanQuestion

PLACES = 10  # budgets of the table
_BELOW, _ABOVE = 100.0, 10.0  # the table reaches from flops / 100 to 10 flops
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


def make_plan(
  law: Any,
  flops: float | None = None,
  *,
  params: float | None = None,
  tokens: float | None = None,
  model: str | None = None,
  **options: Any,
) -> dict[str, Any]:
  """Returns a plan, as `experiments/plan.py` writes it.

  Given are one or two of flops, params and tokens; a model stands for its params and tokens.

  Args:
    law: a `LawSource`, or what `make_source` takes.
    flops: C, the training budget.
    params: N of a model: the plan is the budget at which it is optimal.
    tokens: D that there are: the plan is the budget at which they are optimal; with params, how far from it they are.
    model: a published model or a preset by name, which stands for its params and tokens.
    **options: of `PlanOptions`.

  Returns:
    N, D, tokens_per_parameter, loss, flops, hours, cost, interval (of each), shape, budget, law, table, question (what
    was asked), rule_of_thumb, by_law, notes, beyond, and, where asked for, distance, inference, repetition, overtrain
    and next; warnings. Hours are those of `budget.count` devices; `budget.device_given` says whether they were chosen.

  Raises:
    UserError: for invalid values, and for questions that the law does not answer.
  """
  known = law if isinstance(law, LawSource) else make_source(law)
  chosen = PlanOptions(**options)
  price = _price(chosen)
  report = _answer_report(known, questions.read_question(known, flops, params, tokens, model), chosen, price)
  report |= _extra_answers(known, report, chosen, price)
  report["beyond"] = plan_warnings.times_beyond(known, report)
  return report | {
    "notes": plan_warnings.rule_notes(report),
    "warnings": plan_warnings.plan_warnings(known, report),
  }


def _answer_report(
  known: LawSource, question: PlanQuestion, chosen: PlanOptions, price: "_Price"
) -> dict[str, Any]:
  """Returns the answer to the question itself: the optimum, its budget and shape, and other laws' answers."""
  answer, distance = _answer(known, question)
  flops = float(answer["flops"])
  best = _entry(answer, flops, price)
  alone = (question.params, question.tokens) if distance is None else (None, None)
  thumb = questions.rule_of_thumb(flops, *alone)
  budget = budgets.describe_budget(flops, price.gpu, price.count, price.utilization)
  report = {
    "law": _describe_law(known),
    "question": question._asdict(),
    "budget": budget | {"device_given": chosen.device_given},
    "flops": flops,
    **best,
    "rule_of_thumb": thumb | price.of(thumb["flops"]),
    "by_law": [row | price.of(row["flops"]) for row in questions.side_by_side(known, flops, *alone)],
    "shape": _shape(known, question.params or best["N"], chosen.family, chosen.vocab),
    "table": budget_table(known, flops, price),
  }
  return report if distance is None else report | {"distance": distance}


def _extra_answers(
  known: LawSource, report: dict[str, Any], chosen: PlanOptions, price: "_Price"
) -> dict[str, Any]:
  """Returns the answers that the options ask for: inference, repetition, overtraining and further runs."""
  flops = report["flops"]
  answers: dict[str, Any] = {}
  if chosen.inference_tokens is not None:
    answers["inference"] = _inference(known, flops, chosen.inference_tokens, price)
  if chosen.unique_tokens is not None:
    answers["repetition"] = _repetition(known, flops, chosen.unique_tokens)
  if len(chosen.overtrain):
    answers["overtrain"] = [_overtrain(known, flops, factor, price) for factor in chosen.overtrain]
  if chosen.add:
    answers["next"] = _next(known, report, chosen.add, chosen.max_run_flops)
  return answers


def _describe_law(known: LawSource) -> dict[str, Any]:
  return {
    "name": known.name,
    "source": known.source,
    "columns": list(known.columns),
    "counting": known.counting,
    "k": known.k,
    "intervals": known.how,
    "level": None if math.isnan(known.level) else known.level,
  }


def _answer(known: LawSource, question: PlanQuestion) -> tuple[dict[str, Any], dict[str, Any] | None]:
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


def _shape(known: LawSource, params: float, family: str, vocab: int | None) -> dict[str, object]:
  """Returns a shape with the study's vocabulary, scaled from the study's own models if N is near theirs."""
  study = known.models
  if study:
    vocab = vocab or next(iter(study.values())).vocab
    largest = max(known.runs.params) if known.runs is not None else 0.0
    study = study if params < _STUDY_REACH * largest else {}
  return model_shapes.nearest_shape(params, family, known.counting, vocab, study).as_dict()


def budget_table(
  known: LawSource, flops: float, price: "_Price", places: int = PLACES
) -> list[dict[str, Any]]:
  """Returns the optimum at budgets around one, each with hours and cost."""
  spread = np.geomspace(flops / _BELOW, flops * _ABOVE, places)
  return [_entry(known.optimum(float(c)), float(c), price) | {"flops": float(c)} for c in spread]


@dataclasses.dataclass(frozen=True)
class _Price:
  """Converts FLOPs to time and money."""

  gpu: str
  count: float
  utilization: float
  per_hour: float | None

  def of(self, flops: float) -> dict[str, float | None]:
    hours = budgets.device_hours(flops, self.gpu, self.utilization)
    return {"hours": hours / self.count, "cost": None if self.per_hour is None else hours * self.per_hour}


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
  return _Price(gpu, count, utilization, chosen.price_per_hour)


def _entry(answer: dict[str, Any], flops: float, price: _Price) -> dict[str, Any]:
  """Returns an optimum with its time and cost, which follow from C."""
  spent = price.of(flops)
  interval = dict(answer["interval"])
  if "ratio" in interval:
    interval["tokens_per_parameter"] = interval.pop("ratio")
  if interval:
    ends = [price.of(c) for c in interval.get("flops", (flops, flops))]
    interval |= {name: [end[name] for end in ends] for name, value in spent.items() if value is not None}
  loss = answer.get("loss")
  return {
    "N": answer["N"],
    "D": answer["D"],
    "tokens_per_parameter": answer["ratio"],
    "loss": None if loss is None or math.isnan(loss) else loss,
    **spent,
    "interval": interval,
  }


def _inference(known: LawSource, flops: float, tokens: float, price: _Price) -> dict[str, Any]:
  known.needs_surface("--inference_tokens")
  tokens = budgets.require_positive("inference_tokens", tokens)
  optimum = known.measure(lambda rows_sp: law_batch.inference_optimum(rows_sp, flops, tokens, known.cost))
  return {"tokens": tokens} | _renamed(optimum) | price.of(optimum["training_flops"])


def _repetition(known: LawSource, flops: float, tokens: float) -> dict[str, Any]:
  known.needs_surface("--unique_tokens")
  tokens = budgets.require_positive("unique_tokens", tokens)
  optimum = known.measure(lambda rows_sp: law_batch.repeated_optimum(rows_sp, flops, tokens, known.cost))
  return {"unique_tokens": tokens} | _renamed(optimum)


def _overtrain(known: LawSource, flops: float, factor: float, price: _Price) -> dict[str, Any]:
  known.needs_surface("--overtrain")
  factor = budgets.require_positive("overtrain", factor)
  model = known.measure(lambda rows_sp: law_batch.overtrained_model(rows_sp, flops, factor, known.cost))
  possible = math.isfinite(model["training_flops"])
  return {"factor": factor, "possible": possible} | _renamed(model) | price.of(model["training_flops"])


def _next(known: LawSource, report: dict[str, Any], add: int, max_flops: float | None) -> dict[str, Any]:
  known.needs_surface("--next")
  if known.runs is None or known.rows_sp is None:
    raise UserError(
      f"--next adds runs to a study, but the law {known.name} has no runs; give --law=FILE of runs"
    )
  pair = report["interval"].get("N")
  return next_runs.choose_runs(
    known.runs,
    known.rows_sp[0],
    report["flops"],
    add,
    cost=known.cost,
    now=pair,
    level=known.level,
    max_flops=max_flops,
  )


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
  interval = {_NAMES.get(name, name): pair for name, pair in values["interval"].items()}
  return {_NAMES.get(name, name): value for name, value in values.items()} | {"interval": interval}


_NAMES = {"ratio": "tokens_per_parameter"}
