"""Reads JSON from other programs or people; each fault is one sentence with the file's name.

A JSON file may be missing, empty, truncated, in another encoding, nested until the parser's stack overflows, or of
another type than the reader needs. `read_json` raises a `UserError` for each of these, so callers only handle values.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.errors import UserError
from gen.io import file_content

MAX_BYTES = 512 * 2**20  # larger than any configuration, tokenizer or index in use
_NAMES = {
  dict: "an object",
  list: "a list",
  str: "text",
  int: "a whole number",
  float: "a number",
  bool: "true or false",
}


def read_json(path: str | Path, kind: type = dict, max_bytes: int = MAX_BYTES) -> Any:
  """Reads one JSON file whose top level is of `kind`.

  Args:
    path: the file; UTF-8, with or without a byte-order mark.
    kind: the Python type of the top level; `object` accepts any.
    max_bytes: a larger file is refused before it is read.

  Raises:
    UserError: if the file cannot be read, or its content is not such JSON.
  """
  try:
    content = file_content.read_regular(path, max_bytes, "a JSON file")
  except FileNotFoundError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from error
  return parse_json(content, str(path), kind)


def parse_json(content: bytes | str, name: str, kind: type = dict, unique: bool = False) -> Any:
  """Parses JSON whose top level is of `kind`.

  Args:
    content: the text; bytes are UTF-8, with or without a byte-order mark.
    name: name of the content in errors, for example "runs/a/config.json" or "line 7 of journal.jsonl".
    kind: the Python type of the top level; `object` accepts any.
    unique: whether to refuse an object with a repeated name; otherwise its last value counts.

  Raises:
    UserError: one sentence that opens with `name`.

  >>> parse_json('{"a": 1}', "x.json")
  {'a': 1}
  """
  try:
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
  except UnicodeDecodeError as error:
    raise UserError(f"{name} is not UTF-8 text (byte {error.start}), so it is not JSON") from error
  if not text.strip():
    raise UserError(f"{name} is empty")
  try:
    value = json.loads(text, object_pairs_hook=_unique if unique else None)
  except RecursionError as error:
    raise UserError(f"{name} is nested too deeply") from error
  except json.JSONDecodeError as error:
    raise UserError(
      f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    ) from error
  except ValueError as error:  # integers of more than 4,300 digits, Python's limit; repeated names
    raise UserError(f"{name} is not valid JSON: {error}") from error
  return require_kind(value, kind, name)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
  values = dict(pairs)
  if len(values) < len(pairs):
    seen: set[str] = set()
    for name, _ in pairs:
      if name in seen:
        raise ValueError(f"{name[:60]!r} occurs twice")
      seen.add(name)
  return values


def require_kind(value: Any, kind: type, name: str) -> Any:
  """Returns `value` if it is of `kind`.

  Booleans are not accepted as numbers; whole numbers are accepted as floats.

  Raises:
    UserError: one sentence that opens with `name`.

  >>> require_kind(3, float, "x.json: rate")
  3
  """
  if kind is object:
    return value
  accepted = (int, float) if kind is float else (kind,)
  if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
    raise UserError(
      f"{name} holds {describe_kind(value)} where {_NAMES.get(kind, kind.__name__)} is expected"
    )
  return value


def require_field(mapping: Mapping[str, object], key: str, kind: type, name: str) -> Any:
  """Returns `mapping[key]` if it exists and is of `kind`.

  Raises:
    UserError: one sentence that opens with `name`.
  """
  if key not in mapping:
    raise UserError(f"{name} has no {key!r}")
  return require_kind(mapping[key], kind, f"{name}: {key}")


def describe_kind(value: Any) -> str:
  """Names the JSON type of a value.

  >>> describe_kind(None), describe_kind([]), describe_kind(1.5)
  ('null', 'a list', 'a number')
  """
  if value is None:
    return "null"
  return _NAMES.get(type(value), type(value).__name__)
