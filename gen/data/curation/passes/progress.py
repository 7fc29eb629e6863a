"""Progress of a curation on standard error: pass, amount, rate and the time left."""

import sys
import time

SECONDS = 5.0  # between lines where standard error is no terminal


class Progress:
  """Prints one line that changes on a terminal, or a line every few seconds elsewhere."""

  def __init__(self, silent: bool = False) -> None:
    """Starts without a pass."""
    self._silent, self._terminal = silent, sys.stderr.isatty()
    self._title, self._begin, self._shown, self._last = "", 0.0, 0.0, ""

  def start_pass(self, title: str) -> None:
    """Begins a pass."""
    self._title, self._begin, self._shown = title, time.monotonic(), time.monotonic()

  def update(self, done: float, total: float, amount: int) -> None:
    """Shows how far a pass is.

    Args:
      done: part of the total.
      total: 0 where it is unknown.
      amount: bytes of text of this pass so far.
    """
    now = time.monotonic()
    if self._silent or now - self._shown < (0.2 if self._terminal else SECONDS):
      return
    self._shown = now
    seconds = now - self._begin
    line = f"{self._title}: {amount / 1e6:,.1f} MB, {amount / 1e6 / seconds:.1f} MB/s"
    if total and done:
      left = seconds * max(total / done - 1, 0.0)
      line += f", {min(done / total, 1):.0%}, {describe_seconds(left)} left"
    self._print(line)

  def say(self, line: str) -> None:
    """Shows what a step between passes does."""
    now = time.monotonic()
    if not self._silent and now - self._shown >= (0.2 if self._terminal else SECONDS):
      self._shown = now
      self._print(line)

  def end_pass(self, line: str) -> None:
    """Prints the result of a pass."""
    if not self._silent:
      self._print(line)
      if self._terminal:
        print(file=sys.stderr, flush=True)

  def _print(self, line: str) -> None:
    if self._terminal:
      print(f"\r{line:<{len(self._last)}}", end="", file=sys.stderr, flush=True)
      self._last = line
    else:
      print(line, file=sys.stderr, flush=True)


def describe_seconds(seconds: float) -> str:
  """Returns a duration in words.

  >>> describe_seconds(8), describe_seconds(125), describe_seconds(7300)
  ('8 s', '2 min', '2.0 h')
  """
  if seconds < 100:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
