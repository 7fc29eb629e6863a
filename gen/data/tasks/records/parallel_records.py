"""Pairs of texts in line-aligned files: a table of two columns, or two files with a sentence a line."""

from pathlib import Path

from gen.data.tasks.records.record import Record
from gen.data.tasks.records.text_lines import open_text, read_lines
from gen.errors import UserError


def read_aligned(source: Path, target: Path, names: tuple[str, str] = ("source", "target")) -> list[Record]:
  """Returns the pairs of two files whose lines belong together.

  Args:
    source: a file with one text a line.
    target: the same.
    names: of the columns.

  Raises:
    UserError: if they have different numbers of lines.
  """
  with open_text(source) as opened:
    sources = [line for _, line in read_lines(opened.stream, opened.where)]
  with open_text(target) as opened:
    targets = [line for _, line in read_lines(opened.stream, opened.where)]
  if len(sources) != len(targets):
    raise UserError(
      f"{source} has {len(sources):,} lines and {target} has {len(targets):,}; their lines must belong together"
    )
  return [
    Record(f"{source}:{number}", {names[0]: first, names[1]: second}, file=str(source))
    for number, (first, second) in enumerate(zip(sources, targets, strict=True), 1)
    if first.strip() or second.strip()
  ]
