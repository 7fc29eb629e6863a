"""Progress of a running sweep: a live table on a terminal, plain lines anywhere else.

SweepTally      counts of runs done and left, FLOPs, rates, time left
PlainProgress   one line per event, and a periodic line in between
LiveProgress    a table, redrawn in place
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gen.config import Run
from gen.io import quantities
from gen.scaling.sweeps import trunk_sweeps
from gen.scaling.workers.pool import WorkerEvent
from gen.training.run_log.rows import RowValues

QUIET_SECONDS = 30.0  # between two plain lines about runs under way


@dataclasses.dataclass
class CurrentRun:
  """The run that a worker trains, and its last row."""

  run: Run
  row: RowValues = dataclasses.field(default_factory=RowValues)
  begun: float = 0.0  # seconds of the tally's clock

  @property
  def flops(self) -> float:
    """FLOPs done of the run's own share."""
    return max(0.0, min(self.row.get("flops") or 0.0, self.run.flops) - self.run.flops + self.due)

  @property
  def due(self) -> float:
    """The run's own share of FLOPs; those of a trunk count for its longest branch."""
    return _due(self.run)

  @property
  def share(self) -> float:
    """Share of the run that is done, 0 to 1."""
    return self.flops / self.due


class SweepTally:
  """Counts finished work and estimates the remaining time."""

  def __init__(
    self, runs: Sequence[Run], left: Sequence[Run], workers: int, clock: Callable[[], float] = time.monotonic
  ) -> None:
    """Starts counting.

    Args:
      runs: runs of the sweep.
      left: runs without a result.
      workers: number of worker processes.
      clock: seconds.
    """
    self._clock = clock
    self._outside: list[
      float
    ] = []  # seconds of each finished run outside its steps: start, compilation, saving
    self.total, self.done, self.failed = len(runs), len(runs) - len(left), 0
    self.flops = sum(map(_due, runs))
    self.workers = workers
    self.current: dict[int, CurrentRun] = {}
    self._waiting = {run.name: _due(run) for run in left}
    self._rates: dict[int, float] = {}  # FLOPs a second, the last that each worker reported

  def take(self, event: WorkerEvent) -> None:
    """Counts an event."""
    if event.kind == "started":
      self.current[event.worker] = CurrentRun(event.run, begun=self._clock())
      self._waiting.pop(event.run.name, None)
    elif event.kind == "row" and event.worker in self.current:
      current = self.current[event.worker]
      # Merged, since an evaluation's row has no speed, which the display goes on to show.
      current.row = current.row | event.row
      self._rates[event.worker] = 1e9 * (event.row.get("gflops") or 0.0) or self._rates.get(event.worker, 0.0)
    elif event.kind == "retried":
      self.current.pop(event.worker, None)
      self._waiting[event.run.name] = _due(event.run)
    elif event.kind != "news":
      ended = self.current.pop(event.worker, None)
      if event.kind == "finished" and ended is not None and "seconds" in event.row:
        self._outside.append(max(0.0, self._clock() - ended.begun - event.row["seconds"]))
      self.done += event.kind == "finished"
      self.failed += event.kind == "failed"

  @property
  def left(self) -> int:
    """Number of runs that are neither done nor given up, running ones included."""
    return self.total - self.done - self.failed

  @property
  def gflops(self) -> float:
    """Total GFLOP/s by the last report of each worker; a worker between two runs counts too."""
    # While runs wait, a worker without one is about to have one; at the end it is idle.
    busy = self._rates if self._waiting else self.current
    return sum(self._rates.get(number, 0.0) for number in busy) / 1e9

  @property
  def flops_left(self) -> float:
    """Remaining FLOPs."""
    return sum(self._waiting.values()) + sum(now.due - now.flops for now in self.current.values())

  @property
  def seconds_left(self) -> float | None:
    """Estimated seconds left; None before any measurement.

    The estimate uses the FLOPs left, the measured rate of a worker, and, once a run has ended, the time that runs
    took outside their steps. The longest single run is a lower bound, because no other worker can share it.
    """
    known = [rate for rate in self._rates.values() if rate]
    if not known:
      return None
    rate = sum(known) / len(known)
    under_way = [current.due - current.flops for current in self.current.values()]
    # Compilation can be most of a small run's time, so FLOPs alone would promise too early an end.
    outside = sum(self._outside) / max(1, len(self._outside))
    together = (self.flops_left / rate + outside * len(self._waiting)) / self.workers
    return max(together, max([*under_way, *self._waiting.values()], default=0.0) / rate)


def _due(run: Run) -> float:
  return trunk_sweeps.own_share(run) * run.flops


class ProgressDisplay(Protocol):
  """The interface of a progress display."""

  def show(self, event: WorkerEvent) -> None:
    """Shows one event."""

  def tick(self) -> None:
    """Called periodically while there are no events."""

  def say(self, text: str) -> None:
    """Prints one line."""

  def close(self) -> None:
    """Ends the display."""


class PlainProgress:
  """Plain lines, for logs and pipes."""

  def __init__(
    self, tally: SweepTally, write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
  ) -> None:
    """Shows what the tally counts through `write`."""
    self._tally, self._write, self._clock = tally, write, clock
    self._last = clock()

  def show(self, event: WorkerEvent) -> None:
    """Shows one event; a finished run is one line."""
    self._tally.take(event)
    line = event_sentence(event, self._tally)
    if line:
      self.say(line)
    self.tick()

  def tick(self) -> None:
    """Prints the state of running runs, if nothing was printed for a while."""
    if self._clock() - self._last < QUIET_SECONDS or not self._tally.current:
      return
    now = ", ".join(map(_where, self._tally.current.values()))
    self.say(f"{progress_sentence(self._tally)}; under way: {now}")

  def say(self, text: str) -> None:
    """Prints one line."""
    self._last = self._clock()
    self._write(text)

  def close(self) -> None:
    """Does nothing."""


class LiveProgress:
  """A table that is redrawn in place, with finished runs scrolling by above it."""

  def __init__(self, tally: SweepTally, console: Console) -> None:
    """Starts the table."""
    self._tally, self._console = tally, console
    self._live = Live(console=console, refresh_per_second=4, get_renderable=self.draw)
    self._live.start()

  def show(self, event: WorkerEvent) -> None:
    """Shows one event."""
    self._tally.take(event)
    line = event_sentence(event, self._tally)
    if line:
      self.say(line)

  def tick(self) -> None:
    """Does nothing: the table redraws itself."""

  def say(self, text: str) -> None:
    """Prints one line above the table."""
    self._console.print(Text(text))

  def close(self) -> None:
    """Ends the drawing."""
    self._live.stop()

  def draw(self) -> Group:
    """Returns the table of workers and the bar of the sweep."""
    tally = self._tally
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "run", "loss", "tokens/s", "GFLOP/s", "done"):
      table.add_column(heading, justify="left" if heading in ("worker", "run") else "right")
    for number, now in sorted(tally.current.items()):
      loss, speed, rate = now.row.get("loss"), now.row.get("tokens_per_second"), now.row.get("gflops")
      table.add_row(
        str(number),
        now.run.name,
        *(_number(loss, ".3f"), _number(speed, ",.0f"), _number(rate, ".1f")),
        f"{100 * now.share:.0f} %" if now.row else "compiling",
      )
    foot = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=tally.flops, completed=tally.flops - tally.flops_left, width=30)
    foot.add_row(bar, Text(progress_sentence(tally)))
    return Group(table, foot)


def _where(current: CurrentRun) -> str:
  if not current.row:
    return f"{current.run.name} compiling"
  loss = current.row.get("loss")
  return f"{current.run.name} {100 * current.share:.0f} %" + (f" loss {loss:.3f}" if loss is not None else "")


def make_display(tally: SweepTally, console: Console) -> ProgressDisplay:
  """Returns a live display for a terminal, else a plain one."""
  if console.is_terminal:
    return LiveProgress(tally, console)
  return PlainProgress(tally, lambda line: print(line, file=console.file, flush=True))


def event_sentence(event: WorkerEvent, tally: SweepTally) -> str:
  """Returns the line to print for an event; empty for most."""
  name = event.run.name
  if event.kind == "finished":
    row = event.row
    return (
      f"{progress_sentence(tally)}; {name}: loss {_number(row.get('loss'), '.4f')}, "
      f"{_number(row.get('tokens_per_second'), ',.0f')} tokens/s, {_number(row.get('gflops'), '.1f')} GFLOP/s"
    )
  if event.kind == "retried":
    return f"{name}: {event.text}; trying again from its last checkpoint"
  if event.kind == "failed":
    return f"{name} failed: {event.text}"
  return event.text if event.kind == "news" else ""


def progress_sentence(tally: SweepTally) -> str:
  """Returns runs done and left, the rate, and the time left."""
  parts = [f"{tally.done} of {tally.total} runs done, {tally.left} left"]
  if tally.failed:
    parts.append(f"{tally.failed} failed")
  if tally.gflops:
    parts.append(f"{tally.gflops:.0f} GFLOP/s")
  if tally.left:
    parts.append(f"{quantities.format_seconds(tally.seconds_left)} left")
  return ", ".join(parts)


def _number(value: float | None, form: str) -> str:
  return "?" if value is None else format(value, form)
