"""The bytes of a file that a user names, if it is a regular file of a believable size.

A pipe may have no writer, and a device such as /dev/zero no end. Both are refused before anything is read.
"""

import os
import stat
from pathlib import Path

from gen.errors import UserError

_KINDS = {
  stat.S_IFDIR: "a folder",
  stat.S_IFIFO: "a pipe",
  stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
  stat.S_IFSOCK: "a socket",
}


def read_regular(path: str | Path, max_bytes: int, what: str) -> bytes:
  """Returns the content of a regular file.

  Args:
    path: of the file; links are followed.
    max_bytes: a larger file is refused before it is read.
    what: what the file should be, for messages, for example "a table of runs".

  Raises:
    FileNotFoundError: if there is none.
    UserError: for a folder, a pipe, a device or a socket, a file that is too large, or one that cannot be read.
  """
  try:
    _require_regular(os.stat(path), path, max_bytes, what)  # noqa: PTH116  before opening: that alone may wait
    # Some files of /proc are regular and still wait for data; without blocking they fail at once.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
      _require_regular(os.fstat(descriptor), path, max_bytes, what)
      content = file.read(max_bytes + 1)
  except FileNotFoundError:
    raise
  except (OSError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise UserError(f"cannot read {path}: {reason}") from error
  if content is None:  # nothing to read yet
    raise UserError(f"cannot read {path}: it holds nothing that can be read at once")
  if len(content) > max_bytes:
    raise UserError(_too_large(path, len(content), max_bytes, what))
  return content


def _require_regular(status: os.stat_result, path: str | Path, max_bytes: int, what: str) -> None:
  kind = stat.S_IFMT(status.st_mode)
  if kind != stat.S_IFREG:
    raise UserError(f"cannot read {path}: it is {_KINDS.get(kind, 'something else')}, not a file")
  if status.st_size > max_bytes:
    raise UserError(_too_large(path, status.st_size, max_bytes, what))


def _too_large(path: str | Path, size: int, max_bytes: int, what: str) -> str:
  return f"{path} has {size:,} bytes, too many for {what} (limit {max_bytes:,})"
