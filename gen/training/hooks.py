"""What a caller hears of a run under way, and how it stops one."""

from collections.abc import Callable
from typing import Any, Protocol

from gen.cli import signals


class RunStopped(Exception):
  """The run was asked to stop and has saved; the same call goes on from there."""


class RunHooks(Protocol):
  """What a caller hears of a run, and how it stops one."""

  def progress(self, row: dict[str, Any]) -> None:
    """Hears each journal row as it is written."""

  def stop(self) -> bool:
    """Is asked after each dispatch; true saves and raises `RunStopped`."""
    ...


class NoHooks:
  """Hooks of a run that nobody watches."""

  def progress(self, row: dict[str, Any]) -> None:
    """Hears nothing."""

  def stop(self) -> bool:
    """Never stops."""
    return False


class Interruptible(NoHooks):
  """Hooks of a run that nobody watches and that signals stop; to be made in the main thread."""

  def __init__(self, say: Callable[[str], None]) -> None:
    """Takes the signals; `say` is told one line when the first comes."""
    self._request = signals.StopRequest(say)

  def stop(self) -> bool:
    """Says whether a signal came."""
    return self._request.stop()
