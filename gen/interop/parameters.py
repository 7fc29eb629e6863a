"""Parameter trees as arrays by path, in memory that jax uses without a copy on CPUs."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_ALIGNMENT = 64  # bytes; XLA copies a host buffer with a smaller alignment


def flatten_tree(tree: Any) -> dict[str, Any]:
  """Returns the leaves of a tree by their paths, such as target/stack/norm/scale."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def unflatten_tree(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Returns arrays by path as a tree; the inverse of `flatten_tree` for plain dicts."""
  tree: dict[str, Any] = {}
  for path, array in flat.items():
    *folders, name = path.split("/")
    here = tree
    for folder in folders:
      here = here.setdefault(folder, {})
    here[name] = array
  return tree


def abstract_arrays(
  flat: Mapping[str, Any], types: Mapping[str, np.dtype] | None = None
) -> dict[str, np.ndarray]:
  """Returns arrays of the leaves' shapes, float32 or of the types by path, without allocating memory."""
  types = types or {}
  return {
    path: np.broadcast_to(np.zeros((), types.get(path, np.float32)), leaf.shape)
    for path, leaf in flat.items()
  }


def empty_array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
  """Returns an uninitialized array that XLA on a CPU can use without a copy."""
  size = math.prod(shape) * dtype.itemsize
  memory = np.empty(size + _ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % _ALIGNMENT
  return memory[start : start + size].view(dtype).reshape(shape)


def to_device(tree: Any) -> Any:
  """Returns the tree as jax arrays, which share memory with numpy's if possible."""
  return jax.tree.map(lambda leaf: jax.device_put(leaf, may_alias=True), tree)
