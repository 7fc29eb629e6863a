"""Given a compute budget, which decoder should I train on how many tokens? A sweep, three fits, and a verdict.

  uv run experiments/chinchilla.py
  uv run experiments/chinchilla.py --config=configs/smoke.py --workdir=runs/smoke

Trains every size of every budget (IsoFLOP), one worker per core. Fits approaches 1, 2 and 3 of Hoffmann et al. 2022
(arXiv:2203.15556), predicts the optimum at ten times the largest budget, and judges whether the prediction is credible.
You can stop it at any time; the same command resumes.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import environment, launch, shared_flags
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs, strict_json, typed_json
from gen.scaling.workers import executors

if TYPE_CHECKING:
  from rich.console import Console

  from gen.scaling.workers.study import TrainedStudy

WORKDIR = shared_flags.define_workdir("Folder of the sweep; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
NAME = flags.DEFINE_string("name", "", "Name of the sweep; empty: the config's.")

executors.define_flags()

FAILED = 1  # exit code: some runs have no result


def main(sweep: Sweep) -> int:
  """Trains the runs that are missing, fits, judges, and writes all results."""
  from gen.io.locks import FolderLock
  from gen.scaling.sweeps import design
  from gen.scaling.workers import sweep_dtype

  executor = executors.executor_from_flags()
  sweep.name = NAME.value or sweep.name or "chinchilla"
  design.check_sweep(sweep)
  folder = Path(WORKDIR.value or f"runs/{sweep.name}")
  if line := sweep_dtype.set_default_dtype(sweep, folder, executor):
    print(line, file=sys.stderr)
  with FolderLock(folder):
    return train_and_report(sweep, folder, executor)


def train_and_report(sweep: Sweep, folder: Path, executor: executors.RunExecutor) -> int:
  """Runs the sweep in a locked folder; returns the exit code."""
  from rich.console import Console

  from gen.data import cache
  from gen.scaling.workers import study

  console = Console(highlight=False, soft_wrap=True)
  environment.compilation_cache(cache.cache_folder(sweep.data) / "compiled")
  trained = study.train_study(sweep, folder, console, executor=executor)
  try:
    if not trained.interrupted:
      return _conclude(console, sweep, trained, folder)
  except KeyboardInterrupt:
    pass
  console.print(launch.stop_line(len(trained.results), len(trained.runs), folder))
  return launch.INTERRUPTED


def _conclude(console: "Console", sweep: Sweep, trained: "TrainedStudy", folder: Path) -> int:
  """Fits, judges, prints and writes the trained runs; returns the exit code."""
  from gen.io import json_report
  from gen.io.checksums import write_atomically
  from gen.scaling.report import answer, figures, study_console, study_page, view
  from gen.scaling.runs import results_file
  from gen.scaling.verdicts import verdict
  from gen.scaling.workers import study

  analysis = verdict.analyse_sweep(
    trained.results, trained.curves, sweep.criteria, bootstraps=sweep.bootstraps, seed=sweep.seed
  )
  # The journal's encoding turns what JSON lacks (NaN) into null.
  results = json.loads(
    strict_json.encode_json(typed_json.encode_record(study.collect_results(sweep, trained, analysis)))
  )
  study_console.print_study(console, results)
  try:
    write_atomically(
      folder / "results.json", json.dumps(results_file.seal_results(results), indent=1).encode()
    )
    pictures = figures.write_figures(results, trained.curves, folder / "plots")
    page = study_page.write_page(results, trained.curves, folder)
  except OSError as error:
    raise UserError(f"cannot write in {folder}: {error.strerror}; all runs are done and saved") from error
  console.print(f"\nwritten: {folder / 'journal.jsonl'}, {folder / 'results.json'}, {page}, and")
  console.print("  " + ", ".join(str(path) for path in pictures if path.suffix == ".png"))
  console.print(f"\n{answer.answer_sentence(view.read_results(results))}")
  json_report.write_report(results, json_report.report_target(JSON.value))
  return FAILED if trained.failed else 0


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/chinchilla.py")
