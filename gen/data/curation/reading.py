"""Documents of the sources of a curation, in order: any corpus, with HTML and e-mail kept raw for the stage extract."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config import Data
from gen.config.curation import Curation
from gen.data.curation.passes.shards import Row
from gen.data.curation.result_records import FaultRecord, ReadingRecord
from gen.data.document import Document
from gen.data.sources import dataset_folders
from gen.data.sources.file_formats import files, kinds, mail, text_blocks
from gen.data.sources.file_formats.notes import Notes
from gen.data.sources.source import Source, find_source
from gen.errors import UserError, name_flag

# Characters of one shard of the first pass; chosen: a second of work, so that shards balance over workers.
CHUNK = 4 << 20
MAX_DOCUMENTS = 4_000  # of one shard; short documents cost by their number, not by their length
_SCHEMES = (*kinds.FORMATS, mail.SCHEME)


class RawSource(NamedTuple):
  """One of the sources.

  Attributes:
    name: as the user wrote it.
    files: (name, path) of each file; none for a source that is no file.
    forced: the format of the files, if the user named one.
    source: of other corpora.
  """

  name: str
  files: list[tuple[str, Path]]
  forced: str | None = None
  source: Source | None = None


class Fault(NamedTuple):
  """A file that could not be read to its end.

  Attributes:
    file: its name.
    error: one sentence.
  """

  file: str
  error: str


def open_sources(names: Sequence[str], config: Curation, field: str = "--source") -> list[RawSource]:
  """Returns the sources of these names.

  Args:
    names: as the user wrote them.
    config: only field, max_bytes and cache are used.
    field: flag or field of the config that holds the names, for errors.

  Raises:
    UserError: if one does not exist, or two are the same.
  """
  if not names:
    raise UserError("no source is given; name one with --source=FILE, a folder, a glob, or any corpus")
  if not all(name.strip() for name in names):
    # An empty path would be the current folder.
    raise UserError(f"{field} holds an empty name; write names with one comma between two of them")
  repeated = [name for name in names if list(names).count(name) > 1]
  if repeated:
    raise UserError(f"{field} names {repeated[0]} twice; name each source once")
  with name_flag(field):
    return [_open_source(name, config) for name in names]


def _open_source(name: str, config: Curation) -> RawSource:
  scheme, colon, rest = name.partition(":")
  if colon and scheme in _SCHEMES and not os.path.lexists(name):
    return RawSource(name, files.find_files(rest), scheme)
  if os.path.lexists(name) or not colon:
    is_named = find_named(name, config)
    if is_named is not None:
      return RawSource(name, [], source=is_named)
    if dataset_folders.open_folder(name, dataset_folders.DEFAULT_SPLIT) is not None:
      return RawSource(name, [], source=_find_corpus(name, config))
    return RawSource(name, files.find_files(name))
  return RawSource(name, [], source=_find_corpus(name, config))


def folder_of(source: RawSource) -> Path | None:
  """Returns the folder all of whose files a source takes, now or in a later run; None for other sources."""
  name = source.name.removeprefix(f"{source.forced}:") if source.forced else source.name
  path = Path(name).expanduser()
  if source.files and path.is_dir():
    return path
  # "**" takes folders below the part before it.
  return Path(name.partition("**")[0] or ".") if source.files and "**" in name else None


def find_named(name: str, config: Curation) -> Source | None:
  """Returns the source of a name without a scheme that is no path, such as manual; None for a path."""
  from gen.data.sources.python_packages import manifests

  known = (*manifests.manifest_names(), "environment")
  return _find_corpus(name, config) if name in known else None


def _find_corpus(name: str, config: Curation) -> Source:
  return find_source(Data(corpus=name, field=config.field, max_bytes=config.max_bytes, cache=config.cache))


def fingerprint_source(source: RawSource) -> Any:
  """Returns JSON-compatible values that change whenever the documents may have changed."""
  if source.source is not None:
    return source.source.fingerprint
  return ["raw", kinds.VERSION, source.forced, files.fingerprint_files(source.files)]


class Reader:
  """Reads all sources once.

  Attributes:
    faults: files that could not be read, if they are skipped.
    notes: how files were read.
    source_notes: of corpora that are no files.
    done_bytes: of the files, read so far; an estimate inside a compressed file.
  """

  def __init__(self, sources: Sequence[RawSource], config: Curation, skip_damaged: bool = False) -> None:
    """Stores the sources, and whether a damaged file is skipped or ends the run."""
    self._sources, self._config, self._skips = sources, config, skip_damaged
    self.faults: list[Fault] = []
    self.notes = Notes()
    self.source_notes: list[str] = []
    self.done_bytes = 0
    self._restored: list[str] = []
    self._finished_bytes = 0

  @property
  def total_bytes(self) -> int:
    """Bytes of all files; 0 if a source has no files."""
    if any(source.source is not None for source in self._sources):
      return 0
    return sum(path.stat().st_size for source in self._sources for _, path in source.files)

  @property
  def fault_records(self) -> list[FaultRecord]:
    """Files that could not be read, as JSON can hold them."""
    return [FaultRecord(file=fault.file, error=fault.error) for fault in self.faults]

  def record(self) -> ReadingRecord:
    """Returns what reading found, as JSON can hold it."""
    return {"faults": self.fault_records, "notes": self.note_lines}

  def restore(self, record: ReadingRecord) -> None:
    """Takes over what reading found in a run before."""
    self.faults = [Fault(**fault) for fault in record["faults"]]
    self._restored = list(record["notes"])

  @property
  def note_lines(self) -> list[str]:
    """How the sources were read, one line each."""
    return [*self._restored, *self.source_notes, *self.notes.lines()]

  def chunks(self) -> Iterator[list[Row]]:
    """Yields the rows of one shard after the other."""
    # A pass that begins anew reads all files again, and finds the same faults.
    self.faults, self._restored = [], []
    chunk: list[Row] = []
    length, number, blank = 0, 0, 0
    for label, document in self._documents():
      if not document.text.strip():  # an empty file, or a page without text
        blank += 1
        continue
      chunk.append(Row(number, label, document.name, document.text))
      number += 1
      length += len(document.text)
      if length >= CHUNK or len(chunk) == MAX_DOCUMENTS:
        yield chunk
        chunk, length = [], 0
    if blank:
      self.source_notes.append(f"documents without text, which are left out: {blank:,}")
    if chunk:
      yield chunk

  def _documents(self) -> Iterator[tuple[str, Document]]:
    """Yields (label, document) of all sources."""
    several = len(self._sources) > 1
    for source in self._sources:
      if source.source is not None:
        for document in source.source.documents():
          yield (source.name if several else _first_part(document.name)), document
        self.source_notes += source.source.notes()
        continue
      alone = len(source.files) == 1 and self._is_one_text(source)
      for name, path in source.files:
        label = source.name if several else _first_part(name)
        for document in self._file(name, path, source.forced, alone):
          yield label, document

  def _is_one_text(self, source: RawSource) -> bool:
    """Returns whether the only file of a source is a text that is cut into blocks."""
    # Blocks of a text below the size of one block would be too short for the rules; it needs no split into parts here.
    if source.forced == mail.SCHEME or source.files[0][1].stat().st_size <= text_blocks.MAX_BLOCK_SIZE:
      return False
    try:
      return files.is_one_text(source.files, source.forced, self._config.max_bytes, pages=False)
    except UserError:
      return False  # the same error is raised when the file is read

  def _file(self, name: str, path: Path, forced: str | None, alone: bool) -> Iterator[Document]:
    """Yields the documents of one file, up to where it is damaged if such files are skipped."""
    size = path.stat().st_size
    length = 0
    try:
      for document in mail.read_raw(name, path, self._config, forced, alone, self.notes):
        length += len(document.text)
        # Text of a compressed file is longer than the file: its share is bounded by the file's size.
        self.done_bytes = self._finished_bytes + min(size, length)
        yield document
    except UserError as error:
      if not self._skips:
        raise
      self.faults.append(Fault(name, str(error)))
    self._finished_bytes += size
    self.done_bytes = self._finished_bytes


def _first_part(name: str) -> str:
  """Returns the file or top folder that a document's name begins with."""
  return name.split("/", 1)[0].split("#", 1)[0].split(":", 1)[0]
