"""A pool of worker processes on this machine, one per core or GPU, with a stream of their events.

`WorkerPool.train(runs)` assigns the runs in order and yields a `WorkerEvent` for each message of a worker. A worker
that dies (exception, SIGKILL, out of memory) is replaced, and its run continues from its last checkpoint, up to a
number of attempts. Other runs are not affected.
"""

import collections
import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from gen.cli import signals
from gen.cli.environment import worker_environment
from gen.config import Run, to_dict
from gen.errors import UserError
from gen.scaling.workers import messages
from gen.training.run_log.rows import RowValues

COMMAND = (sys.executable, "-m", "gen.scaling.workers.worker")
# A worker that cannot have its GPU fails; left alone, jax would take the CPU.
CUDA = {"JAX_PLATFORMS": "cuda,cpu"}
PATIENCE = 0.2  # seconds between two looks at whether to stop
SIMILAR_LENGTH_FRACTION = 0.4  # of the longest waiting run's FLOPs: a run that may be taken before it


EventKind = Literal["started", "row", "finished", "retried", "failed", "stopped", "news"]


@dataclasses.dataclass(frozen=True)
class WorkerEvent:
  """An event of a run.

  Attributes:
    kind: started | row (the run wrote `row` in its journal) | finished (`row` is its result) | retried (its worker
      died, it will be tried once more) | failed (too often) | stopped (saved, on request) | news (of a cluster).
    worker: number of the worker.
    run: the run.
    row: the row of a row or finished event.
    text: the reason in one line.
  """

  kind: EventKind
  worker: int
  run: Run
  row: RowValues = dataclasses.field(default_factory=RowValues)
  text: str = ""


class RunTrainer(Protocol):
  """The interface of a trainer of a sweep's runs, local or remote."""

  @property
  def workers(self) -> int:
    """Maximum number of runs at a time."""
    ...

  @property
  def worker_seconds(self) -> float:
    """Wall time of all workers so far, start-up included."""
    ...

  def train(self, runs: Sequence[Run], folder: Path) -> Generator[WorkerEvent]:
    """Yields what happens until all runs are trained, have failed, or were stopped."""
    ...

  def stop(self) -> None:
    """Asks all runs to save and stop; may be called from a signal handler."""

  def kill(self) -> None:
    """Ends all runs without saving; may be called from a signal handler."""


class WorkerSlot(NamedTuple):
  """Resources of a worker: its core (-1: not pinned), number of threads and environment variables."""

  core: int = -1
  threads: int = 1
  environment: Mapping[str, str] = {}


class PoolWorker:
  """The pool's handle of one worker process."""

  def __init__(self, number: int, command: Sequence[str], slot: WorkerSlot, log: Path, inbox: Any) -> None:
    """Starts the process; its messages go to the inbox as (worker, message), and None when it dies.

    Args:
      number: number of the worker, for display.
      command: command to start; "--core=N" is added.
      slot: resources of the worker.
      log: file to which its standard error is appended.
      inbox: queue of messages.
    """
    self.number, self.log = number, log
    self.run: Run | None = None
    self.shapes: set[str] = set()  # those that it has compiled
    self.why = ""  # its own word on how it crashed
    self.began, self.ended = time.monotonic(), 0.0
    with log.open("ab") as errors:
      self._process = subprocess.Popen(
        [*command, f"--core={slot.core}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=worker_environment(slot.threads) | dict(slot.environment),
        start_new_session=True,  # Ctrl-C in the terminal is the pool's to pass on.
      )
    threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

  def give(self, run: Run, folder: Path) -> None:
    """Sends a run to train; the inbox reports the worker's death meanwhile."""
    self.run = run
    self.shapes.add(shape_of(run))
    self._send(messages.train_command(run, str(folder)))

  def ask_to_stop(self) -> None:
    """Asks the worker to save its run and exit."""
    self._send(messages.WorkerCommand("stop"))

  def retire(self) -> None:
    """Ends an idle worker."""
    with contextlib.suppress(OSError):
      self._input.close()

  def kill(self) -> None:
    """Ends the worker without saving; may be called from a signal handler."""
    self._process.kill()

  def exit_reason(self) -> str:
    """Describes how the ended process exited."""
    code = self._process.wait()
    if self.why:
      return self.why
    if code < 0:
      name = signal.Signals(-code).name
      memory = " (the system may have run out of memory)" if -code == signal.SIGKILL else ""
      return f"its worker was ended by {name}{memory}"
    return f"its worker ended with exit code {code}: {last_line(self.log)}"

  @property
  def seconds(self) -> float:
    """Wall time of the process in seconds."""
    return (self.ended or time.monotonic()) - self.began

  @property
  def _input(self) -> Any:
    return self._process.stdin

  def _send(self, command: messages.WorkerCommand) -> None:
    with contextlib.suppress(OSError):
      self._input.write(messages.encode_message(command))
      self._input.flush()

  def _listen(self, inbox: Any) -> None:
    output = self._process.stdout
    assert output is not None
    for line in output:
      with contextlib.suppress(UserError):  # A line torn by its death.
        inbox.put((self, messages.decode_reply(line)))
    output.close()
    inbox.put((self, None))


class WorkerPool:
  """Trains runs in worker processes."""

  def __init__(
    self,
    workers: int,
    logs: Path,
    command: Sequence[str] = COMMAND,
    attempts: int = 3,
    places: Sequence[WorkerSlot] = (),
  ) -> None:
    """Starts nothing yet.

    Args:
      workers: processes at a time; 0 is one per slot.
      logs: folder of the workers' logs.
      command: command that starts a worker process.
      attempts: number of starts of a run before it counts as failed.
      places: slots of the workers; empty is one per core.
    """
    self._places = tuple(places) or tuple(map(WorkerSlot, pool_cores()))
    self._slots: list[PoolWorker | None] = [None] * (workers or len(self._places))
    self._logs, self._command, self._max_attempts = logs, command, attempts
    self._inbox: queue.SimpleQueue[tuple[PoolWorker, messages.WorkerReply | None]] = queue.SimpleQueue()
    self._waiting: collections.deque[Run] = collections.deque()
    self._attempts: collections.Counter[str] = collections.Counter()
    self._stopping, self._told = False, False
    self._mistake = ""
    self._past_seconds = 0.0

  @property
  def workers(self) -> int:
    """Number of processes at a time."""
    return len(self._slots)

  @property
  def stopping(self) -> bool:
    """Whether `stop` was called, or a user's mistake ended the work."""
    return self._stopping

  @property
  def worker_seconds(self) -> float:
    """Wall time of all worker processes so far, start-up included."""
    return self._past_seconds + sum(worker.seconds for worker in self._alive())

  def stop(self) -> None:
    """Asks all workers to save and exit; may be called from a signal handler."""
    self._stopping = True

  def kill(self) -> None:
    """Ends all workers at once."""
    self._stopping = True
    for worker in self._alive():
      worker.kill()

  def train(self, runs: Sequence[Run], folder: Path) -> Generator[WorkerEvent]:
    """Yields events until all runs are trained, have failed, or were stopped.

    Args:
      runs: runs in starting order, with different names.
      folder: parent of the runs' folders.

    Raises:
      UserError: if a worker reported a user's mistake, after all others have saved their runs.
    """
    self._waiting.extend(runs)
    try:
      self._logs.mkdir(parents=True, exist_ok=True)
      while True:
        yield from self._hand_out(folder)
        if not self._alive():
          break
        try:
          worker, message = self._inbox.get(timeout=PATIENCE)
        except queue.Empty:
          continue
        yield from self._take(worker, message)
    except OSError as error:
      raise UserError(f"cannot run workers with logs in {self._logs}: {error.strerror or error}") from error
    finally:
      for worker in self._alive():
        worker.kill()
        self._remove_worker(worker)
        worker.exit_reason()
    if self._mistake:
      raise UserError(self._mistake)

  def _alive(self) -> list[PoolWorker]:
    return [worker for worker in self._slots if worker is not None]

  def _hand_out(self, folder: Path) -> Iterator[WorkerEvent]:
    """Gives each idle worker its next run, or ends it if none is left."""
    if self._stopping:
      self._waiting.clear()
      if not self._told:
        self._told = True
        for worker in self._alive():
          worker.ask_to_stop()
      return
    for number, slot in enumerate(self._slots):
      if slot is not None and slot.run is not None:
        continue
      if self._waiting:
        worker = slot or self._start(number)
        run = self._pick(worker)
        self._attempts[run.name] += 1
        worker.give(run, folder / run.name)
        yield WorkerEvent("started", number, run)
      elif slot is not None:
        slot.retire()

  def _pick(self, worker: PoolWorker) -> Run:
    """Returns the next run; among runs of similar length, it prefers a shape that this worker has compiled.

    Otherwise it prefers a shape that no worker has, because two workers would compile it twice.
    """
    equals = [run for run in self._waiting if run.flops >= SIMILAR_LENGTH_FRACTION * self._waiting[0].flops]
    anywhere = set().union(*(alive.shapes for alive in self._alive()))
    own = [run for run in equals if shape_of(run) in worker.shapes]
    new = [run for run in equals if shape_of(run) not in anywhere]
    run = (own or new or equals)[0]
    self._waiting.remove(run)
    return run

  def _start(self, number: int) -> PoolWorker:
    slot = self._places[number % len(self._places)]
    log = self._logs / f"worker-{number}.log"
    worker = PoolWorker(number, self._command, slot, log, self._inbox)
    self._slots[number] = worker
    return worker

  def _take(self, worker: PoolWorker, message: messages.WorkerReply | None) -> Iterator[WorkerEvent]:
    run = worker.run
    if message is None:
      yield from self._dead(worker)
    elif run is None:
      return
    elif message.reply == "row":
      yield WorkerEvent("row", worker.number, run, message.row or {})
    elif message.reply == "finished":
      worker.run = None
      yield WorkerEvent("finished", worker.number, run, message.row or {})
    elif message.reply == "mistake":
      self._mistake = self._mistake or f"{run.name}: {message.text}"
      worker.run, self._stopping = None, True
    elif message.reply == "diverged":
      worker.run = None
      yield WorkerEvent("failed", worker.number, run, text=message.text or "")
    elif message.reply == "stopped" and self._stopping:
      worker.run = None
      yield WorkerEvent("stopped", worker.number, run)
    else:
      worker.why = message.text or "another process asked its worker to exit"

  def _dead(self, worker: PoolWorker) -> Iterator[WorkerEvent]:
    """Replaces a dead worker; its unfinished run is retried or given up."""
    self._remove_worker(worker)
    run, why = worker.run, worker.exit_reason()
    if run is None:
      return
    if self._stopping:
      yield WorkerEvent("stopped", worker.number, run)
    elif self._attempts[run.name] < self._max_attempts:
      self._waiting.appendleft(run)
      yield WorkerEvent("retried", worker.number, run, text=why)
    else:
      yield WorkerEvent("failed", worker.number, run, text=f"{why} (see {worker.log})")

  def _remove_worker(self, worker: PoolWorker) -> None:
    worker.ended = time.monotonic()
    worker.retire()
    self._past_seconds += worker.seconds
    self._slots[worker.number] = None


def shape_of(run: Run) -> str:
  """Returns a key that is equal for runs that share compiled steps."""
  return json.dumps([to_dict(run.model), run.data.batch, run.data.length])


def pool_cores() -> list[int]:
  """Returns the cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def last_line(log: Path) -> str:
  """Returns the last informative line of a log."""
  try:
    with log.open("rb") as file:
      file.seek(max(0, log.stat().st_size - 4096))
      lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
  except OSError:
    return "no log"
  return next((line for line in reversed(lines) if line), "nothing in its log")


@contextlib.contextmanager
def stopped_by_signals(pool: RunTrainer) -> Iterator[list[int]]:
  """Stops the pool on signals, at once on a second one; yields the list of received signals, duplicates removed.

  Outside the main thread Python cannot handle signals, so nothing changes.
  """
  came: list[int] = []
  presses = signals.SignalDebouncer()

  def handle(number: int, _: Any) -> None:
    urgency = presses.urgency(number)
    if not urgency:
      return
    came.append(number)
    if urgency == 1:
      pool.stop()
    else:
      pool.kill()

  if threading.current_thread() is not threading.main_thread():
    yield came
    return
  before = {number: signal.signal(number, handle) for number in signals.stop_signals()}
  try:
    yield came
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
