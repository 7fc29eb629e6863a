"""The meaning of a source of labelled data: files, named sets, packaged sets, archives of packages."""

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from gen.data.tasks.packaged import package_members, packaged_sets
from gen.data.tasks.records import task_files, tfds_records
from gen.data.tasks.records.record import RecordSet
from gen.errors import UserError


def read_source(
  task: str, source: str, columns: Mapping[str, str], report: Callable[[str], None] | None = None
) -> RecordSet:
  """Returns the records that a source names.

  Args:
    task: of the data.
    source: a path, a folder, a glob, PART=PATH for each part, SCHEME:PATH, tfds:NAME or a packaged set.
    columns: names of columns that the user gave, by field.
    report: called with one line before a download.

  Raises:
    UserError: if there is no such source, or it holds no records.
  """
  if not source.strip():
    raise UserError(
      "the data has no name; give a file, a folder, tfds:NAME or a packaged set such as wiki_topics"
    )
  # A file of this name must not hide the packaged set; ./wiki_topics names the file.
  if source in packaged_sets.SETS:
    return packaged_sets.read_set(source, task, report)
  scheme, colon, rest = source.partition(":")
  if colon and scheme == "tfds":
    return tfds_records.read_tfds(rest)
  if colon and scheme == "package":
    return package_members.read_member(task, source, columns, report)
  if colon and scheme in task_files.FORMATS and not Path(source).exists():
    return task_files.read_files(task, rest, columns, scheme)
  try:
    return task_files.read_files(task, source, columns)
  except UserError as error:
    raise UserError(f"{error}{_suggest(source, str(error))}") from None


def _suggest(source: str, message: str) -> str:
  """Returns the end of a sentence about a source that is no file: the nearest set, or the schemes."""
  if not message.endswith("no such file or folder"):
    return ""
  # Stricter than difflib's .6, because a source may be any path.
  near = difflib.get_close_matches(source.lower(), packaged_sets.SETS, 1, 0.7)
  if near:
    return f"; the nearest packaged set is {near[0]}"
  if re.match(r"[a-z]+:", source):
    return f"; schemes are {', '.join((*task_files.FORMATS, 'tfds', 'package'))}"
  return f", and no packaged set ({', '.join(packaged_sets.SETS)})"
