"""What a plan consists of, as `experiments/plan.py --json` writes it: a record for each answer.

N parameters, D tokens, C training FLOPs, loss in nats per token. An interval is [low, high]; `interval` holds those of
a record's own fields, by their names, and lacks the fields without one.
"""

import dataclasses

from gen.scaling.planning.budgets import BudgetInUnits
from gen.scaling.planning.plan_question import LawDescription, PlanQuestion
from gen.scaling.runs.quantity_text import format_count

Intervals = dict[str, list[float]]
"""[low, high] by the name of the quantity."""


@dataclasses.dataclass(frozen=True, slots=True)
class RuleOfThumb:
  """N and D by 20 tokens per parameter, with C = 6 N D, its hours and its cost (None without a price)."""

  N: float
  D: float
  flops: float
  tokens_per_parameter: float
  hours: float
  cost: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class LawAnswer:
  """What one law answers to a plan's question."""

  law: str
  N: float
  D: float
  flops: float
  tokens_per_parameter: float
  counting: str
  hours: float
  cost: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ProposedShape:
  """A model shape for a plan, and the nearest named model.

  Attributes:
    preset: the model that the shape is scaled from: a preset of the family, or a model of the study.
    preset_params: its N.
    of: what names it: presets, or the study.
    named: the published model, preset or model of the study nearest to N.
    named_params: its N.
    named_in: what names it: published models, presets, or the study.
    near: whether its N is within a factor of 1.5.
    fault: reason against training this shape, or "".
    counting: convention of N.
    params: N of the shape.
    params_total: all parameters of the shape.
    family: encoder, decoder, ...
    width: of the residual stream.
    depth: layers.
    heads: attention heads.
    head_width: width of each.
    feed_forward_width: of the hidden layer.
    vocab: tokens.
  """

  preset: str
  preset_params: int
  of: str
  named: str
  named_params: float
  named_in: str
  near: bool
  fault: str
  counting: str
  params: int
  params_total: int
  family: str
  width: int
  depth: int
  heads: int
  head_width: int
  feed_forward_width: int
  vocab: int


@dataclasses.dataclass(frozen=True, slots=True)
class BudgetRow:
  """The optimum at one budget, with its hours and its cost (None without a price)."""

  N: float
  D: float
  tokens_per_parameter: float
  loss: float | None
  hours: float
  cost: float | None
  interval: Intervals
  flops: float


@dataclasses.dataclass(frozen=True, slots=True)
class OptimumDistance:
  """The distance of a model from the optimum at its own FLOPs.

  The losses are None for a law of the optimum alone.

  Attributes:
    N: parameters of the model.
    D: tokens of the model.
    tokens_per_parameter: D / N.
    flops: C.
    params_over_optimum: N over the optimum's.
    tokens_over_optimum: D over the optimum's.
    loss: predicted for the model.
    loss_rise: over the optimum's.
    equal_loss_flops: C at which the optimum has the same loss.
    equal_loss_share: that over the model's C.
    equal_loss_N: N of that optimum.
    equal_loss_D: D of that optimum.
    interval: of each.
  """

  N: float
  D: float
  tokens_per_parameter: float
  flops: float
  params_over_optimum: float
  tokens_over_optimum: float
  loss: float | None
  loss_rise: float | None
  equal_loss_flops: float | None
  equal_loss_share: float | None
  equal_loss_N: float | None
  equal_loss_D: float | None
  interval: Intervals


@dataclasses.dataclass(frozen=True, slots=True)
class InferencePlan:
  """The model of least training plus inference FLOPs that has the optimum's loss.

  Attributes:
    tokens: processed over the model's life.
    N: parameters.
    D: training tokens.
    tokens_per_parameter: D / N.
    loss: of the optimum and of this model.
    training_flops: C of this model.
    inference_flops: of all `tokens`.
    total_flops: their sum.
    saving: share of the total that the optimum of training alone would spend more.
    interval: of each.
    hours: of training.
    cost: of training; None without a price.
  """

  tokens: float
  N: float
  D: float
  tokens_per_parameter: float
  loss: float
  training_flops: float
  inference_flops: float
  total_flops: float
  saving: float
  interval: Intervals
  hours: float
  cost: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class RepetitionPlan:
  """The model of least loss where only so many tokens are unique.

  Attributes:
    unique_tokens: that there are.
    N: parameters.
    D: tokens, repetitions included.
    tokens_per_parameter: D / N.
    epochs: passes over the unique tokens.
    effective_D: fresh tokens of equal worth.
    loss: with the repetitions.
    loss_rise: over that of fresh tokens.
    interval: of each.
  """

  unique_tokens: float
  N: float
  D: float
  tokens_per_parameter: float
  epochs: float
  effective_D: float
  loss: float
  loss_rise: float
  interval: Intervals


@dataclasses.dataclass(frozen=True, slots=True)
class OvertrainedPlan:
  """A model that is smaller than the optimum.

  Attributes:
    factor: how many times smaller.
    possible: whether any number of tokens gives it the optimum's loss.
    N: parameters.
    D: tokens at the optimum's loss.
    tokens_per_parameter: D / N.
    training_flops: at the optimum's loss.
    compute_factor: those over the optimum's.
    loss_at_equal_flops: its loss at the optimum's FLOPs.
    loss_rise: that over the optimum's.
    inference_factor: its FLOPs per token over the optimum's.
    interval: of each.
    hours: of training.
    cost: of training; None without a price.
  """

  factor: float
  possible: bool
  N: float
  D: float
  tokens_per_parameter: float
  training_flops: float
  compute_factor: float
  loss_at_equal_flops: float
  loss_rise: float
  inference_factor: float
  interval: Intervals
  hours: float
  cost: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ChosenRun:
  """A run to add to a study.

  Attributes:
    N: parameters.
    D: tokens.
    tokens_per_parameter: D / N.
    flops: C of the run.
    flops_so_far: of it and of all before it.
    interval: of N* at the target budget after it, [low, high].
    shrinks_to: width of that interval over that of now, in ln N.
  """

  N: float
  D: float
  tokens_per_parameter: float
  flops: float
  flops_so_far: float
  interval: list[float]
  shrinks_to: float


@dataclasses.dataclass(frozen=True, slots=True)
class NextRuns:
  """The runs to add to a study, in order.

  Attributes:
    flops: the target budget.
    now: the interval of N* there, [low, high].
    runs: the runs.
    noise: scatter of ln L about the law, as a standard deviation.
    grid_flops: what repeating the study's whole grid until the last interval would cost.
    share_of_grid: FLOPs of the runs over that; NaN where that is zero.
  """

  flops: float
  now: list[float]
  runs: tuple[ChosenRun, ...]
  noise: float
  grid_flops: float
  share_of_grid: float


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Plan:
  """What a law says of a budget, a size, a number of tokens, or a model.

  Attributes:
    law: the law.
    question: what was asked.
    budget: C in every unit.
    flops: C.
    N: parameters.
    D: tokens.
    tokens_per_parameter: D / N.
    loss: predicted, nats per token; None where the law has no loss.
    hours: of training on `budget.count` devices.
    cost: of training; None without a price.
    interval: [low, high] of each of these that has one.
    rule_of_thumb: the answer by 20 tokens per parameter.
    by_law: the answers of all published laws, the plan's own law first.
    shape: a model of N parameters.
    table: the optimum at budgets around C.
    beyond: factors by which C, N and D exceed the law's largest; None if unknown.
    notes: where and why the law contradicts the rule of thumb.
    warnings: what the plan cannot know, one sentence each.
    distance: of a given model from the optimum, where N and D are given.
    inference: the plan with inference, where asked for.
    repetition: the plan with repeated tokens, where asked for.
    overtrain: smaller models, where asked for.
    next: runs to add to the study, where asked for.
  """

  law: LawDescription
  question: PlanQuestion
  budget: BudgetInUnits
  flops: float
  N: float
  D: float
  tokens_per_parameter: float
  loss: float | None
  hours: float
  cost: float | None
  interval: Intervals = dataclasses.field(repr=False)
  rule_of_thumb: RuleOfThumb = dataclasses.field(repr=False)
  by_law: tuple[LawAnswer, ...] = dataclasses.field(repr=False)
  shape: ProposedShape = dataclasses.field(repr=False)
  table: tuple[BudgetRow, ...] = dataclasses.field(repr=False)
  beyond: dict[str, float | None] = dataclasses.field(repr=False)
  notes: tuple[str, ...] = ()
  warnings: tuple[str, ...] = ()
  distance: OptimumDistance | None = dataclasses.field(default=None, repr=False)
  inference: InferencePlan | None = dataclasses.field(default=None, repr=False)
  repetition: RepetitionPlan | None = dataclasses.field(default=None, repr=False)
  overtrain: tuple[OvertrainedPlan, ...] | None = dataclasses.field(default=None, repr=False)
  next: NextRuns | None = dataclasses.field(default=None, repr=False)

  def __repr__(self) -> str:
    """Returns one line: N, D, C and the loss."""
    loss = "" if self.loss is None else f", loss {self.loss:.4f}"
    return f"<Plan of {self.law.name}: N {self.N:.4g}, D {self.D:.4g}, C {self.flops:.4g}{loss}>"

  def __str__(self) -> str:
    """Returns the answer with its intervals, and the warnings, one a line."""
    rows = [
      ("parameters", "N", format_count(self.N)),
      ("tokens", "D", format_count(self.D)),
      ("tokens a parameter", "tokens_per_parameter", f"{self.tokens_per_parameter:.3g}"),
      ("FLOPs", "flops", f"{self.flops:.4g}"),
      ("loss, nats a token", "loss", "unknown" if self.loss is None else f"{self.loss:.4f}"),
    ]
    lines = [f"by the law {self.law.name}"]
    for title, name, text in rows:
      pair = self.interval.get(name)
      lines.append(f"  {title:20} {text:>10}" + (f"  [{pair[0]:.4g}, {pair[1]:.4g}]" if pair else ""))
    return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

  @property
  def params(self) -> float:
    """N."""
    return self.N

  @property
  def tokens(self) -> float:
    """D."""
    return self.D

  @property
  def intervals(self) -> Intervals:
    """The interval of each quantity that has one."""
    return self.interval
