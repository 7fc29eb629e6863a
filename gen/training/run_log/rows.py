"""The rows of a run's journal, as they are written.

    start -> source? -> (train | evaluation)* -> (resume -> (train | evaluation)*)* -> result

A run that goes on from a trunk has a branch row after its start row, and one that starts from a checkpoint a source
row. Losses are in nats per token.
"""

import dataclasses
from typing import TypedDict


class RowStamp(TypedDict):
  """The fields of every row of the journal but its kind."""

  time: float
  run: str
  name: str


class RunProgress(TypedDict):
  """How far a run is: steps done, tokens read, FLOPs."""

  step: int
  tokens: int
  flops: float


class RunData(TypedDict):
  """What a run reads, and where it runs."""

  corpus: str
  corpus_sha256: str
  tokenizer: str
  devices: list[str]


class TextReading(TypedDict):
  """What a run will read of its text; fields as of `StartRow`."""

  epochs: float
  unique_tokens: int
  corpora: "dict[str, CorpusReading] | None"
  notes: list[str]


class JournalMark(TypedDict):
  """What identifies the rows of a journal: their number, and a checksum of their seals."""

  rows: int
  sha256: str


class RowValues(TypedDict, total=False):
  """A row of a journal as plain values. It has the fields of its kind (`JournalRow` and below), and those below.

  The last row of a run in a sweep also has `held_out`; a row in a file has `row`, `rows`, `format` and `seal`.
  """

  kind: str
  time: float
  run: str
  name: str
  config: dict[str, object]
  versions: dict[str, str]
  undivided: list[str]
  uncounted: list[str] | None
  corpus: str
  corpus_sha256: str
  tokenizer: str
  devices: list[str]
  source: str
  sha256: str
  notes: list[str]
  mesh: str
  layout: str
  lost_rows: int | None
  step: int
  tokens: int
  flops: float
  trunk: str
  loss: float
  learning_rate: float
  gradient_norm: float
  tokens_per_second: float
  gflops: float
  mfu: float | None
  skipped: int
  steps: int
  bits_per_byte: float
  metrics: dict[str, float] | None
  family: str
  objective: str
  width: int
  depth: int
  budget: float | None
  seed: int
  batch: int
  length: int
  params: int
  params_total: int
  params_by_group: dict[str, int]
  positions: int
  loss_tokens: float
  flops_spent: float
  flops_6nd: float
  flops_per_token: float
  train_loss: float
  epochs: float
  seconds: float
  seconds_spent: float
  wall_seconds: float
  held_out: bool
  unique_tokens: int
  corpora: dict[str, dict[str, float]] | None
  row: int
  rows: int
  format: int
  seal: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusLoss:
  """The validation loss of one corpus of a mixture.

  Attributes:
    loss: nats per loss-bearing token.
    bits_per_byte: of the text that these stand for.
  """

  loss: float
  bits_per_byte: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusReading:
  """What a run reads of one corpus of a mixture.

  Attributes:
    share: of the rows that the run reads.
    tokens: that the run reads.
    epochs: how often it reads the corpus.
    unique_tokens: training tokens of the corpus.
  """

  share: float
  tokens: int
  epochs: float
  unique_tokens: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusResult(CorpusLoss, CorpusReading):
  """What a run read of one corpus of a mixture, and its validation loss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JournalRow:
  """What every row has.

  Attributes:
    kind: of the row.
    time: when it was written, seconds since 1970.
    run: hash of the run's config.
    name: of the run.
  """

  kind: str
  time: float
  run: str
  name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartRow(JournalRow):
  """The start of a run.

  Attributes:
    config: of the run.
    versions: of the software.
    undivided: sentences on what of the model does not divide by the mesh.
    uncounted: sentences on the user's own modules whose FLOPs are not counted; None where all are.
    corpus: as the config names it.
    corpus_sha256: of the corpus.
    tokenizer: hash of the tokenizer.
    devices: names of the devices.
    epochs: how often the run will read its text; of a mixture, the corpus that it reads most often.
    unique_tokens: tokens of its training text.
    corpora: what the run will read of each corpus of its mixture; None without one.
    notes: sentences on what the run reads of its text.
  """

  kind: str = "start"
  config: dict[str, object]
  versions: dict[str, str]
  undivided: list[str]
  corpus: str
  corpus_sha256: str
  tokenizer: str
  devices: list[str]
  uncounted: list[str] | None = None
  epochs: float
  unique_tokens: int
  corpora: dict[str, CorpusReading] | None = None
  notes: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceRow(JournalRow):
  """A run that starts from a checkpoint.

  Attributes:
    source: folder of the checkpoint.
    step: of the checkpoint; -1 for a checkpoint of the Hugging Face format.
    sha256: of its content, 16 digits.
    notes: sentences on what was copied.
  """

  kind: str = "source"
  source: str
  step: int
  sha256: str
  notes: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResumeRow(JournalRow):
  """A run that goes on from a checkpoint.

  Attributes:
    step: of the checkpoint.
    mesh: of this sitting.
    layout: of this sitting.
    lost_rows: rows that the checkpoint was saved after and that are gone, in a journal that was begun again.
  """

  kind: str = "resume"
  step: int
  mesh: str
  layout: str
  lost_rows: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredRow(JournalRow):
  """A row about the run after so many steps.

  Attributes:
    step: steps done.
    tokens: read so far.
    flops: done so far.
  """

  step: int
  tokens: int
  flops: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchRow(MeasuredRow):
  """A run that goes on from a trunk."""

  kind: str = "branch"
  trunk: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRow(MeasuredRow):
  """Training since the last such row.

  Attributes:
    loss: mean over loss-bearing tokens.
    learning_rate: of the last step.
    gradient_norm: of the last step.
    tokens_per_second: inside steps.
    gflops: GFLOP/s inside steps.
    mfu: share of the chips' peak that these are; None on a CPU or an unknown chip.
    skipped: steps so far whose gradient was not finite.
    loss_scale: of float16, after the row's last step; None for other dtypes.
    steps: of the whole run.
  """

  kind: str = "train"
  loss: float
  learning_rate: float
  gradient_norm: float
  tokens_per_second: float
  gflops: float
  mfu: float | None = None
  skipped: int
  loss_scale: float | None = None
  steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationRow(MeasuredRow):
  """The loss on the validation set.

  Attributes:
    loss: nats per loss-bearing token.
    bits_per_byte: of the text that these stand for.
    metrics: of the user's own, by name; None where the run has none.
    corpora: loss of each corpus of a mixture, by name; None without one. `loss` is over the rows of all.
  """

  kind: str = "evaluation"
  loss: float
  bits_per_byte: float
  metrics: dict[str, float] | None = None
  corpora: dict[str, CorpusLoss] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult(JournalRow):
  """The result of a run, the last row of its journal.

  Attributes:
    family: of the model.
    objective: of training.
    width: of the model.
    depth: of the model.
    budget: FLOPs of the config; None if the config gives none.
    seed: of the run.
    batch: rows of a batch.
    length: tokens of a row.
    steps: of the run.
    learning_rate: peak.
    params: matrix parameters, the output head included, the embedding not.
    params_total: all parameters.
    params_by_group: parameters by group.
    tokens: corpus tokens processed.
    positions: of targets and sources.
    loss_tokens: loss-bearing tokens.
    flops: exact training FLOPs that the run is charged.
    flops_spent: those of them that this run did itself.
    trunk: that it branched from; None without one.
    flops_6nd: FLOPs by 6 N D.
    flops_per_token: exact.
    loss: on the validation set.
    bits_per_byte: on the validation set.
    train_loss: of the last train row.
    skipped: steps whose gradient was not finite.
    epochs: how often the corpus was read; of a mixture, the one that was read most often.
    seconds: inside steps, the trunk's included.
    seconds_spent: inside the run's own steps.
    wall_seconds: of the last sitting.
    tokens_per_second: inside steps.
    gflops: GFLOP/s inside steps.
    mfu: share of the chips' peak that these are; None on a CPU or an unknown chip.
    corpus_sha256: of the corpus.
    tokenizer: hash of the tokenizer.
    config: of the run.
    corpora: what was read of each corpus of a mixture and its loss, by name; None without one.
  """

  kind: str = "result"
  family: str
  objective: str
  width: int
  depth: int
  budget: float | None
  seed: int
  batch: int
  length: int
  steps: int
  learning_rate: float
  params: int
  params_total: int
  params_by_group: dict[str, int]
  tokens: int
  positions: int
  loss_tokens: float
  flops: float
  flops_spent: float
  trunk: str | None
  flops_6nd: float
  flops_per_token: float
  loss: float
  bits_per_byte: float
  train_loss: float
  skipped: int
  epochs: float
  seconds: float
  seconds_spent: float
  wall_seconds: float
  tokens_per_second: float
  gflops: float
  mfu: float | None = None
  corpus_sha256: str
  tokenizer: str
  config: dict[str, object]
  corpora: dict[str, CorpusResult] | None = None
