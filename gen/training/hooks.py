"""Hooks by which a caller observes a run and stops it."""

from collections.abc import Callable
from typing import Protocol

from gen.cli import signals
from gen.training.run_log.rows import RowValues


class RunStopped(Exception):
  """The run was asked to stop and has saved a checkpoint; the same call continues it."""


# A protocol and no base class: a sweep, a console and tests implement it with nothing in common.
class RunHooks(Protocol):
  """The interface by which a caller observes a run and stops it."""

  def progress(self, row: RowValues) -> None:
    """Called with each journal row as it is written."""

  def stop(self) -> bool:
    """Called after each dispatch; True saves and raises `RunStopped`."""
    ...


class NoHooks:
  """Hooks that do nothing."""

  def progress(self, row: RowValues) -> None:
    """Ignores the row."""

  def stop(self) -> bool:
    """Returns False."""
    return False


class Interruptible(NoHooks):
  """Hooks that stop a run on signals; to be created in the main thread."""

  def __init__(self, say: Callable[[str], None]) -> None:
    """Installs the signal handlers; `say` is called with one line on the first signal."""
    self._request = signals.StopRequest(say)

  def stop(self) -> bool:
    """Returns whether a signal was received."""
    return self._request.stop()
