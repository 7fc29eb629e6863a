"""What can become of a file of JSON: every damage as (name, bytes), for tests of whatever reads one.

    for name, damaged in mutations.of(path.read_bytes(), random.Random(0)):
      ...                                        # damaged is None where the file is gone

A mutation changes a file such that its text or its values differ. What reads the file then says so in one sentence,
or gives the answer that it gives without the damage.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

DEEP = 100_000  # brackets: beyond any parser's stack
OTHER_TYPES: tuple[Any, ...] = (None, [], {}, "", "x", True, -1, 0, 0.5, 10**400, [[]], {"a": {}})


def mixed(content: bytes, rng: random.Random) -> list[tuple[str, bytes | None]]:
  """Returns the mutations of a file in random order, so that a short test meets all kinds in the long run."""
  mutations = list(of(content, rng))
  rng.shuffle(mutations)
  return mutations


def of(content: bytes, rng: random.Random) -> Iterator[tuple[str, bytes | None]]:
  """Yields damages of a file of JSON, or of one object a line, in a fixed order with random places."""
  yield "deleted", None
  yield "empty", b""
  for text in (
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b"NaN",
    b"\n\n",
    b"[" * DEEP,
    b'{"a":' * DEEP,
  ):
    yield f"is {text[:12]!r}", text
  for cut in {rng.randrange(len(content)) for _ in range(3)} if content else ():
    yield f"cut to {cut} bytes", content[:cut]
  for _ in range(4 if content else 0):
    yield flipped(content, rng)
  lines = content.splitlines(keepends=True)
  if len(lines) > 1 and all(_parsed(line) is not None for line in lines):
    yield from _of_lines(lines, rng)
  elif (value := _parsed(content)) is not None:
    for name, changed in of_value(value, rng):
      yield name, json.dumps(changed).encode()


def flipped(content: bytes, rng: random.Random) -> tuple[str, bytes]:
  """Returns the content with one bit flipped."""
  place, bit = rng.randrange(len(content)), rng.randrange(8)
  damaged = bytearray(content)
  damaged[place] ^= 1 << bit
  return f"bit {bit} of byte {place} flipped", bytes(damaged)


def of_value(value: Any, rng: random.Random, number: int = 3) -> Iterator[tuple[str, Any]]:
  """Yields (name, changed value) for a value of JSON: keys dropped, types swapped, numbers edited, nests deepened."""
  places = list(_places(value))
  for path in rng.sample(places, min(number, len(places))):
    yield f"{_said(path)} dropped", _without(value, path)
    other = rng.choice(OTHER_TYPES)
    yield f"{_said(path)} is {str(other)[:12]}", _with(value, path, other)
  numbers = [path for path in places if _is_number(_at(value, path))]
  for path in rng.sample(numbers, min(number, len(numbers))):
    edited = _at(value, path) * 1.25 + 1
    yield f"{_said(path)} is {str(edited)[:12]}", _with(value, path, edited)
  words = [path for path in places if isinstance(_at(value, path), str)]
  for path in rng.sample(words, min(number, len(words))):
    yield f"{_said(path)} is other text", _with(value, path, _at(value, path) + "x")


def _of_lines(lines: list[bytes], rng: random.Random) -> Iterator[tuple[str, bytes]]:
  for number in rng.sample(range(len(lines)), min(3, len(lines))):
    before, after = b"".join(lines[:number]), b"".join(lines[number + 1 :])
    yield f"line {number + 1} deleted", before + after
    yield f"line {number + 1} doubled", before + lines[number] * 2 + after
    for text in (b"null\n", b"[]\n", b"{}\n", b"{\n", b"[" * DEEP + b"\n"):
      yield f"line {number + 1} is {text[:12]!r}", before + text + after
    for name, changed in of_value(json.loads(lines[number]), rng, 2):
      yield f"line {number + 1}: {name}", before + json.dumps(changed).encode() + b"\n" + after
  for number in {rng.randrange(len(lines) - 1), len(lines) - 2}:
    swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
    yield f"lines {number + 1} and {number + 2} swapped", b"".join(swapped)
  yield "last line lost", b"".join(lines[:-1])
  yield "first line lost", b"".join(lines[1:])


def _parsed(content: bytes) -> Any:
  try:
    return json.loads(content)
  except (ValueError, RecursionError):
    return None


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
  """Yields the path of everything inside a value."""
  items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, item in items:
    yield (*path, key)
    yield from _places(item, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
  for key in path:
    value = value[key]
  return value


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
  copy = json.loads(json.dumps(value))
  change(_at(copy, path[:-1]), path[-1])
  return copy


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
  return _changed(value, path, lambda parent, key: parent.__setitem__(key, other))


def _without(value: Any, path: tuple[Any, ...]) -> Any:
  return _changed(value, path, lambda parent, key: parent.__delitem__(key))


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _said(path: tuple[Any, ...]) -> str:
  return ".".join(map(str, path))
