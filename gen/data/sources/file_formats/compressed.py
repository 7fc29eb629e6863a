"""Reads compressed files as a stream, by content: gzip, xz, bzip2 and Zstandard, also nested.

A truncated file is an error. Memory is bounded for any file, and a decompression bomb raises an error while it is
read.
"""

import bz2
import contextlib
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from gen.errors import UserError, summarize_error

MAX_LAYERS = 4  # of compression within compression; more is an attack, or a mistake
MAX_UNPACKED = 16 << 30  # bytes that a file may expand to; data.max_bytes replaces it
MAX_MEMBERS = 10_000  # of one stream, if they hold less than MIN_MEMBER bytes on average
MIN_MEMBER = 256  # bytes; compressors cut a stream into members of 64 KiB or more
MAX_RATIO = 200  # of text to compressed size: prose reaches 5, repetitive logs 50
FREE_BYTES = 16 << 20  # expansion up to this size is always allowed
MAX_DICTIONARY = 256 << 20  # bytes of memory that xz may allocate
DAMAGE = (
  lzma.LZMAError,
  zlib.error,
  EOFError,
  zstandard.ZstdError,
  zipfile.BadZipFile,
  tarfile.TarError,
  struct.error,
)
_CHUNK = 1 << 16  # bytes read at a time
_OUTPUT = 1 << 20  # maximum bytes decompressed at a time
# A 4-byte block of Zstandard can expand to 128 KiB, and the library cannot stop within its input.
_ZSTANDARD_CHUNK = 1 << 12
_MAGIC = {
  "gzip": re.compile(rb"\x1f\x8b\x08"),
  "xz": re.compile(rb"\xfd7zXZ\x00"),
  "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
  "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}
# bzip2's: `BZh`, the level, and the six bytes of a block.
_LONGEST_MAGIC = 10
Warn = Callable[[str], None]


class Expansion:
  """Counts the bytes that one file expands to, in all its layers and members together."""

  def __init__(self, where: str, limit: int = MAX_UNPACKED) -> None:
    """Starts at zero.

    Args:
      where: name of the file in errors.
      limit: maximum number of bytes; 0 for no limit.
    """
    self._where, self._limit, self._count = where, limit, 0

  def add(self, count: int) -> None:
    """Counts further bytes.

    Raises:
      UserError: if there are now more than the limit.
    """
    self._count += count
    if self._limit and self._count > self._limit:
      raise UserError(
        f"{self._where}: it expands to more than {self._limit:,} bytes, the limit of data.max_bytes;"
        " set --config.data.max_bytes higher if this is intended"
      )


class OpenStream(NamedTuple):
  """A file that is open for reading.

  Attributes:
    stream: of its decompressed bytes.
    layers: names of the removed compressions, the outermost first.
    consumed: returns the number of compressed bytes read so far.
    expansion: counts the decompressed bytes.
  """

  stream: IO[bytes]
  layers: tuple[str, ...]
  consumed: Callable[[], int]
  expansion: Expansion


@contextlib.contextmanager
def open_decompressed(path: Path, warn: Warn, max_bytes: int = MAX_UNPACKED) -> Iterator[OpenStream]:
  """Opens a file, compressed or not.

  Args:
    path: a regular file; its suffix does not matter.
    warn: called with a sentence about ignored bytes.
    max_bytes: that a compressed file may expand to; 0 for no limit.

  Raises:
    UserError: if it cannot be read, its compression is damaged, or it expands without bound.
  """
  with naming_file(str(path)), path.open("rb", buffering=0) as raw:
    expansion = Expansion(str(path), max_bytes)
    yield decompress(io.BufferedReader(raw, _CHUNK), str(path), raw.tell, warn, expansion)


@contextlib.contextmanager
def naming_file(where: str) -> Iterator[None]:
  """Converts errors of reading a file into one sentence that names the file."""
  try:
    yield
  except DAMAGE as error:
    if "memory" in str(error).lower():  # of liblzma and of libzstd, for a window above their limits
      raise UserError(
        f"{where}: decompressing it needs too much memory ({summarize_error(error)}); unpack it first"
      ) from error
    raise UserError(f"{where}: the compressed file is damaged ({summarize_error(error)})") from error
  except NotImplementedError as error:  # raised by zipfile for an unsupported method or version
    raise UserError(
      f"{where}: a compression within the archive is not supported ({summarize_error(error)}); unpack it first"
    ) from error
  except RuntimeError as error:
    if "encrypted" not in str(error) and "password" not in str(error):
      raise
    raise UserError(f"{where}: the archive is encrypted; unpack it first") from error
  except OSError as error:
    if error.errno is None:  # raised by bz2 for damage
      raise UserError(f"{where}: the compressed file is damaged ({summarize_error(error)})") from error
    raise UserError(f"{where}: cannot be read: {error.strerror}") from error


def decompress(
  stream: IO[bytes], where: str, consumed: Callable[[], int], warn: Warn, expansion: Expansion
) -> OpenStream:
  """Returns the stream with all layers of compression removed.

  Args:
    stream: of the bytes as stored.
    where: name of the stream in errors.
    consumed: returns the number of compressed bytes read so far.
    warn: called with a sentence about ignored bytes.
    expansion: counts the decompressed bytes.

  Raises:
    UserError: if there are too many layers.
  """
  layers: list[str] = []
  while True:
    head, stream = peek_stream(stream, _LONGEST_MAGIC)
    kind = next((name for name, magic in _MAGIC.items() if magic.match(head)), None)
    if kind is None:
      return OpenStream(stream, tuple(layers), consumed, expansion)
    if len(layers) == MAX_LAYERS:
      raise UserError(f"{where}: it is compressed more than {MAX_LAYERS} times; unpack it first")
    layers.append(kind)
    stream = io.BufferedReader(_Decompressed(stream, kind, where, consumed, warn, expansion), _OUTPUT)


def peek_stream(stream: IO[bytes], count: int) -> tuple[bytes, IO[bytes]]:
  """Returns the first bytes of a stream and a stream that yields them again before the rest."""
  head = stream.read(count)
  return head, io.BufferedReader(RejoinedStream(head, stream), _CHUNK)


class RejoinedStream(io.RawIOBase):
  """Bytes that were already read, followed by the rest of their stream."""

  def __init__(self, head: bytes, rest: IO[bytes]) -> None:
    self._head, self._rest = memoryview(head), rest

  def readable(self) -> bool:
    """Returns true."""
    return True

  def readinto(self, into: Any) -> int:
    """Fills the buffer with available bytes; returns their number, 0 at the end."""
    count = min(len(into), len(self._head))
    if not count:
      chunk = self._rest.read1(len(into)) if hasattr(self._rest, "read1") else self._rest.read(len(into))
      into[: len(chunk)] = chunk
      return len(chunk)
    into[:count] = self._head[:count]
    self._head = self._head[count:]
    return count


class _Decompressed(io.RawIOBase):
  """The members of a compressed stream, one after the other."""

  def __init__(
    self,
    stream: IO[bytes],
    kind: str,
    where: str,
    consumed: Callable[[], int],
    warn: Warn,
    expansion: Expansion,
  ) -> None:
    self._stream, self._kind, self._where = stream, kind, where
    self._consumed, self._warn, self._expansion = consumed, warn, expansion
    self._engine, self._members = _engine(kind), 1
    self._pending = b""  # compressed bytes that were read and not yet decompressed
    self._ready = memoryview(b"")
    self._produced = 0

  def readable(self) -> bool:
    """Returns true."""
    return True

  def readinto(self, into: Any) -> int:
    while not self._ready:
      if self._engine.eof and not self._begins_another():
        return 0
      self._ready = memoryview(self._decompress())
      self._produced += len(self._ready)
      self._check_ratio()
      self._expansion.add(len(self._ready))
    count = min(len(into), len(self._ready))
    into[:count] = self._ready[:count]
    self._ready = self._ready[count:]
    return count

  def _decompress(self) -> bytes:
    """Returns the next decompressed bytes, possibly none."""
    if self._kind in ("bzip2", "xz") and not self._engine.needs_input:
      content = b""
    else:
      content = self._pending or self._stream.read(_CHUNK)
      if not content:
        raise EOFError("it ends before its end mark, so it is truncated")
    if self._kind == "zstd":
      content, self._pending = content[:_ZSTANDARD_CHUNK], content[_ZSTANDARD_CHUNK:]
      output = self._engine.decompress(content)
      if self._engine.eof:
        self._pending = self._engine.unused_data + self._pending
      return output
    output = self._engine.decompress(content, _OUTPUT)
    self._pending = self._engine.unconsumed_tail if self._kind == "gzip" else b""
    if self._engine.eof:
      self._pending = self._engine.unused_data
    return output

  def _begins_another(self) -> bool:
    """Continues with the next member of the file, past zeros; warns about other bytes."""
    rest = self._pending.lstrip(b"\0")
    while len(rest) < _LONGEST_MAGIC and (chunk := self._stream.read(_CHUNK)):
      rest = (rest + chunk).lstrip(b"\0")
    self._pending = rest
    if not rest:
      return False
    if not _MAGIC[self._kind].match(rest):
      self._warn(f"{self._where}: bytes after the end of the {self._kind} data are ignored")
      self._pending, self._stream = b"", io.BytesIO()
      return False
    self._engine = _engine(self._kind)
    self._members += 1
    # Each member costs an engine and copies of what follows it, however little it holds.
    if self._members > max(MAX_MEMBERS, self._produced // MIN_MEMBER):
      raise UserError(
        f"{self._where}: its {self._kind} data has more than {MAX_MEMBERS:,} members that are almost empty;"
        " unpack it first"
      )
    return True

  def _check_ratio(self) -> None:
    if self._produced > max(FREE_BYTES, MAX_RATIO * self._consumed()):
      raise UserError(
        f"{self._where}: it expands to more than {MAX_RATIO} times its size, so it is not text;"
        " unpack it first if this is intended"
      )


def _engine(kind: str) -> Any:
  if kind == "gzip":
    # 31: a window of 2^15 (15) and a gzip header (+ 16), as zlib's manual has it.
    return zlib.decompressobj(wbits=31)
  if kind == "bzip2":
    return bz2.BZ2Decompressor()
  if kind == "xz":
    return lzma.LZMADecompressor(memlimit=MAX_DICTIONARY)
  return zstandard.ZstdDecompressor().decompressobj()
