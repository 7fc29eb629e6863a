"""Documents in files of columns, parquet and Arrow, which pyarrow reads: one per row, a few rows in memory at a time.

An Arrow file is a stream of messages: a schema, then batches of rows, then an end mark. `ARROW1` and eight bytes may
stand before it, and an index of the batches after it (https://arrow.apache.org/docs/format/Columnar.html).
"""

import contextlib
import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gen.data.document import Document
from gen.data.sources.file_formats import compressed
from gen.data.sources.file_formats.records import TextField, text_of_record
from gen.errors import UserError

EXTRA = "needs pyarrow, which is not installed; use uv run --extra arrow, or uv pip install pyarrow"
_PARQUET_ROWS = 16  # decoded at a time: each may hold a text of megabytes
_FILE_MARK, _END_MARK = b"ARROW1\0\0", b"\xff\xff\xff\xff\0\0\0\0"
_MAX_BATCHES = 1_000_000  # each costs tens of microseconds, however few rows it holds


def parquet_documents(
  path: Path, name: str, field: TextField, expansion: compressed.Expansion
) -> Iterator[Document]:
  """Yields one document per row of a parquet file, except null.

  Args:
    path: of the file.
    name: of its documents, before their row.
    field: chooses the column.
    expansion: counts the bytes that the column expands to.

  Raises:
    UserError: if pyarrow is not installed, or the file is damaged.
  """
  try:
    from pyarrow import parquet
  except ImportError:
    raise UserError(f"{path}: reading a parquet file {EXTRA}") from None
  with _naming(path, "parquet"):
    opened = parquet.ParquetFile(path, pre_buffer=False)
    chosen = field.choose(opened.schema_arrow.names, str(path))
    _check_parquet(opened, chosen, path, expansion)
    batches = opened.iter_batches(batch_size=_PARQUET_ROWS, columns=[chosen])
    yield from _rows((batch.column(0) for batch in batches), chosen, path, name)


def arrow_documents(
  path: Path,
  name: str,
  field: TextField,
  expansion: compressed.Expansion,
  numbers: Iterator[int] | None = None,
) -> Iterator[Document]:
  """Yields one document per row of an Arrow file or stream, except null.

  Args:
    path: of the file.
    name: of its documents, before their row.
    field: chooses the column.
    expansion: counts the bytes that compressed batches expand to.
    numbers: of the rows in the names of documents; None counts from 1.

  Raises:
    UserError: if pyarrow is not installed, or the file is damaged or was cut off.
  """
  try:
    import pyarrow
    from pyarrow import ipc
  except ImportError:
    raise UserError(f"{path}: reading an Arrow file {EXTRA}") from None
  # Mapped, so that neither a large batch nor the columns beside the text take memory of the process.
  with _naming(path, "Arrow"), pyarrow.memory_map(str(path)) as source:
    begin = len(_FILE_MARK) if source.read(len(_FILE_MARK)) == _FILE_MARK else 0
    source.seek(begin)
    _check_messages(source, path, expansion)
    source.seek(begin)
    names = ipc.open_stream(source).schema.names
    index = names.index(chosen := field.choose(names, str(path)))
    source.seek(begin)
    options = ipc.IpcReadOptions(included_fields=[index])
    batches = ipc.open_stream(source, options=options)
    yield from _rows((_checked(batch.column(0)) for batch in batches), chosen, path, name, numbers)


@contextlib.contextmanager
def _naming(path: Path, kind: str) -> Iterator[None]:
  """Converts pyarrow's errors, which are subclasses of these, into one sentence."""
  try:
    yield
  except UserError:
    raise
  except (OSError, ValueError, TypeError, NotImplementedError, KeyError, MemoryError) as error:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(f"{path}: the {kind} file cannot be read: {reason[:200]}") from error


def _rows(
  columns: Iterator[Any], chosen: str, path: Path, name: str, numbers: Iterator[int] | None = None
) -> Iterator[Document]:
  """Yields the texts of the pieces of one column."""
  length, size = 0, path.stat().st_size
  scalars = itertools.chain.from_iterable(columns)
  for row, (scalar, number) in enumerate(zip(scalars, numbers or itertools.count(1), strict=False), start=1):
    if (value := scalar.as_py()) is not None:
      text = text_of_record({chosen: value}, chosen, f"{path}, row {row}")
      # A dictionary stores a text once for any number of rows, so the stored sizes bound nothing.
      length += len(text)
      if length > max(compressed.FREE_BYTES, compressed.MAX_RATIO * size):
        raise _expands(path)
      yield Document(f"{name}:{number}", text)


def _expands(path: Path) -> UserError:
  return UserError(
    f"{path}: it expands to more than {compressed.MAX_RATIO} times its size, so it is not text"
  )


def _check_parquet(opened: Any, column: str, path: Path, expansion: compressed.Expansion) -> None:
  unpacked = packed = 0
  for group in range(opened.metadata.num_row_groups):
    row_group = opened.metadata.row_group(group)
    for index in range(row_group.num_columns):
      if row_group.column(index).path_in_schema == column:
        unpacked += row_group.column(index).total_uncompressed_size
        packed += row_group.column(index).total_compressed_size
  if unpacked > max(compressed.FREE_BYTES, compressed.MAX_RATIO * packed):
    raise _expands(path)
  expansion.add(unpacked)


def _checked(column: Any) -> Any:
  column.validate(full=True)  # pyarrow trusts offsets otherwise, and a damaged one reads foreign memory
  return column


def _check_messages(source: Any, path: Path, expansion: compressed.Expansion) -> None:
  """Raises UserError for a stream without its end mark, of too many batches, or that expands without bound.

  pyarrow takes the end of a file for the end of a stream, and decompresses a batch whatever its size.
  """
  from pyarrow import ipc

  reader, size = ipc.MessageReader.open_stream(source), path.stat().st_size
  unpacked = count = 0
  with contextlib.suppress(StopIteration):
    while True:
      message = reader.read_next_message()
      unpacked, count = unpacked + _unpacked_bytes(message), count + 1
      if unpacked > max(compressed.FREE_BYTES, compressed.MAX_RATIO * size):
        raise _expands(path)
      if count > _MAX_BATCHES:
        raise UserError(f"{path}: it has more than {_MAX_BATCHES:,} batches; save it with larger ones")
  end = source.tell()
  source.seek(max(0, end - len(_END_MARK)))
  if source.read(len(_END_MARK)) != _END_MARK:
    raise UserError(f"{path}: the Arrow file ends before its end mark, so it is truncated; copy it again")
  expansion.add(unpacked)


def _unpacked_bytes(message: Any) -> int:
  """Returns the bytes that the compressed buffers of a message expand to; 0 if it is not compressed.

  The message is a flatbuffer (Message.fbs of the Arrow format), which pyarrow has verified. Each compressed buffer
  begins with its length as int64; -1 marks one that is stored as it is.
  """
  data = memoryview(message.metadata)
  batch = _child(data, struct.unpack_from("<I", data)[0], 2)
  if message.type == "dictionary":
    batch = _child(data, batch, 1)
  elif message.type != "record batch":
    return 0
  if not _child(data, batch, 3):
    return 0
  buffers, body = _child(data, batch, 2), memoryview(message.body)
  total = 0
  for n in range(struct.unpack_from("<I", data, buffers)[0] if buffers else 0):
    offset, length = struct.unpack_from("<qq", data, buffers + 4 + 16 * n)
    if length >= 8 and 0 <= offset <= len(body) - 8:
      total += max(0, struct.unpack_from("<q", body, offset)[0])
  return total


def _child(data: memoryview, table: int, field: int) -> int:
  """Returns the position of a table or vector that a field of a flatbuffer's table refers to; 0 if it is absent."""
  vtable = table - struct.unpack_from("<i", data, table)[0]
  at = 4 + 2 * field
  if at >= struct.unpack_from("<H", data, vtable)[0]:
    return 0
  offset = struct.unpack_from("<H", data, vtable + at)[0]
  return table + offset + struct.unpack_from("<I", data, table + offset)[0] if offset else 0


READERS = {"parquet": parquet_documents, "arrow": arrow_documents}  # by the name of the format
