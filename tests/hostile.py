"""Bounds that hold for every reader of a file and any content: one sentence or a value, in bounded time and memory."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen.errors import UserError

SECONDS = 5.0  # of processor time, child processes included
MEMORY = 1 << 30  # bytes beyond the file


def outcome(call: Callable[[], Any], size: int = 0) -> str:
  """Calls a reader; returns its sentence, or nothing where it read the file.

  Args:
    call: reads the file.
    size: of the file in bytes, which its reader may hold beside MEMORY.
  """
  _reset_peak()
  begin, before = _seconds(), _peak()
  try:
    call()
    sentence = ""
  except UserError as error:
    sentence = str(error)
    assert sentence and "\n" not in sentence and len(sentence) < 900, sentence[:2000]
  seconds, memory = _seconds() - begin, _peak() - before
  assert seconds < SECONDS, f"{seconds:.1f} s of processor time: {sentence}"
  assert memory < MEMORY + size, f"{memory:,} bytes: {sentence}"
  return sentence


def _seconds() -> float:
  of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
  return time.process_time() + of_children.ru_utime + of_children.ru_stime


def _reset_peak() -> None:
  """Makes the peak of memory begin at its present use, where the system offers that."""
  try:
    Path("/proc/self/clear_refs").write_text("5")
  except OSError:
    return


def _peak() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
