r"""Does fine-tuning pay? The score against the number of labelled examples, by method, and the pre-training loss.

  uv run experiments/worth_of_labels.py --task=classify --start_from=models/minilm --data=wiki_topics
  uv run experiments/worth_of_labels.py --task=classify --start_from=runs/large --starts=runs/small,runs/medium \
    --data=reviews.csv --methods=full,prompt,tfidf --counts=8,64,512 --seeds=3

Each method learns from the same examples, and each seed draws others: fine-tuning (full, last:N), LoRA, a head alone,
examples in the prompt, and a classifier of word counts (tfidf) that reads no model. `--starts` names further
checkpoints. They are fine-tuned by the first method on the most examples, so that their scores stand against their
pre-training losses. Workers train the members of the study, one a core, and the same command resumes. Other flags are
those of experiments/finetune.py.
Writes worth_of_labels.json, .png and .pdf into the work folder.
"""

from pathlib import Path

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.finetuning import finetune_flags
from gen.io import outputs, quantities

finetune_flags.define_flags()
METHODS = flags.DEFINE_list(
  "methods", [], "full, lora, head, last:N, prompt, tfidf; empty: those that suit the task."
)
COUNTS = quantities.DEFINE_integers(
  "counts",
  [8, 32, 128, 512, 2_048, 8_192],
  "Numbers of labelled examples; of more than there are, all are taken.",
  lower_bound=1,
)
STARTS = flags.DEFINE_list("starts", [], "Further checkpoints, fine-tuned on the most examples.")
SEEDS = quantities.DEFINE_integer("seeds", 3, "Number of seeds.", lower_bound=1, upper_bound=1_000)
WORKERS = quantities.DEFINE_integer(
  "workers", 0, "Processes at a time; 0: one per core.", lower_bound=0, upper_bound=4_096
)
WORKDIR = shared_flags.define_workdir("Folder of the study; empty: runs/worth_of_labels_TASK.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Runs the study, prints its tables, and writes the figure."""
  if flags.FLAGS.task is None:
    raise UserError("--task is missing; choose classify, tag, translate, summarize or answer")
  from gen.cli import environment
  from gen.config import Data
  from gen.data import cache
  from gen.finetuning.worth_of_labels import label_figure, label_study
  from gen.io import json_report
  from gen.training.hooks import RunStopped

  target = json_report.report_target(JSON.value)
  settings = finetune_flags.settings_from_flags(0.0)
  workdir = Path(WORKDIR.value or f"runs/worth_of_labels_{flags.FLAGS.task}")
  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  try:
    study = label_study.run_study(
      settings,
      METHODS.value,
      COUNTS.value,
      SEEDS.value,
      STARTS.value,
      workdir,
      WORKERS.value,
      terminal.print_progress,
    )
  except RunStopped as stopped:
    terminal.print_progress(f"{stopped}; the same command resumes")
    return launch.INTERRUPTED
  baseline = next(iter(study.baseline.values()))
  label_figure.draw_curves(workdir, study.curves, baseline, study.starts, study.metric)
  print("\n".join(label_study.study_lines(study)))
  print(workdir / f"{label_figure.NAME}.png, .pdf and .json")
  json_report.write_results(study, workdir / f"{label_figure.NAME}.json", target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
