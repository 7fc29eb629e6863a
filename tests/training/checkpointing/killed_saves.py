"""Kills processes that save without pause, at random moments, and checks after each that nothing was lost.

    python tests/training/checkpointing/killed_saves.py FOLDER --kills=100 --seed=0

Each victim first restores the latest step and compares every number with what that step must hold, then saves on.
Prints one JSON line: kills, how many hit a save half-written, and the last step. Any corrupt or lost latest step
ends it with an error. Victims are forked before jax starts a backend, so that each costs a fraction of a second.
"""

import argparse
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen.io import checksums
from gen.training.checkpointing import checkpoint_folder
from gen.training.checkpointing.checkpoints import Checkpoints

SHAPES = {"kernel": (64, 96), "bias": (96,), "count": ()}


def state(step: int) -> dict[str, Any]:
  """Returns arrays that only this step can hold."""
  return {
    name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + step * 1000
    for name, shape in SHAPES.items()
  }


def save_until_killed(folder: Path) -> None:
  """Checks the latest step, then saves one step after another."""
  with Checkpoints(folder, keep=2) as checkpoints:
    step = checkpoints.latest()
    if step is not None:
      restored, meta = checkpoints.restore(state(0))
      assert meta["step"] == step and meta["data"] == {"position": step * 3}, meta
      jax.tree.map(np.testing.assert_array_equal, restored, state(step))
    while True:
      step = (step or 0) + 1
      checkpoints.save(step, jax.tree.map(jax.numpy.asarray, state(step)), {"data": {"position": step * 3}})


def kill_one(folder: Path, rng: random.Random) -> bool:
  """Starts a victim, kills it within its first saves; returns whether a save was half-written."""
  victim = os.fork()
  if victim == 0:
    try:
      save_until_killed(folder)
    finally:
      os._exit(1)  # Only reached by a failed check.
  before = max(checkpoint_folder.complete_steps(folder), default=0)
  more = rng.randrange(3)  # whole saves before the kill, so that each victim finds what another left
  wait(victim, (folder / f"{before + 1:09d}{checkpoint_folder.PARTIAL}").is_dir)
  begun = time.monotonic()
  wait(victim, lambda: max(checkpoint_folder.complete_steps(folder), default=0) >= before + more)
  pace = (time.monotonic() - begun) / more if more else 0.1
  time.sleep(rng.random() * pace)
  os.kill(victim, signal.SIGKILL)
  if os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) != -signal.SIGKILL:
    raise SystemExit(f"after step {before} a process could not go on")
  return check(folder, before + more)


def wait(victim: int, done: Callable[[], bool]) -> None:
  """Waits until something is so, as long as the victim lives."""
  while not done():
    if os.waitpid(victim, os.WNOHANG)[0]:
      raise SystemExit("a process could not go on from what the one before it left")
    time.sleep(0.001)


def check(folder: Path, before: int) -> bool:
  """Raises unless every visible step is whole and the latest is no older than before the kill."""
  complete = checkpoint_folder.complete_steps(folder)
  # Files alone: tensorstore, which opens arrays, must not be used before a fork. The next victim opens them.
  paths = {step: checkpoint_folder.path_of(folder, step) for step in complete}
  damaged = {step: found for step, path in paths.items() if (found := checksums.find_damages(path))}
  if damaged or max(complete, default=0) < before:
    raise SystemExit(f"before the kill step {before}, now {complete}, damaged: {damaged}")
  return any(path.suffix == checkpoint_folder.PARTIAL for path in folder.iterdir())


def main() -> None:
  """Runs the kills."""
  parser = argparse.ArgumentParser()
  parser.add_argument("folder", type=Path)
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  flags = parser.parse_args()
  rng = random.Random(flags.seed)
  flags.folder.mkdir(parents=True, exist_ok=True)
  halfway = sum(kill_one(flags.folder, rng) for _ in range(flags.kills))
  print(
    json.dumps(
      {
        "kills": flags.kills,
        "half_written": halfway,
        "latest": checkpoint_folder.complete_steps(flags.folder)[-1],
      }
    )
  )


if __name__ == "__main__":
  main()
