"""Limits on a tokenizer's file, for the libraries that read it. Uses the standard library alone.

The files are not trusted: a normalizer can multiply a text, a pattern can take exponential time, an id can require
a table of terabytes. These limits are far above those of tokenizers in use.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gen.interop.untrusted import growth, patterns

MAX_IDS = 1 << 24  # far above any vocabulary in use; tables of so many ids still fit into memory
MAX_PIECE = 4096  # characters; the longest in use are rows of 256 spaces
MAX_GROWTH = 64  # times the length of a text; Unicode normalization is not counted
MAX_WORD = 2000  # characters of a word; WordPiece's time is cubic in them
# Components of a tokenizer.json that process text, in order.
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
MAX_FIELDS = 1 << 20  # of a model of SentencePiece: one for each piece; 256,000 are in use
MAX_NESTS = 4 << 20  # lists and objects; a million merges are as many lists
_DEPTH, _COUNT = 8, 100  # of components
_SEGMENT = 256  # bytes that replace one character in SentencePiece's table; in use are up to 33


class LimitError(ValueError):
  """A file exceeds a limit: one sentence without the file's name."""


def check_json(content: bytes) -> dict[str, object]:
  """Checks a tokenizer.json; returns its content.

  Raises:
    LimitError: for one that no tokenizer needs.
  """
  nests = content.count(b"[") + content.count(b"{")
  if nests > MAX_NESTS:
    raise LimitError(f"it has {nests:,} lists and objects, more than {MAX_NESTS:,}")
  try:
    described: dict[str, object] = json.loads(content.decode("utf-8-sig"))
  except RecursionError:
    raise LimitError("it is nested too deeply") from None
  except ValueError as error:
    raise LimitError(f"it is not valid JSON: {error}") from None
  _is(described, dict, "it")
  _check_ids(described)
  stages: dict[str, list[dict[str, object]]] = {}
  for name in _PARTS:
    stages[name] = []
    for number, (depth, part) in enumerate(_components(described.get(name))):
      if depth > _DEPTH or number > _COUNT:
        raise LimitError(f"its {name} has components more than {_DEPTH} deep or more than {_COUNT}")
      _check_lists(part, name)
      _check_part(part, name)
      stages[name].append(part)
  for together in (("normalizer", "pre_tokenizer"), ("decoder",)):
    times = growth.growth_factor([part for name in together for part in stages[name]])
    if times > MAX_GROWTH:
      stages_named = " and ".join(name for name in together if stages[name])
      raise LimitError(
        f"its {stages_named} can make a text {times:,.0f} times as long or more; {MAX_GROWTH} are allowed"
      )
  return described


def find_regexes(described: Mapping[str, object]) -> list[str]:
  """Returns the patterns in the components of a tokenizer.json that was checked."""
  parts = [part for name in _PARTS for _, part in _components(described.get(name))]
  patterns_given = [part.get("pattern") for part in parts]
  patterns_of = [pattern.get("Regex") for pattern in patterns_given if isinstance(pattern, dict)]
  return [pattern for pattern in patterns_of if isinstance(pattern, str)]


def check_sentence_pieces(content: bytes) -> None:
  """Checks a model of SentencePiece: the lengths of its pieces and of the replacements in its table of characters.

  Raises:
    LimitError: for one that no tokenizer needs.
  """
  for field, value in _fields(content):
    if field == 1 and len(value) > 4 * MAX_PIECE + 64:
      raise LimitError(f"it has a piece of {len(value):,} bytes")
    if field in (3, 5):  # normalization and denormalization
      for inner, table in _fields(value):
        if inner == 2:
          _check_table(table)


def _check_ids(described: dict[str, object]) -> None:
  model = _is(described.get("model"), dict, "its model")
  vocab = model.get("vocab")
  if isinstance(vocab, dict):
    owners: dict[int, str] = {}
    for piece, number in vocab.items():
      _check_id(piece, number)
      if owners.setdefault(number, piece) != piece:
        raise LimitError(f"it gives the id {number} to {owners[number][:40]!r} and to {piece[:40]!r}")
  elif isinstance(vocab, list):
    for entry in vocab:
      if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
        raise LimitError("a piece of its vocabulary is not a pair of text and score")
      _check_id(entry[0], 0)
  word = model.get("max_input_chars_per_word")
  if isinstance(word, int) and word > MAX_WORD:
    raise LimitError(f"max_input_chars_per_word {word} is above {MAX_WORD}")
  contents: dict[int, str] = {}
  for token in _is(described.get("added_tokens") or [], list, "added_tokens"):
    content = _is(_is(token, dict, "an added token").get("content"), str, "the content of an added token")
    number = token.get("id")
    _check_id(content, number)
    if contents.setdefault(number, content) != content:
      raise LimitError(f"it gives the id {number} to {contents[number][:40]!r} and to {content[:40]!r}")


def _check_id(piece: str, number: Any) -> None:
  if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MAX_IDS:
    raise LimitError(
      f"it gives {piece[:40]!r} the id {str(number)[:40]}; ids are whole numbers from 0 and below {MAX_IDS:,}"
    )
  if len(piece) > MAX_PIECE:
    raise LimitError(f"it has a piece of {len(piece):,} characters, more than {MAX_PIECE:,}")


def _components(part: object, depth: int = 0) -> Iterator[tuple[int, dict[str, object]]]:
  """Yields a component and those inside it, with their depths."""
  if not isinstance(part, dict):
    return
  yield depth, part
  if depth > _DEPTH:
    return
  for value in part.values():
    for inner in value if isinstance(value, list) else [value]:
      if isinstance(inner, dict) and "type" in inner:
        yield from _components(inner, depth + 1)


def _check_lists(part: dict[str, object], name: str) -> None:
  """Bounds the number of parts that a template adds to a text."""
  for key in ("single", "pair"):
    pieces = part.get(key)
    if isinstance(pieces, list) and len(pieces) > _COUNT:
      raise LimitError(f"its {name} adds {len(pieces):,} parts to a text")
  tokens = part.get("special_tokens")
  for token in tokens.values() if isinstance(tokens, dict) else ():
    ids = token.get("ids") if isinstance(token, dict) else None
    for number in ids if isinstance(ids, list) else ():
      _check_id(str(token.get("id")), number)
    if isinstance(ids, list) and len(ids) > _COUNT:
      raise LimitError(f"its {name} gives {len(ids):,} ids to one special token")


def _check_part(part: dict[str, object], name: str) -> None:
  """Bounds the pattern, the texts and the table of a component."""
  pattern = part.get("pattern")
  if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str):
    try:
      patterns.check_pattern(pattern["Regex"])
    except patterns.PatternError as error:
      raise LimitError(f"its {name} has the pattern {pattern['Regex'][:60]!r}: {error}") from None
  for key in ("prepend", "replacement", "prefix", "suffix", "pad_token", "word_delimiter_token"):
    value = part.get(key)
    if isinstance(value, str) and len(value) > _SEGMENT:
      raise LimitError(f"its {name} has {key} of {len(value):,} characters, more than {_SEGMENT}")
  table = part.get("precompiled_charsmap")
  if isinstance(table, str):
    try:
      _check_table(base64.b64decode(table))
    except binascii.Error:
      raise LimitError(f"its {name} has a precompiled_charsmap that is not base64") from None


def _check_table(table: bytes) -> None:
  """Bounds the replacements in SentencePiece's table: zero-terminated texts after a trie."""
  trie = int.from_bytes(table[:4], "little")
  longest = max(map(len, table[4 + trie :].split(b"\0")))
  if longest > _SEGMENT:
    raise LimitError(
      f"its table of characters replaces one of them by {longest:,} bytes, more than {_SEGMENT}"
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
  """Yields the fields of a protobuf message that hold bytes; stops at invalid data."""
  offset = count = 0
  while offset < len(message):
    count += 1
    if count > MAX_FIELDS:  # each takes a microsecond
      raise LimitError(f"it has more than {MAX_FIELDS:,} fields")
    key, offset = _varint(message, offset)
    kind = key & 7
    if kind == 0:
      _, offset = _varint(message, offset)
    elif kind == 2:
      size, offset = _varint(message, offset)
      if offset + size > len(message):
        return
      yield key >> 3, message[offset : offset + size]
      offset += size
    elif kind in (1, 5):
      offset += 8 if kind == 1 else 4
    else:
      return


def _varint(message: bytes, offset: int) -> tuple[int, int]:
  number = 0
  for shift in range(0, 70, 7):
    if offset >= len(message):
      return number, offset
    byte = message[offset]
    offset += 1
    number |= (byte & 0x7F) << shift
    if byte < 0x80:
      break
  return number, offset


def _is(value: Any, kind: type, name: str) -> Any:
  if not isinstance(value, kind):
    raise LimitError(
      f"{name} is not {'an object' if kind is dict else 'a list' if kind is list else 'a string'}"
    )
  return value
