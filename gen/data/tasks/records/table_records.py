"""Records in tables: comma, semicolon or tab, with or without a row of names.

Tab-separated files of language data seldom quote their fields, so a quotation mark there is usually text. Fields of a
tab-separated file are unquoted only if every field that opens with a quotation mark is a well-formed quoted field.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from gen.data.sources.file_formats import kinds
from gen.data.tasks.records.record import Record
from gen.data.tasks.records.text_lines import OpenText, read_lines
from gen.errors import UserError
from gen.io.csv_rows import RowReader, describe_fault

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
# Rows from which delimiter and header are judged; chosen: enough that one odd row does not decide.
_SEEN = 200
Row = tuple[int, list[str]]


def read_table(
  opened: OpenText,
  known_names: Collection[str],
  delimiter: str = "",
  numbered: Collection[str] = (),
  must_know: bool = False,
) -> tuple[list[Record], bool]:
  """Returns the records of a table, and whether its first row has names.

  Args:
    opened: the file.
    known_names: names of columns, in small letters, that identify a first row of names.
    delimiter: between fields; empty detects it.
    numbered: numbers of columns that the user gave, from 1, for a table without names; empty decides by the content.
    must_know: whether only known names make a first row of names.

  Raises:
    UserError: for a row with another number of fields than the first, or a quote that is never closed.
  """
  lines = [(number, line) for number, line in read_lines(opened.stream, opened.where)]
  if not any(line.strip() for _, line in lines):
    raise UserError(f"{opened.where}: the file is empty")
  delimiter = delimiter or find_delimiter(opened.name, [line for _, line in lines[:_SEEN]])
  rows = _split_tabs(lines) if delimiter == "\t" else None
  rows = list(_quoted_rows(lines, delimiter, opened.where)) if rows is None else rows
  if not rows:
    raise UserError(f"{opened.where}: all its fields are empty")
  first = rows[0][1]
  # A row of names may be numbers too, such as that of a data frame without names.
  header = set(numbered) <= set(first) if numbered else _has_header(rows, known_names, must_know)
  names = [name.strip() for name in first] if header else [str(index) for index in range(1, len(first) + 1)]
  repeated = [name for name, count in Counter(names).items() if count > 1]
  if repeated:
    raise UserError(f"{opened.where}: two columns are called {repeated[0]!r}; rename one")
  return [_record(row, names, opened.where) for row in rows[1 if header else 0 :]], header


def _record(row: Row, names: Sequence[str], where: str) -> Record:
  number, fields = row
  if len(fields) != len(names):
    raise UserError(
      f"{where}:{number}: {len(fields):,} fields, but the first row has {len(names):,};"
      " quote fields that contain a separator"
    )
  return Record(f"{where}:{number}", dict(zip(names, fields, strict=True)), file=where)


def read_prefixed(opened: OpenText, prefix: str) -> list[Record]:
  """Returns the records of lines of a prefix, a class, a space and a text, as fastText reads them.

  Raises:
    UserError: for a line of another form.
  """
  records = []
  for number, line in read_lines(opened.stream, opened.where):
    if not line.strip():
      continue
    label, _, text = line.removeprefix(prefix).partition(" ")
    if not line.startswith(prefix) or text.startswith(prefix):
      raise UserError(
        f"{opened.where}:{number}: a line must begin with one {prefix}CLASS, then a space and the text"
      )
    records.append(Record(f"{opened.where}:{number}", {"label": label, "text": text}, file=opened.where))
  return records


def find_delimiter(name: str, lines: Sequence[str]) -> str:
  r"""Returns the delimiter of a table by its name and lines; a table of one column has a comma.

  >>> find_delimiter("a.txt", ["good film\t1", "bad, very bad film\t0"])
  '\t'
  """
  filled = [line for line in lines if line.strip()]
  if name.lower().endswith(".tsv") or all("\t" in line for line in filled):
    return "\t"
  return max(",;|", key=filled[0].count) if filled else ","


def _split_tabs(lines: list[tuple[int, str]]) -> list[Row] | None:
  """Returns the rows of a tab-separated file with a row a line; None if its fields are quoted across lines."""
  rows = [(number, line.split("\t")) for number, line in lines if line.strip()]
  if len({len(row) for _, row in rows}) > 1 and any(
    field.startswith('"') and not _QUOTED.fullmatch(field) for _, row in rows for field in row
  ):
    quoted = _try_quoted(lines)
    if quoted is not None:
      return quoted
  opening = [field for _, row in rows for field in row if field.startswith('"')]
  if opening and all(_QUOTED.fullmatch(field) for field in opening):
    return [(number, [_unquote(field) for field in row]) for number, row in rows]
  return rows


def _try_quoted(lines: list[tuple[int, str]]) -> list[Row] | None:
  try:
    rows = list(_quoted_rows(lines, "\t", ""))
  except UserError:
    return None
  return rows if len({len(row) for _, row in rows}) == 1 else None


def _unquote(field: str) -> str:
  return field[1:-1].replace('""', '"') if field.startswith('"') else field


def _quoted_rows(lines: list[tuple[int, str]], delimiter: str, where: str) -> Iterator[Row]:
  rows = RowReader((line + "\n" for _, line in lines), delimiter, kinds.MAX_RECORD)
  begin = 1
  try:
    for row in rows:
      if row and any(field.strip() for field in row):
        yield begin, row
      begin = rows.line_num + 1
  except csv.Error as error:
    fault = describe_fault(error, kinds.MAX_RECORD)
    raise UserError(f"{where}:{begin}: not a table of fields: {fault}") from None


def _has_header(rows: list[Row], known_names: Collection[str], must_know: bool) -> bool:
  """Returns whether the first row has names: one of them is known, or none of its cells recurs in its column."""
  first, others = rows[0][1], [row for _, row in rows[1:_SEEN]]
  if any(plain_column(cell) in known_names for cell in first):
    return True
  if must_know:
    return False
  recurs = any(
    cell.strip() and sum(index < len(row) and row[index] == cell for row in others) >= 2
    for index, cell in enumerate(first)
  )
  return not recurs and all(len(cell) <= 64 for cell in first)


def plain_column(name: str) -> str:
  """Returns a column's name in small letters with words joined by _.

  >>> plain_column(" Review Text")
  'review_text'
  """
  return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
