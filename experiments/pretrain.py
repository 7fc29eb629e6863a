"""Trains one model: corpus, tokenizer, batches, steps, checkpoints, evaluation, journal.

  uv run experiments/pretrain.py --config=configs/decoder.py --workdir=runs/decoder

The same command resumes an interrupted run. On several machines (or GPUs) it is started once on each: by
SLURM or Open MPI, which it recognizes, or with --coordinator, --processes and --process; scripts/launch_local.py starts
several processes on one machine.
"""

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch, signals
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities
from gen.sharding import processes

if TYPE_CHECKING:
  from gen.training.rows import RunResult

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the run; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, in a run of several processes.")
PROCESSES = quantities.DEFINE_integer(
  "processes",
  0,
  "Processes of the run; 0: from the launcher, or 1.",
  lower_bound=0,
  upper_bound=1_000_000,
)
PROCESS = quantities.DEFINE_integer(
  "process",
  -1,
  "Index of this process, from 0; -1: from the launcher.",
  lower_bound=-1,
  upper_bound=1_000_000,
)
PROFILE = flags.DEFINE_string(
  "profile", "", "FIRST:LAST, steps whose trace goes into the run's folder; the same as --config.profile."
)
WAIT_SECONDS = quantities.DEFINE_float(
  "wait_seconds",
  120.0,
  "Seconds that processes wait for each other at the start.",
  lower_bound=0,
  upper_bound=1_000_000,
)
MANY_EPOCHS = 4  # up to which repeated text is worth about as much as new text (arXiv:2305.16264, section 1)


class Watch:
  """Prints a run's rows, and asks it to stop at the first interrupt."""

  def __init__(self) -> None:
    self.shown = 0.0
    self.rows = 0
    self.lowest: tuple[float, int] = (math.inf, 0)  # validation loss and its step
    self.stop = signals.StopRequest(_say).stop

  def progress(self, row: dict[str, Any]) -> None:
    """Prints a line for a row, at most once per second."""
    if not processes.is_first():
      return
    self.rows += 1
    if row["kind"] == "resume":
      print(f"resumes after step {row['step']:,}", file=sys.stderr)
    elif row["kind"] == "train" and time.time() - self.shown > 1:
      self.shown = time.time()
      print(
        f"step {row['step']:>7,}/{row['steps']:,}  loss {_number(row['loss'])}  "
        f"rate {row['learning_rate']:.2e}  {row['tokens_per_second']:>9,.0f} tokens/s  "
        f"{_speed(row['gflops'])}  {_utilization(row)}{_left(row)} left"
        + (f"  {row['skipped']} skipped" if row["skipped"] else ""),
        file=sys.stderr,
      )
    elif row["kind"] == "source":
      print("\n".join(row["notes"]), file=sys.stderr)
    elif row["kind"] == "evaluation":
      # Rows hold null for a loss that is not finite.
      loss, bits = _number(row["loss"]), _number(row["bits_per_byte"])
      line = f"step {row['step']:>7,}  validation {loss} nats/token  {bits} bits/byte"
      print(line, file=sys.stderr)
      self.lowest = min(self.lowest, (row["loss"] if row["loss"] is not None else math.inf, row["step"]))


def _speed(gflops: float | None) -> str:
  """Returns GFLOP/s in words; rows hold null where a module of the user's own does not count its FLOPs."""
  return "FLOPs not counted" if gflops is None or math.isnan(gflops) else f"{gflops:.1f} GFLOP/s"


def _utilization(row: dict[str, Any]) -> str:
  return f"MFU {row['mfu']:.1%}  " if row.get("mfu") is not None else ""


def _left(row: dict[str, Any]) -> str:
  tokens = row["tokens"] / row["step"] * (row["steps"] - row["step"])
  seconds = tokens / max(row["tokens_per_second"], 1e-9)
  return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def main(run: Run) -> int:
  """Trains the run, as one process of several where it is one, and prints its result."""
  run = Run(**{field.name: getattr(run, field.name) for field in dataclasses.fields(Run)})  # a sweep's too
  run.profile = PROFILE.value or run.profile
  process_place = processes.find_place(COORDINATOR.value, PROCESSES.value, PROCESS.value)
  if process_place is not None and not run.mesh:
    raise UserError(
      f"{process_place.processes} processes train one model over the devices of all: say how, as in "
      "--config.mesh=data=8"
    )
  with processes.joined_processes(process_place, WAIT_SECONDS.value):
    processes.from_first(lambda: _check(run))
    return _train(run)


def _check(run: Run) -> None:
  """Checks the run, and that its mesh is one of the devices that there are, before anything is built."""
  from gen.sharding import layouts
  from gen.training import row_mirrors

  validation.check_run(run)
  if run.wandb:
    row_mirrors.require_wandb()
  layouts.layout_of_run(run)


def _train(run: Run) -> int:
  from gen.data import cache, dataset
  from gen.io.locks import FolderLock
  from gen.training import folder_claim, loop, run_length, start_source, trunks

  def free(workdir: Path) -> None:  # Nobody else's, and writable: said before the corpus is built.
    with FolderLock(workdir):
      folder_claim.check_claim(workdir, start_source.with_start(run, workdir))

  run.name = run.name or Path(WORKDIR.value).name or "run"
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  loop.row_length(run)
  _set_dtype(run, workdir)
  processes.from_first(lambda: free(workdir))
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  watch = Watch()
  data = dataset.load_dataset(run.data, _say)
  _say(_epochs_line(run_length.count_epochs(loop.complete_run(run, data), data), len(data.train.ids)))
  _say("compiling; the first lines of training come after that")
  try:
    result = trunks.train_branch(run, workdir, data, watch)
  except loop.RunStopped as stopped:
    _say(f"{stopped}; the same command resumes")
    return launch.INTERRUPTED
  if processes.is_first():
    if not watch.rows:
      _say(f"the run in {workdir} is finished already; this is its result")
    _report(result, workdir, watch)
  return 0


def _epochs_line(epochs: float, tokens: int) -> str:
  """Returns how often the training text is read, with advice where that is often."""
  line = f"reads {epochs:.2g} epochs of {tokens:,} training tokens"
  if epochs <= MANY_EPOCHS:
    return line
  return f"{line}; text read more than about {MANY_EPOCHS} times adds little: lower steps, or give more text"


def _set_dtype(run: Run, workdir: Path) -> None:
  """Sets the dtype of compute, equal in all processes, and says so where it is not the config's."""
  from gen.training import compute_dtype

  before, dtype = run.model.dtype, processes.from_first(lambda: compute_dtype.choose_dtype(run, workdir))
  run.model = dataclasses.replace(run.model, dtype=dtype)
  if dtype != before:
    kind = "its default on a GPU or TPU, or that of the run in the folder"
    _say(f"model.dtype is {dtype}, {kind}; --config.model.dtype sets another")


def _say(line: str) -> None:
  if processes.is_first():
    print(line, file=sys.stderr)


def _number(value: float | None) -> str:
  return "NaN" if value is None or math.isnan(value) else f"{value:.4f}"


def _flops(flops: float) -> str:
  return "not counted" if math.isnan(flops) else f"{flops:.3g} FLOPs"


def _report(result: "RunResult", workdir: Path, watch: Watch) -> None:
  from gen.io import json_report, typed_json

  try:
    json_report.write_report(typed_json.encode_record(result), json_report.report_target(JSON.value))
  except UserError as error:
    raise UserError(f"{error}; the run is done and saved in {workdir}") from error
  print(
    f"{result.name}: N {result.params:,} of {result.params_total:,} parameters, "
    f"D {result.tokens:,} tokens, C {_flops(result.flops)} (6ND {result.flops_6nd:.3g})\n"
    f"validation loss {_number(result.loss)} nats per token, {_number(result.bits_per_byte)} bits per byte; "
    f"{_speed(result.gflops)}, "
    + (f"MFU {result.mfu:.1%} of the chips' peak, " if result.mfu is not None else "")
    + f"{result.seconds:.0f} s in steps\n"
    f"journal and checkpoints in {workdir}"
  )
  loss, step = watch.lowest
  if loss < result.loss:
    print(f"the lowest validation loss was {loss:.4f}, at step {step:,}")


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/decoder.py")
