"""Compiled programs on disk, each under a checksum: a damaged one is dropped and compiled anew.

jax deserializes what its persistent cache holds without a check, and machine code with one flipped bit can end the
process. So each entry is stored as MAGIC, the SHA-256 of its key and content, and the content; one that does not
agree is deleted and counts as absent. Writers and readers may be several processes at once: an entry that is half
written is one that does not agree.
"""

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

MAGIC = b"gen-program-1\n"
_SUFFIXES = ("-cache", "-atime")  # jax's files of one entry: the program, and when it was last used


def keep_programs_in(folder: str | os.PathLike[str]) -> None:
  """Keeps compiled programs in a folder, so that the next process need not compile them again.

  Where JAX_COMPILATION_CACHE_DIR names a folder, they go below that one instead.
  """
  import jax

  named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
  sealed, path = _seal(), os.path.join(named, "checked") if named else os.fspath(folder)  # noqa: PTH118
  jax.config.update("jax_compilation_cache_dir", path if sealed else None)
  if not _is_utf8(path):  # XLA's own caches in that folder take no other path.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def seal_program(key: str, content: bytes) -> bytes:
  """Returns the stored form of an entry: its content under a checksum."""
  return MAGIC + _digest(key, content) + content


def open_program(key: str, stored: bytes) -> bytes | None:
  """Returns the content of an entry, or None if it is not as it was written.

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
  return hashlib.sha256(key.encode() + b"\0" + content).digest()


def _seal() -> bool:
  """Puts the checksum between jax and its cache; returns whether this jax can have one.

  The interface is private to jax. A version without it compiles in every process, which is slower and right.
  """
  try:
    from jax._src import compilation_cache
    from jax._src.compilation_cache_interface import CacheInterface

    make = compilation_cache.get_file_cache
  except (ImportError, AttributeError):
    logging.getLogger(__name__).warning(
      "this jax has no cache that can be checked; programs are compiled anew"
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
        with contextlib.suppress(OSError):  # A folder that is only read keeps it, and it counts as absent.
          for suffix in _SUFFIXES:  # jax writes no entry where one is.
            (self._folder / f"{key}{suffix}").unlink(missing_ok=True)
        logging.getLogger(__name__).warning(
          "a compiled program in %s was damaged; compiling it anew", self._folder
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
