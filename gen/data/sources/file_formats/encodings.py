"""Bytes as text: byte-order marks, UTF-16 and UTF-32, and one-sentence errors for other encodings."""

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any

from gen.errors import UserError

MARKS = (  # UTF-32's mark begins with UTF-16's
  (codecs.BOM_UTF32_LE, "utf-32"),
  (codecs.BOM_UTF32_BE, "utf-32"),
  (codecs.BOM_UTF8, "utf-8-sig"),
  (codecs.BOM_UTF16_LE, "utf-16"),
  (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20  # bytes decoded at a time


def detect_encoding(head: bytes) -> str:
  """Returns the encoding of a text by its first bytes: that of a byte-order mark, unmarked UTF-16, or UTF-8."""
  for mark, name in MARKS:
    if head.startswith(mark):
      return name
  even, odd = head[0:1024:2].count(0), head[1:1024:2].count(0)
  half = min(len(head), 1024) // 2
  # ASCII letters have one zero byte of two in UTF-16. 40 %: other letters among them; 2 %: the odd one on the other
  # side.
  if half >= 4 and max(even, odd) > 0.4 * half and min(even, odd) < 0.02 * half:
    return "utf-16-le" if odd > even else "utf-16-be"
  return "utf-8"


def as_utf8(stream: IO[bytes], encoding: str, where: str) -> IO[bytes]:
  """Returns a stream of the same text in UTF-8 without a byte-order mark."""
  if encoding == "utf-8":
    return stream
  return io.BufferedReader(_Transcoded(stream, encoding, where), _CHUNK)


class _Transcoded(io.RawIOBase):
  def __init__(self, stream: IO[bytes], encoding: str, where: str) -> None:
    self._chunks = decode_chunks(stream, where, encoding)
    self._ready = memoryview(b"")

  def readable(self) -> bool:
    return True

  def readinto(self, into: Any) -> int:
    while not self._ready:
      text = next(self._chunks, None)
      if text is None:
        return 0
      self._ready = memoryview(text.encode("utf-8"))
    count = min(len(into), len(self._ready))
    into[:count] = self._ready[:count]
    self._ready = self._ready[count:]
    return count


def decode_chunks(stream: IO[bytes], where: str, encoding: str = "utf-8") -> Iterator[str]:
  """Yields the text of a stream piece by piece.

  Raises:
    UserError: with the file and the offset of the first byte that the encoding does not allow.
  """
  decoder = codecs.getincrementaldecoder(encoding)()
  offset = 0
  while True:
    content = stream.read(_CHUNK)
    held = len(decoder.getstate()[0])
    try:
      text = decoder.decode(content, final=not content)
    except UnicodeDecodeError as error:
      raise _no_text(error, where, offset - held) from None
    offset += len(content)
    if text:
      yield text
    if not content:
      return


def decode_utf8(content: bytes, where: str) -> str:
  """Returns the text of UTF-8 bytes.

  Raises:
    UserError: with the file and the offset of the first byte that is not UTF-8.
  """
  try:
    return content.decode("utf-8")
  except UnicodeDecodeError as error:
    raise _no_text(error, where, 0) from None


def _no_text(error: UnicodeDecodeError, where: str, base: int) -> UserError:
  name = "UTF-8" if error.encoding.lower() in ("utf-8", "utf-8-sig") else error.encoding.upper()
  advice = ""
  if where.startswith("package "):  # nobody can convert a file of a pinned archive
    advice = "; name the members to read, as package:NAME==VERSION:*.md"
  elif name == "UTF-8":
    advice = "; convert it, for example by iconv -f LATIN1 -t UTF-8"
  byte = f"byte 0x{error.object[error.start]:02x} at offset {base + error.start}"
  return UserError(f"{where}: not {name}: {byte} ({error.reason}){advice}")
