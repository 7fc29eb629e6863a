"""Rows of a CSV table, with a limit on the size of a field that applies to this table only."""

import csv
from collections.abc import Iterable, Iterator


def describe_fault(error: csv.Error, max_field: int) -> str:
  """Returns what the csv module found wrong with a row, in words of its file.

  Args:
    error: from a `RowReader`.
    max_field: its characters of the longest field.
  """
  found = str(error)
  if "new-line character" in found:
    return "a carriage return stands inside a field without quotes; end each line with a line feed, or quote the field"
  if "field limit" in found:
    return f"a field has more than {max_field:,} characters, perhaps of a quote that is never closed"
  if "end of data" in found:
    return "a quote is never closed"
  return "a quote is closed inside a field" if "expected after" in found else found


class RowReader:
  """Iterates over the rows of a CSV table.

  `csv.field_size_limit` is one number for the whole process. It is set for the time of each row and put
  back after it, so that tables read in turn keep limits of their own.

  Raises:
    csv.Error: for a field above the limit, or a line that is not CSV.
  """

  def __init__(self, lines: Iterable[str], delimiter: str, max_field: int, strict: bool = False) -> None:
    """Reads `lines` with fields of at most `max_field` characters.

    Args:
      lines: of the table.
      delimiter: between its cells.
      max_field: characters of the longest field.
      strict: whether a quote that is never closed, or closed within a cell, is an error.
    """
    self._rows = csv.reader(lines, delimiter=delimiter, strict=strict)
    self._max_field = max_field

  @property
  def line_num(self) -> int:
    """Number of lines read so far."""
    return self._rows.line_num

  def __iter__(self) -> Iterator[list[str]]:
    return self

  def __next__(self) -> list[str]:
    before = csv.field_size_limit(self._max_field)
    try:
      return next(self._rows)
    finally:
      csv.field_size_limit(before)
