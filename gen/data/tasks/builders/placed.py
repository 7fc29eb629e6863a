"""Examples with their places in files, and the faults of single fields."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gen.data.tasks.records.record import Record
from gen.errors import UserError
from gen.io import json_reading

MAX_TEXT = 1 << 20  # characters of one field; a longer one comes from a quote that is never closed
MAX_LABEL = 200  # characters; a longer one is a text. Chosen: twice the longest names of classes in use


class Placed(NamedTuple):
  """An example and where it comes from.

  Attributes:
    example: of the task's class.
    where: its file and row.
    part: one of train, development and test; empty if the data has no parts.
  """

  example: Any
  where: str
  part: str


class Built(NamedTuple):
  """The examples of a source.

  Attributes:
    placed: in order.
    labels: in sorted order; empty for tasks without classes.
    notes: lines about what was taken for what.
  """

  placed: list[Placed]
  labels: tuple[str, ...]
  notes: list[str]


def read_text(record: Record, column: str, what: str, may_be_empty: bool = False) -> str:
  """Returns the text in a column of a record.

  Raises:
    UserError: if it is absent, no text, empty or too long.
  """
  require_column(record, column)
  value = record.values[column]
  if value is None and may_be_empty:
    value = ""
  if isinstance(value, bytes):
    value = _decode(value, f"{record.where}: {what}")
  if value is None or (isinstance(value, str) and not value.strip() and not may_be_empty):
    raise UserError(f"{record.where}: the {what} (column {column!r}) is empty; fill it or remove the row")
  if not isinstance(value, str):
    kind = json_reading.describe_kind(value)
    raise UserError(f"{record.where}: the {what} (column {column!r}) is {kind}; it must be text")
  if len(value) > MAX_TEXT:
    raise UserError(
      f"{record.where}: the {what} has {len(value):,} characters, more than {MAX_TEXT:,};"
      " split it, or look for a quotation mark that is never closed"
    )
  require_encodable(value, f"{record.where}: the {what}")
  return value


def require_column(record: Record, column: str) -> None:
  """Refuses a record without a column that the first record has.

  Raises:
    UserError: for such a record; it lists the columns that it has.
  """
  if column not in record.values:
    listed = ", ".join(repr(name) for name in list(record.values)[:12])
    raise UserError(
      f"{record.where}: no column {column!r}, which the first row has (its columns: {listed or 'none'})"
    )


def require_encodable(text: str, where: str) -> None:
  """Refuses a text that UTF-8 cannot encode.

  Raises:
    UserError: for half of a surrogate pair, which JSON can hold.
  """
  try:
    text.encode()
  except UnicodeEncodeError:
    raise UserError(f"{where} has half of a surrogate pair, which UTF-8 cannot encode; remove it") from None


def _decode(value: bytes, where: str) -> str:
  try:
    return value.decode("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(f"{where} is not UTF-8 (byte {error.start}); convert it") from None


def read_document(record: Record, fields: Mapping[str, str]) -> str:
  """Returns the document that a record belongs to; empty if it is unknown."""
  if "document" in fields:
    value = record.values.get(fields["document"])
    return "" if value is None else str(value)
  return record.document


def read_list(record: Record, column: str, what: str) -> list[Any]:
  """Returns the list in a column of a record; a text is a list in JSON, or words between spaces.

  Raises:
    UserError: if it is neither.
  """
  value = record.values.get(column)
  if isinstance(value, str):
    text = value.strip()
    if not text.startswith("["):
      return text.split()
    value = _parse_list(text, f"{record.where}: the {what} (column {column!r})")
  if value is not None and hasattr(value, "tolist"):  # an array of TFDS
    value = value.tolist()
  if not isinstance(value, Sequence) or isinstance(value, bytes):
    kind = json_reading.describe_kind(value)
    raise UserError(f"{record.where}: the {what} (column {column!r}) is {kind}; it must be a list")
  return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in value]


def _parse_list(text: str, where: str) -> list[Any]:
  """Returns a list written as JSON, or as Python writes it."""
  try:
    return json_reading.parse_json(text, where, list)
  except UserError:
    try:
      value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
      value = None
  if not isinstance(value, list):
    raise UserError(f"{where}: {text[:40]!r} is no list; write it in JSON, or words between spaces")
  return value
