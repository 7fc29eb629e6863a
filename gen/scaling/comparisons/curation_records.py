"""What a study of a curation found, as dataclasses that results files hold."""

import dataclasses

from gen.scaling.comparisons.compute_worth import ComputeRatio
from gen.scaling.comparisons.paired import PairedGap
from gen.scaling.laws.repetition import FittedCoefficient
from gen.scaling.laws.repetition_penalty import PenaltyLaw


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRecord:
  """A text of the study: the raw text, or what a stage leaves.

  Attributes:
    stage: its name.
    documents: number of documents.
    bytes: UTF-8 bytes.
    share: of the raw text's bytes.
    train_tokens: tokens of its training side, after documents that differ in white space alone are removed.
    corpus_sha256: of the text as runs read it.
  """

  stage: str
  documents: int
  bytes: int
  share: float
  train_tokens: int
  corpus_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageArm:
  """The runs on one text at one budget.

  Attributes:
    stage: the text.
    budget: FLOPs.
    width: of the model.
    params: matrix parameters.
    tokens: that each run reads.
    epochs: how often it reads the text.
    bits: bits per byte of the judging text, by seed.
    flops: of one run, exact.
    step_flops: of one step.
    mean: of the bits per byte, with its interval.
    over_raw: minus those of the raw text; paired.
    over_previous: minus those of the text before the stage; paired.
    worth: FLOPs on raw text for the same loss, over the budget.
  """

  stage: str
  budget: float
  width: int
  params: int
  tokens: int
  epochs: float
  bits: dict[str, float]
  flops: float
  step_flops: float
  mean: PairedGap
  over_raw: PairedGap | None
  over_previous: PairedGap | None
  worth: ComputeRatio | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepeatedArm:
  """The runs on a part of the final text at one budget.

  Attributes:
    budget: FLOPs.
    epochs: how often the part is read.
    unique: tokens of the part.
    bits: bits per byte of the judging text, by seed.
    cost: minus those of the whole final text; paired.
  """

  budget: float
  epochs: float
  unique: int
  bits: dict[str, float]
  cost: PairedGap | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepetitionFits:
  """The laws of repetition, fitted to bits per byte of the final text and its parts.

  Attributes:
    decay: R*_D of Muennighoff et al.
    penalty: P of the form of one coefficient.
    exponents: the same law with its two exponents fitted.
    published_decay: R*_D of arXiv:2305.16264.
    error: why there is no fit; empty if there is one.
  """

  decay: FittedCoefficient | None
  penalty: FittedCoefficient | None
  exponents: PenaltyLaw | None
  published_decay: float
  error: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetVerdict:
  """What a curation is worth at one budget.

  Attributes:
    budget: FLOPs.
    gain: bits per byte of the final text minus the raw text; paired.
    worth: FLOPs on raw text for the same loss, over the budget.
    first_cost: fewest epochs at which repetition costs with an interval above 0; None if there are none.
    break_even: epochs at which repetition costs what the curation gained; None if it never does.
    min_share: share of the raw text's bytes that a curation must leave so as not to repeat that often.
    sentence: the verdict in words.
  """

  budget: float
  gain: PairedGap | None
  worth: ComputeRatio | None
  first_cost: float | None
  break_even: float | None
  min_share: float | None
  sentence: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurationResults:
  """What curation.json holds.

  Attributes:
    name: of the study.
    created: time, ISO 8601.
    confidence: level of the intervals.
    stages: texts in the order of the stages.
    arms: by budget and stage.
    repeated: by budget and epochs.
    repetition: the fitted law.
    verdicts: one for each budget.
    judge: name of the text that judges.
    judge_bytes: its size.
    judge_sha256: of its documents.
    judge_overlap: share of its characters whose lines stand in the raw text.
    failed: why runs have no result, by name.
    seconds: inside training steps, of all runs.
    versions: of software.
    machine: where the runs were trained.
    config: the configuration.
  """

  name: str
  created: str
  confidence: float
  stages: list[StageRecord]
  arms: list[StageArm]
  repeated: list[RepeatedArm]
  repetition: RepetitionFits
  verdicts: list[BudgetVerdict]
  judge: str
  judge_bytes: int
  judge_sha256: str
  judge_overlap: float
  failed: dict[str, str]
  seconds: float
  versions: dict[str, str]
  machine: dict[str, str | int | None]
  config: dict[str, object]
