"""Checks that a run's state fits into this machine's memory, before anything is compiled."""

import os
from pathlib import Path

import jax

from gen import counts, optimizers
from gen.config import Model, Optimizer
from gen.errors import UserError
from gen.models import language_model
from gen.sharding.state_bytes import PRECISIONS

# Limits of a container, by control groups of version 2 and 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_fits_in_memory(model: Model, optimizer: Optimizer | None = None) -> None:
  """Checks that a completed model's training state fits into memory; does nothing on GPUs and TPUs.

  Raises:
    UserError: if the state is larger than memory, even if it is split over all devices of all processes.
  """
  # An accelerator reports what does not fit by itself. On a CPU the process would be killed while it allocates.
  if jax.default_backend() != "cpu":
    return
  count, memory = counts.count_parameters(model).total, machine_bytes()
  each, frozen = _bytes_of_parameter(optimizer or Optimizer())
  size = count * each
  if optimizer is not None and optimizer.frozen:
    size -= _frozen_count(model, optimizer) * (each - frozen)
  # The best case, with all of the state split over all devices: what fails here cannot run in any layout.
  needed = size * jax.local_device_count() / jax.device_count()
  if needed > memory:
    part = "" if jax.process_count() == 1 else f" {needed / 1e9:,.0f} GB here, of"
    raise UserError(
      f"the model has {count:,} parameters, whose weights, gradients and two moments take{part} "
      f"{size / 1e9:,.0f} GB; this machine has {memory / 1e9:,.0f} GB: choose a smaller model"
    )


def _bytes_of_parameter(optimizer: Optimizer) -> tuple[float, float]:
  """Returns the bytes of a trained parameter with its gradient and moments, and those of a frozen one."""
  wide, narrow = PRECISIONS["float32"], PRECISIONS["bfloat16"]
  own = (narrow if optimizer.param_dtype == "bfloat16" else wide).parameters
  moments = (narrow if optimizer.moment_dtype == "bfloat16" else wide).opt_state
  return own + wide.gradients + moments, own


def _frozen_count(model: Model, optimizer: Optimizer) -> int:
  shapes = language_model.parameter_shapes(model)
  every, trained = (
    sum(leaf.size for leaf in jax.tree.leaves(tree))
    for tree in (shapes, optimizers.select_trained(optimizer, shapes))
  )
  return every - trained


def machine_bytes() -> int:
  """Returns the bytes of memory that processes of this machine, or of this container, may use."""
  # Physical memory and not what is free: other programs may end, and pages of files are given back.
  limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
  for path in map(Path, LIMITS):
    # Without a limit the file holds the word max.
    if path.is_file() and (text := path.read_text().strip()).isdecimal():
      limits.append(int(text))
  return min(limits)
