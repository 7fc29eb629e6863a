"""Flags of a fine-tuning: the task and its data, what is trained, for how long, and how examples become rows.

`define_flags` defines them for the experiment that calls it; `settings_from_flags` reads them from the command line.
"""

import dataclasses
from typing import Any

from absl import flags

from gen.cli import shared_flags
from gen.config.optimizer import OPTIMIZER_NAMES
from gen.data.tasks import tag_schemes
from gen.data.tasks.examples import TASKS
from gen.errors import UserError
from gen.finetuning import settings
from gen.finetuning.settings import FinetuneSettings
from gen.io import quantities

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.


# Flags by kind, each with its bounds or choices and its help. Defaults are those of `FinetuneSettings`.
_CHOICES = {
  "tag_scheme": (("", *tag_schemes.SCHEMES), "Scheme of tags; empty: detected."),
  "form": (settings.FORMS, "A new head, or the answer as text; empty: what suits."),
  "class_weights": (settings.CLASS_WEIGHTS, "balanced: each class weighs as much as any other."),
  "long": (
    settings.LONG_POLICIES,
    "What happens to longer inputs; empty: windows for tag and answer, else error.",
  ),
  "base_format": (
    settings.BASE_FORMATS,
    "QLoRA: format of the frozen base under LoRA's adapters; empty: as it is.",
  ),
  "quantize_weights": (
    settings.ROUNDED,
    "Quantization-aware training: format of kernels in the forward pass.",
  ),
  "quantize_activations": (settings.ROUNDED, "The same of their inputs."),
  "optimizer": (OPTIMIZER_NAMES, "Update rule; adamw suits a trained start, muon a fresh one."),
  "select": (settings.SELECTIONS, "What the best step is chosen by; empty: score, or loss for instruct."),
}
_TEXTS = {
  "prompt": "Template of form text, with fields in braces; empty: the task's.",
  "method": "What is trained: full, head, last:N (layers) or lora.",
}
_LISTS = {
  "columns": "Names of the data's columns, as text=review,label=stars.",
  "targets": "LoRA: matrices that it changes; empty: queries and values.",
}
# Each is (lowest, highest, help). Upper bounds catch a slip of the hand before the data is read; `settings._RANGES`
# checks the same values in Python.
_INTEGERS = {
  "limit": (0, None, "Most training examples; 0: all."),
  "rank": (1, 4_096, "LoRA: rank of the updates."),
  "epochs": (0, 1_000_000, "Most times that the examples are read; 0: 3, or as many as 300 steps need."),
  "steps": (0, None, "Most steps, in place of epochs; 0: by epochs."),
  "min_steps": (
    0,
    None,
    "Steps that few examples take, where the epochs have fewer; 0: 300 without --epochs.",
  ),
  "batch": (1, 65_536, "Rows of a step."),
  "microbatches": (1, 65_536, "Gradient accumulation: parts of a batch."),
  "max_length": (0, None, "Most tokens of a row; 0: the model's window, at most 512."),
  "stride": (0, None, "Tokens that two windows share."),
  "max_shapes": (1, 64, "Most padded lengths, each compiled once."),
  "max_answer": (0, 65_536, "Most tokens of an answer; 0: 30 for spans, else the longest of training."),
  "evaluate_every": (0, None, "Steps between evaluations; 0: once an epoch, and at most ten times."),
  "patience": (0, None, "Evaluations without a better score before training stops; 0: never."),
  "development_examples": (0, None, "Form text: most examples of an evaluation, drawn at random; 0: all."),
  "few_shot": (0, 1_000, "Solved examples in the untrained model's prompt; 0: none."),
  "prompted_examples": (0, None, "Most test examples that the untrained model is asked, drawn at random."),
}
# As above. The smallest shares are above 0, because 0 would be a part without examples.
_NUMBERS = {
  "development_share": (
    1e-6,
    0.9,
    "Share of the examples for the development part, where the data has none.",
  ),
  "test_share": (1e-6, 0.9, "Share of the examples for the test part, where the data has none."),
  "alpha": (0, None, "LoRA: updates are scaled by alpha / rank."),
  "beta2": (0, 0.999_999, "Decay of the optimizer's second moment, per step."),
  "warmup": (0, 0.99, "Fraction of the steps in which the rate rises."),
  "weight_decay": (0, None, "Weight decay of matrices."),
  "dropout": (0, 0.99, "Probability."),
  "label_smoothing": (0, 0.99, "Form text: share of the target spread over all tokens."),
}


def define_flags() -> None:
  """Defines the flags of one fine-tuning."""
  defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(FinetuneSettings)}
  flags.DEFINE_enum("task", None, TASKS, "What the model shall do.")
  flags.DEFINE_string("start_from", "", "Folder of a run, or FOLDER:STEP; or of a Hugging Face checkpoint.")
  flags.DEFINE_string(
    "data", "", "A file, a folder with parts, a named set, or tfds:NAME (docs/finetuning.md)."
  )
  for name, (choices, text) in _CHOICES.items():
    flags.DEFINE_enum(name, defaults[name], choices, text)
  for name, text in _TEXTS.items():
    flags.DEFINE_string(name, defaults[name], text)
  for name, text in _LISTS.items():
    flags.DEFINE_list(name, [], text)
  for name, (least, most, text) in _INTEGERS.items():
    quantities.DEFINE_integer(name, defaults[name], text, least, most)
  for name, (lowest, highest, text) in _NUMBERS.items():
    quantities.DEFINE_float(name, defaults[name], text, lowest, highest)
  shared_flags.define_seed("head, the order of examples and dropout")


def settings_from_flags(learning_rate: float) -> FinetuneSettings:
  """Returns the settings of the command line, unchecked.

  Args:
    learning_rate: the peak; 0 is one that suits the method.

  Raises:
    UserError: for a column without a name.
  """
  fields = {field.name for field in dataclasses.fields(FinetuneSettings)}
  values: dict[str, Any] = {name: flags.FLAGS[name].value for name in fields if name in flags.FLAGS}
  values["columns"] = named_columns(values["columns"])
  values["targets"] = tuple(values["targets"])
  values["prompt"] = values["prompt"].replace("\\n", "\n")  # a shell passes \n as two letters
  return FinetuneSettings(**values, learning_rate=learning_rate)


def named_columns(entries: list[str]) -> dict[str, str]:
  """Returns the columns of `--columns` by gen's names.

  Raises:
    UserError: for an entry that is not NAME=COLUMN.
  """
  columns: dict[str, str] = {}
  for entry in entries:
    name, equals, column = entry.partition("=")
    if not (name and equals and column):
      raise UserError(f"--columns={entry}: write NAME=COLUMN, as in text=review")
    if name in columns:
      raise UserError(f"--columns names {name} twice, as {columns[name]} and {column}; leave one of them out")
    columns[name] = column
  return columns
