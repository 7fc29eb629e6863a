"""The journal of a run: one JSON object per line, only ever added to, readable after any crash.

Each row is one write of one whole line, so a killed process can tear only the last line. Reading leaves a torn last
line out; opening for appending cuts it off. Numbers that JSON does not have (NaN, infinities) become null.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gen.errors import UserError

MEASURED = ("train", "evaluation")  # kinds of row that a resumed run writes again


class Sink(Protocol):
  """Whatever takes rows: a journal, a mirror of it, a progress display."""

  def append(self, row: dict[str, Any]) -> None:
    """Takes one row."""


class Journal:
  """An append-only file of rows; one writer, any number of readers."""

  def __init__(self, path: str | Path) -> None:
    """Opens the file for appending, with its folder if need be, and repairs a torn end.

    Raises:
      UserError: if it cannot be written.
    """
    self.path = Path(path)
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._descriptor = _open(self.path)
      _repair(self.path)
    except OSError as error:
      raise UserError(f"cannot write the journal {self.path}: {error.strerror}") from error

  def append(self, row: dict[str, Any]) -> None:
    """Adds one row; it survives the process's death from here on.

    Raises:
      UserError: if the disk is full or refuses.
    """
    line = encode(row)
    if self._descriptor < 0:
      raise ValueError(f"the journal {self.path} is closed")
    written = 0
    try:
      while written < len(line):  # One write, unless the disk fills up: the second then raises its reason.
        written += os.write(self._descriptor, line[written:])
    except OSError as error:
      if written:
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
      raise UserError(f"cannot write the journal {self.path}: {error.strerror}") from error

  def rewind(self, step: int, run: str | None = None, evaluation: int | None = None) -> int:
    """Drops train and evaluation rows after a step, which a resumed run is about to write again.

    Args:
      step: the restored step; rows of it stay.
      evaluation: the step after which evaluations go; None is `step`.
      run: only rows of this run (a sweep's journal holds many); None is every run.

    Returns:
      How many rows went. The file is replaced in one rename: no crash leaves half of it.
    """
    rows = read(self.path)
    last = {"train": step, "evaluation": step if evaluation is None else evaluation}
    stay = [row for row in rows if not _is_after(row, last, run)]
    if len(stay) < len(rows):
      _replace(self.path, stay)
      os.close(self._descriptor)
      self._descriptor = _open(self.path)
    return len(rows) - len(stay)

  def close(self) -> None:
    """Closes the file; what was appended is durable afterwards."""
    if self._descriptor >= 0:
      os.fsync(self._descriptor)
      os.close(self._descriptor)
      self._descriptor = -1

  def __enter__(self) -> "Journal":
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.close()


class TensorBoard:
  """A mirror of the journal's measured rows for TensorBoard."""

  def __init__(self, folder: str | Path) -> None:
    """Opens an event file in `folder`."""
    import tensorboardX  # Slow to import, and only some runs want it.

    self._writer = tensorboardX.SummaryWriter(str(folder))

  def append(self, row: dict[str, Any]) -> None:
    """Draws each number of a train or evaluation row against its step."""
    if row.get("kind") not in MEASURED:
      return
    for name, value in _plain(row).items():
      if name not in ("step", "time") and isinstance(value, int | float):
        self._writer.add_scalar(f"{row['kind']}/{name}", value, int(row["step"]))

  def close(self) -> None:
    """Writes what is pending."""
    self._writer.close()


def read(path: str | Path) -> list[dict[str, Any]]:
  """Returns the rows of a journal, without a torn last line; none if there is no file.

  Raises:
    UserError: for a broken row before the last line, with its number.
  """
  path = Path(path)
  try:
    content = path.read_bytes()
  except FileNotFoundError:
    return []
  except OSError as error:
    raise UserError(f"cannot read the journal {path}: {error.strerror}") from error
  *lines, _ = content.split(b"\n")  # The last piece is empty, or torn.
  return [_decode(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]


def encode(row: dict[str, Any]) -> bytes:
  r"""Returns a row as one line of strict JSON.

  >>> encode({"kind": "train", "loss": float("nan")})
  b'{"kind": "train", "loss": null}\n'
  """
  return json.dumps(_plain(row), allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
  """Returns a value as JSON has it: numpy's and jax's numbers become Python's."""
  if isinstance(value, dict):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple | set | frozenset):
    return [_plain(item) for item in value]
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, "tolist"):  # numpy's scalars and arrays, jax's arrays
    return _plain(value.tolist())
  return None if isinstance(value, float) and not math.isfinite(value) else value


def _decode(line: bytes, number: int, path: Path) -> dict[str, Any]:
  try:
    row = json.loads(line)
  except ValueError:
    row = None
  if not isinstance(row, dict):
    raise UserError(f"line {number} of {path} is no JSON object: {line[:60]!r}; mend or delete that line")
  return row


def _open(path: Path) -> int:
  return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _repair(path: Path) -> None:
  """Cuts off a last line without an end, which a killed process left."""
  with path.open("rb+") as file:
    size = file.seek(0, os.SEEK_END)
    end = size
    while end > 0:
      start = max(0, end - 65536)
      file.seek(start)
      newline = file.read(end - start).rfind(b"\n")
      end = start + newline + 1 if newline >= 0 else start
      if newline >= 0:
        break
    if end < size:
      file.truncate(end)


def _is_after(row: dict[str, Any], last: dict[str, int], run: str | None) -> bool:
  """Returns whether a row of that run is measured after the last step that stays of its kind."""
  kind = str(row.get("kind"))
  measured = kind in MEASURED and (run is None or row.get("run") == run)
  return measured and isinstance(row.get("step"), int) and row["step"] > last[kind]


def _replace(path: Path, rows: Iterable[dict[str, Any]]) -> None:
  partial = path.with_name(path.name + ".partial")
  try:
    with partial.open("wb") as file:
      file.writelines(encode(row) for row in rows)
      file.flush()
      os.fsync(file.fileno())
    partial.replace(path)
  except OSError as error:
    partial.unlink(missing_ok=True)
    raise UserError(f"cannot write the journal {path}: {error.strerror}") from error
