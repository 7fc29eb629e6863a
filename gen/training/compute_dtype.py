"""The dtype of compute where the user sets none: bfloat16 on GPUs and TPUs, float32 on CPUs.

Every run is resolved where it is trained (`loop.train_run`). A program that prints the choice resolves it before that.
The resolved dtype is stored in config.json and is part of the run's identity, so a run that is continued keeps its own
on any machine.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from gen.config import Run
from gen.config.model import DefaultText
from gen.errors import UserError
from gen.sharding import chip_peaks, processes
from gen.training.run_folders import run_folder

ACCELERATED = "bfloat16"  # the range of float32, so that no loss scale is needed as with float16


def choose_dtype(run: Run, workdir: Path) -> str:
  """Returns the dtype of compute of a run: the user's, that of the run in its folder, or the devices' default.

  Args:
    run: its `model.dtype` counts as the user's unless it is the unchanged default.
    workdir: folder of the run; it need not exist.
  """
  # `DefaultText` tells a default from the same text that a user wrote.
  if not isinstance(run.model.dtype, DefaultText):
    return run.model.dtype
  with contextlib.suppress(
    UserError
  ):  # Without a run, or a damaged one, which is reported when it is opened.
    return run_folder.saved_run(workdir).model.dtype
  return device_dtype(run.model.dtype)


def with_dtype(run: Run, workdir: Path) -> Run:
  """Returns the run with its dtype of compute, equal in all processes; arguments as of `choose_dtype`."""
  dtype = processes.from_first(lambda: choose_dtype(run, workdir))
  return dataclasses.replace(run, model=dataclasses.replace(run.model, dtype=dtype))


def set_dtype(run: Run, workdir: Path, say: Callable[[str], None]) -> None:
  """Sets the dtype of compute of a run, equal in all processes.

  Args:
    run: as of `choose_dtype`; its model is replaced.
    workdir: folder of the run.
    say: called with one line where the dtype is not the config's.
  """
  before, run.model = run.model.dtype, with_dtype(run, workdir).model
  if run.model.dtype != before:
    kind = "its default on a GPU or TPU, or that of the run in the folder"
    say(f"model.dtype is {run.model.dtype}, {kind}; --config.model.dtype sets another")


def device_dtype(default: str) -> str:
  """Returns bfloat16 if this process computes on a GPU or TPU that has it, and otherwise the default."""
  if jax.default_backend() == "cpu":
    return default
  return default if chip_peaks.lacks_bfloat16(jax.devices()[0].device_kind) else ACCELERATED
