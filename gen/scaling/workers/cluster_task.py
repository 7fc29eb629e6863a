"""A cluster job: trains one run of a sweep to its end, as a pool of one worker.

    job -> worker -> the run's own folder: journal, checkpoints, result         the outcome: one file at the end

The worker is the same as on local cores, and the job restarts a worker that dies. There is no pipe between the job and
the sweep that submitted it: the sweep reads the run's journal and the outcome. External signals:

    SIGUSR2   the time limit is near, or the cluster needs the node: save, ask for another start, exit
    SIGTERM   cancelled, or pre-empted without warning: save and exit without an outcome; a second one: exit at once

If a job ends without an outcome, the next job continues its run from the last checkpoint.
"""

import contextlib
import dataclasses
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
from gen.io import strict_json, typed_json
from gen.io.checksums import write_atomically
from gen.scaling.workers import pool
from gen.scaling.workers.messages import RunOutcome

LEFT = 3  # exit code of a job that left before its run had ended: any but 0, 1 and 2
HEARTBEAT = 1.0  # seconds between two looks at whether the process that started this one lives


@dataclasses.dataclass
class ClusterTask:
  """One run as a job's task; it holds only plain values, because it is pickled.

  Attributes:
    config: config of the run as a dict; its name is its path below the sweep's folder.
    folder: absolute folder of the sweep.
    outcome: file for the `RunOutcome`.
    logs: folder of the worker's log.
    command: command that starts a worker process.
    core: core to which the worker is pinned; -1 leaves that to the cluster.
  """

  config: dict[str, object]
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
      result = self._train(worker_pool)
    if result is not None:
      write_atomically(Path(self.outcome), strict_json.encode_json(typed_json.encode_record(result)))
      return result.kind
    if signal.SIGUSR2 in came and signal.SIGTERM not in came and callable(start_again):
      start_again(signal.SIGUSR2, None)
    sys.exit(LEFT)

  def checkpoint(self) -> Any:
    """Returns the task that the cluster starts next: the same one, because checkpoints are in the run's folder."""
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(self)

  def _train(self, worker_pool: pool.WorkerPool) -> RunOutcome | None:
    """Returns the outcome of the run; None if it was saved and stopped."""
    outcome = None
    try:
      for event in worker_pool.train([from_dict(Run, self.config)], Path(self.folder)):
        if event.kind != "row":
          print(f"{event.run.name}: {event.kind} {event.text}", flush=True)
        if event.kind in ("finished", "failed"):
          outcome = RunOutcome("finished" if event.kind == "finished" else "failed", event.text)
    except UserError as error:
      return RunOutcome("mistake", str(error))
    return outcome

  def _place(self) -> pool.WorkerSlot:
    """Returns the worker's slot: the core that the sweep chose, else all resources of the job."""
    if self.core >= 0:
      return pool.WorkerSlot(self.core)
    assigned = any(os.environ.get(name) for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"))
    return pool.WorkerSlot(-1, int(os.environ.get("SLURM_CPUS_PER_TASK", "1")), pool.CUDA if assigned else {})


@contextlib.contextmanager
def _heard(worker_pool: pool.WorkerPool) -> Iterator[list[int]]:
  """Stops the pool on the job's signals; yields the list of received signals.

  Ctrl-C is ignored here: it reaches all processes of a terminal, and the sweep forwards it itself.
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
  """Ends this process when its parent is gone, because the sweep could not distinguish such a job from a dead one."""
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(HEARTBEAT)
    os._exit(LEFT)  # The worker sees the end of its input.

  threading.Thread(target=watch, daemon=True).start()
