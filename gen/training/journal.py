"""The journal of a run: one JSON object per line, append-only, readable after any crash.

Each row is one write of one complete line, so a killed process can truncate only the last line. Reading ignores a
truncated last line; opening for appending removes it. Numbers that JSON lacks (NaN, infinities) become null.

Each line ends in its number and a checksum ("row", "seal"), which reading verifies and removes. A line that was
edited, moved, added or removed is refused. Checkpoints hold a `mark`, which detects missing lines at the end. The first
line also has the version of this format.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gen.errors import UserError
from gen.io import formats, json_reading, seals
from gen.io.strict_json import encode_json, plain_value

LOST = (
  "lost_rows"  # in the first row of a journal that was begun again: how many a checkpoint was saved after
)
_OF_FILE = (formats.FORMAT, seals.ROW, seals.ROWS, seals.SEAL)  # fields of the file, not of its rows
MEASURED = ("train", "evaluation")  # kinds of row that a resumed run writes again


class JournalSink(Protocol):
  """The interface of a receiver of rows: a journal, a mirror of it, a progress display."""

  def append(self, row: dict[str, Any]) -> None:
    """Receives one row."""


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
    try:
      self._marks = _seals(_lines(self.path))
    except BaseException:
      self.close()
      raise

  def append(self, row: dict[str, Any]) -> None:
    """Appends one row; afterwards it survives the death of the process.

    Raises:
      UserError: if the disk is full or refuses.
    """
    row = _sealed(row, len(self._marks) + 1) if self._sealed else row
    line = encode_json(row)
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
    self._marks += _seals([row])

  @property
  def _sealed(self) -> bool:
    """Whether rows get seals: all of a journal have one, or none, where another program began it."""
    return not self._marks or bool(self._marks[0])

  def mark(self) -> dict[str, Any]:
    """Makes the rows durable and returns their number and a checksum of their seals, which identify them.

    A checkpoint holds it, so the rows must not be lost where the checkpoint is not.
    """
    os.fsync(self._descriptor)
    return _mark(self._marks)

  def rewind(self, step: int, run: str | None = None, evaluation: int | None = None) -> int:
    """Drops train and evaluation rows after a step, which a resumed run is about to write again.

    Args:
      step: the restored step; rows of it stay.
      evaluation: the step after which evaluations go; None is `step`.
      run: only rows of this run (a sweep's journal holds many); None is every run.

    Returns:
      How many rows went. The file is replaced in one rename: no crash leaves half of it.
    """
    rows = _lines(self.path)
    last = {"train": step, "evaluation": step if evaluation is None else evaluation}
    stay = [row for row in rows if not _is_after(row, last, run)]
    if len(stay) < len(rows):
      if self._sealed:
        stay = [_sealed(_bare(row), number) for number, row in enumerate(stay, 1)]
      _replace(self.path, b"".join(encode_json(row) for row in stay))
      os.close(self._descriptor)
      self._descriptor, self._marks = _open(self.path), _seals(stay)
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
    for name, value in plain_value(row).items():
      if name not in ("step", "time") and isinstance(value, int | float):
        self._writer.add_scalar(f"{row['kind']}/{name}", value, int(row["step"]))

  def close(self) -> None:
    """Writes what is pending."""
    self._writer.close()


def read_journal(path: str | Path, sealed: bool = False) -> list[dict[str, Any]]:
  """Returns the rows of a journal, without a torn last line; none if there is no file.

  Args:
    path: of the file.
    sealed: whether rows without seals, as other programs write them, are refused.

  Raises:
    UserError: for a broken row before the last line, or one that is not as it was written, with its number.
  """
  lines = _lines(Path(path))
  if sealed and lines and seals.SEAL not in lines[0]:
    raise UserError(f"{path} has rows without seals, of another program or version; choose another --workdir")
  return [_bare(row) if seals.SEAL in row else row for row in lines]


def require_rows(path: str | Path, mark: dict[str, Any], where: str) -> None:
  """Checks that a journal begins with the rows that `Journal.mark` described, or says that they were lost.

  Args:
    path: of the file.
    mark: as `mark` returned it.
    where: what holds the mark, for the message.

  Raises:
    UserError: if rows are missing or others.
  """
  rows, count = _lines(Path(path)), json_reading.require_field(mark, "rows", int, f"{where}: journal")
  lost = max((row[LOST] for row in rows if isinstance(row.get(LOST), int)), default=0)
  if lost < count and _mark(_seals(rows[:count])) != mark:
    raise UserError(
      f"{path} has lost or other rows: {where} was saved after {count} that are not its first; restore it, or delete "
      "it to go on from the checkpoint without them"
    )


def _lines(path: Path) -> list[dict[str, Any]]:
  """Returns the rows with their numbers and seals, after checking them."""
  try:
    content = path.read_bytes()
  except FileNotFoundError:
    return []
  except OSError as error:
    raise UserError(f"cannot read the journal {path}: {error.strerror}") from error
  *lines, _ = content.split(b"\n")  # The last piece is empty, or torn.
  rows = [_decode(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
  if any(seals.SEAL in row for row in rows):
    formats.without_format(rows[0], formats.JOURNAL, f"line 1 of {path}", formats.REMEDY)
    for number, row in enumerate(rows, 1):
      _check(row, number, path)
  return rows


def _check(row: dict[str, Any], number: int, path: Path) -> None:
  """Checks a row's seal and its line number."""
  name = f"line {number} of {path}"
  if seals.SEAL not in row:
    raise UserError(f"{name} has no seal, as the others have; restore the file, or choose another --workdir")
  seals.without_seal(row, name)
  if row.get(seals.ROW) != number:
    raise UserError(
      f"{name} was written as line {row.get(seals.ROW)}: lines were added, removed or moved; restore the file"
    )


def seal_rows(rows: Iterable[dict[str, Any]], complete: bool = False) -> bytes:
  """Returns the content of a journal.

  Args:
    rows: the rows, with or without the numbers and seals of another journal.
    complete: whether no row will follow; then each says how many there are, so that none can be cut off.
  """
  bare = [_bare(row) for row in rows]
  total = {seals.ROWS: len(bare)} if complete else {}
  return b"".join(encode_json(_sealed(row | total, number)) for number, row in enumerate(bare, 1))


def _sealed(row: dict[str, Any], number: int) -> dict[str, Any]:
  version = {formats.FORMAT: formats.JOURNAL} if number == 1 else {}
  return seals.with_seal(plain_value(row) | version | {seals.ROW: number})


def _bare(row: dict[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in row.items() if name not in _OF_FILE}


def _seals(rows: list[dict[str, Any]]) -> list[str]:
  return [str(row.get(seals.SEAL, "")) for row in rows]


def _mark(marks: list[str]) -> dict[str, Any]:
  return {"rows": len(marks), "sha256": hashlib.sha256(" ".join(marks).encode()).hexdigest()[:16]}


def _decode(line: bytes, number: int, path: Path) -> dict[str, Any]:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
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


def _replace(path: Path, content: bytes) -> None:
  partial = path.with_name(path.name + ".partial")
  try:
    with partial.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    partial.replace(path)
  except OSError as error:
    partial.unlink(missing_ok=True)
    raise UserError(f"cannot write the journal {path}: {error.strerror}") from error
