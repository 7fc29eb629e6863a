"""Checksums of every file of a checkpoint, so that any changed bit is detected and its file named.

Array formats do not detect a changed byte: they restore another number. `seal_folder` writes `manifest.json` (SHA-256
and size of each file under a folder). `find_damages` reads all files again and reports those that differ. Files that
were added later, such as a file manager's, are not damage; `find_strays` lists them.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
from pathlib import Path
from typing import TypedDict

from gen.errors import UserError, summarize_error

NAME = "manifest.json"
# Temporary files that file managers, network file systems and editors create in any folder.
LITTER = (
  ".DS_Store",
  "._*",
  ".nfs*",
  "Thumbs.db",
  "desktop.ini",
  "*~",
  ".*.swp",
  "#*#",
  ".#*",
  ".fuse_hidden*",
)


class FileEntry(TypedDict):
  """Size and SHA-256 of a file."""

  bytes: int
  sha256: str


def seal_folder(folder: Path) -> None:
  """Writes the manifest of all files under `folder` except temporary ones, and makes all of them durable.

  Raises:
    OSError: if the disk refuses.
  """
  files = {name: _entry(folder / name) for name in _names(folder) if not _is_litter(name)}
  write_durably(folder / NAME, _render(files))
  # Names are content of their folders, so these must reach the disk too.
  for path in [folder, *(item for item in folder.rglob("*") if item.is_dir())]:
    sync_folder(path)


def find_damages(folder: Path) -> list[str]:
  """Returns one clause for each file of the manifest that differs from it; empty if none does."""
  files, fault = _read(folder)
  if fault:
    return [fault]
  present = set(_names(folder))
  damages = [f"{name} is missing" for name in sorted(set(files) - present)]
  for name in sorted(present & set(files)):
    damages += _compare(name, folder / name, files[name])
  return damages


def damages_of(folder: Path, name: str) -> list[str]:
  """Returns how one file differs from the manifest, without reading others; empty if it does not differ."""
  files, fault = _read(folder)
  if fault:
    return [fault]
  if not (folder / name).is_file():
    return [f"{name} is missing"]
  return _compare(name, folder / name, files[name]) if name in files else [f"{name} is not in the manifest"]


def find_strays(folder: Path) -> list[str]:
  """Returns the files under `folder` that its manifest does not list; an empty list without a manifest."""
  files, fault = _read(folder)
  return [] if fault else sorted(set(_names(folder)) - set(files))


def write_durably(path: Path, text: str) -> None:
  """Writes text and returns once it is on the disk."""
  with path.open("w", encoding="utf-8") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes) -> None:
  """Writes a file atomically: it gets its name only after its content is on the disk.

  Raises:
    UserError: if the file cannot be written.
  """
  # In the same folder: a rename is atomic only within one file system.
  partial = path.with_name(path.name + ".partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    partial.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise UserError(
      f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
    ) from error


def sync_folder(folder: Path) -> None:
  """Makes the names in `folder` durable; without it a power failure may undo a rename."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _read(folder: Path) -> tuple[dict[str, FileEntry], str]:
  """Returns the entries of the manifest, and a clause about its fault, or ""."""
  try:
    files = _parse((folder / NAME).read_text())
  except FileNotFoundError:
    return {}, f"{NAME} is missing"
  except (OSError, UnicodeDecodeError) as error:
    return {}, f"{NAME} cannot be read ({summarize_error(error)})"
  return ({}, f"{NAME} is damaged") if files is None else (files, "")


def _is_litter(name: str) -> bool:
  file_name = name.rpartition("/")[2]
  return any(fnmatch.fnmatchcase(file_name, pattern) for pattern in LITTER)


def _names(folder: Path) -> list[str]:
  paths = (path for path in folder.rglob("*") if not path.is_dir())
  return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != NAME)


def _entry(path: Path) -> FileEntry:
  with path.open("rb") as file:
    return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _compare(name: str, path: Path, expected: FileEntry) -> list[str]:
  try:
    entry = _entry(path)
  except OSError as error:
    return [f"{name} cannot be read ({error.strerror})"]
  if entry["bytes"] != expected["bytes"]:
    return [f"{name} has {entry['bytes']} bytes instead of {expected['bytes']}"]
  return [] if entry == expected else [f"{name} has changed (SHA-256 differs)"]


def _render(files: dict[str, FileEntry]) -> str:
  body = json.dumps(files, sort_keys=True, indent=1)
  return (
    json.dumps({"files": files, "sha256": hashlib.sha256(body.encode()).hexdigest()}, sort_keys=True) + "\n"
  )


def _parse(text: str) -> dict[str, FileEntry] | None:
  """Returns the manifest's files, or None unless the text is exactly what `_render` writes for them."""
  try:
    files = json.loads(text)["files"]
    entries = all(entry.keys() == {"bytes", "sha256"} for entry in files.values())
    return files if entries and _render(files) == text else None
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    return None
