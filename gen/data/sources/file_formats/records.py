"""Documents in records: JSON lines, JSON lists and objects, and CSV, one record at a time."""

import csv
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from gen.data.document import Document
from gen.data.sources.file_formats import encodings, json_stream, kinds
from gen.errors import UserError
from gen.io import json_reading
from gen.io.csv_rows import RowReader, describe_fault

DEFAULT_FIELD = "text"
_MAX_NAMES = 12  # fields listed in an error; chosen: as many as fit into three lines
_MAX_DELIMITERS = 1_000_000  # in one line: each field is an object while the line is read
MAX_OTHERS = 500_000  # elements of a list that holds no texts: each takes microseconds
MAX_MEMBERS = 100_000  # of an object too large for memory: each takes ten microseconds
_MAX_LINES = 1_000_000  # of one row; its texts may be books
MAX_BLANK_LINES = 100_000  # in a row: a file of nothing else would take seconds a megabyte
_MAX_COMPARED = 200  # characters of a name: difflib's time is quadratic in them
Say = Callable[[str], None]


def choose_field(names: Iterable[str], requested: str) -> str | None:
  """Returns the field of a record that holds its text, or None.

  This is the requested field, or a field that differs from it only in case. If the default was requested, the names in
  `kinds.FIELDS` are tried next.

  >>> choose_field(["url", "Content", "title"], "text")
  'Content'
  """
  names = list(names)
  for candidate in (requested, *(kinds.FIELDS if requested == DEFAULT_FIELD else ())):
    for name in names:
      if name == candidate:
        return name
    for name in names:
      if name.strip().lower() == candidate.lower():
        return name
  return None


def no_field(names: Iterable[Any], requested: str, where: str) -> UserError:
  """Returns the error for a record without the field; it suggests the nearest field and lists all."""
  # A quoted name of a CSV file may hold line breaks, and an error is one line.
  listed_names = [" ".join(str(name).split()) for name in names]
  compared = [name[:_MAX_COMPARED] for name in listed_names[:1_000]]
  nearest = difflib.get_close_matches(requested[:_MAX_COMPARED], compared, 1, 0.0)
  listed = ", ".join(name[:40] for name in listed_names[:_MAX_NAMES]) + (
    ", ..." if len(listed_names) > _MAX_NAMES else ""
  )
  offer = (
    f"; the nearest is --config.data.field={nearest[0][:80]} (its fields: {listed})"
    if nearest
    else "; it has none"
  )
  return UserError(f"{where}: no field {requested!r}{offer}")


def text_of_record(record: object, field: str, where: str) -> str:
  """Returns the text in a record's field.

  Raises:
    UserError: if the record is no object, lacks the field, or its field is not text.
  """
  if not isinstance(record, dict):
    raise UserError(
      f"{where}: a record is {json_reading.describe_kind(record)}; it must be an object with the field {field!r}"
    )
  if field not in record:
    raise no_field(record, field, where)
  value = record[field]
  if isinstance(value, bytes):
    return encodings.decode_utf8(value, f"{where}, field {field!r}")
  if not isinstance(value, str):
    raise UserError(f"{where}: field {field!r} is {json_reading.describe_kind(value)}, not text")
  return _encodable(value, f"{where}: field {field!r}")


def _encodable(value: str, where: str) -> str:
  if not value.isascii() and re.search("[\ud800-\udfff]", value):
    raise UserError(f"{where} has half of a surrogate pair, which UTF-8 cannot encode")
  return value


class TextField:
  """The text field of a file's records; the first record decides, and it is reported once.

  Attributes:
    requested: the field that the user requested.
  """

  def __init__(self, requested: str, say: Say) -> None:
    """Stores the requested field, and a function that is called with a clause about the choice."""
    self.requested, self._say = requested, say
    self._chosen: str | None = None

  def text(self, record: object, where: str) -> str:
    """Returns the text of a record; a record that is a string is its own text.

    Raises:
      UserError: if it has none.
    """
    if isinstance(record, str) and self._chosen is None:
      self._say("texts")
      return _encodable(record, f"{where}: the text")
    if self._chosen is None:
      self.choose(record if isinstance(record, dict) else (), where)
    return text_of_record(record, self._chosen or self.requested, where)

  def choose(self, names: Iterable[str], where: str) -> str:
    """Returns the field, chosen from the names of the first record."""
    listed_names = list(names)
    if self._chosen is None and listed_names:
      self._chosen = choose_field(listed_names, self.requested)
      if self._chosen is None:
        raise no_field(listed_names, self.requested, where)
      self._say(f"the field {self._chosen!r}")
    return self._chosen or self.requested

  def is_in(self, record: object) -> bool:
    """Returns whether a record has a field that may hold its text."""
    return isinstance(record, dict) and choose_field(record, self._chosen or self.requested) is not None


def numbered_lines(stream: IO[bytes], where: str) -> Iterator[tuple[int, bytes]]:
  """Yields (number, line), with their ends.

  Raises:
    UserError: for a line longer than MAX_RECORD, or for too many blank lines in a row.
  """
  number = last = 0  # last: the last line that is not blank
  while line := stream.readline(kinds.MAX_RECORD + 1):
    number += 1
    if len(line) > kinds.MAX_RECORD:
      raise UserError(
        f"{where}:{number}: a line has more than {kinds.MAX_RECORD >> 20} MiB; split its record"
      )
    if not line.isspace():
      last = number
    elif number - last > MAX_BLANK_LINES:
      raise UserError(f"{where}:{last + 1}: more than {MAX_BLANK_LINES:,} blank lines in a row; remove them")
    yield number, line


def json_lines(stream: IO[bytes], name: str, where: str, field: TextField) -> Iterator[Document]:
  """Yields one document per line that is not blank."""
  offset = 0
  for number, line in numbered_lines(stream, where):
    location = f"{where}:{number}"
    if line.strip():
      yield Document(f"{name}:{number}", field.text(_parsed(line, offset, location), location))
    offset += len(line)


def _parsed(line: bytes, offset: int, where: str) -> Any:
  json_stream.check_weight(line, where)
  try:
    return json.loads(line.decode("utf-8"))
  except UnicodeDecodeError as error:
    raise UserError(
      f"{where}: not UTF-8: byte at offset {offset + error.start} of the file; convert it"
    ) from None
  except ValueError as error:
    reason = str(error) if isinstance(error, json.JSONDecodeError) else "a number has more than 4,300 digits"
    raise UserError(f"{where}: not JSON: {reason}") from None
  except RecursionError:
    raise UserError(f"{where}: not JSON: nested too deeply") from None


def json_values(stream: IO[bytes], name: str, where: str, field: TextField) -> Iterator[Document]:
  """Yields the documents of a JSON list, of an object, or of several values one after the other."""
  cursor = json_stream.JsonCursor(encodings.decode_chunks(stream, where), where)
  try:
    if cursor.peek() == "[":
      for number, record in enumerate(cursor.elements(), start=1):
        yield Document(f"{name}:{number}", field.text(record, f"{where}, record {number}"))
      _check_end(cursor)
      return
    try:
      record = cursor.value()
    except json_stream.TooLargeError:
      yield from _members(cursor, name, where, field)
      return
    if not cursor.peek():
      yield from _object(record, name, where, field)
      return
    number = 1
    while True:
      yield Document(f"{name}:{number}", field.text(record, f"{where}, record {number}"))
      if not cursor.peek():
        return
      record, number = cursor.value(), number + 1
  except json_stream.TooLargeError:
    raise UserError(
      f"{where}: it is not JSON, or has a record of more than {kinds.MAX_RECORD >> 20} MiB or of millions of lists"
    ) from None


def _check_end(cursor: json_stream.JsonCursor) -> None:
  if cursor.peek():
    raise UserError(f"{cursor.where}: not JSON: there is text after the end of the list")


def _object(record: Any, name: str, where: str, field: TextField) -> Iterator[Document]:
  """Yields an object's own text; if it has none, the texts of the records in its lists."""
  if not isinstance(record, dict) or _is_text(record, field):
    yield Document(name, field.text(record, where))
    return
  has_records = False
  for key, value in record.items():
    if isinstance(value, list) and value and _is_record(value[0], key, field):
      has_records = True
      for number, item in enumerate(value, start=1):
        yield Document(f"{name}:{key}:{number}", field.text(item, f"{where}, {key}, record {number}"))
  if not has_records:
    field.text(_nearest_record(record), where)  # raises the error that names the missing field
    raise UserError(f"{where}: none of its records has a text; it is {json_reading.describe_kind(record)}")


def _is_text(record: dict[str, Any], field: TextField) -> bool:
  chosen = choose_field(record, field.requested)
  return chosen is not None and isinstance(record[chosen], str)


def _is_record(item: Any, key: str, field: TextField) -> bool:
  return field.is_in(item) or (isinstance(item, str) and field.is_in({key: item}))


def _nearest_record(record: dict[str, Any]) -> dict[str, Any]:
  """Returns the first record in a list of the object, or the object itself if there is none."""
  for value in record.values():
    if isinstance(value, list) and value and isinstance(value[0], dict):
      return value[0]
  return record


def _members(cursor: json_stream.JsonCursor, name: str, where: str, field: TextField) -> Iterator[Document]:
  """Yields the records in the lists of an object that is too large for memory."""
  records_key: str | None = None
  keys: list[str] = []
  for key in cursor.members():
    keys.append(key)
    if len(keys) > MAX_MEMBERS:
      raise json_stream.TooLargeError
    if cursor.peek() != "[":
      cursor.value()
      continue
    for number, item in enumerate(cursor.elements(), start=1):
      if number == 1 and not _is_record(item, key, field):
        keys += list(item) if isinstance(item, dict) else []
      elif number == 1 or records_key == key:
        records_key = key
        yield Document(f"{name}:{key}:{number}", field.text(item, f"{where}, {key}, record {number}"))
      elif number > MAX_OTHERS:
        raise json_stream.TooLargeError
  _check_end(cursor)
  if not records_key:
    raise no_field(keys, field.requested, where)


def table_documents(
  stream: IO[bytes], name: str, where: str, field: TextField, delimiter: str
) -> Iterator[Document]:
  """Yields one document per row of a table with a header.

  Raises:
    UserError: for too many columns, a row of another length, a quote that is never closed.
  """
  finished = [0]  # last line of the previous row
  rows = RowReader(_table_lines(stream, where, delimiter, finished), delimiter, kinds.MAX_RECORD)
  try:
    header = next((row for row in rows if row), [])
    if not header:
      return
    column = header.index(field.choose(header, f"{where}:1"))
    for row in rows:
      finished[0] = rows.line_num
      if not row:
        continue
      location = f"{where}:{rows.line_num}"
      if len(row) != len(header):
        raise UserError(
          f"{location}: {len(row):,} fields, but the first row names {len(header):,};"
          " quote fields that contain a separator, or read the file as text:PATH"
        )
      yield Document(f"{name}:{rows.line_num}", row[column])
  except csv.Error as error:
    fault = describe_fault(error, kinds.MAX_RECORD)
    raise UserError(f"{where}:{rows.line_num}: not a table of fields: {fault}") from None


def _table_lines(stream: IO[bytes], where: str, delimiter: str, finished: list[int]) -> Iterator[str]:
  max_fields, sign = kinds.MAX_COLUMNS, delimiter.encode()
  offset = 0
  for number, line in numbered_lines(stream, where):
    if line.count(sign) > max_fields:
      raise UserError(f"{where}:{number}: more than {max_fields:,} fields, so it is not a table of texts")
    if number - finished[0] > _MAX_LINES:
      raise UserError(
        f"{where}:{finished[0] + 1}: a row of more than {_MAX_LINES:,} lines; a quote is never closed"
      )
    if line.strip():
      max_fields = _MAX_DELIMITERS  # texts may contain more delimiters than there are columns
    try:
      yield line.decode("utf-8")
    except UnicodeDecodeError as error:
      raise UserError(
        f"{where}:{number}: not UTF-8: byte at offset {offset + error.start} of the file; convert it"
      ) from None
    offset += len(line)
