"""Flags of a fine-tuning: the task and its data, what is trained, for how long, and how examples become rows.

`define_flags` defines them for the experiment that calls it; `settings_from_flags` reads them from the command line.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import shared_flags
from gen.errors import UserError
from gen.io import quantities

if TYPE_CHECKING:
  from gen.finetuning.settings import FinetuneSettings

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.


def define_flags() -> None:
  """Defines the flags of one fine-tuning."""
  flags.DEFINE_enum(
    "task",
    None,
    ("classify", "tag", "translate", "summarize", "answer", "instruct"),
    "What the model shall do.",
  )
  flags.DEFINE_string("start_from", "", "Folder of a run, or FOLDER:STEP; or of a Hugging Face checkpoint.")
  flags.DEFINE_string(
    "data", "", "A file, a folder with parts, a named set, or tfds:NAME (docs/finetuning.md)."
  )
  flags.DEFINE_list("columns", [], "Names of the data's columns, as text=review,label=stars.")
  quantities.DEFINE_integer("limit", 0, "Most training examples; 0: all.", lower_bound=0)
  flags.DEFINE_enum(
    "tag_scheme",
    "",
    ("", "IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU"),
    "Scheme of tags; empty: detected.",
  )
  flags.DEFINE_enum("form", "", ("", "head", "text"), "A new head, or the answer as text; empty: what suits.")
  flags.DEFINE_string("prompt", "", "Template of form text, with fields in braces; empty: the task's.")
  flags.DEFINE_string("method", "full", "What is trained: full, head, last:N (layers) or lora.")
  quantities.DEFINE_integer("rank", 8, "LoRA: rank of the updates.", lower_bound=1, upper_bound=4_096)
  quantities.DEFINE_float("alpha", 16.0, "LoRA: updates are scaled by alpha / rank.", lower_bound=0)
  flags.DEFINE_list("targets", [], "LoRA: matrices that it changes; empty: queries and values.")
  quantities.DEFINE_integer(
    "epochs", 3, "Most times that the examples are read.", lower_bound=1, upper_bound=1_000_000
  )
  quantities.DEFINE_integer("steps", 0, "Most steps, in place of epochs; 0: by epochs.", lower_bound=0)
  quantities.DEFINE_integer("batch", 32, "Rows of a step.", lower_bound=1, upper_bound=65_536)
  quantities.DEFINE_integer(
    "microbatches", 1, "Gradient accumulation: parts of a batch.", lower_bound=1, upper_bound=65_536
  )
  quantities.DEFINE_float(
    "warmup", 0.06, "Fraction of the steps in which the rate rises.", lower_bound=0, upper_bound=0.99
  )
  quantities.DEFINE_float("weight_decay", 0.01, "Weight decay of matrices.", lower_bound=0)
  quantities.DEFINE_float("dropout", 0.1, "Probability.", lower_bound=0, upper_bound=0.99)
  quantities.DEFINE_float(
    "label_smoothing",
    0.0,
    "Form text: share of the target spread over all tokens.",
    lower_bound=0,
    upper_bound=0.99,
  )
  flags.DEFINE_enum(
    "class_weights", "none", ("none", "balanced"), "balanced: each class weighs as much as any other."
  )
  quantities.DEFINE_integer(
    "max_length", 0, "Most tokens of a row; 0: the model's window, at most 512.", lower_bound=0
  )
  flags.DEFINE_enum(
    "long",
    "",
    ("", "error", "truncate", "windows"),
    "What happens to longer inputs; empty: windows for tag and answer, else error.",
  )
  quantities.DEFINE_integer("stride", 64, "Tokens that two windows share.", lower_bound=0)
  quantities.DEFINE_integer(
    "max_shapes", 4, "Most padded lengths, each compiled once.", lower_bound=1, upper_bound=64
  )
  quantities.DEFINE_integer(
    "max_answer",
    0,
    "Most tokens of an answer; 0: 30 for spans, else the longest of training.",
    lower_bound=0,
    upper_bound=65_536,
  )
  quantities.DEFINE_integer(
    "evaluate_every", 0, "Steps between evaluations; 0: once an epoch.", lower_bound=0
  )
  quantities.DEFINE_integer(
    "patience", 3, "Evaluations without a better score before training stops; 0: never.", lower_bound=0
  )
  flags.DEFINE_enum(
    "select",
    "",
    ("", "score", "loss"),
    "What the best step is chosen by; empty: score, or loss for instruct.",
  )
  quantities.DEFINE_integer(
    "development_examples", 200, "Form text: most examples of an evaluation; 0: all.", lower_bound=0
  )
  quantities.DEFINE_integer(
    "few_shot",
    4,
    "Solved examples in the untrained model's prompt; 0: none.",
    lower_bound=0,
    upper_bound=1_000,
  )
  quantities.DEFINE_integer(
    "prompted_examples", 100, "Most test examples that the untrained model is asked.", lower_bound=0
  )
  shared_flags.define_seed("head, the order of examples and dropout")


def settings_from_flags(learning_rate: float) -> "FinetuneSettings":
  """Returns the settings of the command line, unchecked.

  Args:
    learning_rate: the peak; 0 is one that suits the method.

  Raises:
    UserError: for a column without a name.
  """
  from gen.finetuning.settings import FinetuneSettings

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
  columns = {}
  for entry in entries:
    name, equals, column = entry.partition("=")
    if not (name and equals and column):
      raise UserError(f"--columns={entry}: write NAME=COLUMN, as in text=review")
    columns[name] = column
  return columns
