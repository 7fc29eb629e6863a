"""A worker process that trains one run after another, on one core, for the pool that started it.

They communicate by `gen.scaling.workers.messages`: commands on the worker's standard input, replies on its standard
output.

A worker keeps its compiled steps between runs, so each shape is compiled once. The end of its input means that the
pool is dead: it exits at once, and the run continues from its last checkpoint when the sweep is started again.
"""

import argparse
import functools
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from gen.cli import environment, signals
from gen.config import Data, Run, from_dict, mixture, to_dict
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.workers import messages
from gen.scaling.workers.messages import WorkerCommand, WorkerReply
from gen.training.run_log.rows import RowValues

CRASHED = 1  # exit codes
# Any code but 0, 1 and the 2 of a user's mistake.
ORPHANED = 3

# (run, folder, hooks) -> the result row, or None if the run was saved and left on request.
Train = Callable[[Run, Path, "WorkerHooks"], RowValues | None]


class WorkerChannel:
  """Lines of JSON to the pool."""

  def __init__(self, descriptor: int) -> None:
    """Wraps the file descriptor that the pool reads from."""
    self._descriptor = descriptor

  def send(self, reply: WorkerReply) -> None:
    """Writes one reply; ends the process if the pool is gone."""
    line = messages.encode_message(reply)
    try:
      while line:
        line = line[os.write(self._descriptor, line) :]
    except OSError:
      os._exit(ORPHANED)


class WorkerInbox:
  """The pool's commands, read in a separate thread, so a stop or the pool's death need not wait for a step."""

  def __init__(self, commands: BinaryIO) -> None:
    """Starts to listen."""
    self.stopping = threading.Event()
    self.safe_to_leave = True  # no step is under way that a save would keep
    self._commands = commands
    # Unlike Queue's, its put may be called from a signal handler while the same thread waits in get.
    self._waiting: queue.SimpleQueue[WorkerCommand | None] = queue.SimpleQueue()
    threading.Thread(target=self._listen, name="inbox", daemon=True).start()

  def stop(self, *_: Any) -> None:
    """Requests the worker to save and exit; also the handler of signals."""
    self.stopping.set()
    self._waiting.put(None)

  def next(self) -> WorkerCommand | None:
    """Waits for the next run; returns None on the command to exit."""
    command = self._waiting.get()
    return None if self.stopping.is_set() else command

  def _listen(self) -> None:
    for line in self._commands:
      command = messages.decode_command(line)
      if command.command == "train":
        self._waiting.put(command)
        continue
      self.stop()
      # Loading and compiling take seconds in which the main thread looks at nothing.
      if self.safe_to_leave:
        os._exit(0)
    os._exit(ORPHANED)


class WorkerHooks:
  """Hooks that connect the training loop with the pool."""

  def __init__(self, channel: WorkerChannel, inbox: WorkerInbox) -> None:
    """Connects both ends."""
    self._channel, self._inbox = channel, inbox
    self.skipped = 0  # steps with a gradient that is not finite

  def progress(self, row: RowValues) -> None:
    """Passes a row of the run's journal on; who has seen one counts on the steps before it."""
    self._inbox.safe_to_leave = False
    self.skipped = row.get("skipped", self.skipped)
    self._channel.send(WorkerReply("row", row))

  def stop(self) -> bool:
    """Returns whether to save and exit; called after each dispatch, so there is always work to save."""
    self._inbox.safe_to_leave = False
    return self._inbox.stopping.is_set()


def serve_pool(channel: WorkerChannel, inbox: WorkerInbox, train: Train) -> int:
  """Trains the pool's runs until the command to exit; returns the exit code."""
  while (command := inbox.next()) is not None:
    run, hooks = command.run(), WorkerHooks(channel, inbox)
    try:
      row = train(run, Path(command.folder or ""), hooks)
    except UserError as error:
      # A run that diverges says something about that run; a full disk or a lost corpus ends the sweep.
      if hooks.skipped <= run.optimizer.max_skipped_steps:
        channel.send(WorkerReply("mistake", text=str(error)))
        return 0
      inbox.safe_to_leave = True
      channel.send(WorkerReply("diverged", text=str(error)))
      continue
    except Exception as error:
      traceback.print_exc()
      reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
      channel.send(WorkerReply("crashed", text=reason))
      return CRASHED
    if row is None:
      channel.send(WorkerReply("stopped"))
      return 0
    inbox.safe_to_leave = True
    channel.send(WorkerReply("finished", row))
  return 0


def train_run(run: Run, folder: Path, hooks: WorkerHooks) -> RowValues | None:
  """Trains one run with everything it reads from the cache; arguments as of `Train`."""
  from gen.training import trunks

  try:
    result = trunks.train_branch(
      run, folder, _loaded(json.dumps(to_dict(mixture.same_text(run.data)))), hooks
    )
    return cast(RowValues, typed_json.encode_record(result))
  except trunks.RunStopped:
    return None


@functools.lru_cache(maxsize=2)
def _loaded(data_json: str) -> Any:
  """Returns the data of a run; the runs of a sweep share them, whatever their batch and weights."""
  from gen.data import cache, dataset

  data = from_dict(Data, json.loads(data_json))
  environment.compilation_cache(cache.cache_folder(data) / "compiled")
  return dataset.load_dataset(data, None)


def take_core(core: int) -> None:
  """Pins this process to one core, if the system supports it."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})


def run_worker(train: Train = train_run) -> None:
  """Serves the pool on this process's standard input and output.

  What libraries print goes to the log (standard error), never between the replies.
  """
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--core", type=int, default=-1, help="core to run on; -1: the system chooses")
  arguments = parser.parse_args()
  if arguments.core >= 0:
    take_core(arguments.core)  # Before jax is imported: its threads are as many as the process has cores.
  channel = WorkerChannel(os.dup(1))
  os.dup2(2, 1)
  inbox = WorkerInbox(os.fdopen(os.dup(0), "rb"))
  for number in (*signals.stop_signals(), signal.SIGUSR2):  # The last is what clusters send to all of a job.
    signal.signal(number, inbox.stop)
  code = serve_pool(channel, inbox, train)
  sys.stderr.flush()
  os._exit(code)  # Not sys.exit: the listening thread holds the input's lock.


if __name__ == "__main__":
  run_worker()
