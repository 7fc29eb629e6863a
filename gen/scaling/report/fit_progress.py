"""Shows how far the fits of a table are: one line, rewritten at a terminal, a line now and then elsewhere.

    with FitProgress(expected=10_000) as progress:
      progress.say("fitting 104 runs")
      parametric.fit(points)

The time left is what is left of the solver's descents at the rate measured so far.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from gen.io import quantities
from gen.scaling.laws.solvers import descents

REDRAWN = 0.2  # seconds between two states of the line at a terminal
REPEATED = 10.0  # seconds between two lines in a log
_MEASURED = 0.5  # seconds of descents before which a rate says little


class FitProgress:
  """The progress of the fits that are made while it is entered."""

  def __init__(
    self,
    expected: int,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    silent: bool = False,
  ) -> None:
    """Starts the line.

    Args:
      expected: about how many descents all fits will take.
      stream: where lines go; standard error by default.
      clock: seconds.
      silent: whether to write nothing.
    """
    self._stream, self._clock, self._silent = stream or sys.stderr, clock, silent
    self._live = self._stream.isatty()
    self._expected, self._done, self._drawn = max(expected, 1), 0, False
    self._last = clock()
    self._first: tuple[float, int] | None = None  # seconds and descents once the solver is compiled
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> Self:
    """Starts to count."""
    self._stack.enter_context(descents.watch_descents(self.advance))
    return self

  def __exit__(self, *_: object) -> None:
    """Stops counting and removes the line."""
    self._stack.close()
    self._clear()

  def say(self, text: str) -> None:
    """Writes one line that stays."""
    if not self._silent:
      self._clear()
      print(text, file=self._stream, flush=True)

  def advance(self, number: int) -> None:
    """Counts descents, and shows the state where the last is some time ago."""
    self._done += number
    self._first = self._first or (self._clock(), self._done)
    if self._silent or self._clock() - self._last < (REDRAWN if self._live else REPEATED):
      return
    self._last = self._clock()
    if self._live:
      self._stream.write(f"\r\033[K{self.sentence()}")
      self._stream.flush()
      self._drawn = True
    else:
      print(self.sentence(), file=self._stream, flush=True)

  def sentence(self) -> str:
    """Returns how many descents are done, how fast, and the time left."""
    expected = max(self._expected, self._done)
    text = f"{self._done:,} of about {expected:,} descents of the fits"
    seconds, done = (self._clock() - self._first[0], self._done - self._first[1]) if self._first else (0.0, 0)
    if not done or seconds < _MEASURED:
      return text
    left = quantities.format_seconds(math.ceil((expected - self._done) * seconds / done))
    return f"{text}, {done / seconds:,.0f} a second, about {left} left"

  def _clear(self) -> None:
    if self._drawn:
      self._stream.write("\r\033[K")
      self._stream.flush()
      self._drawn = False
