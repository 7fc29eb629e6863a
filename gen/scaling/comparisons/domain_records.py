"""What a study of a domain found: arms, differences and verdicts, as dataclasses that results files hold."""

import dataclasses

from gen.scaling.comparisons.paired import PairedGap
from gen.scaling.verdicts.study_records import CorpusRecord, TokenizerRecord


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainRun:
  """One seed of an arm at one budget, both of its phases together.

  Attributes:
    seed: of the run.
    domain: bits per byte on held-out text of the domain.
    general: bits per byte on held-out general text.
    flops: of all phases, exact.
    first_flops: of the first phase; 0 where there is one phase.
    step_flops: of one step of the last phase.
    tokens: that all phases read.
    domain_epochs: how often the domain's training text was read.
    general_before: bits per byte on general text before the second phase; None where there is one phase.
    learning_rate: peak of the last phase.
    seconds: inside training steps, all phases.
  """

  seed: int
  domain: float
  general: float
  flops: float
  first_flops: float
  step_flops: float
  tokens: int
  domain_epochs: float
  general_before: float | None
  learning_rate: float
  seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainArm:
  """One way of spending one budget.

  Attributes:
    arm: name of the arm.
    budget: FLOPs.
    width: of the model.
    params: matrix parameters.
    runs: one for each seed that has a result.
    domain: mean bits per byte on the domain, with its interval.
    general: mean bits per byte on general text, with its interval.
    over_general_model: bits per byte on the domain minus those of the general model; paired.
    forgetting: bits per byte on general text minus those of the same seed before the second phase; None for one phase.
  """

  arm: str
  budget: float
  width: int
  params: int
  runs: list[DomainRun]
  domain: PairedGap
  general: PairedGap
  over_general_model: PairedGap | None
  forgetting: PairedGap | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainVerdict:
  """Which way of spending one budget models the domain best.

  Attributes:
    budget: FLOPs.
    winner: scratch, adapted, or undecided.
    scratch: best arm from scratch.
    adapted: best adapted arm.
    gap: bits per byte on the domain of the first minus the second; paired.
    sentence: the verdict in words.
  """

  budget: float
  winner: str
  scratch: str
  adapted: str
  gap: PairedGap | None
  sentence: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabularyCost:
  """Bytes a token of one tokenizer on both held-out texts."""

  tokenizer: str
  vocab: int
  domain: float
  general: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutRecord:
  """A held-out text, and the shares of its characters whose lines stand in the training texts."""

  name: str
  bytes: int
  sha256: str
  in_domain: float
  in_general: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskArm:
  """One way of spending a budget, fine-tuned on labelled texts of the domain.

  Attributes:
    arm: name of the arm, or of a classifier that reads no model.
    scores: on the test part, by seed.
    mean: of the scores, with its interval over seeds.
    test_low: lower end of the 95 % interval of the test examples, mean over seeds; None where it is not defined.
    test_high: upper end.
    over_general_model: score minus that of the general model with the same seed; paired.
  """

  arm: str
  scores: dict[str, float]
  mean: PairedGap
  test_low: float | None
  test_high: float | None
  over_general_model: PairedGap | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainTask:
  """Scores of one task of the domain.

  Attributes:
    data: name of the labelled texts.
    licence: of them.
    metric: of the scores.
    budget: FLOPs of the models' pre-training.
    examples: labelled texts that each fine-tuning reads.
    test_examples: texts that each score is of.
    baseline: score that needs no model, by its name.
    arms: ways of spending the budget, and a classifier of word counts.
    failed: why fine-tunings have no score, by name.
    settings: that all fine-tunings share.
  """

  data: str
  licence: str
  metric: str
  budget: float
  examples: int
  test_examples: int
  baseline: dict[str, float]
  arms: list[TaskArm]
  failed: dict[str, str]
  settings: dict[str, object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainResults:
  """What adapt_domain.json holds.

  Attributes:
    name: of the study.
    created: time, ISO 8601.
    confidence: level of the intervals.
    arms: by budget and arm.
    verdicts: one for each budget.
    summary: the verdict over all budgets.
    vocabulary: bytes a token.
    held_out: texts that runs are scored on.
    corpora: domain and general.
    tokenizers: of the general text and of the domain.
    failed: why runs have no result, by name.
    seconds: inside training steps, of all runs.
    versions: of software.
    machine: where the runs were trained.
    config: the configuration.
    task: scores of a task of the domain, where one was named.
  """

  name: str
  created: str
  confidence: float
  arms: list[DomainArm]
  verdicts: list[DomainVerdict]
  summary: str
  vocabulary: list[VocabularyCost]
  held_out: list[HeldOutRecord]
  corpora: dict[str, CorpusRecord]
  tokenizers: dict[str, TokenizerRecord]
  failed: dict[str, str]
  seconds: float
  versions: dict[str, str]
  machine: dict[str, str | int | None]
  config: dict[str, object]
  task: DomainTask | None = None
