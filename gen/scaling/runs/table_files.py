"""Reads files of runs as text and as cells, with the compressions, encodings and separators of common exports.

The content decides the format, not the suffix: gzip, xz or Zstandard; UTF-8 or UTF-16 with or without a byte-order
mark; cells separated by comma, semicolon, tab or |; JSON lines, a JSON array or a results.json.
"""

import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gen.errors import UserError, summarize_error
from gen.io import file_content, json_lines
from gen.io.csv_rows import RowReader
from gen.scaling.runs import results_file, run_columns

MAX_BYTES = 256 << 20  # unpacked; a million runs with fifty columns take about as much
_FOREIGN = {
  b"PAR1": "a Parquet table",
  b"PK": "a zip archive, as spreadsheets and NumPy's .npz are",
  b"\x93NUMPY": "a NumPy array",
  b"\x80": "a pickle",
  b"\xd0\xcf\x11\xe0": "an old spreadsheet",
  b"\x89HDF": "an HDF5 file",
  b"SQLite": "a database",
  b"%PDF": "a PDF",
}
_KINDS = ("train", "evaluation", "result")  # of rows in a journal
_SEPARATORS = ",;\t|"
_MAX_COLUMNS = 10_000  # of a table; more would be data in the wrong direction
_MAX_HEAD = 4 * 2**20  # characters in which the first two lines of a journal end
_MAX_CELL = 131_072  # characters; longer cells come from a quote that is never closed


def text_of(path: Path) -> str:
  """Returns the content of a file of runs, decompressed and decoded.

  Raises:
    UserError: with the reason why it cannot be read.
  """
  try:
    content = file_content.read_regular(path, MAX_BYTES, "a table of runs")
  except FileNotFoundError:
    raise UserError(f"{path}: no such file; give the runs as a .csv or a journal.jsonl") from None
  return _decoded(_unpacked(content, path), path)


def _unpacked(content: bytes, path: Path) -> bytes:
  try:
    if content[:2] == b"\x1f\x8b":
      with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        unpacked = stream.read(MAX_BYTES + 1)
    elif content[:6] == b"\xfd7zXZ\x00":
      with lzma.LZMAFile(io.BytesIO(content)) as stream:
        unpacked = stream.read(MAX_BYTES + 1)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
      import zstandard

      unpacked = (
        zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read(MAX_BYTES + 1)
      )
    else:
      return content
  except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
    raise UserError(f"{path}: the compressed file is damaged ({summarize_error(error)})") from None
  except Exception as error:  # zstandard's own, which is imported only where it is needed
    if type(error).__name__ != "ZstdError":
      raise
    raise UserError(f"{path}: the compressed file is damaged ({summarize_error(error)})") from None
  if len(unpacked) > MAX_BYTES:
    raise UserError(f"{path} unpacks to more than {MAX_BYTES:,} bytes, too many for a table of runs")
  return unpacked


def _decoded(content: bytes, path: Path) -> str:
  encoding = _encoding(content)
  try:
    return content.decode(encoding)
  except UnicodeDecodeError as error:
    name = encoding[:6].strip("-").upper()
    name = name if name[-1].isdigit() and name != "UTF-8" else "UTF-8"
    known = next((what for magic, what in _FOREIGN.items() if content.startswith(magic)), "")
    if known:
      raise UserError(f"{path} holds {known}; export the runs as a .csv") from None
    raise UserError(f"{path}: invalid {name} at byte {error.start}; save the table as UTF-8") from None


def _encoding(content: bytes) -> str:
  """Returns the encoding that a byte-order mark names, or that the zero bytes of the first cells show."""
  if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
    return "utf-32"
  if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
    return "utf-16"
  # 400 bytes are the first cells of a table. Nine in ten letters are ASCII, whose other byte is 0.
  even, odd = content[:400:2].count(0), content[1:400:2].count(0)
  if max(even, odd) > 0.9 * len(content[:400:2]) and not min(even, odd):  # ASCII in two bytes a letter
    return "utf-16-be" if even > odd else "utf-16-le"
  return "utf-8-sig"


def is_json(text: str) -> bool:
  """Returns whether a text is JSON: an object or an array, or lines of objects."""
  return text[:4096].lstrip()[:1] in ("{", "[")


def is_one_value(text: str, name: str) -> bool:
  r"""Returns whether JSON is one value, such as a results.json or a law's constants, and no lines of rows.

  Args:
    text: the JSON.
    name: of its file, which decides only where the JSON is broken.

  >>> [is_one_value(text, "a") for text in ('{"points": [\n]}', '{"loss": 3}\n{"loss": 2', '{"loss": 3}')]
  [True, False, False]
  """
  if text.lstrip()[:1] == "[":
    return True
  lines = [line for line in text.lstrip()[:_MAX_HEAD].split("\n") if line.strip()]
  if len(lines) > 1:
    return not any(isinstance(_value_of(line), dict) for line in lines[:2])
  value = _value_of(text)
  if not isinstance(value, dict):
    return ".jsonl" not in name
  return not ("kind" in value or any(run_columns.is_loss(field) for field in value))


def _value_of(text: str) -> Any:
  """Returns the value of JSON, or None where it is broken."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return None


def read_cells(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
  """Yields (line number, cells) of a table, without blank lines and lines that start with #.

  Raises:
    UserError: for a line that does not belong to a table.
  """
  lines = text.splitlines()
  separator = find_separator(lines)
  reader = RowReader(lines, separator, _MAX_CELL, strict=True)
  columns, before = 0, 0
  try:
    for row in reader:
      first, before = before + 1, reader.line_num
      if len(row) > _MAX_COLUMNS:
        raise UserError(
          f"{source}: line {reader.line_num} has {len(row):,} cells, too many for a table of runs"
        )
      if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
        columns = columns or len(row)
        if first < before and any(cell.count(separator) >= max(columns - 1, 1) for cell in row):
          raise UserError(
            f"{source}: lines {first} to {before} are one row, because a quote in line {first} ends in line {before}; "
            "correct the quotes"
          )
        yield reader.line_num, row
  except csv.Error as error:
    raise UserError(f"{source}: {_broken_line(str(error), before + 1)}") from None


def _broken_line(error: str, line: int) -> str:
  """Says in words what the csv module found wrong with a line."""
  if "unexpected end of data" in error:
    return f"line {line} opens a quote that is never closed"
  if "field limit" in error:
    return (
      f"line {line} has a cell of more than {_MAX_CELL:,} characters, perhaps of a quote that is never closed"
    )
  return f"line {line} is not a line of a CSV: {error}"


def find_separator(lines: list[str]) -> str:
  """Returns the separator of a table's cells, judged by its first line.

  >>> find_separator(["# a, b", "N;D;loss", "1,5;2,5;3"])
  ';'
  """
  head = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
  return max(_SEPARATORS, key=lambda separator: (head[:100_000].count(separator), separator == ","))


def commented_head(lines: list[str], count: int, source: str) -> list[str]:
  """Returns the names in the comment above a table whose first line holds numbers, as NumPy's savetxt writes it.

  Args:
    lines: of the file.
    count: number of columns.
    source: what to call the table in messages.

  Raises:
    UserError: if no such comment names all columns.
  """
  above = []
  for line in lines:
    if line.strip() and not line.lstrip(' "').startswith("#"):
      break
    above.append(line)
  for line in reversed(above):
    cells = next(csv.reader([line], delimiter=find_separator(lines), skipinitialspace=True), [])
    if len(cells) == count:
      return [cells[0].lstrip().removeprefix("#").strip(), *(cell.strip() for cell in cells[1:])]
  raise UserError(
    f"{source} has no names of columns: its first line holds only numbers; write a line such as params,tokens,loss "
    "above it"
  )


def json_rows(text: str, path: Path) -> list[dict[str, object]]:
  """Returns the runs of a journal, of JSON lines, of a JSON array or of a results.json, in their order.

  In a journal the runs are the rows of kind "result"; the last row of each run counts.

  Raises:
    UserError: for text that is no JSON, or holds no list of runs.
  """
  if not is_one_value(text, path.name):
    rows = json_lines.parse_rows(text, str(path))
    return last_results(rows) if _is_journal(rows) else rows
  content = json_lines.parse_value(text, str(path))
  if isinstance(content, dict):
    results_file.check_results(content, str(path))
  points: Any = content.get("points") if isinstance(content, dict) else content
  if not isinstance(points, list) or not all(isinstance(row, dict) for row in points):
    raise UserError(f"{path} has no list of points; give a results.json, a journal.jsonl or a .csv")
  return points


def _is_journal(rows: list[dict[str, object]]) -> bool:
  """Returns whether rows are a journal's; another program's rows may have a field "kind" as well."""
  if not rows or any(row.get("kind") in _KINDS for row in rows):
    return True
  return "kind" in rows[0] and not any(run_columns.is_loss(field) for field in rows[0])


def last_results(rows: list[Any]) -> list[dict[str, object]]:
  """Returns the last result row of each run in a journal."""
  results: dict[str, dict[str, object]] = {}
  for number, row in enumerate(rows):
    if isinstance(row, dict) and row.get("kind") == "result":
      results[str(row.get("run") or row.get("name") or number)] = row
  return list(results.values())
