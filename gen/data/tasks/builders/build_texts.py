"""Texts with labels or numbers, from records."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gen.data.tasks import column_names
from gen.data.tasks.builders.placed import (
  MAX_LABEL,
  Built,
  Placed,
  read_document,
  read_text,
  require_column,
  require_encodable,
)
from gen.data.tasks.examples import TextExample
from gen.data.tasks.records.record import Record
from gen.errors import UserError
from gen.io import json_reading

_NO_LABEL = ("", "-1", "nan", "none", "null", "?")  # -1 marks texts without labels in TFDS
_FEW = 20  # classes of a column without a name; chosen: more different values are an id or a text


def build_texts(records: Sequence[Record], columns: Mapping[str, str], where: str) -> Built:
  """Returns texts with labels, or with numbers for regression.

  Raises:
    UserError: for columns that are not found, and fields that are empty, too long or of another type.
  """
  names = list(records[0].values)
  guessed = {} if columns else guess_columns(names, records)
  fields, notes = _find_fields(records[0], guessed or columns, where)
  if guessed:
    notes = [f"columns have no names: {guessed['text']} is taken for text, {guessed['label']} for label"]
  placed = [Placed(_read_text_pair(record, fields), record.where, record.part) for record in records]
  if "label_value" in fields:
    numbers = [_read_number(record, fields["label_value"]) for record in records]
  else:
    labels = [_read_label(record, fields["label"]) for record in records]
    if not _are_measures(labels) or "label" in columns:
      _require_classes(labels, fields["label"], where)
      placed = [_with(item, label=label) for item, label in zip(placed, labels, strict=True)]
      return Built(placed, tuple(sorted(set(labels))), [*notes, *_warn_of_contradictions(placed)])
    numbers = [float(label) for label in labels]
    notes.append(f"{fields['label']!r} holds numbers with fractions, so the task is regression")
  placed = [_with(item, label_value=number) for item, number in zip(placed, numbers, strict=True)]
  if len(set(numbers)) < 2:
    raise UserError(f"{where}: all numbers are {numbers[0]:g}; there is nothing to learn")
  return Built(placed, (), notes)


def _find_fields(record: Record, columns: Mapping[str, str], where: str) -> tuple[dict[str, str], list[str]]:
  """Returns the columns of fields: lists count only where no other column will do, and are then told."""
  flat = [name for name, value in record.values.items() if not isinstance(value, (list, dict))]
  flat += [name for name in columns.values() if name in record.values and name not in flat]
  try:
    return column_names.find_fields("classify", flat, columns, where)
  except UserError:
    return column_names.find_fields("classify", list(record.values), columns, where)


def _read_text_pair(record: Record, fields: Mapping[str, str]) -> TextExample:
  second = read_text(record, fields["second_text"], "second text") if "second_text" in fields else ""
  return TextExample(read_text(record, fields["text"], "text"), "", second, read_document(record, fields))


def _with(item: Placed, label: str = "", label_value: float | None = None) -> Placed:
  old = item.example
  example = TextExample(old.text, label, old.second_text, old.document, label_value)
  return item._replace(example=example)


def _read_label(record: Record, column: str) -> str:
  require_column(record, column)
  value: Any = record.values[column]
  if isinstance(value, bytes):
    value = value.decode("utf-8", "replace")
  if isinstance(value, list) and len(value) == 1:
    value = value[0]
  word = "" if value is None else str(value).strip()
  if word.lower() in _NO_LABEL:
    ways = f": {word!r} stands for none; name the class otherwise" if word else "; fill it"
    raise UserError(f"{record.where}: the label (column {column!r}) is missing{ways} or remove the row")
  if isinstance(value, (list, dict)):
    kind = json_reading.describe_kind(value)
    raise UserError(f"{record.where}: the label (column {column!r}) is {kind}; give one class a text")
  is_whole = isinstance(value, float) and value.is_integer()
  label = str(int(value) if is_whole else value).strip()
  if len(label) > MAX_LABEL:
    raise UserError(
      f"{record.where}: the label has {len(label):,} characters, so it is a text; name another column"
    )
  require_encodable(label, f"{record.where}: the label")
  return label


def _read_number(record: Record, column: str) -> float:
  value: Any = record.values.get(column)
  try:
    # Python reads true as 1, and 1_0 as 10; neither is a number of the data.
    number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
  except (TypeError, ValueError, OverflowError):
    number = math.nan
  if not math.isfinite(number):
    raise UserError(
      f"{record.where}: the number (column {column!r}) is {str(value)[:40]!r}; give a finite number"
    )
  return number


def _are_measures(labels: Sequence[str]) -> bool:
  """Returns whether labels are numbers with fractions of many values, as similarities are."""
  try:
    numbers = [float(label) for label in labels]
  except ValueError:
    return False
  is_finite = all(map(math.isfinite, numbers))
  return is_finite and len(set(numbers)) > _FEW and any(number != int(number) for number in numbers)


def _require_classes(labels: Sequence[str], column: str, where: str) -> None:
  kinds = Counter(labels)
  if len(kinds) == 1:
    raise UserError(f"{where}: all labels are {labels[0]!r}; a classifier needs two classes or more")
  if len(labels) >= _FEW and len(kinds) > len(labels) / 2:
    raise UserError(
      f"{where}: {len(kinds):,} different labels in {len(labels):,} rows, so {column!r} holds no classes;"
      " name another column"
    )


def _warn_of_contradictions(placed: Sequence[Placed]) -> list[str]:
  """Returns a warning about texts that occur with different labels."""
  labels_of: dict[tuple[str, str], set[str]] = defaultdict(set)
  where_of: dict[tuple[str, str], str] = {}
  for item in placed:
    key = (item.example.text, item.example.second_text)
    labels_of[key].add(item.example.label)
    where_of.setdefault(key, item.where)
  several = [key for key, labels in labels_of.items() if len(labels) > 1]
  if not several:
    return []
  return [f"warning: {len(several):,} texts occur with different labels, the first at {where_of[several[0]]}"]


def guess_columns(names: Sequence[str], records: Sequence[Record]) -> dict[str, str]:
  """Returns the columns of a table without names: of few values the label, of the longest texts the text."""
  if names != [str(index) for index in range(1, len(names) + 1)] or len(names) < 2:
    return {}
  values = {name: [str(record.values.get(name, "")) for record in records] for name in names}
  few = [name for name in names if 1 < len(set(values[name])) <= max(_FEW, len(records) // 10)]
  text = max(names, key=lambda name: sum(map(len, values[name])))
  labels = [name for name in few if name != text]
  return {"text": text, "label": labels[0], "second_text": "", "document": "", "split": ""} if labels else {}
