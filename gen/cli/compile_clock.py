"""Says that a program compiles, and for how long it did: minutes in which it would otherwise print nothing."""

import contextlib
import functools
from collections.abc import Callable, Iterator

_EVENTS = (
  "jaxpr_to_mlir_module_duration",
  "backend_compile_duration",
)  # of jax; tracing is nested, and short
_LEAST_SECONDS = 0.1  # less is not worth a line


class CompileClock:
  """The seconds that jax has spent compiling in this process.

  Attributes:
    seconds: since the clock was made.
  """

  def __init__(self) -> None:
    """Begins to listen to jax, which offers no public way to end that."""
    import jax

    self.seconds = 0.0
    jax.monitoring.register_event_duration_secs_listener(self._add)

  def _add(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
    if event.endswith(_EVENTS):
      self.seconds += duration_secs


@functools.cache
def process_clock() -> CompileClock:
  """Returns the one clock of this process."""
  return CompileClock()


@contextlib.contextmanager
def compile_notice(say: Callable[[str], None]) -> Iterator[None]:
  """Says that what follows compiles, and afterwards how long that took."""
  clock = process_clock()
  before = clock.seconds
  say("compiling; the answer comes after that")
  yield
  if clock.seconds - before >= _LEAST_SECONDS:
    say(f"compiled in {clock.seconds - before:.1f} s")
