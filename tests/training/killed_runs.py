"""Kills a tiny run at random moments until it ends, and compares it with its twin that nobody disturbed.

    python tests/training/killed_runs.py FOLDER --seconds=60 --seed=0

A victim is forked before jax starts a backend, killed by SIGKILL at a random moment of its life or after its first
checkpoint, and followed by another in the same folder; after at most four kills the run may end. Its losses, its
result and its parameters must be those of the twin, bit for bit. Runs follow until the time is up, or one does.
Prints one JSON line: runs, kills, and how many kills left a checkpoint behind.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np

from gen.cli import environment
from gen.config import Data, Model, Optimizer, Run
from gen.data import dataset
from gen.generation import loaded_model
from gen.training import loop
from gen.training.checkpointing import checkpoint_folder
from gen.training.run_log import journal

CLOCKS = ("time", "seconds", "seconds_spent", "wall_seconds", "tokens_per_second", "gflops", "lost_rows")
KILLS = 4  # of one run, at most


def run_of(folder: Path) -> Run:
  """Returns the run that is killed, on a text of its own."""
  corpus = folder / "text.txt"
  corpus.write_text("".join(f"line {n * n} of some text, {n % 7} and {n % 5}.\n\n" for n in range(400)))
  data = Data(corpus=str(corpus), length=24, batch=3, validation_fraction=0.3, validation_tokens=500,
              cache=str(folder / "cache"))  # fmt: skip
  return Run(
    name="tiny",
    seed=3,
    model=Model(width=8, depth=1, head_width=4, dropout=0.1),
    data=data,
    optimizer=Optimizer(peak_learning_rate=1e-2, schedule="wsd"),
    steps=40,
    log_every=5,
    steps_per_dispatch=4,
    checkpoint_every=9,
  )


def start(run: Run, folder: Path) -> int:
  """Forks a process that trains the run to its end; returns its id."""
  victim = os.fork()
  if victim == 0:
    code = 1
    try:
      environment.compilation_cache(folder.parent / "compiled")
      loop.train_run(run, folder, dataset.load_dataset(run.data))
      code = 0
    finally:
      os._exit(code)
  return victim


def kill(run: Run, folder: Path, after_save: bool, moment: float) -> bool:
  """Starts a victim and kills it so many seconds after its begin or its first checkpoint; returns whether it ran."""
  victim, before, end = start(run, folder), latest(folder), None
  while end is None or time.monotonic() < end:
    if end is None and (not after_save or latest(folder) > before):
      end = time.monotonic() + moment
    if (found := os.waitpid(victim, os.WNOHANG))[0]:
      if found[1]:
        raise SystemExit(f"a process could not go on in {folder}")
      return False
    time.sleep(0.002)
  os.kill(victim, signal.SIGKILL)
  return os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL


def latest(folder: Path) -> int:
  """Returns the step of the latest checkpoint; 0 where there is none."""
  return max(checkpoint_folder.complete_steps(folder / "checkpoints"), default=0)


def end(run: Run, folder: Path) -> None:
  """Trains what is left of a run."""
  if os.waitstatus_to_exitcode(os.waitpid(start(run, folder), 0)[1]):
    raise SystemExit(f"the run in {folder} could not go on")


def numbers(folder: Path) -> dict[str, object]:
  """Returns the losses, evaluations, result and parameters of a finished run."""
  rows = [
    {name: value for name, value in row.items() if name not in CLOCKS and name != "seal"}
    for row in journal.read_journal(folder / "journal.jsonl")
    if row["kind"] in ("train", "evaluation", "result")
  ]
  reader, writer = os.pipe()
  if (child := os.fork()) == 0:
    try:
      os.write(writer, digest(folder).encode())
    finally:
      os._exit(0)
  os.close(writer)
  with os.fdopen(reader) as file:
    found = file.read()
  os.waitpid(child, 0)
  return {"rows": rows, "parameters": found}


def digest(folder: Path) -> str:
  """Returns a hash of all parameters; starts a backend."""
  import jax

  leaves = jax.tree.leaves(loaded_model.load_model(folder).params)
  return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


def main() -> None:
  """Runs the kills."""
  parser = argparse.ArgumentParser()
  parser.add_argument("folder", type=Path)
  parser.add_argument("--seconds", type=float, default=60.0)
  parser.add_argument("--seed", type=int, default=0)
  flags = parser.parse_args()
  flags.folder.mkdir(parents=True, exist_ok=True)
  run, rng = run_of(flags.folder), random.Random(flags.seed)
  end(run, flags.folder / "first")  # which compiles
  begun = time.monotonic()
  end(run, flags.folder / "whole")
  took, wanted = time.monotonic() - begun, numbers(flags.folder / "whole")
  assert len(str(wanted["parameters"])) == 64 and wanted == numbers(flags.folder / "first")
  runs, kills, saved, begun = 0, 0, 0, time.monotonic()
  while not runs or time.monotonic() < begun + flags.seconds:
    folder = flags.folder / f"run{runs}"
    for number in range(rng.randint(1, KILLS)):
      after_save = number == 0 or rng.random() < 0.5
      kills += kill(run, folder, after_save, rng.uniform(0, took / 9 if after_save else took))
      saved += latest(folder) > 0
    end(run, folder)
    if numbers(folder) != wanted:
      raise SystemExit(f"the run in {folder} ended with other numbers")
    runs += 1
  print(json.dumps({"runs": runs, "kills": kills, "saved": saved, "took": took}))


if __name__ == "__main__":
  main()
