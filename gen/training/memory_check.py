"""Checks that a run's state fits into this machine's memory, before anything is compiled."""

import os
from pathlib import Path

import jax

from gen import counts
from gen.config import Model
from gen.errors import UserError
from gen.sharding.state_bytes import PRECISIONS

STATE_BYTES = PRECISIONS["float32"].total  # of a parameter while it is trained
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_fits_in_memory(model: Model) -> None:
  """Checks that a completed model's state fits into memory, where the processor's memory is what it is trained in.

  Raises:
    UserError: if it cannot, whatever the batch, though it were split over all devices of all processes.
  """
  if jax.default_backend() != "cpu":
    return
  count, memory = counts.count_parameters(model).total, machine_bytes()
  wanted = count * STATE_BYTES * jax.local_device_count() / jax.device_count()
  if wanted > memory:
    part = "" if jax.process_count() == 1 else f" {wanted / 1e9:,.0f} GB here, of"
    raise UserError(
      f"the model has {count:,} parameters, whose weights, gradients and two moments take{part} "
      f"{count * STATE_BYTES / 1e9:,.0f} GB; this machine has {memory / 1e9:,.0f} GB: take a smaller model"
    )


def machine_bytes() -> int:
  """Returns the memory that processes of this machine, or of this container, may use."""
  found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
  for path in map(Path, LIMITS):
    if path.is_file() and (text := path.read_text().strip()).isdecimal():
      found.append(int(text))
  return min(found)
