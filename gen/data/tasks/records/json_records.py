"""Records in JSON: lines, a list, an object with a list of records, or an object of records by name."""

import json
from collections.abc import Iterator
from typing import Any

from gen.data.sources.file_formats import json_stream
from gen.data.sources.file_formats.records import numbered_lines
from gen.data.tasks.records.record import Record, find_part
from gen.data.tasks.records.text_lines import OpenText, decode_line, read_all
from gen.errors import UserError
from gen.io import json_reading

KEY = "id"  # of records that an object names


def read_json_lines(opened: OpenText) -> Iterator[Record]:
  """Yields one record a line.

  Raises:
    UserError: for a line that is not a JSON object.
  """
  for number, line in numbered_lines(opened.stream, opened.where):
    where = f"{opened.where}:{number}"
    text = decode_line(line, where)
    if not text.strip():
      continue
    json_stream.check_weight(line, where)
    yield Record(
      where, _require_object(json_reading.parse_json(text, where, object), where), file=opened.where
    )


def read_json(opened: OpenText) -> list[Record]:
  """Returns the records of a JSON file.

  Raises:
    UserError: if it is not JSON, or has no records.
  """
  value = json_reading.parse_json(read_all(opened.stream, opened.where), opened.where, object)
  return find_records(value, opened.where)


def find_records(value: Any, where: str) -> list[Record]:
  """Returns the records of a parsed JSON value: a list, an object that has one, or an object of objects.

  Raises:
    UserError: if there are none.
  """
  if isinstance(value, list):
    return [
      Record(f"{where}, record {number}", _require_object(item, f"{where}, record {number}"), file=where)
      for number, item in enumerate(value, 1)
    ]
  if isinstance(value, dict):
    if len(value) == 1 and isinstance(next(iter(value.values())), dict):
      return find_records(next(iter(value.values())), where)
    parts = {key: find_part(key) for key, item in value.items() if isinstance(item, list)}
    if "train" in parts.values():
      return [
        record._replace(where=record.where.replace(", record", f", {key}, record"), part=part)
        for key, part in parts.items()
        if part
        for record in find_records(value[key], where)
      ]
    lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if lists:
      return find_records(max(lists, key=len), where)
    if value and all(isinstance(item, dict) for item in value.values()):
      return [
        Record(f"{where}, record {key[:60]!r}", {KEY: key} | item, file=where) for key, item in value.items()
      ]
  raise UserError(
    f"{where}: it is {json_reading.describe_kind(value)} without a list of records; write JSON lines"
  )


def _require_object(value: Any, where: str) -> dict[str, Any]:
  if not isinstance(value, dict):
    shown = json.dumps(value)[:40]
    raise UserError(
      f"{where}: a record is {json_reading.describe_kind(value)} ({shown}); it must be an object"
    )
  return value
