"""Documents in files of any kind of text. The content decides how a file is read, not its suffix.

`kinds` lists the kinds. A text file is one document; a single text file is cut into blocks, so that it can be split
into training and validation. Records, rows and members of archives are separate documents.
"""

import contextlib
import functools
import glob
import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from gen.data.document import Document
from gen.data.sources.file_formats import (
  archives,
  column_files,
  compressed,
  encodings,
  html_text,
  kinds,
  records,
  text_blocks,
)
from gen.data.sources.file_formats.notes import Notes
from gen.errors import UserError

MAX_TEXT = 64 << 20  # characters of one document; a longer text is cut into blocks
MAX_PAGE = 64 << 20  # characters of one HTML page
_KERNEL = ("/dev", "/proc", "/sys")  # their files may be endless or block

ReadPage = Callable[[str], str]


def find_files(pattern: str) -> list[tuple[str, Path]]:
  """Returns (name, path) of the files of a path, a folder or a glob, sorted by name.

  Names are relative to the fixed part of the pattern, so that moving all files does not change them. Hidden files
  are excluded from folders and globs.

  Raises:
    UserError: if there is none, or one is a device, a pipe or a file of the kernel.
  """
  path = Path(pattern).expanduser()
  try:
    return _found(pattern, path)
  except (ValueError, OSError) as error:  # a zero byte, a name too long, a folder that may not be read
    if isinstance(error, UserError):
      raise
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise UserError(f"data.corpus {pattern[:200]}: cannot be read: {reason}") from error


def _found(pattern: str, path: Path) -> list[tuple[str, Path]]:
  if path.is_file():
    _check_regular(path)
    return [(path.name, path)]
  if path.is_dir():
    _check_regular(path)
    root, paths = path, [file for file in path.rglob("*") if file.is_file()]
    if not paths:
      raise UserError(f"data.corpus {pattern}: the folder has no files")
  elif glob.has_magic(str(path)):
    root = _fixed_part(path)
    paths = [file for file in root.glob(str(path.relative_to(root))) if file.is_file()]
    if not paths:
      raise UserError(f"data.corpus {pattern}: no file matches")
  elif path.exists():
    raise UserError(f"data.corpus {pattern}: it is a device, a pipe or a socket; save its text in a file")
  else:
    raise UserError(f"data.corpus {pattern}: no such file or folder")
  named = [(file.relative_to(root).as_posix(), file) for file in paths]
  visible = sorted(item for item in named if not any(part.startswith(".") for part in item[0].split("/")))
  if not visible:
    raise UserError(f"data.corpus {pattern}: only hidden files match")
  for _, file in visible:
    _check_regular(file)
  return visible


def _check_regular(path: Path) -> None:
  """Raises UserError for files of the kernel, which may be endless."""
  # Resolved, because a link may lead there.
  real = path.resolve()
  if real == Path("/") or any(real.is_relative_to(folder) for folder in _KERNEL):
    raise UserError(f"{path}: it is a file of the system, which is not read as text; name other files")


def kinds_of(
  named_files: Iterable[tuple[str, Path]], forced: str | None = None, max_bytes: int = compressed.MAX_UNPACKED
) -> list[list[str]]:
  """Returns [name, kind] of each file; kinds and contents together identify the documents.

  Args:
    named_files: (name, path) of each.
    forced: the format of every file, one of `kinds.FORMATS`; None detects it.
    max_bytes: that a compressed file may expand to; 0 for no limit.

  Raises:
    UserError: if one cannot be read, or holds no text.
  """
  described = []
  for name, path in named_files:
    with _opened(name, path, forced, _ignore, max_bytes) as item:
      described.append([name, *item.layers, *item.kind])
  return described


def _ignore(_: str) -> None:
  """Ignores a note."""


def _fixed_part(path: Path) -> Path:
  return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))


def fingerprint_files(named_files: Iterable[tuple[str, Path]]) -> list[list[str]]:
  """Returns [name, SHA-256] of each file.

  Raises:
    UserError: if one cannot be read.
  """
  prints = []
  for name, path in named_files:
    try:
      with path.open("rb") as stream:
        prints.append([name, hashlib.file_digest(stream, "sha256").hexdigest()])
    except OSError as error:
      raise UserError(f"{path}: cannot be read: {error.strerror}") from error
  return prints


class _Item(NamedTuple):
  """An open file, or member of an archive, without its compression.

  Attributes:
    stream: of its text in UTF-8, or of its bytes where it is an archive.
    kind: of its content.
    layers: the removed compressions.
    consumed: returns the number of bytes of the file read so far.
    expansion: counts the bytes that the file expands to.
  """

  stream: IO[bytes]
  kind: kinds.FileKind
  layers: tuple[str, ...]
  consumed: Callable[[], int]
  expansion: compressed.Expansion


@contextlib.contextmanager
def _opened(
  name: str, path: Path, forced: str | None, warn: compressed.Warn, max_bytes: int
) -> Iterator[_Item]:
  with compressed.open_decompressed(path, warn, max_bytes) as (stream, layers, consumed, expansion):
    kind, stream = kinds.detect_kind(stream, name, str(path), forced)
    yield _Item(stream, kind, layers, consumed, expansion)


def read_documents(
  named_files: list[tuple[str, Path]],
  field: str,
  forced: str | None = None,
  notes: Notes | None = None,
  max_bytes: int = compressed.MAX_UNPACKED,
  alone: bool | None = None,
  read_page: ReadPage = html_text.visible_text,
) -> Iterator[Document]:
  """Yields the documents of files in order.

  Args:
    named_files: (name, path) of each.
    field: of the records that holds the text.
    forced: the format of every file, one of `kinds.FORMATS`; None detects it.
    notes: collects how files were read.
    max_bytes: that a compressed file may expand to; 0 for no limit.
    alone: whether the files are a single text, which is cut into blocks; None finds out.
    read_page: returns the text of an HTML page.

  Raises:
    UserError: for what holds no text, bytes that are not UTF-8, damaged compression, a broken record, a missing field.
  """
  notes = notes or Notes()
  alone = is_one_text(named_files, forced, max_bytes) if alone is None else alone
  for name, path in named_files:
    with _opened(name, path, forced, notes.warn, max_bytes) as item:
      if item.kind.format not in ("zip", "tar"):
        reading = _Reading(name, str(path), path, field, alone, notes, read_page)
        yield from reading.documents(item, functools.partial(_opened, name, path, forced, _ignore, max_bytes))
        continue
      for index, (member, opened) in enumerate(_members(path, item, forced, notes.warn)):
        reading = _Reading(f"{name}/{member}", f"{path}/{member}", None, field, alone, notes, read_page)
        yield from reading.documents(opened, functools.partial(_member, path, index, forced, max_bytes))


def read_content(name: str, where: str, content: bytes, field: str) -> Iterator[Document]:
  """Yields the documents of one file in memory, by its kind.

  Args:
    name: of its documents.
    where: its name in errors.
    content: its bytes, compressed or not.
    field: of the records that holds the text.

  Raises:
    UserError: as `read_documents`.
  """

  @contextlib.contextmanager
  def opened() -> Iterator[_Item]:
    stream = io.BytesIO(content)
    with compressed.naming_file(where):
      expansion = compressed.Expansion(where)
      plain, layers, consumed, _ = compressed.decompress(stream, where, stream.tell, _ignore, expansion)
      kind, plain = kinds.detect_kind(plain, name, where)
      if kind.format in kinds.NOT_IN_ARCHIVES:
        raise UserError(f"{where}: it is a {kind.format} file inside an archive; unpack it first")
      yield _Item(plain, kind, layers, consumed, expansion)

  with opened() as item:
    yield from _Reading(name, where, None, field, False, Notes()).documents(item, opened)


def is_one_text(
  named_files: list[tuple[str, Path]],
  forced: str | None = None,
  max_bytes: int = compressed.MAX_UNPACKED,
  pages: bool = True,
) -> bool:
  """Returns whether the files are a single text, which is then cut into blocks.

  Args:
    named_files: (name, path) of each.
    forced: the format of every file, one of `kinds.FORMATS`; None detects it.
    max_bytes: that a compressed file may expand to; 0 for no limit.
    pages: whether an HTML page is such a text.
  """
  texts = ("text", "html") if pages else ("text",)
  if len(named_files) != 1:
    return False
  name, path = named_files[0]
  with _opened(name, path, forced, _ignore, max_bytes) as item:
    if item.kind.format not in ("zip", "tar"):
      return item.kind.format in texts
    # Two members at most are opened: a second one settles it.
    formats = [opened.kind.format for _, opened in itertools.islice(_members(path, item, forced, _ignore), 2)]
    return len(formats) == 1 and formats[0] in texts


def _members(
  path: Path, item: _Item, forced: str | None, warn: compressed.Warn
) -> Iterator[tuple[str, _Item]]:
  """Yields the members of an archive, each without its compression."""
  # A zip's list of members stands at its end, and a compressed stream cannot seek there.
  if item.kind.format == "zip" and item.layers:
    raise UserError(f"{path}: it is a zip archive inside {item.layers[-1]}; unpack it first")
  size = path.stat().st_size
  members = (
    archives.zip_members(path, warn, expansion=item.expansion)
    if item.kind.format == "zip"
    else archives.tar_members(item.stream, path, warn)
  )
  for name, stream in members:
    where = f"{path}/{name}"
    with compressed.naming_file(where):
      consumed = (
        item.consumed if item.kind.format == "tar" else (lambda stream=stream: min(stream.tell(), size))
      )
      plain, layers, _, _ = compressed.decompress(stream, where, consumed, warn, item.expansion)
      kind, plain = kinds.detect_kind(plain, name, where, forced)
      if kind.format in kinds.NOT_IN_ARCHIVES:
        raise UserError(f"{where}: it is a {kind.format} file inside an archive; unpack it first")
      yield name, _Item(plain, kind, layers, consumed, item.expansion)


@contextlib.contextmanager
def _member(path: Path, index: int, forced: str | None, max_bytes: int) -> Iterator[_Item]:
  """Opens a member of an archive again."""
  with _opened(path.name, path, forced, _ignore, max_bytes) as item:
    for number, (_, opened) in enumerate(_members(path, item, forced, _ignore)):
      if number == index:
        yield opened
        return


class _Reading(NamedTuple):
  """How one file or member becomes documents.

  Attributes:
    name: of its documents.
    where: its name in errors.
    path: of the file; None for a member of an archive.
    field: of records, as requested by the user.
    alone: whether it is the only text.
    notes: collects how it is read.
    read_page: returns the text of an HTML page.
  """

  name: str
  where: str
  path: Path | None
  field: str
  alone: bool
  notes: Notes
  read_page: ReadPage = html_text.visible_text

  def documents(
    self, item: _Item, again: Callable[[], contextlib.AbstractContextManager[_Item]]
  ) -> Iterator[Document]:
    """Yields the documents; `again` opens the file again."""
    kind, stream = item.kind, item.stream
    encoding = "" if kind.encoding in ("utf-8", "utf-8-sig") else f", {kind.encoding.upper()}"
    field = records.TextField(
      self.field, lambda what: self.notes.add(self.name, f"{kinds.TITLES[kind.format]}{encoding}, {what}")
    )
    if kind.format == "jsonl":
      return records.json_lines(stream, self.name, self.where, field)
    if kind.format == "json":
      return records.json_values(stream, self.name, self.where, field)
    if kind.format == "csv":
      return records.table_documents(stream, self.name, self.where, field, kind.delimiter)
    if kind.format in column_files.READERS:
      if self.path is None or item.layers:
        raise UserError(
          f"{self.where}: {kind.format} inside another compression is not read; unpack it first"
        )
      return column_files.READERS[kind.format](self.path, self.name, field, item.expansion)
    if kind.format == "html":
      self.notes.add(self.name, f"HTML{encoding}, visible text")
      return self._page(stream)
    if encoding:
      self.notes.add(self.name, f"text{encoding}")
    return self._text(stream, again)

  def _page(self, stream: IO[bytes]) -> Iterator[Document]:
    pieces, length = [], 0
    for chunk in encodings.decode_chunks(stream, self.where):
      pieces.append(chunk)
      length += len(chunk)
      if length > MAX_PAGE:
        raise UserError(
          f"{self.where}: it is an HTML page of more than {MAX_PAGE >> 20} million characters; split it"
        )
    try:
      text = self.read_page("".join(pieces))
    except ValueError as error:
      raise UserError(f"{self.where}: {error}; split it, or read it as text:PATH") from None
    yield from self._pieces(text)

  def _pieces(self, text: str) -> Iterator[Document]:
    if not self.alone:
      yield Document(self.name, text)
      return
    for index, block in enumerate(text_blocks.split_blocks(text)):
      yield Document(f"{self.name}#{index:06d}", block)

  def _text(
    self, stream: IO[bytes], again: Callable[[], contextlib.AbstractContextManager[_Item]]
  ) -> Iterator[Document]:
    pieces, length = [], 0
    chunks = encodings.decode_chunks(stream, self.where)
    for chunk in chunks:
      pieces.append(chunk)
      length += len(chunk)
      if length > MAX_TEXT:
        break
    else:
      yield from self._pieces("".join(pieces))
      return
    pieces.clear()
    # The rest is only measured: block sizes depend on the length of the whole text, which does not fit into memory.
    length += sum(len(chunk) for chunk in chunks)
    with again() as item:
      streamed = text_blocks.cut_chunks(encodings.decode_chunks(item.stream, self.where), length)
      for index, block in enumerate(streamed):
        yield Document(f"{self.name}#{index:06d}", block)
