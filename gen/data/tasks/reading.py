"""Reads the labelled data of a task from a file, a folder, a named set or a packaged archive."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from gen.data.tasks import checks, column_names, splits, task_sources
from gen.data.tasks.builders import build_dialogues, build_pairs, build_questions, build_tagged, build_texts
from gen.data.tasks.builders.placed import Built
from gen.data.tasks.examples import TASKS, TaskData
from gen.data.tasks.records.record import NO_COLUMNS, PARTS, Record, RecordSet, find_part
from gen.errors import UserError


def load_task(
  task: str,
  source: str,
  *,
  columns: Mapping[str, str] = NO_COLUMNS,
  seed: int = 0,
  limit: int = 0,
  limit_seed: int = 0,
  development: float = 0.1,
  test: float = 0.1,
  tag_scheme: str = "",
  report: Callable[[str], None] | None = None,
) -> TaskData:
  """Returns the examples of a task in three parts that share no text and no document.

  Args:
    task: classify, tag, translate, summarize, answer or instruct.
    source: a file, a folder with train, validation and test files, tfds:NAME, or the name of a packaged set.
    columns: names of the data's columns by the names of the examples' fields, such as {"text": "review"}; columns
      without names are numbered from 1.
    seed: of the split.
    limit: number of training examples that are kept; 0 keeps all. A smaller number keeps a subset of a larger one.
    limit_seed: of the choice of them.
    development: share of the examples, where the data has no such part.
    test: the same.
    tag_scheme: IOB1, IOB2, IOE1, IOE2, BIOES or BILOU; empty detects it.
    report: called with one line before a download.

  Raises:
    UserError: for data that cannot be read or trained on; it names the file and the row.
  """
  if task not in TASKS:
    raise UserError(f"there is no task {task!r}; use one of {', '.join(TASKS)}")
  if limit < 0:
    raise UserError(f"limit is {limit}; it is a number of training examples, or 0 for all")
  opened = task_sources.read_source(task, source, columns, report)
  columns = dict(opened.columns) | dict(columns)
  records = _with_parts(task, opened, columns, source)
  built = _build(task, records, columns, tag_scheme, source)
  parts, notes = splits.split_examples(task, built.placed, seed, development, test, opened.in_order)
  checks.require_known_labels(parts)
  train = parts["train"]
  if limit and limit < len(train):
    train = splits.draw_examples(train, limit, limit_seed)
    notes.append(f"{limit:,} of {len(parts['train']):,} training examples are kept")
    notes += checks.warn_of_lost_labels(train, built.labels)
  parts["train"] = train
  notes += checks.warn_of_imbalance(train)
  counts = ", ".join(f"{len(parts[part]):,} {part}" for part in PARTS)
  examples = {part: tuple(item.example for item in parts[part]) for part in PARTS}
  return TaskData(
    task, **examples, labels=built.labels, source=source, sha256=_hash(task, examples),
    licence=opened.licence, notes=(*opened.notes, *built.notes, *notes, f"examples: {counts}"),
  )  # fmt: skip


def _build(
  task: str, records: list[Record], columns: Mapping[str, str], tag_scheme: str, source: str
) -> Built:
  if task == "classify":
    return build_texts.build_texts(records, columns, source)
  if task == "tag":
    return build_tagged.build_tagged(records, columns, tag_scheme, source)
  if task == "answer":
    return build_questions.build_questions(records, columns, source)
  if task == "instruct":
    return build_dialogues.build_dialogues(records, columns, source)
  return build_pairs.build_pairs(task, records, columns, source)


def _with_parts(task: str, opened: RecordSet, columns: dict[str, str], source: str) -> list[Record]:
  """Returns the records with the parts that a column gives, unless files give them."""
  records = opened.records
  if any(record.part for record in records):
    return records
  column = columns.pop("split", None) if task in ("instruct",) else columns.get("split")
  if column and column not in records[0].values:
    raise UserError(f"{records[0].where}: no column {column!r}, which you named for split")
  if column is None:
    names = [name for name in records[0].values if isinstance(name, str)]
    column = column_names.find_split(names)
    if column and not all(find_part(str(record.values.get(column, ""))) for record in records):
      column = None  # such as a set or a fold of another meaning
  if not column:
    return records
  parts = [find_part(_text(record.values.get(column, ""))) for record in records]
  for record, part in zip(records, parts, strict=True):
    if not part:
      value = _text(record.values.get(column, ""))
      raise UserError(
        f"{record.where}: the split (column {column!r}) is {value[:40]!r}; use train, validation or test"
      )
  if column_names.plain_column(column) != "split":
    opened.notes.append(f"{column!r} is taken for the split")
  return [record._replace(part=part) for record, part in zip(records, parts, strict=True)]


def _text(value: object) -> str:
  return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _hash(task: str, examples: Mapping[str, Sequence[object]]) -> str:
  digest = hashlib.sha256(task.encode())
  for part, items in examples.items():
    digest.update(f"{part} {len(items)}\n".encode())
    for item in items:
      digest.update(json.dumps(_values(item), default=_values).encode())
  return digest.hexdigest()


def _values(item: object) -> list[object]:
  return [getattr(item, name) for name in type(item).__slots__]  # type: ignore[attr-defined]
