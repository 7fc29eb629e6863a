"""Kills a tiny sweep and its workers at random moments until it ends, and compares it with its undisturbed twin.

    python tests/training/killed_sweeps.py FOLDER --seconds=60 --seed=0

A sitting is a forked process that trains what is left of the sweep with two worker processes. SIGKILL, SIGTERM or
SIGHUP hits the sitting or one of its workers at a random moment, or soon after a row of its runs; after at most four
hits the sweep may end. Its results, curves and the parameters of each run must be those of the twin, bit for bit.
Sweeps whose budgets are branches of trunks and sweeps of single runs take turns until the time is up. Prints one JSON
line: sweeps, sittings, hits by signal and target.
"""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gen.cli import environment
from gen.config import Criteria, Data, Model, Optimizer, Sweep
from gen.generation import loaded_model
from gen.scaling.runs.results_file import CLOCK
from gen.scaling.workers import study
from gen.scaling.workers.study import TrainedStudy

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED, PATIENCE = 3, 300.0  # exit code of a sitting that saved and stopped; seconds
ANSWER = "numbers.json"  # of a finished sweep, written by its last sitting


@dataclasses.dataclass
class Sitting:
  """A process that trains what is left of a sweep."""

  process: int
  code: int | None = None  # negative: the signal that ended it

  def ended(self) -> bool:
    """Returns whether it is over."""
    if self.code is None and (found := os.waitpid(self.process, os.WNOHANG))[0]:
      self.code = os.waitstatus_to_exitcode(found[1])
    return self.code is not None

  def wait(self) -> int:
    """Waits for its end; returns the exit code."""
    end = time.monotonic() + PATIENCE
    while not self.ended():
      if time.monotonic() > end:
        os.kill(self.process, signal.SIGKILL)
        raise SystemExit(f"process {self.process} did not end in {PATIENCE:.0f} s")
      time.sleep(0.01)
    return self.code or 0

  def workers(self) -> list[int]:
    """Returns the processes that it has started; none where the system does not list them."""
    with contextlib.suppress(OSError):
      return [
        int(child) for child in Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
      ]
    return []


def sweep_of(folder: Path, trunks: bool) -> Sweep:
  """Returns the sweep, on a text of its own."""
  corpus = folder / "text.txt"
  corpus.write_text("".join(f"line {n * n} of some text, {n % 7} and {n % 5}.\n\n" for n in range(400)))
  sweep = Sweep(
    name="tiny",
    seed=3,
    model=Model(depth=1, head_width=4, dropout=0.1),
    data=Data(corpus=str(corpus), length=24, batch=3, validation_fraction=0.3, validation_tokens=500),
    optimizer=Optimizer(peak_learning_rate=1e-2, schedule="wsd"),
    budget_unit="steps",
    budgets=(29, 43),
    widths=((8, 12), (8, 12)),
    trunks=trunks,
    log_every=5,
    steps_per_dispatch=4,
    checkpoint_every=9,
    workers=2,
    criteria=Criteria(min_steps=1),
  )
  sweep.data.cache = str(folder / "cache")
  return sweep


def start(sweep: Sweep, folder: Path) -> Sitting:
  """Forks a sitting, which writes the sweep's numbers if it comes to the end."""
  folder.mkdir(exist_ok=True)
  if process := os.fork():
    return Sitting(process)
  code = 1
  try:
    environment.compilation_cache(folder.parent / "compiled")
    trained = study.train_study(sweep, folder, Console(file=io.StringIO()))
    if not trained.interrupted:
      (folder / ANSWER).write_text(json.dumps(numbers(trained, folder)))
    code = INTERRUPTED if trained.interrupted else 0
  finally:
    os._exit(code)


def numbers(trained: TrainedStudy, folder: Path) -> dict[str, Any]:
  """Returns the results, curves, failures and parameters of a finished sweep."""
  rows = [[{k: v for k, v in row.items() if k not in (*CLOCK, "lost_rows", "seal")} for row in some]
          for some in (trained.results, trained.curves)]  # fmt: skip
  return {"rows": rows, "failed": trained.failed,
          "parameters": {run.name: digest(folder / run.name) for run in trained.runs}}  # fmt: skip


def digest(folder: Path) -> str:
  """Returns a hash of all parameters of a run."""
  import jax

  leaves = jax.tree.leaves(loaded_model.load_model(folder).params)
  return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


def undisturbed(sweep: Sweep, folder: Path) -> tuple[dict[str, Any], float]:
  """Trains a sweep that nobody disturbs; returns its numbers, and how many seconds it took."""
  begun = time.monotonic()
  if code := start(sweep, folder).wait():
    raise SystemExit(f"the undisturbed sweep ended with exit code {code}")
  found = json.loads((folder / ANSWER).read_text())
  assert len(set(found["parameters"].values())) == len(found["rows"][0]) == 4 and not found["failed"]
  return found, time.monotonic() - begun


def measured_bytes(folder: Path) -> int:
  """Returns the size of the journals of the sweep's runs, which grow with each row."""
  found = 0
  for path in folder.glob("*/journal.jsonl"):
    with contextlib.suppress(OSError):
      found += path.stat().st_size
  return found


def hit(
  sitting: Sitting, folder: Path, took: float, rng: random.Random, first: bool
) -> tuple[str, str] | None:
  """Sends a random signal to the sitting or a worker at a random moment; returns both, or None if it was over.

  The first of a sweep is for a worker that has trained, so that a short test has both targets.
  """
  after_row, number, at_worker = first or rng.random() < 0.6, rng.choice(SIGNALS), first or rng.random() < 0.5
  before, moment = measured_bytes(folder), rng.uniform(0, took / 10 if after_row else took)
  end = None if after_row else time.monotonic() + moment
  while end is None or time.monotonic() < end:
    if sitting.ended():
      return None
    if end is None and measured_bytes(folder) > before:
      end = time.monotonic() + moment
    time.sleep(0.002)
  workers = sitting.workers() if at_worker else []
  target = rng.choice(workers) if workers else sitting.process
  with contextlib.suppress(ProcessLookupError):  # A worker may leave between the look and the signal.
    os.kill(target, number)
  return number.name, "worker" if workers else "sweep"


def disturb(
  sweep: Sweep, folder: Path, took: float, rng: random.Random, most: int
) -> tuple[list[tuple[str, str]], int]:
  """Hits a sweep until it has had its share, and lets it end; returns the hits and the number of sittings."""
  hits: list[tuple[str, str]] = []
  wanted, sittings = rng.randint(2, most), 1
  sitting = start(sweep, folder)
  while len(hits) < wanted:
    found = hit(sitting, folder, took, rng, first=not hits)
    if found is None:
      break
    hits.append(found)
    if found[1] == "sweep":
      check_end(sitting.wait(), found[0], folder)
      sitting, sittings = start(sweep, folder), sittings + 1
  while (code := sitting.wait()) == INTERRUPTED:  # the last hit was a request to save and stop
    sitting, sittings = start(sweep, folder), sittings + 1
  if code:
    raise SystemExit(f"the sweep in {folder} could not go on after {hits}: exit code {code}")
  return hits, sittings


def check_end(code: int, name: str, folder: Path) -> None:
  """Checks how a sitting ended that a signal hit: by the signal, saved, or done before."""
  if code not in (0, INTERRUPTED, -signal.Signals[name]):
    raise SystemExit(f"the sweep in {folder} ended with exit code {code} by {name}")


def main() -> None:
  """Runs the hits."""
  parser = argparse.ArgumentParser()
  parser.add_argument("folder", type=Path)
  parser.add_argument("--seconds", type=float, default=60.0)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--hits", type=int, default=4, help="of one sweep, at most; at least 2")
  flags = parser.parse_args()
  flags.folder.mkdir(parents=True, exist_ok=True)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup
  rng, twins = random.Random(flags.seed), {}
  sweeps, sittings, hits, begun = 0, 0, collections.Counter[str](), time.monotonic()
  while not sweeps or time.monotonic() < begun + flags.seconds:
    trunks = sweeps % 2 == 0
    sweep, folder = sweep_of(flags.folder, trunks), flags.folder / f"sweep{sweeps}"
    if trunks not in twins:
      twins[trunks] = undisturbed(sweep, flags.folder / f"twin{sweeps}")
      begun += twins[trunks][1]
    wanted, took = twins[trunks]
    some, count = disturb(sweep, folder, took / 2, rng, flags.hits)  # half of it was compilation
    if json.loads((folder / ANSWER).read_text()) != wanted:
      raise SystemExit(f"the sweep in {folder} ended with other numbers after {some}")
    hits.update(" of a ".join(one) for one in some)
    sweeps, sittings = sweeps + 1, sittings + count
  print(json.dumps({"sweeps": sweeps, "sittings": sittings, "hits": hits}))


if __name__ == "__main__":
  main()
