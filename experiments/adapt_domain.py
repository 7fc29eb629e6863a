"""Is a domain worth a model pre-trained from scratch, or is a general model adapted to it better? At equal FLOPs.

  uv run experiments/adapt_domain.py --domain=law --general=manual:small
  uv run experiments/adapt_domain.py --domain='filings/*.jsonl' --general=manual --workdir=runs/finance

Trains at each budget and seed: a general model; one that continues on the domain, with shares of general text replayed;
one from scratch on the domain, with the general tokenizer and with its own. Scores all in bits per byte of held-out
text of both. With --task=LABELLED_TEXTS it also fine-tunes models of the largest budget on a task of the domain.
Writes adapt_domain.json, .png and .pdf. The same command resumes a run that was stopped.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch, shared_flags
from gen.config.comparisons import DomainStudy, check_domain_study
from gen.errors import UserError
from gen.io import outputs
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from gen.scaling.comparisons.domain_records import DomainResults

DOMAIN = flags.DEFINE_string("domain", "", "Corpus of the domain, as data.corpus names one.")
GENERAL = flags.DEFINE_string("general", "", "Corpus of general text, as data.corpus names one.")
TASK = flags.DEFINE_string(
  "task", "", "Labelled texts of the domain, as --data of experiments/finetune.py names them; empty: no task."
)
WORKDIR = shared_flags.define_workdir("Folder of runs and results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()

executors.define_flags()

FAILED = 1  # exit code: some runs have no result


def main(study: DomainStudy) -> int:
  """Trains the runs that are missing, scores and compares them, and writes all results."""
  for name, value in (("domain", DOMAIN.value), ("general", GENERAL.value)):
    if not value:
      raise UserError(f"--{name} is not given; name a corpus such as law, manual, or a path to files")
  if DOMAIN.value == GENERAL.value:
    raise UserError(f"--domain and --general are both {DOMAIN.value!r}; name two different corpora")
  check_domain_study(study)
  from gen.scaling.sweeps import design

  design.check_sweep(study.sweep)
  executor = executors.executor_from_flags()
  from rich.console import Console

  from gen.data import cache
  from gen.finetuning.worth_of_labels import domain_task
  from gen.io.locks import FolderLock
  from gen.scaling.comparisons import domain_study
  from gen.scaling.workers import sweep_dtype
  from gen.training.hooks import RunStopped

  study.name = study.name or "adapt_domain"
  folder = Path(WORKDIR.value or f"runs/{study.name}")
  console = Console(highlight=False, soft_wrap=True)
  if line := sweep_dtype.set_default_dtype(study.sweep, folder / "general", executor):
    console.print(line)
  examples = domain_task.read_task(TASK.value, study.task_examples, console.print) if TASK.value else None
  with FolderLock(folder):
    environment.compilation_cache(cache.cache_folder(study.sweep.data) / "compiled")
    opened = domain_study.open_texts(study, DOMAIN.value, GENERAL.value, folder, console.print)
    trained = domain_study.train_arms(study, opened, folder, console, executor)
    if trained.interrupted:
      console.print(launch.stop_line(trained.done, trained.total, folder))
      return launch.INTERRUPTED
    results = domain_study.collect_results(study, opened, trained, folder, console.print)
    if examples is not None:
      _save(results, folder)  # before the fine-tunings, which may fail
      runs = domain_study.finished_runs(study, trained, folder)
      try:
        results = domain_task.add_task(results, TASK.value, examples, study, runs, folder, console.print)
      except RunStopped as stopped:
        console.print(f"{stopped}; the same command resumes")
        return launch.INTERRUPTED
    _write(results, folder)
  return FAILED if results.failed or (results.task and results.task.failed) else 0


def _save(results: "DomainResults", folder: Path, json: str = "") -> list[Path]:
  """Writes the results into the folder, and where `--json` asks for them; returns the files of the folder."""
  from gen.io import json_report, typed_json
  from gen.scaling.comparisons import domain_figure

  return json_report.write_study(
    typed_json.encode_record(results),
    folder / f"{domain_figure.NAME}.json",
    json_report.report_target(json),
    lambda: domain_figure.write_figure(results, folder),
  )


def _write(results: "DomainResults", folder: Path) -> None:
  """Prints the results and writes them."""
  from rich.console import Console

  from gen.scaling.comparisons import domain_report

  console = Console(highlight=False, soft_wrap=True)
  domain_report.print_results(console, results)
  console.print(f"\nwritten: {', '.join(map(str, _save(results, folder, JSON.value)))}")


if __name__ == "__main__":
  launch.run_experiment(main, DomainStudy, "configs/adapt_domain.py")
