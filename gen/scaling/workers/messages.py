"""The messages between a pool and its workers: one JSON object per line, commands to a worker, replies from it.

{"command": "train", "config": {...}, "folder": "..."}     {"reply": "row" | "finished", "row": {...}}
{"command": "stop"}                                        {"reply": "stopped"}
{"reply": "diverged" | "mistake" | "crashed", "text": "..."}
"""

import dataclasses
from typing import Literal

from gen.config import Run, from_dict, to_dict
from gen.io import json_reading, strict_json, typed_json
from gen.training.run_log.rows import RowValues

Command = Literal["train", "stop"]
Reply = Literal["row", "finished", "stopped", "diverged", "mistake", "crashed"]


@dataclasses.dataclass(frozen=True)
class WorkerCommand:
  """A command to a worker.

  Attributes:
    command: train a run, or save and exit.
    config: of the run to train, as plain values.
    folder: of the run.
  """

  command: Command
  config: dict[str, object] | None = None
  folder: str | None = None

  def run(self) -> Run:
    """Returns the run to train."""
    run: Run = from_dict(Run, self.config or {})
    return run


@dataclasses.dataclass(frozen=True)
class WorkerReply:
  """A reply of a worker.

  Attributes:
    reply: row (the run wrote a row in its journal), finished (with its result row), stopped (saved, on request),
      diverged (that run failed), mistake (of the user: no run can go on), crashed (an exception of the worker).
    row: of the journal.
    text: the reason in one line.
  """

  reply: Reply
  row: RowValues | None = None
  text: str | None = None


@dataclasses.dataclass(frozen=True)
class RunOutcome:
  """The outcome of a run that trained as a job of a cluster, in one file.

  Attributes:
    kind: finished, failed (too often), or mistake (of the user: no run can go on).
    text: the reason in one line.
  """

  kind: Literal["finished", "failed", "mistake"]
  text: str = ""


def train_command(run: Run, folder: str) -> WorkerCommand:
  """Returns the command to train a run in a folder."""
  return WorkerCommand("train", to_dict(run), folder)


def encode_message(message: WorkerCommand | WorkerReply) -> bytes:
  r"""Returns a message as one line.

  >>> encode_message(WorkerCommand("stop"))
  b'{"command": "stop"}\n'
  """
  return strict_json.encode_json(typed_json.encode_record(message))


def decode_command(line: bytes) -> WorkerCommand:
  """Returns the command of a line.

  Raises:
    UserError: for a line that is none.
  """
  return typed_json.decode_record(WorkerCommand, json_reading.parse_json(line, "a command"), "a command")


def decode_reply(line: bytes) -> WorkerReply:
  """Returns the reply of a line.

  Raises:
    UserError: for a line that is none, such as one torn by the death of its worker.
  """
  return typed_json.decode_record(WorkerReply, json_reading.parse_json(line, "a reply"), "a reply")
