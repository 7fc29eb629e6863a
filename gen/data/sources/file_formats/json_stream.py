"""JSON values from a stream of text, one at a time, so that a list of any length fits into memory."""

import json
import re
from collections.abc import Iterator
from typing import Any

from gen.errors import UserError

MAX_TEXT = 64 << 20  # characters of one value
MAX_MEMORY = 384 << 20  # bytes of one value as Python objects
# Characters read at first; a longer value doubles them.
_FIRST = 1 << 16
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class TooLargeError(Exception):
  """A value is too large for memory."""


def check_weight(text: str | bytes, where: str) -> None:
  """Raises UserError for JSON whose Python objects would need far more memory than its text.

  Raises:
    UserError: for too many lists and objects.
  """
  if len(text) > 1 << 20 and _weight(text) > MAX_MEMORY:
    raise UserError(f"{where}: it has millions of lists or numbers, so it is not text")


def _weight(text: str | bytes) -> int:
  """Returns an estimate of the bytes of a JSON text's Python objects: lists, objects, and members of objects."""
  signs = ("[", ",", "{", '":', '\\":') if isinstance(text, str) else (b"[", b",", b"{", b'":', b'\\":')
  lists, commas, objects, names, quoted = map(text.count, signs)  # type: ignore[arg-type]
  return 60 * (lists + commas) + 230 * objects + 400 * (names - quoted)


class JsonCursor:
  """A position in a stream of JSON text.

  Attributes:
    where: name of the stream in errors.
    characters: number of characters before the position.
  """

  def __init__(self, chunks: Iterator[str], where: str) -> None:
    """Starts at the beginning."""
    self.where = where
    self.characters = 0
    self._chunks, self._text, self._at, self._ended = chunks, "", 0, False

  def peek(self) -> str:
    """Returns the next character that is not blank; empty at the end."""
    if self._at < len(self._text) and self._text[self._at] not in " \t\r\n":
      return self._text[self._at]
    while True:
      matched = _BLANK.match(self._text, self._at)
      self._at = matched.end() if matched else self._at
      if self._at < len(self._text):
        return self._text[self._at]
      if not self._fill():
        return ""

  def take(self, expected: str) -> None:
    """Moves past one of the expected characters.

    Raises:
      UserError: if the next character is another one.
    """
    character = self.peek()
    if not character or character not in expected:
      shown = f"{character!r}" if character else "its end"
      raise UserError(
        f"{self.where}: not JSON: {shown} where {' or '.join(expected)} is expected, {self._place()}"
      )
    self._at += 1

  def value(self) -> Any:
    """Returns the next value and moves past it.

    Raises:
      UserError: if it is not valid JSON.
      TooLargeError: if it is too large for memory; the position does not change.
    """
    self.peek()
    want = _FIRST
    while True:
      if len(self._text) - self._at < want:
        self._fill(want)
      if want > _FIRST:
        self._check_size(want)
      try:
        value, end = _DECODER.raw_decode(self._text, self._at)
        if end < len(self._text) or self._ended:
          self._at = end
          return value
      except RecursionError:
        raise UserError(f"{self.where}: not JSON: nested too deeply, {self._place()}") from None
      except json.JSONDecodeError as error:
        if self._ended:
          raise UserError(f"{self.where}: not JSON: {error.msg} {self._place(error.pos)}") from None
      except ValueError:
        raise UserError(f"{self.where}: not JSON: a number has more than 4,300 digits") from None
      want *= 4

  def members(self) -> Iterator[str]:
    """Yields the keys of an object; the caller moves past the value of each."""
    self.take("{")
    while self.peek() != "}":
      key = self.value()
      if not isinstance(key, str):
        raise UserError(f"{self.where}: not JSON: a key that is not text, {self._place()}")
      self.take(":")
      yield key
      if self.peek() != "}":
        self.take(",")
    self.take("}")

  def elements(self) -> Iterator[Any]:
    """Yields the elements of a list."""
    self.take("[")
    while self.peek() != "]":
      yield self.value()
      if self.peek() != "]":
        self.take(",")
    self.take("]")

  def _check_size(self, want: int) -> None:
    if want > MAX_TEXT and len(self._text) - self._at > MAX_TEXT:
      raise TooLargeError
    if want > 4 << 20 and _weight(self._text) > MAX_MEMORY:
      raise TooLargeError

  def _fill(self, want: int = 1) -> bool:
    """Reads until `count` characters are buffered; returns whether any were read."""
    pieces = [self._text[self._at :]]
    length = len(pieces[0])
    while length < want or len(pieces) == 1:
      chunk = None if self._ended else next(self._chunks, None)
      if chunk is None:
        self._ended = True
        break
      pieces.append(chunk)
      length += len(chunk)
    self.characters += self._at
    self._text, self._at = "".join(pieces), 0
    return len(pieces) > 1

  def _place(self, position: int | None = None) -> str:
    return f"at character {self.characters + (self._at if position is None else position):,}"
