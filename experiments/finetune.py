"""Fine-tunes a checkpoint on labelled examples: its score with an interval, and whether it was worth it.

  uv run experiments/finetune.py --task=classify --start_from=runs/encoder --data=reviews.csv --workdir=runs/reviews
  uv run experiments/finetune.py --task=tag --start_from=FOLDER --data=train.conll --method=lora --rank=8
  uv run experiments/finetune.py --task=translate --start_from=runs/t5 --data=pairs.tsv --learning_rates=1e-4,3e-4

Takes runs of gen and Hugging Face folders of every family, and chooses the form that suits: an encoder gets a head, a
decoder a head or a prompt, an encoder-decoder reads a text and writes a text. The same command resumes an interrupted
fine-tuning. The work folder is then a run's: experiments/generate.py and scripts/export_checkpoint.py open it. It also
has predictions.jsonl, results.json and finetune.html, which shows the worst errors.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch, shared_flags, signals, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.training.rows import RowValues

TASK = flags.DEFINE_enum(
  "task",
  None,
  ("classify", "tag", "translate", "summarize", "answer", "instruct"),
  "What the model shall do.",
)
START_FROM = flags.DEFINE_string(
  "start_from", "", "Folder of a run, or FOLDER:STEP; or of a Hugging Face checkpoint."
)
DATA = flags.DEFINE_string(
  "data", "", "A file, a folder with parts, a named set, or tfds:NAME (docs/finetuning.md)."
)
COLUMNS = flags.DEFINE_list("columns", [], "Names of the data's columns, as text=review,label=stars.")
LIMIT = quantities.DEFINE_integer("limit", 0, "Most training examples; 0: all.", lower_bound=0)
FORM = flags.DEFINE_enum(
  "form", "", ("", "head", "text"), "A new head, or the answer as text; empty: what suits."
)
PROMPT = flags.DEFINE_string("prompt", "", "Template of form text, with fields in braces; empty: the task's.")
METHOD = flags.DEFINE_string("method", "full", "What is trained: full, head, last:N (layers) or lora.")
RANK = quantities.DEFINE_integer("rank", 8, "LoRA: rank of the updates.", lower_bound=1, upper_bound=4_096)
ALPHA = quantities.DEFINE_float("alpha", 16.0, "LoRA: updates are scaled by alpha / rank.", lower_bound=0)
TARGETS = flags.DEFINE_list("targets", [], "LoRA: matrices that it changes; empty: queries and values.")
LEARNING_RATES = quantities.DEFINE_floats(
  "learning_rates",
  [0.0],
  "Peak learning rates; several are a sweep; 0: one that suits the method.",
  lower_bound=0,
)
SEEDS = quantities.DEFINE_integer("seeds", 1, "Number of seeds of a sweep.", lower_bound=1, upper_bound=1_000)
WORKERS = quantities.DEFINE_integer(
  "workers", 0, "Sweep: processes at a time; 0: one per core.", lower_bound=0, upper_bound=4_096
)
EPOCHS = quantities.DEFINE_integer(
  "epochs", 3, "Most times that the examples are read.", lower_bound=1, upper_bound=1_000_000
)
STEPS = quantities.DEFINE_integer("steps", 0, "Most steps, in place of epochs; 0: by epochs.", lower_bound=0)
BATCH = quantities.DEFINE_integer("batch", 32, "Rows of a step.", lower_bound=1, upper_bound=65_536)
MICROBATCHES = quantities.DEFINE_integer(
  "microbatches", 1, "Gradient accumulation: parts of a batch.", lower_bound=1, upper_bound=65_536
)
WARMUP = quantities.DEFINE_float(
  "warmup", 0.06, "Fraction of the steps in which the rate rises.", lower_bound=0, upper_bound=0.99
)
WEIGHT_DECAY = quantities.DEFINE_float("weight_decay", 0.01, "Weight decay of matrices.", lower_bound=0)
DROPOUT = quantities.DEFINE_float("dropout", 0.1, "Probability.", lower_bound=0, upper_bound=0.99)
SMOOTHING = quantities.DEFINE_float(
  "label_smoothing",
  0.0,
  "Form text: share of the target spread over all tokens.",
  lower_bound=0,
  upper_bound=0.99,
)
CLASS_WEIGHTS = flags.DEFINE_enum(
  "class_weights", "none", ("none", "balanced"), "balanced: each class weighs as much as any other."
)
MAX_LENGTH = quantities.DEFINE_integer(
  "max_length", 0, "Most tokens of a row; 0: the model's window, at most 512.", lower_bound=0
)
LONG = flags.DEFINE_enum(
  "long", "", ("", "error", "truncate", "windows"),
  "What happens to longer inputs; empty: windows for tag and answer, else error.",
)  # fmt: skip
STRIDE = quantities.DEFINE_integer("stride", 64, "Tokens that two windows share.", lower_bound=0)
MAX_SHAPES = quantities.DEFINE_integer(
  "max_shapes", 4, "Most padded lengths, each compiled once.", lower_bound=1, upper_bound=64
)
MAX_ANSWER = quantities.DEFINE_integer(
  "max_answer", 0, "Most tokens of an answer; 0: 30 for spans, else the longest of training.", lower_bound=0,
  upper_bound=65_536,
)  # fmt: skip
EVALUATE_EVERY = quantities.DEFINE_integer(
  "evaluate_every", 0, "Steps between evaluations; 0: once an epoch.", lower_bound=0
)
PATIENCE = quantities.DEFINE_integer(
  "patience", 3, "Evaluations without a better score before training stops; 0: never.", lower_bound=0
)
SELECT = flags.DEFINE_enum(
  "select", "", ("", "score", "loss"), "What the best step is chosen by; empty: score, or loss for instruct."
)
DEVELOPMENT = quantities.DEFINE_integer(
  "development_examples", 200, "Form text: most examples of an evaluation; 0: all.", lower_bound=0
)
FEW_SHOT = quantities.DEFINE_integer(
  "few_shot", 4, "Solved examples in the untrained model's prompt; 0: none.", lower_bound=0, upper_bound=1_000
)
PROMPTED = quantities.DEFINE_integer(
  "prompted_examples", 100, "Most test examples that the untrained model is asked.", lower_bound=0
)
SEED = shared_flags.define_seed("head, the order of examples and dropout")
WORKDIR = shared_flags.define_workdir("Folder of the fine-tuned model; empty: runs/finetune_TASK.")
JSON = outputs.DEFINE_json()


class Watch:
  """Prints rows of progress, and stops at the first interrupt."""

  def __init__(self) -> None:
    self.stop = signals.StopRequest(terminal.print_progress).stop

  def progress(self, row: "RowValues") -> None:
    """Prints the line of a row."""
    from gen.finetuning import tuning_report

    line = tuning_report.progress_line(row)
    if line is not None:
      terminal.print_progress(line)


def main() -> int:
  """Fine-tunes once, or for each learning rate and seed of a sweep, and prints the scores."""
  if TASK.value is None:
    raise UserError("--task is missing; choose classify, tag, translate, summarize, answer or instruct")
  from gen.cli import environment
  from gen.config import Data
  from gen.data import cache
  from gen.finetuning import finetune, tuning_report
  from gen.finetuning.results import FinetuneResult
  from gen.io import json_report, typed_json
  from gen.training.hooks import RunStopped

  target = json_report.report_target(JSON.value)
  settings, workdir = _settings(), Path(WORKDIR.value or f"runs/finetune_{TASK.value}")
  settings.check()
  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  report: dict[str, Any] = {}
  try:
    if SEEDS.value > 1 or len(LEARNING_RATES.value) > 1:
      report = _sweep(settings, workdir)
      workdir = Path(report["folder"])
      result = typed_json.decode_record(FinetuneResult, report["result"], "the result of the sweep")
    else:
      result = finetune.finetune_model(settings, workdir, hooks=Watch(), report=terminal.print_progress)
  except RunStopped as stopped:
    terminal.print_progress(f"{stopped}; the same command resumes")
    return launch.INTERRUPTED
  print("\n".join(tuning_report.score_lines(result)))
  print(tuning_report.verdict_line(result))
  print(f"model, predictions.jsonl and results.json in {workdir}")
  json_report.write_report(report or typed_json.encode_record(result), target)
  return 0


def _sweep(settings: Any, workdir: Path) -> dict[str, Any]:
  """Fine-tunes for each learning rate and seed, and prints the table of the sweep."""
  from gen.finetuning import sweeps, tuning_report
  from gen.finetuning.settings import RATES

  rates = [rate or RATES[settings.method_name] for rate in LEARNING_RATES.value]
  swept = sweeps.run_sweep(settings, rates, SEEDS.value, workdir, WORKERS.value, terminal.print_progress)
  print("\n".join(tuning_report.sweep_lines(swept["rows"])))
  print(f"the best rate on the development part is {swept['best']:g}; its best seed, in {swept['folder']}:\n")
  return swept


def _settings() -> Any:
  """Returns the settings of the command line."""
  from gen.finetuning.settings import FinetuneSettings

  return FinetuneSettings(
    task=TASK.value or "", start_from=START_FROM.value, data=DATA.value, columns=_columns(), limit=LIMIT.value,
    form=FORM.value, prompt=PROMPT.value.replace("\\n", "\n"), method=METHOD.value, rank=RANK.value,
    alpha=ALPHA.value, targets=tuple(TARGETS.value), learning_rate=LEARNING_RATES.value[0],
    epochs=EPOCHS.value, steps=STEPS.value,
    batch=BATCH.value, microbatches=MICROBATCHES.value, warmup=WARMUP.value, weight_decay=WEIGHT_DECAY.value,
    dropout=DROPOUT.value, label_smoothing=SMOOTHING.value, class_weights=CLASS_WEIGHTS.value,
    max_length=MAX_LENGTH.value, long=LONG.value, stride=STRIDE.value, max_shapes=MAX_SHAPES.value,
    max_answer=MAX_ANSWER.value, evaluate_every=EVALUATE_EVERY.value, patience=PATIENCE.value, select=SELECT.value,
    development_examples=DEVELOPMENT.value, few_shot=FEW_SHOT.value, prompted_examples=PROMPTED.value,
    seed=SEED.value,
  )  # fmt: skip


def _columns() -> dict[str, str]:
  columns = {}
  for entry in COLUMNS.value:
    name, equals, column = entry.partition("=")
    if not (name and equals and column):
      raise UserError(f"--columns={entry}: write NAME=COLUMN, as in text=review")
    columns[name] = column
  return columns


if __name__ == "__main__":
  launch.run_experiment(main)
