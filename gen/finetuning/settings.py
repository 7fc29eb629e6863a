"""The settings of a fine-tuning: the task, the start, what is trained, for how long, and how examples become rows."""

import dataclasses
import hashlib
import json
from typing import Any

from gen.config import Optimizer
from gen.config.optimizer import OPTIMIZER_NAMES
from gen.data.tasks.examples import TASKS
from gen.errors import UserError
from gen.io import typed_json

FORMS = ("", "head", "text")
LONG_POLICIES = ("", "error", "truncate", "windows")
CLASS_WEIGHTS = ("none", "balanced")
SELECTIONS = ("", "score", "loss")
BASE_FORMATS = ("", "int8", "int4", "nf4")
ROUNDED = ("none", "int8", "int4")
# Peak learning rates where none is given. A new head alone, and low-rank matrices, want larger steps than all weights.
# 5e-5 is the largest of BERT's own (arXiv:1810.04805, A.3); LoRA's is from its authors' runs on GLUE (arXiv:2106.09685,
# appendix D).
RATES = {"full": 5e-5, "last": 1e-4, "head": 1e-3, "lora": 5e-4}
METHODS = tuple(RATES)
# Those of full and last are BERT's, for its width. Narrower models want larger ones: Turc et al. (arXiv:1908.08962)
# go up to 3e-4 at width 128.
RATE_WIDTH, MAX_RATE = 768, 1e-3
# Three epochs of a few hundred examples are too few steps to learn a task (arXiv:2006.04884, arXiv:2006.05987).
# Three is within BERT's two to four (arXiv:1810.04805, A.3).
EPOCHS, MIN_STEPS, MAX_EVALUATIONS = 3, 300, 10


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
  """One fine-tuning; fields that are empty or 0 take the default that suits the task, the method or the model.

  Attributes:
    task: classify, tag, translate, summarize, answer or instruct.
    start_from: folder of a run of gen, or of a Hugging Face checkpoint; FOLDER:STEP for a step of a run.
    data: a file, a folder, a named set, or a packaged archive; see `gen.data.tasks.reading`.
    columns: names of the data's columns, by gen's names.
    limit: most training examples; 0 is all.
    development_share: of the examples, for the development part, where the data has none.
    test_share: the same for the test part.
    tag_scheme: IOB1, IOB2, IOE1, IOE2, BIOES or BILOU; empty detects it.
    form: head (a new layer on the hidden states) or text (the answer is generated).
    prompt: template of the text form, with the fields of the task's examples in braces.
    method: full, head, last:N (layers) or lora.
    rank: of LoRA's matrices.
    alpha: LoRA's updates are scaled by alpha / rank.
    targets: matrices that LoRA changes; empty: queries and values.
    base_format: of the frozen base under LoRA's adapters (QLoRA): int8, int4 or nf4; empty keeps it as it is.
    quantize_weights: quantization-aware training: none, or the format that kernels are rounded to, int8 or int4.
    quantize_activations: the same of their inputs.
    optimizer: adamw, muon, lion, adafactor or sgd, as of pre-training.
    beta2: decay of the second moment, per step.
    learning_rate: peak; 0 is one that suits the method and the model's width.
    epochs: times that the training examples are read at most; 0 is 3, or as many as 300 steps need.
    steps: at most; 0 is by epochs.
    min_steps: that few examples take, where the epochs have fewer; 0 is none where epochs are given.
    batch: rows of a step, at most the training rows.
    microbatches: parts of a batch whose gradients are added up.
    warmup: fraction of the steps.
    weight_decay: on matrices.
    dropout: probability inside the model, and before a new head.
    label_smoothing: share of the target spread over all tokens (text form).
    class_weights: none, or balanced: each class weighs as much as any other.
    max_length: most tokens of a row; 0 is the model's window, at most 512.
    long: what happens to longer inputs: error, truncate, or windows.
    stride: tokens that two windows share.
    max_shapes: most padded lengths.
    max_answer: most tokens of an answer: of a span, or generated.
    evaluate_every: steps between two evaluations; 0 is once an epoch, and at most ten times.
    patience: evaluations without a better score after which training stops; 0 never stops early.
    select: what the best step is chosen by: score or loss, on the development part.
    development_examples: most examples that an evaluation generates answers for, drawn at random; 0 is all.
    few_shot: examples in the prompt of the untrained model that is set beside; 0 for none.
    prompted_examples: most test examples that the untrained model is asked, drawn at random.
    checkpoint_seconds: seconds between two checkpoints.
    seed: of the new head, the order of rows, dropout, and the choice of `limit` examples.
  """

  task: str
  start_from: str
  data: str
  columns: dict[str, str] = dataclasses.field(default_factory=dict)
  limit: int = 0
  development_share: float = 0.1
  test_share: float = 0.1
  tag_scheme: str = ""
  form: str = ""
  prompt: str = ""
  method: str = "full"
  rank: int = 8
  alpha: float = 16.0
  targets: tuple[str, ...] = ()
  base_format: str = ""
  quantize_weights: str = "none"
  quantize_activations: str = "none"
  optimizer: str = "adamw"
  # BERT's (arXiv:1810.04805, A.2), where pre-training here has 0.98: fine-tuning takes few steps, and its moments may
  # be slow.
  beta2: float = 0.999
  learning_rate: float = 0.0
  epochs: int = 0
  steps: int = 0
  min_steps: int = 0
  batch: int = 32  # BERT's (arXiv:1810.04805, A.3)
  microbatches: int = 1
  warmup: float = 0.06  # RoBERTa's on GLUE (arXiv:1907.11692, table 10)
  weight_decay: float = 0.01
  dropout: float = 0.1
  label_smoothing: float = 0.0
  class_weights: str = "none"
  max_length: int = 0
  long: str = ""
  stride: int = 64
  max_shapes: int = 4
  max_answer: int = 0
  evaluate_every: int = 0
  patience: int = 3
  select: str = ""
  development_examples: int = 200
  few_shot: int = 4
  prompted_examples: int = 100
  checkpoint_seconds: float = 30.0
  seed: int = 0

  @property
  def method_name(self) -> str:
    """The method without its number of layers."""
    return self.method.partition(":")[0]

  @property
  def layers(self) -> int:
    """N of last:N; 0 for other methods."""
    number = self.method.partition(":")[2]
    return int(number) if number.isascii() and number.isdigit() else 0

  @property
  def optimizer_config(self) -> Optimizer:
    """The optimizer with BERT's schedule: a linear warmup and decay, and gradients clipped at 1."""
    return Optimizer(
      name=self.optimizer,
      peak_learning_rate=self.learning_rate or usual_rate(self.method_name, RATE_WIDTH),
      schedule="linear",
      warmup=self.warmup,
      beta2=self.beta2,
      weight_decay=self.weight_decay,
      clip=1.0,
      microbatches=self.microbatches,
      label_smoothing=self.label_smoothing,
    )

  def planned_steps(self, steps_per_epoch: int) -> int:
    """Returns the steps of a complete fine-tuning."""
    least = self.min_steps or (0 if self.epochs else MIN_STEPS)
    return self.steps or max((self.epochs or EPOCHS) * steps_per_epoch, least)

  def evaluation_steps(self, steps_per_epoch: int) -> int:
    """Returns the steps between two evaluations."""
    steps = self.planned_steps(steps_per_epoch)
    return self.evaluate_every or min(steps, max(steps_per_epoch, -(-steps // MAX_EVALUATIONS)))

  def with_rate(self, width: int) -> "FinetuneSettings":
    """Returns the settings with the learning rate that suits the method and a model's width, where none is given."""
    if self.learning_rate:
      return self
    return dataclasses.replace(self, learning_rate=usual_rate(self.method_name, width))

  def check(self) -> None:
    """Checks what can be checked without the model and the data.

    Raises:
      UserError: for a value that cannot be, with what to write instead.
    """
    self._check_types()
    choices = {
      "task": TASKS, "form": FORMS, "long": LONG_POLICIES, "class_weights": CLASS_WEIGHTS, "select": SELECTIONS,
      "base_format": BASE_FORMATS, "quantize_weights": ROUNDED, "quantize_activations": ROUNDED,
      "optimizer": OPTIMIZER_NAMES,
    }  # fmt: skip
    for name, known in choices.items():
      if getattr(self, name) not in known:
        raise UserError(
          f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(filter(None, known))}"
        )
    for name in ("start_from", "data"):
      if not getattr(self, name):
        raise UserError(f"{name} is missing; {_MISSING[name]}")
    if self.method_name not in METHODS or (":" in self.method) != (self.method_name == "last"):
      raise UserError(f"method is {self.method!r}; it must be full, head, last:N or lora")
    if self.method_name == "last" and self.layers < 1:
      raise UserError(f"method is {self.method!r}; write the number of layers, as in last:2")
    for name, (low, high) in _RANGES.items():
      if not low <= getattr(self, name) <= high:
        raise UserError(f"{name} is {getattr(self, name)}; it must be from {low:g} to {high:g}")
    self._check_formats()
    if self.batch % self.microbatches:
      raise UserError(
        f"batch is {self.batch}, which {self.microbatches} microbatches do not divide; choose a multiple"
      )
    if self.steps and self.min_steps:
      raise UserError(
        f"steps is {self.steps:,}, and min_steps {self.min_steps:,} bounds the steps of epochs; leave one of them out"
      )
    if self.development_share + self.test_share >= 1:
      raise UserError(
        f"development_share and test_share are {self.development_share:g} and {self.test_share:g}; together they must "
        "be below 1"
      )
    if self.class_weights != "none" and self.task not in ("classify", "tag"):
      raise UserError(f"class_weights needs classes, which task {self.task} does not have; leave it out")

  def _check_types(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      kinds, words = _TYPES[field.type]
      # A text is a sequence of texts too, and a truth value a number; neither is meant.
      fits = isinstance(value, kinds) and not isinstance(value, bool)
      inside = (
        list(value.items())
        if fits and isinstance(value, dict)
        else [value]
        if fits and kinds == _LISTS
        else []
      )
      if not fits or not all(isinstance(part, str) for each in inside for part in each):
        raise UserError(f"{field.name} is {repr(value)[:60]}; it must be {words}")

  def _check_formats(self) -> None:
    if self.base_format and self.method_name != "lora":
      raise UserError(
        f"base_format is {self.base_format}, and weights of fewer bits have no gradients; set method to lora, or leave "
        "base_format out"
      )
    if self.base_format and (self.quantize_weights, self.quantize_activations) != ("none", "none"):
      name = "quantize_weights" if self.quantize_weights != "none" else "quantize_activations"
      raise UserError(
        f"base_format {self.base_format} rounds the base once, and {name} rounds in each step; set one of them"
      )

  def identity(self) -> str:
    """Returns 12 hex digits that identify what a fine-tuning computes."""
    values = typed_json.encode_record(self)
    # When it saves does not change what is computed.
    values.pop("checkpoint_seconds")
    # A fine-tuning without them is what it was before there were such fields.
    for name, default in (
      ("base_format", ""),
      ("quantize_weights", "none"),
      ("quantize_activations", "none"),
      ("optimizer", "adamw"),
      ("beta2", 0.999),
      ("min_steps", 0),
    ):
      if values[name] == default:
        values.pop(name)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def usual_rate(method: str, width: int) -> float:
  """Returns the peak learning rate of a method where none is given.

  Args:
    method: full, head, last or lora.
    width: of the model.

  >>> usual_rate("full", 768), usual_rate("full", 384), usual_rate("lora", 384)
  (5e-05, 0.0001, 0.0005)
  """
  if method not in ("full", "last"):
    return RATES[method]
  return float(f"{min(MAX_RATE, RATES[method] * RATE_WIDTH / width):.2g}")


_LISTS = (list, tuple)
# What a field of a type may hold: settings may come from Python, where nothing has read them before.
_TYPES: dict[Any, tuple[Any, str]] = {
  str: (str, "text"),
  int: (int, "a whole number"),
  float: ((int, float), "a number"),
  dict[str, str]: (dict, "names of columns by field, as {'text': 'review'}"),
  tuple[str, ...]: (_LISTS, "a list of names"),
}
_MISSING = {
  "start_from": "give the folder of a run, or of a Hugging Face checkpoint",
  "data": "give a file, or the name of a set",
}
# (lowest, highest). Sizes and counters are int32 in XLA, seeds uint32; fractions end below 1, where nothing would be
# left. Other bounds are far beyond use, and catch a slip of the hand.
_RANGES = {
  "limit": (0, 2**31),
  "development_share": (1e-6, 0.9),
  "test_share": (1e-6, 0.9),
  "rank": (1, 4096),
  "alpha": (1e-6, 1e6),
  "beta2": (0, 0.999_999),
  "learning_rate": (0, 1e3),
  "epochs": (0, 1e6),
  "steps": (0, 2**31 - 1),
  "min_steps": (0, 2**31 - 1),
  "batch": (1, 65_536),
  "microbatches": (1, 65_536),
  "warmup": (0, 0.99),
  "weight_decay": (0, 1e3),
  "dropout": (0, 0.99),
  "label_smoothing": (0, 0.99),
  "max_length": (0, 2**31 - 1),
  "stride": (0, 2**31 - 1),
  "max_shapes": (1, 64),
  "max_answer": (0, 65_536),
  "evaluate_every": (0, 2**31 - 1),
  "patience": (0, 2**31 - 1),
  "development_examples": (0, 2**31 - 1),
  "few_shot": (0, 1_000),
  "prompted_examples": (0, 2**31 - 1),
  "checkpoint_seconds": (0, 1e9),
  "seed": (0, 2**32 - 1),
}
