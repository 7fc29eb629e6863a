"""Documents in files: plain text and JSON lines, compressed or not.

A suffix says what a file holds: `.jsonl` (or `.ndjson`) is one record a line, anything else is text; `.gz`, `.xz`
and `.zst` after it are opened. A text file is one document; a text file that is alone is cut into blocks, so that it
can be parted into training and validation.
"""

import difflib
import glob
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gen.data import compressed
from gen.data.document import Document
from gen.errors import UserError

RECORDS = (".jsonl", ".ndjson")
LEAST_BLOCK, MOST_BLOCK, BLOCKS = 1_024, 65_536, 400  # characters, characters, blocks of a file that is alone
LEAST_BLOCKS = 20


def find(pattern: str) -> list[tuple[str, Path]]:
  """Returns (name, path) of the files that a path, a folder or a glob means, sorted by name.

  Names are relative to what the pattern fixes, so that they do not change when the whole moves. Hidden files are
  left out of folders and globs.

  Raises:
    UserError: if there is none.
  """
  path = Path(pattern).expanduser()
  if path.is_file():
    return [(path.name, path)]
  if path.is_dir():
    root, paths = path, [found for found in path.rglob("*") if found.is_file()]
    if not paths:
      raise UserError(f"data.corpus {pattern}: the folder holds no files")
  elif glob.has_magic(str(path)):
    root = _fixed_part(path)
    paths = [found for found in root.glob(str(path.relative_to(root))) if found.is_file()]
    if not paths:
      raise UserError(f"data.corpus {pattern}: no file matches")
  else:
    raise UserError(f"data.corpus {pattern}: no such file or folder")
  named = [(found.relative_to(root).as_posix(), found) for found in paths]
  visible = sorted(item for item in named if not any(part.startswith(".") for part in item[0].split("/")))
  if not visible:
    raise UserError(f"data.corpus {pattern}: only hidden files match")
  return visible


def _fixed_part(path: Path) -> Path:
  return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))


def fingerprint(found: Iterable[tuple[str, Path]]) -> list[list[str]]:
  """Returns [name, SHA-256] of each file.

  Raises:
    UserError: if one cannot be read.
  """
  prints = []
  for name, path in found:
    try:
      with path.open("rb") as stream:
        prints.append([name, hashlib.file_digest(stream, "sha256").hexdigest()])
    except OSError as error:
      raise UserError(f"{path}: cannot be read: {error.strerror}") from error
  return prints


def documents(found: list[tuple[str, Path]], field: str, records: bool = False) -> Iterator[Document]:
  """Yields the documents of files in order.

  Args:
    found: (name, path) of each.
    field: of the records that holds the text.
    records: whether to take every file for JSON lines, whatever its suffix.

  Raises:
    UserError: for bytes that are not UTF-8, damaged compression, a broken line, a missing field.
  """
  for name, path in found:
    if _holds_records(path, records):
      yield from _records(name, path, field)
    elif is_one_text(found, records):
      for index, block in enumerate(blocks(_text(path))):
        yield Document(f"{name}#{index:06d}", block)
    else:
      yield Document(name, _text(path))


def is_one_text(found: list[tuple[str, Path]], records: bool = False) -> bool:
  """Says whether the files are a single text, which is then cut into blocks."""
  return len(found) == 1 and not _holds_records(found[0][1], records)


def _holds_records(path: Path, records: bool) -> bool:
  return records or (path.stem if path.suffix in compressed.SUFFIXES else path.name).endswith(RECORDS)


def _text(path: Path) -> str:
  return decode(b"".join(compressed.lines(path)), str(path))


def decode(content: bytes, where: str) -> str:
  """Returns the text of UTF-8 bytes.

  Raises:
    UserError: naming the place and the offset of the first byte that is not UTF-8.
  """
  try:
    return content.decode("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(
      f"{where}: not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start} ({error.reason}); convert it"
    ) from None


def _records(name: str, path: Path, field: str) -> Iterator[Document]:
  offset = 0
  for number, line in enumerate(compressed.lines(path), start=1):
    where = f"{path}:{number}"
    if line.strip():
      content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
      try:
        record = json.loads(content.decode("utf-8"))
      except UnicodeDecodeError as error:
        raise UserError(
          f"{where}: not UTF-8: byte at offset {offset + error.start} of the file; convert it"
        ) from None
      except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from None
      except RecursionError:
        raise UserError(f"{where}: not JSON: nested too deeply") from None
      yield Document(f"{name}:{number}", text_of(record, field, where))
    offset += len(line)


def text_of(record: object, field: str, where: str) -> str:
  """Returns the text in a record's field.

  Raises:
    UserError: if the record is none, lacks the field (the nearest is offered), or holds something else in it.
  """
  if not isinstance(record, dict):
    raise UserError(
      f"{where}: a record must be an object with the field {field!r}, not {type(record).__name__}"
    )
  if field not in record:
    nearest = difflib.get_close_matches(field, [str(known) for known in record], 1, 0.0)
    offer = f"; the nearest is --config.data.field={nearest[0]}" if nearest else "; it has none"
    raise UserError(f"{where}: no field {field!r}{offer}")
  value = record[field]
  if isinstance(value, bytes):
    return decode(value, f"{where}, field {field!r}")
  if not isinstance(value, str):
    raise UserError(f"{where}: field {field!r} holds {type(value).__name__}, not text")
  if not value.isascii() and re.search("[\ud800-\udfff]", value):
    raise UserError(f"{where}: field {field!r} holds half of a surrogate pair, which UTF-8 cannot encode")
  return value


def blocks(text: str) -> Iterator[str]:
  r"""Cuts a text into contiguous blocks, at blank lines where it can, else at line ends, else at spaces.

  The blocks joined are the text; there are about 400 of them, of 1 to 64 thousand characters, and at least about 20
  of a shorter text.

  >>> "".join(blocks("one two\n" * 50)) == "one two\n" * 50
  True
  """
  size = min(max(len(text) // BLOCKS, LEAST_BLOCK), MOST_BLOCK, max(1, len(text) // LEAST_BLOCKS))
  start = 0
  while start < len(text):
    end = _cut(text, start, size)
    yield text[start:end]
    start = end


def _cut(text: str, start: int, size: int) -> int:
  """Returns the end of the block: the first good boundary between size and twice the size."""
  low, high = start + size, start + 2 * size
  if high >= len(text):
    return len(text)
  for mark in ("\n\n", "\n", " "):
    found = text.find(mark, low, high)
    if found >= 0:
      return found + len(mark)
  return high
