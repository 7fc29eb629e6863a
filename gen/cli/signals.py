"""Signals that ask a program to save and stop: Ctrl-C, SIGTERM, and the SIGHUP of a terminal that is closed."""

import contextlib
import math
import signal
import time
from collections.abc import Callable
from typing import Any

ECHO_SECONDS = 0.5  # two signals within this time are one key press
HANGUP = getattr(signal, "SIGHUP", None)


def stop_signals() -> tuple[int, ...]:
  """Returns the signals that stop a program here.

  SIGHUP is left out where it is ignored, as `nohup` arranges for programs that shall outlive their terminal.
  """
  hangup = () if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN else (HANGUP,)
  return (signal.SIGINT, signal.SIGTERM, *hangup)


class SignalDebouncer:
  """Distinguishes a second request to stop from a duplicate of the first.

  A terminal sends Ctrl-C to every process of the group, and `uv run` forwards it to its child: one press, two signals.
  SIGHUP does not count as a press: a session that ends sends SIGTERM as well, and both mean save and stop.
  """

  def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
    """Starts without any signal received."""
    self._clock = clock
    self._last: dict[int, float] = {}
    self._count = 0

  def urgency(self, number: int) -> int:
    """Records a signal; returns 0 for a duplicate, 1 for save and stop, 2 for stop at once."""
    now = self._clock()
    since = now - self._last.get(number, -math.inf)
    self._last[number] = now
    if since < ECHO_SECONDS:
      return 0
    if number == HANGUP:
      return 1
    self._count += 1
    return min(self._count, 2)


class StopRequest:
  """Records requests to stop, from its construction on; construct it in the main thread."""

  def __init__(self, say: Callable[[str], None]) -> None:
    """Installs the signal handlers.

    Args:
      say: called with one line at the first signal.
    """
    self.stopping, self._presses, self._say = False, SignalDebouncer(), say
    for number in stop_signals():
      signal.signal(number, self._handle)

  def _handle(self, number: int, _: Any) -> None:
    urgency = self._presses.urgency(number)
    if urgency == 2:
      raise KeyboardInterrupt
    if urgency and not self.stopping:
      self.stopping = True
      with contextlib.suppress(
        RuntimeError, OSError
      ):  # The signal may have interrupted a write of another line.
        self._say("stopping after the steps under way; interrupt again to stop at once")

  def stop(self) -> bool:
    """Returns whether the program should save and stop."""
    return self.stopping
