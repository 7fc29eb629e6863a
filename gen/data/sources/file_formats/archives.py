"""The members of zip and tar archives, read in place: nothing is unpacked, so member names cannot write files."""

import contextlib
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from gen.data.sources.file_formats import compressed
from gen.errors import UserError, summarize_error

MAX_DIRECTORY = 4 << 20  # bytes of a zip's list of members: about 50,000 names
_DOCUMENTS = (  # (a member that identifies the kind of a zip archive, the kind)
  (r"\[Content_Types\]\.xml", "an Office document, not an archive of texts; save it as plain text first"),
  (r"META-INF/container\.xml", "an EPUB book; save it as plain text first"),
  (r"META-INF/MANIFEST\.MF", "a Java program, not text"),
  (r"content\.xml", "an OpenDocument file; save it as plain text first"),
  (r"(.*/)?data\.pkl", "a PyTorch checkpoint, not text"),
  (r".*\.npy", "NumPy arrays, not text"),
)
_LEFT_OUT = ("__MACOSX", "Thumbs.db")


class ArchiveMember(NamedTuple):
  """One file of an archive, open until the next one is requested.

  Attributes:
    name: within the archive.
    stream: of its bytes as stored.
  """

  name: str
  stream: IO[bytes]


def zip_members(
  path: Path,
  warn: compressed.Warn,
  wanted: Callable[[str], bool] | None = None,
  expansion: compressed.Expansion | None = None,
) -> Iterator[ArchiveMember]:
  """Yields the files of a zip archive in order of name.

  Args:
    path: of the archive.
    warn: called with a sentence about a member that is left out.
    wanted: whether to open the member of a name; None opens all, and refuses archives that are documents or programs.
    expansion: counts the bytes of all members; None for a limit of `compressed.MAX_UNPACKED`.

  Raises:
    UserError: if it is damaged, encrypted or a bomb, or names a path outside of it.
  """
  _check_directory(path)
  with _naming(path), zipfile.ZipFile(path) as archive:
    infos = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
    if wanted is None:
      _refuse_documents([info.filename for info in infos], path)
    unpacked = sum(info.file_size for info in infos)
    if unpacked > max(compressed.FREE_BYTES, compressed.MAX_RATIO * path.stat().st_size):
      raise UserError(
        f"{path}: expands to {unpacked:,} bytes, more than {compressed.MAX_RATIO} times its size, so it is not text"
      )
    (expansion or compressed.Expansion(str(path))).add(unpacked)
    for info in infos:
      if not _is_wanted(info.filename, path) or (wanted and not wanted(info.filename)):
        continue
      kind = info.external_attr >> 28 if info.create_system == 3 else 0  # of Unix; 10 is a link
      if kind not in (0, 8):
        warn(f"{path}: {info.filename} is a link or a device and is skipped")
        continue
      with archive.open(info) as stream:
        yield ArchiveMember(info.filename, stream)


def _refuse_documents(names: list[str], path: Path) -> None:
  for pattern, kind in _DOCUMENTS:
    if any(re.fullmatch(pattern, name, re.S) for name in names):
      raise UserError(f"{path}: this is {kind}")


def _check_directory(path: Path) -> None:
  """Raises UserError for a zip whose list of members would fill the memory."""
  with path.open("rb") as stream:
    stream.seek(0, 2)
    # The end record has at most 65,535 bytes of comment after it (PKWARE's APPNOTE, 4.3.16), and zip64's two records
    # before it.
    stream.seek(max(0, stream.tell() - (1 << 16) - 100))
    tail = stream.read()
  at, large = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
  sizes = []
  if 0 <= at <= len(tail) - 16:
    # The directory's size is at byte 12, or 0xFFFFFFFF where zip64's record has it.
    sizes += [size for size in struct.unpack("<I", tail[at + 12 : at + 16]) if size != 0xFFFFFFFF]
  if 0 <= large <= len(tail) - 48:
    sizes += struct.unpack("<Q", tail[large + 40 : large + 48])
  if max(sizes, default=0) > MAX_DIRECTORY:
    raise UserError(f"{path}: the archive lists too many files; unpack it first")


def tar_members(stream: IO[bytes], path: Path, warn: compressed.Warn) -> Iterator[ArchiveMember]:
  """Yields the files of a tar archive in its own order.

  Raises:
    UserError: if it is damaged, or names a path outside of it.
  """
  with _naming(path), tarfile.open(fileobj=stream, mode="r|") as archive:
    for info in archive:
      archive.members.clear()  # type: ignore[attr-defined]  # otherwise tarfile keeps every header in memory
      if info.isdir() or not _is_wanted(info.name, path):
        continue
      if not info.isreg() or info.issparse():
        warn(f"{path}: {info.name} is a link, a device or a sparse file and is skipped")
        continue
      opened = archive.extractfile(info)
      if opened is not None:
        yield ArchiveMember(PurePosixPath(info.name).as_posix(), opened)


def _is_wanted(name: str, path: Path) -> bool:
  parts = PurePosixPath(name.replace("\\", "/")).parts
  if not parts or ".." in parts or parts[0] == "/" or parts[0].endswith(":") or "\0" in name:
    raise UserError(f"{path}: the archive names a path outside of it, {name[:80]!r}; do not trust it")
  return not any(part.startswith(".") or part in _LEFT_OUT for part in parts)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
  """Converts errors of member lists too; `compressed.naming_file` converts the others."""
  try:
    with compressed.naming_file(str(path)):
      yield
  except (ValueError, OverflowError, IndexError, MemoryError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f"{path}: the archive is damaged ({summarize_error(error)})") from error
