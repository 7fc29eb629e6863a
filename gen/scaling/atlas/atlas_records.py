"""What an atlas found, as its results.json holds it: each family's study, and what may be said between families.

An interval is [low, high], or None where there are no draws.
"""

import dataclasses
from collections.abc import Mapping

from gen.io import seals, typed_json
from gen.scaling.laws.three_fits import LawEntries
from gen.scaling.verdicts.criteria import Verdict
from gen.scaling.verdicts.held_out import HeldOutComparison, LeftOutBudget
from gen.scaling.verdicts.study_records import CorpusRecord, TokenizerRecord


@dataclasses.dataclass(frozen=True, slots=True)
class MeasuredValue:
  """A value and its interval."""

  value: float
  interval: list[float] | None


@dataclasses.dataclass(frozen=True, slots=True)
class FamilyOptimum:
  """A family's optimum at one budget; all but the first two are None where the minimum is at the edge.

  Attributes:
    budget: FLOPs.
    inside: whether the minimum lies between two of its sizes.
    N: parameters.
    loss: least loss, nats.
    tokens: corpus tokens.
    positions: positions processed.
    loss_tokens: loss-bearing tokens.
    seconds: inside steps.
    per_parameter: D / N by each meaning of D.
  """

  budget: float
  inside: bool
  N: MeasuredValue | None = None
  loss: MeasuredValue | None = None
  tokens: MeasuredValue | None = None
  positions: MeasuredValue | None = None
  loss_tokens: MeasuredValue | None = None
  seconds: MeasuredValue | None = None
  per_parameter: dict[str, MeasuredValue] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AtlasPoint:
  """What an atlas keeps of a run; the whole row is in its family's own results.json."""

  name: str | None
  width: int | None
  depth: int | None
  budget: float | None
  seed: int | None
  held_out: bool | None
  batch: int | None
  steps: int | None
  learning_rate: float | None
  params: float | None
  tokens: float | None
  positions: float | None
  loss_tokens: float | None
  flops: float | None
  flops_6nd: float | None
  loss: float | None
  bits_per_byte: float | None
  seconds: float | None
  gflops: float | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FamilyResults:
  """The part of a family's study that the atlas keeps: no bands, no frontier, no configuration.

  Attributes:
    title: name for people.
    objective: what it is trained for; None without runs.
    flops_over_6nd: least and greatest C / 6 N D of its runs; None without runs.
    laws: the law of each approach, or why there is none.
    points: its runs.
    verdict: whether its curve is credible, and why.
    held_out: predictions against the held-out budget; None if nothing is held out.
    leave_one_budget_out: exponents with each budget left out.
    seed_noise: sd of a run's loss over seeds, nats; None if no size has two seeds.
    left_out: names of the runs that are too short to be fitted.
    failed: why runs have no result, by name.
    utilization: wall time of workers, and how much of it was inside training steps.
    optima: the optimum at each budget; None where the families could not be compared.
    exponents: of N* and of each measure over C; None where the families could not be compared.
  """

  title: str
  objective: str | None
  flops_over_6nd: list[float] | None
  laws: LawEntries
  points: list[AtlasPoint]
  verdict: Verdict
  held_out: HeldOutComparison | None
  leave_one_budget_out: list[LeftOutBudget]
  seed_noise: float | None
  left_out: list[str] | None
  failed: dict[str, str]
  utilization: dict[str, float]
  optima: list[FamilyOptimum] | None = None
  exponents: dict[str, MeasuredValue] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ComparisonStatement:
  """What is compared between which families, whether it may be, and why."""

  what: str
  families: list[str]
  comparable: bool
  why: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExponentDifference:
  """Differences of exponents over C between two families, by approach 2.

  Attributes:
    families: the first and the second.
    credible: whether both curves are.
    residual_correlation: of the cells that they share; None without such.
    a: of N*.
    exponent_of_tokens: of D* in corpus tokens.
    exponent_of_positions: of D* in positions.
    exponent_of_loss_tokens: of D* in loss-bearing tokens.
  """

  families: list[str]
  credible: bool
  residual_correlation: float | None
  a: MeasuredValue
  exponent_of_tokens: MeasuredValue
  exponent_of_positions: MeasuredValue
  exponent_of_loss_tokens: MeasuredValue

  def exponent(self, meaning: str) -> MeasuredValue:
    """Returns the difference of D*'s exponent by one meaning of D."""
    difference: MeasuredValue = getattr(self, f"exponent_of_{meaning}")
    return difference


@dataclasses.dataclass(frozen=True, slots=True)
class EqualLossCosts:
  """What the decoder and the LSTM pay for one loss, the LSTM's cost over the decoder's, and its interval."""

  loss: float
  decoder: float
  lstm: float
  ratio: float
  interval: list[float] | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EqualLoss:
  """What one family pays over another at equal loss.

  Attributes:
    of: the family whose cost is compared.
    over: the family whose cost is the unit.
    credible: whether both curves are.
    flops: costs in FLOPs, from the highest loss to the lowest.
    seconds: costs in seconds.
    error: why there are none.
  """

  of: str
  over: str
  credible: bool
  flops: list[EqualLossCosts]
  seconds: list[EqualLossCosts]
  error: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class LossDifference:
  """By how much one family's least loss lies above another's at a budget in FLOPs."""

  budget: float
  difference: MeasuredValue


@dataclasses.dataclass(frozen=True, slots=True)
class EqualCompute:
  """Differences of least loss, `of` minus `minus`, and whether both curves are credible."""

  of: str
  minus: str
  credible: bool
  rows: list[LossDifference]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AtlasResults:
  """An atlas.

  Attributes:
    format: version of results.
    name: of the atlas.
    created: time, ISO 8601.
    credible: whether each family's curve is.
    caution: a sentence about it.
    comparable: what may be compared.
    meanings_of_D: by the name of the column.
    confidence: coverage of the intervals.
    families: by name.
    differences: of exponents, each two families; empty where the families could not be compared.
    equal_loss: the decoder and the LSTM at equal loss; None unless both are in the atlas.
    equal_compute: both at equal FLOPs; likewise.
    intervals: how they were made.
    error: why the families could not be compared.
    seconds: wall time of training.
    corpus: text of all families.
    tokenizer: of the first family.
    versions: of software.
    machine: where it was trained.
    config: the configuration, as plain values.
  """

  format: int
  name: str
  created: str
  credible: dict[str, bool]
  caution: str
  comparable: list[ComparisonStatement]
  meanings_of_D: dict[str, str]
  confidence: float
  families: dict[str, FamilyResults]
  differences: list[ExponentDifference]
  equal_loss: EqualLoss | None = dataclasses.field(default=None, metadata=typed_json.EMPTY_IF_NONE)
  equal_compute: EqualCompute | None = dataclasses.field(default=None, metadata=typed_json.EMPTY_IF_NONE)
  intervals: str
  error: str | None = None
  seconds: float
  corpus: CorpusRecord
  tokenizer: TokenizerRecord
  versions: dict[str, str]
  machine: dict[str, str | int | None]
  config: dict[str, object]


def read_atlas(results: Mapping[str, object], name: str) -> AtlasResults:
  """Returns the results of an atlas from plain values, without their seal.

  Args:
    results: as JSON held them.
    name: what errors call them.

  Raises:
    UserError: for a field that is missing, unknown or of another type.
  """
  values = {key: value for key, value in results.items() if key != seals.SEAL}
  return typed_json.decode_record(AtlasResults, values, name)
