"""Lines of JSON objects as tables of runs: a journal, all or some of it, or what another program wrote.

Rows may carry seals (`seals`); one that does not agree with its seal is refused, and so is a numbered journal that has
lost rows. A selection of a journal's results is a table like any other.
"""

import json
from typing import Any

from gen.errors import UserError
from gen.io import formats, json_reading, seals


def parse_rows(text: str, name: str) -> list[dict[str, Any]]:
  r"""Returns the rows of a table, without a last line that a crash tore.

  Args:
    text: one JSON object a line.
    name: of the file, for messages.

  Raises:
    UserError: for a line that is no JSON object, or is not as it was written; for a journal without some of its rows.

  >>> parse_rows('{"loss": 2.5}\n{"loss": 3.5}\n{"lo', "x.jsonl")
  [{'loss': 2.5}, {'loss': 3.5}]
  """
  lines = text.split("\n")
  rows = []
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):
      if number == len(lines):  # A last line without an end was torn by a crash.
        continue
      raise UserError(f"line {number} of {name} is no JSON: {line[:60]!r}; mend or delete it") from None
    if not isinstance(row, dict):
      raise UserError(f"line {number} of {name} is no JSON object: {line[:60]!r}; mend or delete it")
    seals.without_seal(row, f"line {number} of {name}")
    rows.append(row)
  _require_all(rows, name)
  return rows


def parse_value(text: str, name: str) -> Any:
  """Returns the one value that a file of JSON holds.

  Raises:
    UserError: if it holds none.
  """
  try:
    return json_reading.parse_json(text, name, object)
  except UserError as error:
    raise UserError(f"{name} is no JSON ({str(error).removeprefix(name).strip()})") from None


def _require_all(rows: list[dict[str, Any]], name: str) -> None:
  """Checks that the numbers of the rows rise by one to the last; where several journals were joined, each does so."""
  if not any(seals.SEAL in row for row in rows) or all(row.get("kind") == "result" for row in rows):
    return
  number = total = 0
  for row in [*rows, {seals.ROW: 1}]:
    begins = row.get(seals.ROW) == 1
    if begins and seals.SEAL in row:
      formats.without_format(row, formats.JOURNAL, f"the first row of {name}", formats.REMEDY)
    if (not begins and row.get(seals.ROW) != number + 1) or (begins and number < total):
      raise UserError(
        f"{name} has lost rows, or has others or in another order, since it was written; restore the file"
      )
    number, total = row[seals.ROW], row.get(seals.ROWS, 0)
