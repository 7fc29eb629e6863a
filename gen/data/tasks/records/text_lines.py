"""Lines of a file of labelled data: decompressed, decoded, numbered."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from gen.data.sources.file_formats import compressed, encodings, kinds, records
from gen.errors import UserError

SUFFIXES = (".gz", ".xz", ".zst", ".zstd", ".bz2", ".bgz")


class OpenText(NamedTuple):
  """A file of text, open for reading.

  Attributes:
    stream: of its text in UTF-8.
    kind: of its content, as for corpora.
    name: of the file without the suffixes of compression.
    where: its path, for errors.
  """

  stream: IO[bytes]
  kind: kinds.FileKind
  name: str
  where: str


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[OpenText]:
  """Opens a file of text, compressed or not.

  Raises:
    UserError: if it cannot be read, or holds no text.
  """
  where = str(path)
  with compressed.open_decompressed(path, lambda _: None) as opened:
    kind, stream = kinds.detect_kind(_with_line_feeds(opened.stream), path.name, where)
    if kind.format in kinds.NOT_IN_ARCHIVES:
      raise UserError(f"{where}: it is a {kind.format} file; unpack it, or save it as JSON lines, first")
    yield OpenText(stream, kind, plain_name(path.name), where)


def _with_line_feeds(stream: IO[bytes]) -> IO[bytes]:
  """Returns a stream with line feeds where it has carriage returns alone, as spreadsheets of old Macs end lines."""
  head, stream = compressed.peek_stream(stream, kinds.HEAD)
  if b"\n" in head or b"\r" not in head:
    return stream
  return io.BufferedReader(_LineFeeds(stream), kinds.HEAD)


class _LineFeeds(io.RawIOBase):
  """A stream of bytes in which each carriage return is a line feed."""

  def __init__(self, stream: IO[bytes]) -> None:
    self._stream = stream

  def readable(self) -> bool:
    """Returns true."""
    return True

  def readinto(self, into: Any) -> int:
    """Fills the buffer; returns the number of bytes, 0 at the end."""
    chunk = self._stream.read(len(into)).replace(b"\r", b"\n")
    into[: len(chunk)] = chunk
    return len(chunk)


def plain_name(name: str) -> str:
  """Returns a file's name without the suffixes of compression.

  >>> plain_name("train.conll.xz")
  'train.conll'
  """
  while Path(name).suffix.lower() in SUFFIXES:
    name = Path(name).stem
  return name


def read_lines(stream: IO[bytes], where: str) -> Iterator[tuple[int, str]]:
  """Yields (number, line) without the ends of lines.

  Raises:
    UserError: for bytes that are not UTF-8, with the row.
  """
  for number, line in records.numbered_lines(stream, where):
    yield number, decode_line(line, f"{where}:{number}").rstrip("\r\n")


def decode_line(line: bytes, where: str) -> str:
  """Returns a line as text.

  Raises:
    UserError: for bytes that are not UTF-8.
  """
  try:
    return line.decode("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(
      f"{where}: not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1};"
      " convert the file, for example by iconv -f LATIN1 -t UTF-8"
    ) from None


def read_all(stream: IO[bytes], where: str) -> str:
  """Returns the whole text of a stream.

  Raises:
    UserError: for bytes that are not UTF-8.
  """
  return "".join(encodings.decode_chunks(stream, where))
