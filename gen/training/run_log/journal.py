"""The journal of a run: one JSON object per line, append-only, readable after any crash.

Each row is written as one complete line, so a killed process can truncate only the last line. Reading ignores a
truncated last line, and opening for appending removes it. Numbers that JSON does not have (NaN, infinities) become
null.

Each line ends in its number and a checksum ("row", "seal"), which reading verifies and removes. A line that was
edited, moved, added or removed is refused. Checkpoints hold a `mark`, which detects missing lines at the end. The first
line also has the version of this format.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, cast

from gen.errors import UserError
from gen.io import file_content, formats, json_reading, seals
from gen.io.strict_json import encode_json, plain_value
from gen.training.run_log.rows import JournalMark, RowValues

LOST = (
  "lost_rows"  # in the first row of a journal that was begun again: how many a checkpoint was saved after
)
_OF_FILE = (formats.FORMAT, seals.ROW, seals.ROWS, seals.SEAL)  # fields of the file, not of its rows
# Chosen: far more than any run logs, and what a file of another kind must not bring into memory.
_MAX_BYTES = 4 << 30
MEASURED = ("train", "evaluation")  # kinds of row that a resumed run writes again


class JournalSink(Protocol):
  """Interface of a receiver of rows: a journal, a mirror of it, a progress display."""

  def append(self, row: RowValues) -> None:
    """Receives one row."""


class Journal:
  """An append-only file of rows; one writer, any number of readers."""

  def __init__(self, path: str | Path) -> None:
    """Opens the file for appending, creates its folder if it is absent, and removes a truncated last line.

    Raises:
      UserError: if it cannot be written.
    """
    self.path = Path(path)
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      if self.path.exists() and not self.path.is_file():  # opening a pipe would wait for a reader
        raise UserError(f"cannot write the journal {self.path}: it is not a file")
      # Opened before the repair: the file then exists, and a folder that cannot be written fails here.
      self._descriptor = _open(self.path)
      _repair(self.path)
    except OSError as error:
      raise UserError(f"cannot write the journal {self.path}: {error.strerror}") from error
    try:
      self._marks = _seals(_lines(self.path))
    # Also for Ctrl-C while a long journal is read: no later `close` would release the descriptor.
    except BaseException:
      self.close()
      raise

  def append(self, row: Mapping[str, object]) -> None:
    """Appends one row; afterwards it survives the death of the process.

    Raises:
      UserError: if the disk is full or refuses.
    """
    stored = _sealed(row, len(self._marks) + 1) if self._sealed else row
    line = encode_json(stored)
    if self._descriptor < 0:
      raise ValueError(f"the journal {self.path} is closed")
    written = 0
    try:
      # One write, unless the disk is full: then the first write is short, and the second raises the reason.
      while written < len(line):
        written += os.write(self._descriptor, line[written:])
    except OSError as error:
      # A part of a line would be refused by the next reader; the row that could not be written is taken back.
      if written:
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
      raise UserError(f"cannot write the journal {self.path}: {error.strerror}") from error
    self._marks += _seals([stored])

  @property
  def _sealed(self) -> bool:
    """Whether rows get seals: all rows of a journal do, or none if another program began it."""
    return not self._marks or bool(self._marks[0])

  def mark(self) -> JournalMark:
    """Makes the rows durable and returns their number and a checksum of their seals, which identify them."""
    # A checkpoint stores the mark. Without fsync a power failure could lose the rows, but not the checkpoint.
    os.fsync(self._descriptor)
    return _mark(self._marks)

  def rewind(self, step: int, run: str | None = None, evaluation: int | None = None) -> int:
    """Removes train and evaluation rows after a step, which a resumed run writes again.

    Args:
      step: the restored step; its rows stay.
      run: remove only rows of this run (the journal of a sweep has several); None is every run.
      evaluation: remove evaluations after this step; None is `step`.

    Returns:
      The number of removed rows. The file is replaced by one rename, so no crash leaves half of it.
    """
    rows = _lines(self.path)
    last_steps = {"train": step, "evaluation": step if evaluation is None else evaluation}
    # Rows of other kinds stay (start, resume, branch): they record what happened, not what was measured.
    retained = [row for row in rows if not _is_after(row, last_steps, run)]
    if len(retained) < len(rows):
      # A seal covers the row's number, so all rows are sealed again.
      if self._sealed:
        retained = [_sealed(_bare(row), number) for number, row in enumerate(retained, 1)]
      _replace(self.path, b"".join(encode_json(row) for row in retained))
      os.close(self._descriptor)
      self._descriptor, self._marks = _open(self.path), _seals(retained)
    return len(rows) - len(retained)

  def close(self) -> None:
    """Closes the file and makes its rows durable."""
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
  """Writes the measured rows of a journal as TensorBoard events."""

  def __init__(self, folder: str | Path) -> None:
    """Opens an event file in `folder`."""
    import tensorboardX  # slow to import, and only needed if `run.tensorboard`

    self._writer = tensorboardX.SummaryWriter(str(folder))

  def append(self, row: RowValues) -> None:
    """Writes each number of a train or evaluation row as a scalar of its step."""
    if row.get("kind") not in MEASURED:
      return
    for name, value in row_numbers(row).items():
      self._writer.add_scalar(f"{row['kind']}/{name}", value, int(row["step"]))

  def close(self) -> None:
    """Writes pending events and closes the file."""
    self._writer.close()


def row_numbers(row: RowValues) -> dict[str, float]:
  """Returns the numbers of a row but its step and time, by name; those of a mixture's corpus as "law/loss"."""
  numbers: dict[str, float] = {}
  plain = plain_value(row)
  for prefix, values in (
    ("", plain),
    *((f"{name}/", each) for name, each in (plain.get("corpora") or {}).items()),
  ):
    for name, value in values.items():
      if name not in ("step", "time") and isinstance(value, int | float) and not isinstance(value, bool):
        numbers[prefix + name] = value
  return numbers


def read_journal(path: str | Path, sealed: bool = False) -> list[RowValues]:
  """Returns the rows of a journal without a truncated last line; an empty list if there is no file.

  Args:
    path: of the file.
    sealed: whether to refuse rows without seals, which other programs write.

  Raises:
    UserError: for an invalid row before the last line, or a row that was changed; the message has its number.
  """
  lines = _lines(Path(path))
  if sealed and lines and seals.SEAL not in lines[0]:
    raise UserError(
      f"{path} has rows without seals, so another program or version wrote it; choose another --workdir"
    )
  return [_bare(row) if seals.SEAL in row else row for row in lines]


def require_rows(path: str | Path, mark: JournalMark, owner: str) -> None:
  """Checks that a journal begins with the rows that `Journal.mark` described, or records that they were lost.

  Args:
    path: of the file.
    mark: as `Journal.mark` returned it.
    owner: what stores the mark, for the message.

  Raises:
    UserError: if rows are missing or different.
  """
  rows, count = _lines(Path(path)), json_reading.require_field(mark, "rows", int, f"{owner}: journal")
  lost = max((row.get("lost_rows") or 0 for row in rows), default=0)
  if lost < count and _mark(_seals(rows[:count])) != mark:
    raise UserError(
      f"{path} does not begin with the {count} rows that it had when {owner} was saved; restore the file, or delete it "
      "to continue from the checkpoint without them"
    )


def _lines(path: Path) -> list[RowValues]:
  """Returns the rows with their numbers and seals, after checking them."""
  try:
    content = file_content.read_regular(path, _MAX_BYTES, "a journal")
  except FileNotFoundError:
    return []
  *lines, _ = content.split(b"\n")  # the last piece is empty, or a truncated line
  rows = [_decode(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
  if any(seals.SEAL in row for row in rows):
    formats.without_format(rows[0], formats.JOURNAL, f"line 1 of {path}", formats.REMEDY)
    for number, row in enumerate(rows, 1):
      _check(row, number, path)
  return rows


def _check(row: RowValues, number: int, path: Path) -> None:
  """Checks a row's seal and its line number."""
  name = f"line {number} of {path}"
  if seals.SEAL not in row:
    raise UserError(
      f"{name} has no seal, but other lines have; restore the file, or choose another --workdir"
    )
  seals.without_seal(row, name)
  if row.get(seals.ROW) != number:
    raise UserError(
      f"{name} was written as line {row.get(seals.ROW)}: lines were added, removed or moved; restore the file"
    )


def seal_rows(rows: Iterable[RowValues], complete: bool = False) -> bytes:
  """Returns the content of a journal.

  Args:
    rows: the rows, with or without the numbers and seals of another journal.
    complete: whether no row will follow; then each row has their total, so that a missing end is detected.
  """
  bare = [_bare(row) for row in rows]
  total = {seals.ROWS: len(bare)} if complete else {}
  return b"".join(encode_json(_sealed(row | total, number)) for number, row in enumerate(bare, 1))


def _sealed(row: Mapping[str, object], number: int) -> RowValues:
  version = {formats.FORMAT: formats.JOURNAL} if number == 1 else {}
  return cast(RowValues, seals.with_seal(plain_value(row) | version | {seals.ROW: number}))


def _bare(row: RowValues) -> RowValues:
  return cast(RowValues, {name: value for name, value in row.items() if name not in _OF_FILE})


def _seals(rows: Sequence[Mapping[str, object]]) -> list[str]:
  return [str(row.get(seals.SEAL, "")) for row in rows]


def _mark(marks: list[str]) -> JournalMark:
  # 16 of 64 digits: the mark detects lost rows and is no defence against forgery.
  return {"rows": len(marks), "sha256": hashlib.sha256(" ".join(marks).encode()).hexdigest()[:16]}


def _decode(line: bytes, number: int, path: Path) -> RowValues:
  try:
    row = json.loads(line)
  # RecursionError: a line of nested brackets, which no journal has, must be one sentence and no traceback.
  except (ValueError, RecursionError):
    row = None
  if not isinstance(row, dict):
    raise UserError(
      f"line {number} of {path} is not a JSON object: {line[:60]!r}; repair or delete that line"
    )
  return cast(RowValues, row)


def _open(path: Path) -> int:
  # O_APPEND: each write goes to the end of the file, even if another process wrote there meanwhile.
  return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _repair(path: Path) -> None:
  """Removes a last line without a line break, which a killed process left."""
  with path.open("rb+") as file:
    size = file.seek(0, os.SEEK_END)
    end = size
    # Searched backwards in pieces of 64 KiB: a journal may be large, and its last line rarely is.
    while end > 0:
      start = max(0, end - 65536)
      file.seek(start)
      newline = file.read(end - start).rfind(b"\n")
      end = start + newline + 1 if newline >= 0 else start
      if newline >= 0:
        break
    if end < size:
      file.truncate(end)


def _is_after(row: RowValues, last_steps: dict[str, int], run: str | None) -> bool:
  """Returns whether a row of that run was measured after the last step of its kind that is retained."""
  kind = str(row.get("kind"))
  measured = kind in MEASURED and (run is None or row.get("run") == run)
  return measured and isinstance(row.get("step"), int) and row["step"] > last_steps[kind]


def _replace(path: Path, content: bytes) -> None:
  # In the same folder, so that the rename stays inside one file system and is atomic.
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
