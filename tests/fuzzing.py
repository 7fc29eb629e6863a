"""How long a fuzz test runs, and from which seed: the fixture `fuzz` of tests/conftest.py, for every one of them.

    def test_any_file_is_read_or_refused(fuzz):
      for rng in fuzz.rounds():
        ...

A test runs for SECONDS, or for $GEN_FUZZ_SECONDS, which its cases share. A round's seed is one more than that of the
round before. The first is $GEN_FUZZ_SEED; else 0, or one by the clock where $GEN_FUZZ_SECONDS is set, so that another
long run looks elsewhere. A failure names its seed, and the end of pytest's output how many tries each test made.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

SECONDS = 1.0
LONG = bool(os.environ.get("GEN_FUZZ_SECONDS"))
MADE = "fuzz tries"  # the property of a report that counts them
Case = TypeVar("Case")


class Fuzz:
  """The time and the randomness of one fuzz test.

  Attributes:
    seconds: how long the test runs.
    seed: of the round under way.
    tries: how many cases were begun.
  """

  def __init__(self, cases: int = 1):
    self.seconds = float(os.environ.get("GEN_FUZZ_SECONDS") or SECONDS) / cases
    self.seed = int(os.environ.get("GEN_FUZZ_SEED") or (time.time_ns() // 10**6 % 10**9 if LONG else 0))
    self.tries = 0
    self._end: float | None = None

  def over(self) -> bool:
    """Returns whether the time is up; the first call starts the clock."""
    self._end = self._end or time.monotonic() + self.seconds
    return time.monotonic() > self._end

  def cases(self, make: Callable[[random.Random], Iterable[Case]]) -> Iterator[Case]:
    """Yields the cases of round after round until the time is up; the first case in any event."""
    self.over()
    while True:
      for case in make(random.Random(self.seed)):
        if self.tries and self.over():
          return
        self.tries += 1
        yield case
      self.seed += 1

  def rounds(self, tries: int = 1) -> Iterator[random.Random]:
    """Yields a generator of random numbers for every round, which makes so many tries."""
    for rng in self.cases(lambda rng: [rng]):
      self.tries += tries - 1
      yield rng
