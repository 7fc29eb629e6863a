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

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.finetuning import finetune_flags
from gen.io import outputs, quantities

if TYPE_CHECKING:  # imports jax, which --help does without
  from gen.finetuning.sweeps import SweepSummary

finetune_flags.define_flags()
LEARNING_RATES = quantities.DEFINE_floats(
  "learning_rates",
  [0.0],
  "Peak learning rates; several are a sweep; 0: one that suits the method and the model's width.",
  lower_bound=0,
)
SEEDS = quantities.DEFINE_integer("seeds", 1, "Number of seeds of a sweep.", lower_bound=1, upper_bound=1_000)
WORKERS = quantities.DEFINE_integer(
  "workers", 0, "Sweep: processes at a time; 0: one per core.", lower_bound=0, upper_bound=4_096
)
WORKDIR = shared_flags.define_workdir("Folder of the fine-tuned model; empty: runs/finetune_TASK.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Fine-tunes once, or for each learning rate and seed of a sweep, and prints the scores."""
  if flags.FLAGS.task is None:
    raise UserError("--task is missing; choose classify, tag, translate, summarize, answer or instruct")
  from gen.cli import environment
  from gen.config import Data
  from gen.data import cache
  from gen.finetuning import finetune
  from gen.finetuning.reports import tuning_report
  from gen.finetuning.reports.results import FinetuneResult
  from gen.io import json_report, typed_json
  from gen.training.hooks import RunStopped

  target = json_report.report_target(JSON.value)
  settings = finetune_flags.settings_from_flags(LEARNING_RATES.value[0])
  workdir = Path(WORKDIR.value or f"runs/finetune_{flags.FLAGS.task}")
  settings.check()
  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  report: SweepSummary | None = None
  try:
    if SEEDS.value > 1 or len(LEARNING_RATES.value) > 1:
      report = _sweep(settings, workdir)
      workdir = Path(report["folder"])
      result = typed_json.decode_record(FinetuneResult, report["result"], "the result of the sweep")
    else:
      result = finetune.finetune_model(
        settings, workdir, hooks=tuning_report.TuningConsole(), report=terminal.print_progress
      )
  except RunStopped as stopped:
    terminal.print_progress(f"{stopped}; the same command resumes")
    return launch.INTERRUPTED
  print("\n".join(tuning_report.score_lines(result)))
  print(tuning_report.verdict_line(result))
  print(f"model, predictions.jsonl, results.json and finetune.html in {workdir}")
  json_report.write_report(report or typed_json.encode_record(result), target)
  return 0


def _sweep(settings: Any, workdir: Path) -> "SweepSummary":
  """Fine-tunes for each learning rate and seed, and prints the table of the sweep."""
  from gen.finetuning import sweeps
  from gen.finetuning.reports import tuning_report

  rates = sweeps.usual_rates(settings, LEARNING_RATES.value)
  swept = sweeps.run_sweep(settings, rates, SEEDS.value, workdir, WORKERS.value, terminal.print_progress)
  print("\n".join(tuning_report.sweep_lines(swept["rows"])))
  print(f"the best rate on the development part is {swept['best']:g}; its best seed, in {swept['folder']}:\n")
  return swept


if __name__ == "__main__":
  launch.run_experiment(main)
