"""Calls in all worker processes with bounded memory: as many tasks wait as there are workers and a few more."""

import concurrent.futures
import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gen.errors import UserError

_WAITING = 2  # tasks beyond one per worker: a worker that becomes free finds its next task at once


class ShardPool:
  """Worker processes, or this process if there is one worker. Results come in the order of the tasks."""

  def __init__(self, workers: int, initialize: Callable[..., None], *arguments: Any) -> None:
    """Starts the processes.

    Args:
      workers: their number.
      initialize: called with the arguments in each.
      arguments: picklable.
    """
    self.workers = workers
    self._executor: concurrent.futures.ProcessPoolExecutor | None = None
    if workers == 1:
      initialize(*arguments)
      return
    self._executor = concurrent.futures.ProcessPoolExecutor(
      # Not fork: jax and its threads may run in this process, and a forked child could wait for their locks for ever.
      workers,
      multiprocessing.get_context("spawn"),
      initialize,
      arguments,
    )

  def __enter__(self) -> "ShardPool":
    return self

  def __exit__(self, *_: object) -> None:
    if self._executor is not None:
      self._executor.shutdown(wait=True, cancel_futures=True)

  def map_tasks(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """Yields the result of each task, in order; tasks are drawn as workers become free.

    Raises:
      UserError: from a task, or if a worker process was killed.
    """
    if self._executor is None:
      yield from map(function, tasks)
      return
    waiting: deque[concurrent.futures.Future[Any]] = deque()
    with _explained():
      for task in tasks:
        waiting.append(self._executor.submit(function, task))
        # The oldest result first, so order is kept, and rows of no more than these tasks are in memory.
        while len(waiting) > self.workers + _WAITING:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
  try:
    yield
  except concurrent.futures.process.BrokenProcessPool as error:
    raise UserError(
      "a worker process was killed, perhaps because the memory was full; the same command continues,"
      " with fewer --workers"
    ) from error
