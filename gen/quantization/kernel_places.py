"""Which parameters of a model are quantized: the kernels of layers, tables of embeddings, and the output kernel."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model

Path = tuple[str, ...]
KERNELS = ("kernel", "input_kernel")
OWN = ("block", "own")  # modules that hold the user's own code, which may read its parameters in any way
SMALL_TABLES = ("relative", "token_types")  # T5's buckets and BERT's sentence types


class KernelPlace(NamedTuple):
  """A parameter that can be quantized.

  Attributes:
    path: in the tree of parameters.
    role: layer | embedding | head; a tied table of embeddings is also the head.
    shape: in one layer.
    inputs: number of its axes that are inputs.
    layers: L where layers are stacked along a first axis; None elsewhere.
    multiplied: whether products with activations read it; other tables are only looked up.
  """

  path: Path
  role: str
  shape: tuple[int, ...]
  inputs: int
  layers: int | None
  multiplied: bool

  @property
  def name(self) -> str:
    """The path as text."""
    return "/".join(self.path)

  @property
  def inputs_first(self) -> bool:
    """Whether inputs are the first axes; a table has an output for each row."""
    return self.role != "embedding"

  @property
  def input_size(self) -> int:
    """I."""
    return math.prod(self.shape[: self.inputs]) if self.inputs_first else self.shape[-1]

  def matrices(self, parameter: Any) -> Iterator[np.ndarray]:
    """Yields the matrix [O, I] of each layer of the parameter, float32."""
    # Outputs first: scales belong to outputs, and a CPU reads weights [O, I] fastest (`gen.kernels.decode_weights`).
    array = np.asarray(parameter, np.float32)
    for layer in array if self.layers is not None else array[None]:
      matrix = layer.reshape(self.input_size, -1).T if self.inputs_first else layer
      yield np.ascontiguousarray(matrix)


def find_places(params: Any, model: Model) -> list[KernelPlace]:
  """Returns the quantizable parameters of a tree, in its order."""
  places = (
    _place(tuple(str(entry.key) for entry in path), leaf.shape, model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  )
  return [place for place in places if place is not None]


def _place(path: Path, shape: tuple[int, ...], model: Model) -> KernelPlace | None:
  if ":" in model.family or set(path) & set(OWN):
    return None
  layers = shape[0] if "layers" in path else None
  own_shape = tuple(shape if layers is None else shape[1:])
  parent = path[-2] if len(path) > 1 else ""
  # Tables of ids and of positions. Small ones would save nothing, and T5's biases are added to scores directly.
  if path[-1] == "embedding" and parent not in SMALL_TABLES:
    return KernelPlace(path, "embedding", own_shape, 1, layers, model.tied and path[0] == "embedding")
  if path[-1] not in KERNELS or len(own_shape) < 2:
    return None
  # Attention's `out` contracts heads and head width; all other kernels have one axis of inputs.
  inputs = 2 if parent == "out" and len(own_shape) == 3 else 1
  # Transformer-XL's kernel of distances multiplies constants.
  return KernelPlace(
    path, "head" if path[0] == "head" else "layer", own_shape, inputs, layers, parent != "distance"
  )


def read_leaf(tree: Any, path: Path) -> Any:
  """Returns the leaf at a path."""
  for word in path:
    tree = tree[word]
  return tree


def replace_leaves(tree: Any, leaves: dict[Path, Any], path: Path = ()) -> Any:
  """Returns the tree with other values at some paths."""
  if path in leaves:
    return leaves[path]
  if not hasattr(tree, "items"):
    return tree
  return {name: replace_leaves(value, leaves, (*path, name)) for name, value in tree.items()}
