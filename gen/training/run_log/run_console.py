"""What a run prints: its progress on standard error while it trains, and its result at the end."""

import math
import sys
import time
from pathlib import Path

from gen.cli import signals
from gen.sharding import processes
from gen.training.run_log.rows import RowValues, RunResult


def print_once(line: str) -> None:
  """Prints a line on standard error, in the first process of a run alone."""
  if processes.is_first():
    print(line, file=sys.stderr)


class RunConsole:
  """Hooks that print a run's rows and stop the run at the first interrupt.

  Attributes:
    rows: number of rows so far; 0 for a run that was finished already.
    lowest: the lowest validation loss, and its step.
  """

  def __init__(self) -> None:
    """Installs the signal handlers; to be created in the main thread."""
    self.rows = 0
    self.lowest: tuple[float, int] = (math.inf, 0)
    self.stop = signals.StopRequest(print_once).stop
    self._printed = 0.0

  def progress(self, row: RowValues) -> None:
    """Prints a line for a row; those of training at most once per second."""
    if not processes.is_first():
      return
    self.rows += 1
    if row["kind"] == "resume":
      print_once(f"resumes after step {row['step']:,}")
    # Tiny models log many rows a second, which would flood a terminal.
    elif row["kind"] == "train" and time.time() - self._printed > 1:
      self._printed = time.time()
      print_once(_train_line(row))
    elif row["kind"] == "source":
      print_once("\n".join(row["notes"]))
    elif row["kind"] == "evaluation":
      # Rows hold null for a loss that is not finite.
      loss, bits = _loss(row["loss"]), _loss(row["bits_per_byte"])
      print_once(f"step {row['step']:>7,}  validation {loss} nats/token  {bits} bits/byte")
      for name, corpus in (row.get("corpora") or {}).items():
        print_once(
          f"  {name}: {_loss(corpus['loss'])} nats/token  {_loss(corpus['bits_per_byte'])} bits/byte"
        )
      # Tuples compare by loss and then by step, so the first of equal losses wins.
      self.lowest = min(self.lowest, (row["loss"] if row["loss"] is not None else math.inf, row["step"]))

  def print_result(self, result: RunResult, workdir: Path) -> None:
    """Prints the result of a run, and its lowest validation loss if that was not the last."""
    mfu = f"MFU {result.mfu:.1%} of the chips' peak, " if result.mfu is not None else ""
    flops = "not counted" if math.isnan(result.flops) else f"{result.flops:.3g} FLOPs"
    print(
      f"{result.name}: N {result.params:,} of {result.params_total:,} parameters, "
      f"D {result.tokens:,} tokens, C {flops} (6ND {result.flops_6nd:.3g})\n"
      f"validation loss {_loss(result.loss)} nats per token, {_loss(result.bits_per_byte)} bits per byte; "
      f"{_speed(result.gflops)}, {mfu}{result.seconds:.0f} s in steps\n"
      f"journal and checkpoints in {workdir}"
    )
    for name, corpus in (result.corpora or {}).items():
      print(
        f"{name}: loss {_loss(corpus.loss)}, {_loss(corpus.bits_per_byte)} bits per byte; {corpus.share:.1%} of rows,"
        f" {corpus.tokens:,} tokens, {corpus.epochs:.2g} epochs"
      )
    loss, step = self.lowest
    if loss < result.loss:
      print(f"the lowest validation loss was {loss:.4f}, at step {step:,}")


def _train_line(row: RowValues) -> str:
  mfu = f"MFU {row['mfu']:.1%}  " if row.get("mfu") is not None else ""
  skipped = f"  {row['skipped']} skipped" if row["skipped"] else ""
  return (
    f"step {row['step']:>7,}/{row['steps']:,}  loss {_loss(row['loss'])}  rate {row['learning_rate']:.2e}  "
    f"{row['tokens_per_second']:>9,.0f} tokens/s  {_speed(row['gflops'])}  {mfu}{_time_left(row)} left{skipped}"
  )


def _speed(gflops: float | None) -> str:
  """Returns GFLOP/s in words; rows hold null where a module of the user's own does not count its FLOPs."""
  return "FLOPs not counted" if gflops is None or math.isnan(gflops) else f"{gflops:.1f} GFLOP/s"


def _time_left(row: RowValues) -> str:
  # By the rate of the last interval: compilation and a pause before it would stay in a mean over the run.
  tokens = row["tokens"] / row["step"] * (row["steps"] - row["step"])
  seconds = tokens / max(row["tokens_per_second"], 1e-9)
  return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _loss(value: float | None) -> str:
  return "NaN" if value is None or math.isnan(value) else f"{value:.4f}"
