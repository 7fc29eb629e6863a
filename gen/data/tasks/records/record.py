"""Records of labelled data: what every format gives before columns become fields of examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

PARTS = ("train", "development", "test")
_PART_NAMES = {
  "train": ("train", "training", "trn"),
  "development": ("development", "dev", "validation", "valid", "val", "devel", "testa"),
  "test": ("test", "testing", "tst", "evaluation", "eval", "testb", "heldout", "held_out"),
}
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


class Record(NamedTuple):
  """One row, object or sentence.

  Attributes:
    where: its file and row.
    values: by name of column.
    document: name of its document; empty if unknown.
    part: one of PARTS; empty if the data has no parts.
    lines: line numbers of its tokens; empty unless a file has one token a line.
    file: name of the file.
  """

  where: str
  values: Mapping[str, Any]
  document: str = ""
  part: str = ""
  lines: range = range(0)
  file: str = ""

  def where_token(self, index: int) -> str:
    """Returns the place of a token."""
    return f"{self.file}:{self.lines[index]}" if self.lines else f"{self.where}, token {index + 1}"


@dataclass
class RecordSet:
  """All records of a source.

  Attributes:
    records: in order.
    columns: names of columns by field, where the source itself defines them.
    licence: SPDX expression; empty if unknown.
    notes: lines about how it was read.
    in_order: whether neighbours belong together, as sentences of one text do.
  """

  records: list[Record]
  columns: Mapping[str, str] = field(default_factory=dict)
  licence: str = ""
  notes: list[str] = field(default_factory=list)
  in_order: bool = False


def find_part(word: str) -> str:
  """Returns the part that a word names; empty for any other word.

  >>> find_part("Dev"), find_part("validation"), find_part("all")
  ('development', 'development', '')
  """
  plain = word.strip().lower().replace("-", "_")
  return next((part for part, names in _PART_NAMES.items() if plain in names), "")
