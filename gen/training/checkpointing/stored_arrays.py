"""The arrays of one checkpoint, read with tensorstore, without jax and from a folder with any name."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore

from gen.errors import UserError
from gen.io import plain_paths
from gen.training.checkpointing.checkpoint_records import LeafRecord, Tree

if TYPE_CHECKING:
  import jax

MISSING = "missing"
MAX_NAMES = 3  # of missing arrays that a message lists


def read_array(state: Path, name: str) -> Any:
  """Returns one array as a numpy array.

  Args:
    state: the folder of a step in which orbax keeps the arrays.
    name: of the array in the step's tree.

  Raises:
    UserError: if it cannot be read.
  """
  with _opened(state, [name]) as opening:
    try:
      return opening[name].result().read().result()
    except Exception as error:
      raise UserError(f"cannot read {name} in {state}: {_reason(error)}") from None


def array_faults(
  state: Path, tree: Tree, values: Mapping[str, "jax.Array | np.ndarray"] | None = None
) -> list[str]:
  """Opens all arrays of a step; returns one clause for all missing arrays, and one for each other fault.

  Args:
    state: the folder of a step in which orbax keeps the arrays.
    tree: dtypes and shapes; arrays of size 0 are not stored.
    values: the saved values; if set, each array is also read back and compared bit for bit.
  """
  # zarr has no chunk for an array of no elements, and orbax writes nothing for it.
  stored = {name: leaf for name, leaf in tree.items() if 0 not in leaf["shape"]}
  try:
    with _opened(state, stored) as opening:
      faults = {
        name: _fault(leaf, opening[name], values[name] if values else None) for name, leaf in stored.items()
      }
  except OSError as error:
    return [f"{state.name} cannot be opened ({error.strerror})"]
  missing = [name for name, fault in faults.items() if fault == MISSING]
  clauses = [f"array {name} {fault}" for name, fault in faults.items() if fault not in ("", MISSING)]
  if missing:
    named = ", ".join([*missing[:MAX_NAMES], *(["..."] if len(missing) > MAX_NAMES else [])])
    clauses.insert(0, f"{len(missing)} of its {len(stored)} arrays are {MISSING} ({named})")
  return clauses


def _fault(leaf: LeafRecord, opening: Any, value: "jax.Array | np.ndarray | None") -> str:
  """Returns what is wrong with an array that is being opened; empty if nothing is."""
  try:
    array = opening.result()
    shape, dtype = list(array.shape), array.dtype.name
    if (shape, dtype) != (leaf["shape"], leaf["dtype"]):
      return f"is {dtype}{shape} instead of {leaf['dtype']}{leaf['shape']}"
    if value is not None and not _same_bits(array.read().result(), value):
      return "does not have the values that were saved"
  except Exception as error:  # tensorstore raises ValueError, RuntimeError and others of its own.
    return MISSING if str(error).startswith("NOT_FOUND") else f"cannot be opened ({_reason(error)})"
  return ""


@contextlib.contextmanager
def _opened(state: Path, names: Any) -> Iterator[dict[str, Any]]:
  """Yields a future of each array, so that all are opened at the same time."""
  context = tensorstore.Context()  # one cache for the index that all arrays share
  with plain_paths.plain_path(state) as folder:
    base = {"driver": "file", "path": f"{folder}/"}
    yield {
      name: tensorstore.open(
        # orbax's format on disk: zarr arrays inside one OCDBT key-value store. Read without orbax, which imports jax.
        {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{name}/"}},
        context=context,
        open=True,
        read=True,
      )
      for name in names
    }


def _same_bits(stored: np.ndarray, saved: "jax.Array | np.ndarray") -> bool:
  # As bytes: NaN is unequal to itself, and 0 equals -0.
  stored_bytes, saved_bytes = (
    np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (stored, saved)
  )
  return np.array_equal(stored_bytes, saved_bytes)


def _reason(error: Exception) -> str:
  """Returns the first line of tensorstore's error, without its source positions and our temporary paths."""
  text = str(error) or type(error).__name__
  return re.sub(rf"{plain_paths.DESCRIPTORS}/\d+/", "", text.splitlines()[0].partition(" [")[0])
