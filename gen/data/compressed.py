"""Reads files that may be compressed (.gz, .xz, .zst) as a stream of lines; a truncated one is an error, not an end."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from gen.errors import UserError

SUFFIXES = (".gz", ".xz", ".zst")
_CHUNK = 1 << 20


def lines(path: Path) -> Iterator[bytes]:
  """Yields the lines of a file, opened as its suffix says, with their ends.

  Raises:
    UserError: if it cannot be read, or its compression is damaged.
  """
  try:
    with _open(path) as stream:
      yield from stream
  except (lzma.LZMAError, zlib.error, EOFError, zstandard.ZstdError, gzip.BadGzipFile) as error:
    raise UserError(f"{path}: the compressed file is damaged ({error})") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _open(path: Path) -> IO[bytes]:
  if path.suffix == ".gz":
    return gzip.open(path, "rb")  # type: ignore[return-value]
  if path.suffix == ".xz":
    return lzma.open(path, "rb")  # type: ignore[return-value]
  if path.suffix == ".zst":
    return io.BufferedReader(_Zstandard(path), _CHUNK)
  return path.open("rb")


class _Zstandard(io.RawIOBase):
  """Zstandard frames, one after the other; the library's own reader takes a truncated frame for a whole one."""

  def __init__(self, path: Path) -> None:
    self._file = path.open("rb")
    self._frame = zstandard.ZstdDecompressor().decompressobj()
    self._begun = False
    self._ready = memoryview(b"")

  def readable(self) -> bool:
    return True

  def close(self) -> None:
    self._file.close()
    super().close()

  def readinto(self, into: Any) -> int:
    into = memoryview(into)
    while not self._ready:
      chunk = self._frame.unused_data if self._frame.eof else b""
      chunk = chunk or self._file.read(_CHUNK)
      if self._frame.eof:
        self._frame, self._begun = zstandard.ZstdDecompressor().decompressobj(), False
      if not chunk:
        if self._begun:
          raise EOFError("it ends within a frame")
        return 0
      self._begun = True
      self._ready = memoryview(self._frame.decompress(chunk))
    count = min(len(into), len(self._ready))
    into[:count] = self._ready[:count]
    self._ready = self._ready[count:]
    return count
