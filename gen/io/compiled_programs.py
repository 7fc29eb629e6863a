"""A cache of compiled programs on disk, each with a checksum; a damaged program is deleted and compiled again.

jax deserializes the entries of its persistent cache without a check, and machine code with one flipped bit can end the
process. So each entry is stored as MAGIC, the SHA-256 of its key and content, and the content. An entry whose checksum
differs is deleted and counts as absent, also one that another process has not written completely.
"""

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

# Changes with the form of entries; entries with another one count as absent.
MAGIC = b"gen-program-1\n"
MIN_COMPILE_SECONDS = 0.3  # programs that compile faster are not stored; jax's default is 1 s
_SUFFIXES = ("-cache", "-atime")  # jax's files of one entry: the program, and the time of its last use


def keep_programs_in(folder: str | os.PathLike[str]) -> None:
  """Stores compiled programs in a folder, so that the next process does not compile them again.

  If JAX_COMPILATION_CACHE_DIR is set, they are stored in a folder below that one instead. So does
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS replace `MIN_COMPILE_SECONDS`.
  """
  import jax

  named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
  sealed, path = _seal(), os.path.join(named, "checked") if named else os.fspath(folder)  # noqa: PTH118
  jax.config.update("jax_compilation_cache_dir", path if sealed else None)
  if not _is_utf8(path):  # XLA's own caches in that folder need a UTF-8 path
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def seal_program(key: str, content: bytes) -> bytes:
  """Returns the stored form of an entry: its content under a checksum."""
  return MAGIC + _digest(key, content) + content


def open_program(key: str, stored: bytes) -> bytes | None:
  """Returns the content of an entry, or None if it was changed.

  >>> open_program("key", seal_program("key", b"program")), open_program("other", seal_program("key", b"program"))
  (b'program', None)
  """
  start = len(MAGIC) + hashlib.sha256().digest_size
  digest, content = stored[len(MAGIC) : start], stored[start:]
  return content if stored.startswith(MAGIC) and digest == _digest(key, content) else None


def _is_utf8(path: str) -> bool:
  try:
    path.encode()
  except UnicodeEncodeError:
    return False
  return True


def _digest(key: str, content: bytes) -> bytes:
  # The key is part of it: an entry under another key's name is another program.
  return hashlib.sha256(key.encode() + b"\0" + content).digest()


def _seal() -> bool:
  """Wraps jax's cache with checksums; returns whether this version of jax allows it.

  The interface is private to jax. With a version that does not have it, every process compiles its own programs.
  """
  try:
    from jax._src import compilation_cache
    from jax._src.compilation_cache_interface import CacheInterface

    make = compilation_cache.get_file_cache
  except (ImportError, AttributeError):
    logging.getLogger(__name__).warning(
      "this version of jax has no cache whose entries can be checked; programs are compiled again"
    )
    return False
  if hasattr(make, "sealed"):
    return True

  class Sealed(CacheInterface):
    """jax's cache of one folder, with a checksum around each entry."""

    def __init__(self, cache: Any, folder: str) -> None:
      self._cache, self._path, self._folder = cache, cache._path, Path(folder)

    def get(self, key: str) -> bytes | None:
      stored = self._cache.get(key)
      content = None if stored is None else open_program(key, stored)
      if stored is not None and content is None:
        with contextlib.suppress(OSError):  # in a read-only folder it stays, and counts as absent
          for suffix in _SUFFIXES:  # deleted, because jax does not overwrite an entry
            (self._folder / f"{key}{suffix}").unlink(missing_ok=True)
        logging.getLogger(__name__).warning(
          "a compiled program in %s is damaged and is compiled again", self._folder
        )
      return content

    def put(self, key: str, value: bytes) -> None:
      self._cache.put(key, seal_program(key, value))

  def get_file_cache(path: str) -> tuple[CacheInterface, str] | None:
    made = make(path)
    return None if made is None else (Sealed(made[0], made[1]), made[1])

  get_file_cache.sealed = True  # type: ignore[attr-defined]
  compilation_cache.get_file_cache = get_file_cache
  return True
