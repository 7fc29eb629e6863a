"""Lines of JSON objects as rows of a table: a journal, a part of it, or a file of another program.

Rows may have seals (`seals`). A row that differs from its seal is refused, and so is a numbered journal with missing
rows. A selection of a journal's results is accepted.
"""

import json
from typing import Any

from gen.errors import UserError
from gen.io import formats, json_reading, seals


def parse_rows(text: str, name: str) -> list[dict[str, Any]]:
  r"""Returns the rows of a table, without a last line that a crash truncated.

  Args:
    text: one JSON object per line.
    name: of the file, for messages.

  Raises:
    UserError: for a line that is not a JSON object, a row that was changed, or a journal with missing rows.

  >>> parse_rows('{"loss": 2.5}\n{"loss": 3.5}\n{"lo', "x.jsonl")
  [{'loss': 2.5}, {'loss': 3.5}]
  """
  lines = text.split("\n")
  rows: list[dict[str, Any]] = []
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):
      if number == len(lines) and rows:  # a last line without a line break was truncated by a crash
        continue
      raise UserError(f"line {number} of {name} is not JSON: {line[:60]!r}; repair or delete it") from None
    if not isinstance(row, dict):
      raise UserError(f"line {number} of {name} is not a JSON object: {line[:60]!r}; repair or delete it")
    seals.without_seal(row, f"line {number} of {name}")
    rows.append(row)
  _require_all(rows, name)
  return rows


def parse_value(text: str, name: str) -> Any:
  """Returns the value of a JSON file.

  Raises:
    UserError: if the text is not JSON.
  """
  try:
    return json_reading.parse_json(text, name, object)
  except UserError as error:
    if not text.strip():
      raise
    raise UserError(f"{name} is not JSON ({str(error).removeprefix(name).strip()})") from None


def _require_all(rows: list[dict[str, Any]], name: str) -> None:
  """Checks that the rows of each journal in a table are numbered from 1 to its end without a gap."""
  # A selection of results has gaps by intention.
  if not any(seals.SEAL in row for row in rows) or all(row.get("kind") == "result" for row in rows):
    return
  number = total = 0
  for row in [*rows, {seals.ROW: 1}]:
    begins = _count(row, seals.ROW, name) == 1
    if begins and seals.SEAL in row:
      formats.without_format(row, formats.JOURNAL, f"the first row of {name}", formats.REMEDY)
    if (not begins and row.get(seals.ROW) != number + 1) or (begins and number < total):
      raise UserError(
        f"{name} was changed after it was written: rows are missing, added or in another order; restore the file"
      )
    number, total = row[seals.ROW], _count(row, seals.ROWS, name)


def _count(row: dict[str, Any], field: str, name: str) -> int:
  """Returns a count in a row of a journal; 0 where the row has none."""
  value = row.get(field, 0)
  if not isinstance(value, int) or isinstance(value, bool) or value < 0:
    raise UserError(
      f"{name} was changed after it was written: {field!r} of a row is {json_reading.describe_kind(value)}, not a "
      "count; restore the file"
    )
  return value
