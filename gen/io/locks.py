"""A lock on a folder, held by one process and released by the kernel however that process ends.

The lock is that of `filelock`, on the file `.lock` in the folder. This module adds who holds it, in one sentence.
"""

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
from pathlib import Path
from types import TracebackType

import filelock

from gen.errors import UserError

NAME = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems without locks
# Short against a person's patience, long against a system call.
_POLL_SECONDS = 0.05


class LockBusy(UserError):
  """Another process, or another holder in this process, has the lock."""


class FolderLock:
  """Prevents a second process (or a second holder in this process) from using a folder.

  The lock is the kernel's lock on the file `.lock`, which ends with the process, even after SIGKILL. The file itself
  stays. Child processes do not inherit the lock.
  """

  def __init__(self, folder: str | Path, wait_seconds: float = 0) -> None:
    """Sets the folder; `with` acquires the lock.

    Args:
      folder: created if it does not exist.
      wait_seconds: how long to wait for another holder before `LockBusy` is raised.
    """
    self.folder = Path(folder)
    self._lock = filelock.FileLock(
      self.folder / NAME,
      timeout=wait_seconds,
      poll_interval=_POLL_SECONDS,
      thread_local=False,  # a lock may be released in another thread than it was taken in
      # A lock that is a mere file outlives a killed process; where the kernel has no locks, that is an error.
      fallback_to_soft=False,
      on_acquired=_sign,
    )

  def acquire(self) -> None:
    """Acquires the lock.

    Raises:
      LockBusy: if another process or holder has it; the message names it.
      UserError: if the folder cannot be written.
    """
    if self._lock.is_locked:
      raise RuntimeError(f"this lock on {self.folder} is already held")
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      self._lock.acquire()
    except filelock.Timeout:
      raise LockBusy(
        f"{self.folder} is in use by {_holder(self.folder / NAME)}; wait for it, or choose another folder"
      ) from None
    except OSError as error:
      action = "lock" if error.errno in _NO_LOCKS else "write in"
      raise UserError(f"cannot {action} {self.folder}: {error.strerror}; choose another folder") from error

  def release(self) -> None:
    """Releases the lock; does nothing if it is not held."""
    if self._lock.is_locked:
      # Emptied before the release: otherwise a later message could name this process as the holder.
      with contextlib.suppress(OSError):
        os.truncate(self.folder / NAME, 0)
      self._lock.release()

  def __enter__(self) -> "FolderLock":
    self.acquire()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.release()


def _sign(descriptor: int) -> None:
  """Writes who holds the lock into its file, through the descriptor that `filelock` lends."""
  holder = {
    "pid": os.getpid(),
    "host": socket.gethostname(),
    "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "command": " ".join(sys.argv)[:500],
  }
  os.ftruncate(descriptor, 0)
  os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(path: Path) -> str:
  """Describes the holder, which may not have written its name yet."""
  try:
    with path.open("rb") as file:
      holder = json.loads(file.read(4096))
    return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
  except (OSError, ValueError, KeyError, TypeError, RecursionError):
    return "another process"
