"""What every measured process does: on each line of its input it runs so many steps, and says what they cost.

It imports nothing but the standard library, because each peer runs in an environment of its own.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

SIZES = ("width", "depth", "heads", "length", "batch", "vocab", "target")


def arguments(description: str, **others: str) -> argparse.Namespace:
  """Reads the sizes of a shape, and options with a default each."""
  parser = argparse.ArgumentParser(description=description)
  for name in SIZES:
    parser.add_argument(f"--{name}", type=int, default=0)
  for name, default in others.items():
    parser.add_argument(f"--{name}", default=default)
  return parser.parse_args()


def peak_bytes() -> int:
  """Returns the most memory that this process ever held (Linux counts in KiB)."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(
  steps: Callable[[int], object], before: int, first: float = 0.0, held: Callable[[], int] = lambda: 0
) -> None:
  """Warms up, then answers each number of steps with CPU seconds a step and growth of peak memory.

  Args:
    steps: runs so many steps and waits for their end.
    before: peak memory before the model was made.
    first: seconds to the end of the first step, where that was taken already.
    held: returns the bytes of all arrays that a step holds at its worst moment, state included; 0 is unknown.
  """
  begun = time.perf_counter()
  steps(1)
  first = first or time.perf_counter() - begun
  steps(2)
  print(json.dumps({"first_step_seconds": first, "step_bytes": held()}), flush=True)
  for line in sys.stdin:
    count = int(line)
    cpu = time.process_time()
    steps(count)
    spent = (time.process_time() - cpu) / count
    print(json.dumps({"cpu_seconds": spent, "peak_bytes": peak_bytes() - before}), flush=True)
