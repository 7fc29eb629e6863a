"""Folders of derived data, each built once and atomically.

An entry is a folder `<name>` whose `manifest.json` records the size and CRC-32 of its files, and what its builder
returned, with a checksum of the manifest itself. An entry is built in a temporary folder under a file lock and then
renamed, so readers see a complete entry or none. An entry that does not match its manifest is rebuilt.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from gen.config import Data
from gen.errors import UserError

MANIFEST = "manifest.json"
CHECKED_BYTES = 1 << 30  # larger files are compared by size only: reading them would take seconds
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CacheEntry(NamedTuple):
  """A complete entry of the cache.

  Attributes:
    path: its folder.
    meta: what its builder returned.
    existed: whether it was in the cache before the call.
  """

  path: Path
  meta: dict[str, object]
  existed: bool


def cache_folder(data: Data) -> Path:
  """Returns the folder of derived data: data.cache, else $GEN_CACHE, else ~/.cache/gen."""
  return Path(data.cache or os.environ.get("GEN_CACHE") or "~/.cache/gen").expanduser()


def cache_key(*parts: Any) -> str:
  """Returns 16 hex digits that name the parts (anything that JSON can hold)."""
  text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
  # 64 bits: keys only have to differ among the entries of one cache.
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_or_build(root: Path, name: str, build: Callable[[Path], dict[str, object]]) -> CacheEntry:
  """Returns an entry, which is built if it is absent or damaged.

  Args:
    root: the cache's folder.
    name: of the entry; it must identify everything that the content depends on.
    build: writes files into the folder passed to it and returns JSON-compatible values.

  Raises:
    UserError: if the folder cannot be written, or the disk is full.
  """
  path = root / name
  meta = _read(path)
  if meta is not None:
    return CacheEntry(path, meta, True)
  # A second process waits here for the first, which then finds the entry: no corpus is built twice.
  with _explained(root), filelock.FileLock(root / f".{name}.lock"):
    meta = _read(path)  # another process may have built it meanwhile
    if meta is not None:
      return CacheEntry(path, meta, True)
    return CacheEntry(path, _build(path, build), False)


def _build(path: Path, build: Callable[[Path], dict[str, object]]) -> dict[str, object]:
  # Only the lock's holder builds, so leftovers here come from a process that died.
  unfinished = path.with_name(f".{path.name}.unfinished")
  shutil.rmtree(unfinished, ignore_errors=True)
  unfinished.mkdir()
  try:
    meta = build(unfinished)
    files = {file.name: _signature(file) for file in sorted(unfinished.iterdir())}
    (unfinished / MANIFEST).write_text(_manifest(files, meta))
    # A rename cannot replace a folder that holds files, so a damaged entry goes first.
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
  # Also at Ctrl-C: half an entry may have gigabytes.
  except BaseException:
    shutil.rmtree(unfinished, ignore_errors=True)
    raise
  stored: dict[str, object] = json.loads(json.dumps(meta))  # as a later call will read it
  return stored


def _read(path: Path) -> dict[str, object] | None:
  """Returns the meta of a complete entry, or None if it is absent or damaged."""
  try:
    text = (path / MANIFEST).read_text()
    manifest = json.loads(text)
    files, meta = manifest["files"], manifest["meta"]
    complete = text == _manifest(files, meta) and all(
      _signature(path / name) == signature for name, signature in files.items()
    )
    return meta if complete else None
  # Any damage makes an entry count as absent; it is built again.
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
    return None


def _manifest(files: dict[str, list[int]], meta: dict[str, object]) -> str:
  """Returns the manifest's text, unique for given values, so that any other text means damage."""
  body = json.dumps({"files": files, "meta": meta}, indent=1)
  return json.dumps(
    {"files": files, "meta": meta, "sha256": hashlib.sha256(body.encode()).hexdigest()}, indent=1
  )


def _signature(file: Path) -> list[int]:
  size = file.stat().st_size
  if size > CHECKED_BYTES:
    return [size, 0]
  checksum = 0
  with file.open("rb") as stream:
    while chunk := stream.read(1 << 20):
      # CRC-32 and not SHA-256: it guards against damage, not against an attacker, and every start of a run reads it.
      checksum = zlib.crc32(chunk, checksum)
  return [size, checksum]


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
  """Converts errors of writing the cache into one sentence."""
  try:
    yield
  except OSError as error:
    advice = "choose another folder with --config.data.cache=FOLDER or $GEN_CACHE"
    if error.errno in NO_SPACE:
      raise UserError(
        f"no space left to cache data in {root}: {error.strerror}; free some or {advice}"
      ) from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
      raise UserError(f"the cache folder {root} cannot be written: {error.strerror}; {advice}") from error
    raise
