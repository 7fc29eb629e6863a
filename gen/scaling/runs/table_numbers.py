"""The numbers of a table's columns: decimal commas or points, separators of thousands, and units in a column's name.

A column is read as a whole: "3,047" is a loss of about three beside "3,05", and three thousand beside "3,047,000".
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.io import json_reading
from gen.scaling.runs import run_columns

_NUMBER = r"(?:[eE][+-]?\d+)?\s*[kKmMbBgGtT]?"
_GAPS = re.compile(
  r"(?<=\d)[ \u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))"
)  # separators of thousands that are no digits
_THOUSANDS = {mark: re.compile(rf"[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in ",."}
_MANY = {mark: re.compile(rf"[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}}){{2,}}{_NUMBER}") for mark in ",."}
_DECIMAL = {mark: re.compile(rf"[+-]?\d*{re.escape(mark)}\d+{_NUMBER}") for mark in ",."}
_OTHER = {",": ".", ".": ","}
_MAX_SCALED = 1e6  # median count above which a name's unit is not believed: the column holds ones already


def read_columns(
  header: Sequence[str],
  rows: Sequence[Sequence[str]],
  places: Mapping[str, int],
  chosen: Collection[str],
  lines: Sequence[int],
  source: str,
  semicolons: bool = False,
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns the numbers of each quantity, and a sentence for each column whose name gives its unit.

  Args:
    header: names of the columns.
    rows: cells.
    places: index of each quantity's column.
    chosen: quantities whose column the user named; their units come from flags alone.
    lines: line of each row, for messages.
    source: what to call the table in messages.
    semicolons: whether semicolons separate the cells, as where a comma is the decimal mark.

  Raises:
    UserError: for a cell that is no number, with its row and line.
  """
  columns = {name: [row[i] for row in rows] for name, i in places.items() if name != "name"}
  certain = uses_decimal_commas(columns.values(), False)
  commas = certain or uses_decimal_commas(columns.values(), semicolons)
  arrays, notes = {}, []
  for name, cells in columns.items():
    title = header[places[name]]
    # A loss of thousands of nats does not exist, so "3,047" is about three even where nothing else says so.
    small = name == "loss" and not any("." in cell for cell in cells)
    # For the same reason a point in it never separates thousands, also beside decimal commas.
    arrays[name] = _numbers(cells, title, lines, source, commas or small, certain and name != "loss")
    unit = 1.0 if name in chosen else run_columns.split_unit(name, title)[1]
    if unit != 1 and _counts_units(cells, arrays[name]):
      arrays[name] = arrays[name] * unit
      notes.append(f"{title!r} is read in units of {unit:g}, as its name says")
  return arrays, notes


def _counts_units(cells: Sequence[str], numbers: np.ndarray) -> bool:
  """Returns whether a column can be in the unit of its name: small numbers without letters of their own."""
  finite = numbers[np.isfinite(numbers)]
  if not len(finite) or float(np.median(finite)) >= _MAX_SCALED:
    return False
  return not any(cell.strip()[-1:].isalpha() for cell in cells)


def uses_decimal_commas(columns: Collection[Sequence[str]], semicolons: bool) -> bool:
  """Returns whether a comma is the decimal mark of a table.

  Args:
    columns: cells of each column.
    semicolons: whether semicolons separate the cells; then it is, unless a decimal point says otherwise.

  >>> uses_decimal_commas([["3,05", "2,991"]], False), uses_decimal_commas([["1,234"], ["3.05"]], True)
  (True, False)
  """
  if any(_is_decimal(cell, ",") for cells in columns for cell in cells):
    return True
  return semicolons and not any(_is_decimal(cell, ".") for cells in columns for cell in cells)


def plain_cells(cells: Sequence[str], commas: bool, certain: bool = False) -> list[str]:
  """Returns a column's cells with points as decimal marks and without separators of thousands.

  Args:
    cells: of one column.
    commas: whether a comma is the table's decimal mark.
    certain: whether a cell of the table proves that; a point then separates thousands where it can.

  >>> plain_cells(["1.234.567", "939.158"], True), plain_cells(["12 345", "3,5"], True), plain_cells(["1,234"], False)
  (['1234567', '939158'], ['12345', '3.5'], ['1234'])
  """
  cells = [_GAPS.sub("", cell.strip()) for cell in cells]
  grouped = [mark for mark in ",." if any(_groups_thousands(cell, mark) for cell in cells)]
  if not grouped and not commas:
    grouped = [","] if all(_THOUSANDS[","].match(cell) for cell in cells if "," in cell) else []
  if certain and all(_THOUSANDS["."].fullmatch(cell) for cell in cells if "." in cell):
    grouped.append(".")
  for mark in grouped:
    cells = [cell.replace(mark, "") for cell in cells]
  return cells if "," in grouped or not commas else [cell.replace(",", ".") for cell in cells]


def _groups_thousands(cell: str, mark: str) -> bool:
  """Returns whether a mark can only separate thousands in a cell: several groups, or before the other mark."""
  if _MANY[mark].fullmatch(cell):
    return True
  integer, separator, rest = cell.partition(_OTHER[mark])
  return (
    bool(separator) and mark not in rest and mark in integer and bool(_THOUSANDS[mark].fullmatch(integer))
  )


def _is_decimal(cell: str, mark: str) -> bool:
  """Returns whether a mark can only be the decimal mark of a cell."""
  if mark not in cell:
    return False
  cell = _GAPS.sub("", cell.strip())
  if _groups_thousands(cell, _OTHER[mark]):
    return mark in cell
  if not _DECIMAL[mark].fullmatch(cell):
    return False
  return cell.startswith(("0", mark)) or not _THOUSANDS[mark].match(cell) or bool(
    re.match(rf"[+-]?\d+{re.escape(mark)}\d{{4,}}", cell)
  )  # fmt: skip


def _numbers(
  cells: Sequence[str], title: str, lines: Sequence[int], source: str, commas: bool, certain: bool
) -> np.ndarray:
  try:
    if not certain:
      return np.array([float(cell) if cell.strip() else math.nan for cell in cells])
  except ValueError:
    pass
  values = []
  for cell, text, (row, line) in zip(
    cells, plain_cells(cells, commas, certain), enumerate(lines, 1), strict=True
  ):
    value = run_columns.parse_cell(text)
    if value is None:
      raise UserError(f"{source}: {title} in row {row} (line {line}) is not a number: {cell.strip()[:60]!r}")
    values.append(value)
  return np.array(values)


def row_number(value: Any, column: str, row: int, source: str) -> float:
  """Returns a field of a row of JSON as a number; NaN where it is empty.

  Raises:
    UserError: for a list, an object, true or false, or text that is no number.
  """
  if isinstance(value, (list, dict)) or (isinstance(value, bool) and column != "held_out"):
    raise UserError(f"{source}: {column} in row {row} is {json_reading.describe_kind(value)}, not a number")
  if isinstance(value, str) and value.strip() and run_columns.parse_cell(value) is None:
    raise UserError(f"{source}: {column} in row {row} is not a number: {value.strip()[:60]!r}")
  return _number(value)


def _number(value: Any) -> float:
  try:
    return float(value)
  except (TypeError, ValueError):
    return math.nan
  except OverflowError:  # an integer that no float holds
    return math.inf
