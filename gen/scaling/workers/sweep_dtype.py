"""The dtype of compute of a sweep where the user sets none: bfloat16 if its executor trains on GPUs."""

import dataclasses
from pathlib import Path

from gen.config import Sweep
from gen.config.model import DefaultText
from gen.errors import UserError
from gen.io import json_reading
from gen.scaling.workers.executors import RunExecutor
from gen.scaling.workers.ledger import CONFIG
from gen.training import compute_dtype


def set_default_dtype(sweep: Sweep, folder: Path, executor: RunExecutor) -> str:
  """Sets `model.dtype` of a sweep that leaves it at its default; a sweep that is continued keeps its own.

  Args:
    sweep: changed in place.
    folder: of the sweep; it need not exist.
    executor: where its runs are trained.

  Returns:
    A line that says what was set and why; empty if nothing changed.
  """
  if not isinstance(sweep.model.dtype, DefaultText):
    return ""
  saved = _saved_dtype(folder / CONFIG)
  dtype = saved or (compute_dtype.ACCELERATED if executor.on_gpus else str(sweep.model.dtype))
  if dtype == sweep.model.dtype:
    return ""
  sweep.model = dataclasses.replace(sweep.model, dtype=dtype)
  reason = f"that of the sweep in {folder}" if saved else "the default on GPUs"
  return f"model.dtype is {dtype}, {reason}; --config.model.dtype sets another"


def _saved_dtype(path: Path) -> str | None:
  """Returns the dtype in the config of a sweep, or None; a damaged config is reported when the sweep is opened."""
  try:
    sweep = json_reading.require_field(json_reading.read_json(path), "sweep", dict, str(path))
    model = json_reading.require_field(sweep, "model", dict, str(path))
    dtype: str = json_reading.require_field(model, "dtype", str, str(path))
  except UserError:
    return None
  return dtype
