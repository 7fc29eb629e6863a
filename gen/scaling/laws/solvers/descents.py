"""Counts the solver's descents while fits run, so that a caller can show how much is left.

    with descents.watch_descents(lambda number: print(number)):
      parametric.fit(points)

A descent is one lane of `huber_solver`: from one start, or for one resample. Nearly all of a fit's time goes there.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

# 6 x 6 heights, 5 values of ln E, and 5 x 5 exponents, or 5 if they are tied.
_STARTS, _TIED_STARTS = 4_500, 900  # of the paper's grid, which is used at two deltas
_SECOND = 576  # from the most promising ends of the grid: 512 unfinished ones and 64 places
_AROUND = 256  # from halves of the runs, and next to the lowest

_watcher: ContextVar[Callable[[int], None] | None] = ContextVar("watcher of descents", default=None)


@contextlib.contextmanager
def watch_descents(watcher: Callable[[int], None]) -> Iterator[None]:
  """Calls `watcher` with the number of descents done since its last call; applies to the current context."""
  token = _watcher.set(watcher)
  try:
    yield
  finally:
    _watcher.reset(token)


def count_descents(number: int) -> None:
  """Reports so many more descents, if anybody watches."""
  if watcher := _watcher.get():
    watcher(number)


def search_descents(tied: bool = False) -> int:
  """Returns about how many descents find the optimum.

  >>> search_descents(), search_descents(tied=True)
  (10408, 3208)
  """
  return 2 * ((_TIED_STARTS if tied else _STARTS) + _SECOND) + _AROUND
