"""What a job of a cluster does: it trains one run of a sweep to its end, as a pool of one worker.

    job -> worker -> the run's own folder: journal, checkpoints, result         the outcome, one file, when it is known

The worker is the one that local cores have, and a worker's death is mended here. Between the job and the sweep that
submitted it there is no pipe: the sweep reads the run's journal and the outcome. Signals, which come from outside:

    SIGUSR2   time is nearly up, or the cluster wants the node: save, ask the cluster for another start, leave
    SIGTERM   cancelled, or pre-empted in silence: save and leave, with no outcome; a second one: leave at once

A job that ends without an outcome has said nothing about its run, which goes on from its last checkpoint in the next.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gen.cli import signals
from gen.config import Run, from_dict
from gen.errors import UserError
from gen.io.checksums import write_atomically
from gen.scaling.workers import pool

LEFT = 3  # exit code of a job that left before its run had ended
HEARTBEAT = 1.0  # seconds between two looks at whether the process that started this one lives


@dataclasses.dataclass
class ClusterTask:
  """One run, as a job gets it: only plain values, for it is pickled.

  Attributes:
    config: of the run, as a dict; its name is its path below the sweep's folder.
    folder: of the sweep, absolute.
    outcome: the file that says how the run ended: {"kind": finished | failed | mistake, "text"}.
    logs: folder of the worker's log.
    command: what a worker process is.
    core: where the worker is pinned; -1 leaves that to the cluster.
  """

  config: dict[str, Any]
  folder: str
  outcome: str
  logs: str
  command: tuple[str, ...]
  core: int = -1

  def __call__(self) -> str:
    """Trains the run; returns the kind of its outcome, or does not return."""
    start_again: Any = signal.getsignal(signal.SIGUSR2)  # The cluster's library has put it there.
    _leave_with_parent()
    worker_pool = pool.WorkerPool(1, Path(self.logs), self.command, places=[self._place()])
    with _heard(worker_pool) as came:
      found = self._train(worker_pool)
    if found is not None:
      write_atomically(Path(self.outcome), json.dumps(found).encode())
      return found["kind"]
    if signal.SIGUSR2 in came and signal.SIGTERM not in came and callable(start_again):
      start_again(signal.SIGUSR2, None)
    sys.exit(LEFT)

  def checkpoint(self) -> Any:
    """Returns what the cluster starts next time, which is the same: the run's folder knows where it stopped."""
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(self)

  def _train(self, worker_pool: pool.WorkerPool) -> dict[str, str] | None:
    """Returns how the run ended; None if it was saved and left."""
    found = None
    try:
      for event in worker_pool.train([from_dict(Run, self.config)], Path(self.folder)):
        if event.kind != "row":
          print(f"{event.run.name}: {event.kind} {event.text}", flush=True)
        if event.kind in ("finished", "failed"):
          found = {"kind": event.kind, "text": event.text}
    except UserError as error:
      return {"kind": "mistake", "text": str(error)}
    return found

  def _place(self) -> pool.WorkerSlot:
    """Returns where the worker runs: what the sweep says, else all that the job has got."""
    if self.core >= 0:
      return pool.WorkerSlot(self.core)
    given = any(os.environ.get(name) for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"))
    return pool.WorkerSlot(-1, int(os.environ.get("SLURM_CPUS_PER_TASK", "1")), pool.CUDA if given else {})


@contextlib.contextmanager
def _heard(worker_pool: pool.WorkerPool) -> Iterator[list[int]]:
  """Lets the job's signals stop the pool; yields the list of those that came.

  Ctrl-C is the sweep's to hear: it reaches all processes of a terminal, and the sweep passes it on in its own way.
  """
  came: list[int] = []

  def handle(number: int, _: Any) -> None:
    if number == signal.SIGTERM and number in came:
      worker_pool.kill()
    came.append(number)
    worker_pool.stop()

  numbers = {*signals.stop_signals(), signal.SIGUSR2} - {signal.SIGINT}
  before = {number: signal.signal(number, handle) for number in numbers}
  before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield came
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _leave_with_parent() -> None:
  """Ends this process when the one that started it is gone: nobody could tell such a job from a dead one."""
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(HEARTBEAT)
    os._exit(LEFT)  # The worker sees the end of its input.

  threading.Thread(target=watch, daemon=True).start()
