"""A lock on a folder, held by one process and released by the kernel however that process ends."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import sys
import time
import weakref
from pathlib import Path
from types import TracebackType

from gen.errors import UserError

NAME = ".lock"


_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


class LockBusy(UserError):
  """Another process, or another holder in this one, has the lock."""


class FolderLock:
  """Prevents a second process (or a second holder in this process) from using a folder.

  The file `.lock` stays; what counts is the kernel's lock on it, which ends with the process, SIGKILL included.
  Child processes do not inherit it.
  """

  def __init__(self, folder: str | Path, wait_seconds: float = 0) -> None:
    """Names the folder; `with` takes the lock.

    Args:
      folder: made if it does not exist.
      wait_seconds: how long to wait for another holder before giving up.
    """
    self.folder = Path(folder)
    self._wait_seconds = wait_seconds
    self._descriptor = -1

  def acquire(self) -> None:
    """Acquires the lock.

    Raises:
      LockBusy: if another process or holder has it; the message names it.
      UserError: if the folder cannot be written.
    """
    if self._descriptor >= 0:
      raise RuntimeError(f"this lock on {self.folder} is already held")
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      descriptor = os.open(self.folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
      raise UserError(f"cannot write in {self.folder}: {error.strerror}; choose another folder") from error
    try:
      self._take(descriptor)
      _sign(descriptor)
    except OSError as error:
      os.close(descriptor)
      raise UserError(f"cannot lock {self.folder}: {error.strerror}") from error
    except BaseException:
      os.close(descriptor)
      raise
    self._descriptor = descriptor
    _held.add(self)

  def release(self) -> None:
    """Releases the lock; does nothing if it is not held."""
    if self._descriptor >= 0:
      # Emptied first: a later reader must not take this process for the holder.
      with contextlib.suppress(OSError):
        os.ftruncate(self._descriptor, 0)
      os.close(self._descriptor)
      self._descriptor = -1

  def forget(self) -> None:
    """Forgets the lock in this process without releasing it, for a forked child."""
    if self._descriptor >= 0:
      os.close(self._descriptor)
      self._descriptor = -1

  def _take(self, descriptor: int) -> None:
    deadline = time.monotonic() + self._wait_seconds
    while True:
      try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
      except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
          raise
      if time.monotonic() >= deadline:
        raise LockBusy(
          f"{self.folder} is in use by {_holder(descriptor)}; wait for it, or choose another folder"
        )
      time.sleep(0.05)

  def __enter__(self) -> "FolderLock":
    self.acquire()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self.release()


def _forget_all() -> None:
  for lock in _held:
    lock.forget()


# A forked child shares the open file and would hold the lock beyond its parent's death.
os.register_at_fork(after_in_child=_forget_all)


def _sign(descriptor: int) -> None:
  holder = {
    "pid": os.getpid(),
    "host": socket.gethostname(),
    "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "command": " ".join(sys.argv)[:500],
  }
  os.ftruncate(descriptor, 0)
  os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
  """Describes the holder; a holder that has not written its name yet, or cannot, still counts."""
  try:
    holder = json.loads(os.pread(descriptor, 4096, 0))
    return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
  except (ValueError, KeyError, TypeError, RecursionError):
    return "another process"
