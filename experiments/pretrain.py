"""Trains one model: corpus, tokenizer, batches, steps, checkpoints, evaluation, journal.

  uv run experiments/pretrain.py --config=configs/decoder.py --workdir=runs/decoder

The same command resumes an interrupted run. On several machines (or GPUs) it is started once on each: by
SLURM or Open MPI, which it recognizes, or with --coordinator, --processes and --process; scripts/launch_local.py starts
several processes on one machine.
"""

import dataclasses
from pathlib import Path

from absl import flags

from gen.cli import environment, launch
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs
from gen.sharding import process_flags, processes

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the run; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
process_flags.define_flags()
PROFILE = flags.DEFINE_string(
  "profile", "", "FIRST:LAST, steps whose trace goes into the run's folder; the same as --config.profile."
)


def main(run: Run) -> int:
  """Trains the run, as one process of several where it is one, and prints its result."""
  run = Run(**{field.name: getattr(run, field.name) for field in dataclasses.fields(Run)})  # a sweep's too
  run.profile = PROFILE.value or run.profile
  process_place = process_flags.place_from_flags()
  if process_place is not None and not run.mesh:
    raise UserError(
      f"{process_place.processes} processes train one model over the devices of all: say how, as in "
      "--config.mesh=data=8"
    )
  with processes.joined_processes(process_place, flags.FLAGS.wait_seconds):
    processes.from_first(lambda: _check(run))
    return _train(run)


def _check(run: Run) -> None:
  """Checks the run, and that its mesh is one of the devices that there are, before anything is built."""
  from gen.sharding import layouts
  from gen.training.run_log import row_mirrors

  validation.check_run(run)
  if run.wandb:
    row_mirrors.require_wandb()
  layouts.layout_of_run(run)


def _train(run: Run) -> int:
  from gen.data import cache, dataset
  from gen.io import json_report
  from gen.io.locks import FolderLock
  from gen.training import compute_dtype, loop, run_text, start_source, trunks
  from gen.training.run_folders import folder_claim, run_folder
  from gen.training.run_log.run_console import RunConsole, print_once

  def check_folder(workdir: Path) -> None:  # Before the corpus is built: nobody else's, and writable.
    with FolderLock(workdir):
      folder_claim.check_claim(workdir, start_source.with_start(run, workdir))

  run.name = run.name or Path(WORKDIR.value).name or "run"
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  loop.row_length(run)
  compute_dtype.set_dtype(run, workdir, print_once)
  processes.from_first(lambda: check_folder(workdir))
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  console = RunConsole()
  data = dataset.load_dataset(run.data, print_once)
  complete = loop.complete_run(run, data)
  for line in run_text.RunText(complete, data).notes():
    print_once(line)
  if not run_folder.has_result(workdir, complete):
    print_once("compiling; the first lines of training come after that")
  try:
    result = trunks.train_branch(run, workdir, data, console)
  except loop.RunStopped as stopped:
    print_once(f"{stopped}; the same command resumes")
    return launch.INTERRUPTED
  if not processes.is_first():
    return 0
  if not console.rows:
    print_once(f"the run in {workdir} is finished already; this is its result")
  try:
    json_report.write_report(result, json_report.report_target(JSON.value))
  except UserError as error:
    raise UserError(f"{error}; the run is done and saved in {workdir}") from error
  console.print_result(result, workdir)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/decoder.py")
