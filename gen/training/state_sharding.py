"""Shardings of a run's state, gradients and batches on a mesh, from the tables in `gen.sharding.layouts`.

K steps of a dispatch, M microbatches, B rows of a batch, T length.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.sharding import NamedSharding

from gen import optimizers
from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.models import language_model, recurrent
from gen.sharding import activation_sharding, layouts
from gen.sharding.layouts import ShardingLayout


class StateSharding(NamedTuple):
  """Trees of shardings, each with the structure of what it shards.

  Attributes:
    layout: the mesh and the parts that are split over it.
    parameters: of the parameters.
    gradients: of their gradients, also while microbatches are summed.
    opt_state: of the optimizer's state.
    recurrent_state: of a recurrent model's state between batches, or None.
  """

  layout: ShardingLayout
  parameters: Any
  gradients: Any
  opt_state: Any
  recurrent_state: Any

  @property
  def replicated(self) -> NamedSharding:
    """Of arrays that each device holds completely."""
    return self.layout.replicated

  def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, traced with the mesh and the split of stored weights as context."""

    # Models take the mesh from this context, so that they need no argument for it.
    def on_mesh(*arguments: Any) -> Any:
      mesh = self.layout.mesh.abstract_mesh
      with (
        jax.sharding.use_abstract_mesh(mesh),
        activation_sharding.weights_sharded_in_backward(self.layout.storage_axes("parameters")),
      ):
        return function(*arguments)

    return on_mesh

  def rows(self, array: Any, axis: int = 0) -> Any:
    """Returns numpy rows as an array over all devices, each with its own rows.

    Args:
      array: rows along `axis`.
      axis: the axis of rows.
    """
    sharding = self.layout.rows(axis)
    # The callback is only called for parts of this process's devices.
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

  def batch(self, batch: Batch) -> Batch:
    """Returns a batch [B, T] of numpy arrays as arrays on the mesh."""
    return jax.tree.map(self.rows, batch)

  def local_rows(self, batch: int) -> np.ndarray | None:
    """Returns which rows of a batch this process's devices hold, in rising order; None for all rows."""
    if jax.process_count() == 1:
      return None
    slices = self.layout.rows().addressable_devices_indices_map((batch,)).values()
    # Unique: devices along tensor hold the same rows.
    return np.unique(np.concatenate([np.arange(batch)[index] for index in slices]))

  def stack(self, batches: Batch, rows_b: np.ndarray | None = None, batch: int = 0) -> Batch:
    """Returns the batches [K, B, T] of a dispatch as arrays on the mesh.

    Args:
      batches: numpy arrays with the rows that this process has made.
      rows_b: the numbers of these rows in a batch; None for all.
      batch: B, if `rows_b` is set.
    """
    if rows_b is None:
      return jax.tree.map(functools.partial(self.rows, axis=1), batches)
    sharding = self.layout.rows(1)

    def global_array(local: np.ndarray) -> Any:
      # jax asks for global rows; `rows_b` is sorted, so a binary search gives their local index.
      def part(index: Any) -> np.ndarray:
        return local[:, np.searchsorted(rows_b, np.arange(batch)[index[1]])]

      return jax.make_array_from_callback((local.shape[0], batch, *local.shape[2:]), sharding, part)

    return jax.tree.map(global_array, batches)

  def microbatches(self, parts: Batch) -> Batch:
    """Constrains the microbatches [M, B / M, T] of a batch inside a program."""
    # Split along B / M: after the reshape XLA would split M, and each microbatch would lie on few devices.
    return jax.lax.with_sharding_constraint(parts, jax.tree.map(lambda _: self.layout.rows(1), parts))


def shard_state(model: Model, layout: ShardingLayout, optimizer: Optimizer) -> StateSharding:
  """Returns the shardings of a model's training state.

  Args:
    model: shape of the model.
    layout: the mesh and the parts that are split over it.
    optimizer: decides which parameters have gradients, and the state that is kept of them.
  """
  names, shapes = language_model.logical_axes(model), language_model.parameter_shapes(model)
  # Three trees of one structure: parts of the state may be split differently, as the layout's stage says.
  trees = {
    part: layout.shardings(layout.specs(names, shapes, part))
    for part in ("parameters", "gradients", "opt_state")
  }
  # The optimizer's own tree, traced without data: moments are found in it by their paths.
  opt_state = _like_parameters(
    jax.eval_shape(optimizers.make_update_rule(optimizer).init, shapes),
    shapes,
    trees["opt_state"],
    layout.replicated,
  )
  gradients = trees["gradients"]
  # Frozen parameters have no gradient, so their leaves must be absent here too.
  if optimizer.frozen:
    gradients = optimizers.select_trained(optimizer, gradients)
  recurrent_state = None
  if model.carry:
    # [L, B, D]: split by rows, like the batch whose rows continue from it.
    state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, 1))
    recurrent_state = jax.tree.map(lambda _: layout.rows(1), state)
  return StateSharding(layout, trees["parameters"], gradients, opt_state, recurrent_state)


def _like_parameters(tree: Any, shapes: Any, parameters: Any, otherwise: Any) -> Any:
  """Returns for each leaf the sharding of the parameter whose path is the end of the leaf's path, else `otherwise`.

  optax's states hold trees with the structure of the parameters (Adam's moments), and counters. A leaf of another shape
  than its parameter, such as a factored moment, is not split.
  """
  of_path = {
    tuple(map(str, path)): (shape.shape, leaf)
    for (path, shape), leaf in zip(
      jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(parameters), strict=True
    )
  }

  def find(path: tuple[Any, ...], leaf: Any) -> Any:
    words = tuple(map(str, path))
    endings = (words[index:] for index in range(len(words)))
    # The longest ending first, so that a moment of stack/layers/... is not taken for a parameter with a shorter path.
    shape, sharding = next((of_path[ending] for ending in endings if ending in of_path), ((), otherwise))
    return sharding if leaf.shape == shape else otherwise

  return jax.tree_util.tree_map_with_path(find, tree)


def undivided_dimensions(model: Model, layout: ShardingLayout) -> list[str]:
  """Returns and logs a sentence for each dimension of the model that the mesh does not divide."""
  sentences = layouts.undivided_sentences(
    layout.undivided(language_model.logical_axes(model), language_model.parameter_shapes(model))
  )
  for sentence in sentences:
    logging.warning("layout: %s", sentence)
  return sentences
