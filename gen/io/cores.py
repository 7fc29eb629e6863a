"""How many cores this process may use."""

import os


def available_cores() -> int:
  """Returns the cores that the process is allowed to run on."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
