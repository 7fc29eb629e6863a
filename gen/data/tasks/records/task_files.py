"""Files of labelled data: which files a source names, their parts, and their formats by content."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gen.data.sources.file_formats import column_files, compressed, files
from gen.data.tasks import column_names
from gen.data.tasks.records import conll_records, json_records, parallel_records, squad_records, table_records
from gen.data.tasks.records.record import Record, RecordSet, find_part
from gen.data.tasks.records.text_lines import OpenText, open_text, plain_name, read_all
from gen.errors import UserError
from gen.io.json_reading import parse_json

FORMATS = ("jsonl", "json", "csv", "tsv", "conll", "squad")
_LEFT_OUT = re.compile(r"(readme|license|licence|citation|changelog)\b.*|.*\.(md|py|html|sh)", re.I)
_FASTTEXT = "__label__"  # before the class at the beginning of a line
_PAIRS = ("translate", "summarize")


def read_files(task: str, source: str, columns: Mapping[str, str], forced: str = "") -> RecordSet:
  """Returns the records of a file, a folder or a glob, of two aligned files, or of PART=PATH for each part.

  Args:
    task: which decides what a format means.
    source: as above; several paths are separated by commas.
    columns: names of columns that the user gave, by field.
    forced: one of FORMATS; empty detects it.

  Raises:
    UserError: for files that are absent, or hold no records.
  """
  made = RecordSet([])
  parts = _told_parts(source)
  if parts:
    for part, path in parts:
      _add_file(made, task, path, part, columns, forced)
  elif task in _PAIRS and source.count(",") == 1 and not Path(source).exists():
    first, second = (Path(each.strip()).expanduser() for each in source.split(","))
    made.records = parallel_records.read_aligned(_require(first), _require(second))
    made.notes.append(f"{first.name} is taken for source, {second.name} for target")
    made.in_order = True
  else:
    _add_folder(made, task, source, columns, forced)
  if not made.records:
    raise UserError(f"{source}: it holds no examples")
  return made


def _told_parts(source: str) -> list[tuple[str, Path]]:
  """Returns (part, path) of train=PATH,test=PATH; empty for any other source."""
  pieces = [piece.partition("=") for piece in source.split(",")]
  if not all(equals and find_part(name) for name, equals, _ in pieces):
    return []
  return [(find_part(name), _require(Path(path.strip()).expanduser())) for name, _, path in pieces]


def _require(path: Path) -> Path:
  if not path.is_file():
    raise UserError(f"{path}: no such file")
  return path


def _add_folder(made: RecordSet, task: str, source: str, columns: Mapping[str, str], forced: str) -> None:
  try:
    found = files.find_files(source)
  except UserError as error:
    raise UserError(str(error).removeprefix("data.corpus ")) from None
  named = [(name, path) for name, path in found if len(found) == 1 or not _LEFT_OUT.fullmatch(path.name)]
  # The name of a single file says nothing about the others that a split needs.
  parts = {path: part_of_name(name) if len(named) > 1 else "" for name, path in named}
  if any(parts.values()):
    others = [path.name for path, part in parts.items() if not part]
    if others:
      made.notes.append(f"warning: {others[0]} and other files of no part are left out ({len(others)})")
    parts = {path: part for path, part in parts.items() if part}
  aligned = _aligned_pairs(list(parts), columns) if task == "translate" else []
  for first, second in aligned:
    languages = [plain_name(path.name).rpartition(".")[2] for path in (first, second)]
    records = parallel_records.read_aligned(first, second, (languages[0], languages[1]))
    made.records += [record._replace(part=parts[first]) for record in records]
    made.notes.append(f"{first.name} and {second.name} are read line by line")
    made.in_order = True
  for path, part in parts.items():
    if not any(path in pair for pair in aligned):
      _add_file(made, task, path, part, columns, forced)


def part_of_name(name: str) -> str:
  """Returns the part that a file's name tells; empty if it tells none.

  >>> part_of_name("data/dev-00000.jsonl.gz"), part_of_name("wikigold.conll")
  ('development', '')
  """
  words = re.split(r"[^a-z0-9]+", plain_name(name).lower())
  return next((part for word in reversed(words) if (part := find_part(word))), "")


def _aligned_pairs(paths: Sequence[Path], columns: Mapping[str, str]) -> list[tuple[Path, Path]]:
  """Returns pairs of files whose names differ only in a language at the end, such as train.en and train.de."""
  by_stem: dict[str, dict[str, Path]] = {}
  for path in paths:
    stem, _, language = plain_name(path.name).rpartition(".")
    if re.fullmatch(r"[a-z]{2,3}(_[A-Za-z]{2,4})?", language):
      by_stem.setdefault(f"{path.parent}/{stem}", {})[language] = path
  pairs = []
  for languages in by_stem.values():
    if len(languages) == 2:
      first, second = sorted(languages)
      if columns.get("source") == second or columns.get("target") == first:
        first, second = second, first
      pairs.append((languages[first], languages[second]))
  return pairs


def _add_file(
  made: RecordSet, task: str, path: Path, part: str, columns: Mapping[str, str], forced: str
) -> None:
  if path.suffix == ".parquet":
    records, note = _read_parquet(path), f"{path.name}: read as parquet"
  else:
    with open_text(path) as opened:
      records, note = read_opened(task, opened, columns, forced)
  made.records += [record._replace(part=part or record.part) for record in records]
  made.notes.append(note)


def read_opened(
  task: str, opened: OpenText, columns: Mapping[str, str], forced: str = ""
) -> tuple[list[Record], str]:
  """Returns the records of an open file, and a sentence about how it is read.

  Raises:
    UserError: if it has no form of the task's data.
  """
  form = forced or opened.kind.format
  if form == "html":
    raise UserError(f"{opened.where}: this is an HTML page; labelled data is a table, JSON or CoNLL columns")
  if form == "jsonl":
    return list(json_records.read_json_lines(opened)), f"{opened.name}: read as JSON lines"
  if form in ("json", "squad"):
    value = parse_json(read_all(opened.stream, opened.where), opened.where, object)
    if squad_records.is_squad(value) or form == "squad":
      return list(squad_records.read_squad(value, opened.where)), f"{opened.name}: read as SQuAD's JSON"
    return json_records.find_records(value, opened.where), f"{opened.name}: read as JSON"
  if form == "conll" or (task == "tag" and form not in ("csv", "tsv")):
    records, note = conll_records.read_conll(opened, columns)
    return records, f"{opened.name}: read as CoNLL columns; {note}"
  if task == "classify" and not forced:
    head, stream = compressed.peek_stream(opened.stream, len(_FASTTEXT))
    opened = opened._replace(stream=stream)
    if head.decode("utf-8", "replace") == _FASTTEXT:
      return table_records.read_prefixed(opened, _FASTTEXT), f"{opened.name}: read as fastText's lines"
  delimiter = {"tsv": "\t", "csv": ""}.get(forced, "")
  told = [column for column in columns.values() if column]
  names = column_names.known_names(task) | {
    table_records.plain_column(name) for name in told if not name.isdigit()
  }
  numbered = told if all(name.isdigit() for name in told) else []
  records, header = table_records.read_table(opened, names, delimiter, numbered, must_know=task in _PAIRS)
  return records, f"{opened.name}: read as a table{'' if header else ' without names of columns'}"


def _read_parquet(path: Path) -> list[Record]:
  try:
    from pyarrow import parquet
  except ImportError:
    raise UserError(f"{path}: reading a parquet file {column_files.EXTRA}") from None
  try:
    rows = parquet.read_table(path).to_pylist()
  except (OSError, ValueError, NotImplementedError, KeyError, MemoryError) as error:
    raise UserError(f"{path}: the parquet file cannot be read: {str(error).splitlines()[0][:200]}") from error
  return [Record(f"{path}, row {number}", row, file=str(path)) for number, row in enumerate(rows, 1)]
