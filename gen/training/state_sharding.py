"""Where a run's state, gradients and batches lie on a mesh: the layout's tables applied to what the trainer holds."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.sharding import NamedSharding

from gen import config as configs
from gen.batch import Batch
from gen.models import language_model, recurrent
from gen.sharding import activation_sharding, layouts
from gen.sharding.layouts import ShardingLayout


class StateSharding(NamedTuple):
  """Shardings, each a tree of what it places.

  Attributes:
    layout: that they follow.
    parameters: of the parameters.
    gradients: of their gradients, also while microbatches are added up.
    opt_state: of the optimizer's state.
    recurrent_state: of what a recurrent model carries from batch to batch, or None.
  """

  layout: ShardingLayout
  parameters: Any
  gradients: Any
  opt_state: Any
  recurrent_state: Any

  @property
  def everywhere(self) -> NamedSharding:
    """Of what is whole on each device."""
    return self.layout.everywhere

  def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, traced where models see the mesh, and how their weights are stored."""

    def on_mesh(*arguments: Any) -> Any:
      mesh = self.layout.mesh.abstract_mesh
      with (
        jax.sharding.use_abstract_mesh(mesh),
        activation_sharding.weights_sharded_in_backward(self.layout.over("parameters")),
      ):
        return function(*arguments)

    return on_mesh

  def rows(self, array: Any, axis: int = 0) -> Any:
    """Returns numpy rows as an array over all devices, each with its own part."""
    sharding = self.layout.rows(axis)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

  def batch(self, batch: Batch) -> Batch:
    """Places a batch [B, T]."""
    return jax.tree.map(self.rows, batch)

  def own_rows(self, batch: int) -> np.ndarray | None:
    """Returns which rows of a batch this process's devices hold, in rising order; None is all of them."""
    if jax.process_count() == 1:
      return None
    places = self.layout.rows().addressable_devices_indices_map((batch,)).values()
    return np.unique(np.concatenate([np.arange(batch)[index] for index in places]))

  def stack(self, batches: Batch, rows_b: np.ndarray | None = None, batch: int = 0) -> Batch:
    """Places the batches [K, B, T] of a dispatch, of which this process has made the rows `rows_b` (None: all)."""
    if rows_b is None:
      return jax.tree.map(functools.partial(self.rows, axis=1), batches)
    sharding = self.layout.rows(1)

    def global_array(own: np.ndarray) -> Any:
      def part(index: Any) -> np.ndarray:
        return own[:, np.searchsorted(rows_b, np.arange(batch)[index[1]])]

      return jax.make_array_from_callback((own.shape[0], batch, *own.shape[2:]), sharding, part)

    return jax.tree.map(global_array, batches)

  def microbatches(self, parts: Batch) -> Batch:
    """Places the parts [M, B / M, T] of a batch inside a program, so that each device has rows of each part."""
    return jax.lax.with_sharding_constraint(parts, jax.tree.map(lambda _: self.layout.rows(1), parts))


def shard_state(
  model: configs.Model, layout: ShardingLayout, init_opt_state: Callable[[Any], Any]
) -> StateSharding:
  """Returns where everything lies.

  Args:
    model: its shape.
    layout: the mesh and what is split.
    init_opt_state: from parameters to the optimizer's state.
  """
  names, shapes = language_model.logical_axes(model), language_model.parameter_shapes(model)
  trees = {
    part: layout.shardings(layout.specs(names, shapes, part))
    for part in ("parameters", "gradients", "opt_state")
  }
  opt_state = _like_parameters(
    jax.eval_shape(init_opt_state, shapes), shapes, trees["opt_state"], layout.everywhere
  )
  recurrent_state = None
  if model.carry:
    state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, 1))
    recurrent_state = jax.tree.map(lambda _: layout.rows(1), state)
  return StateSharding(layout, trees["parameters"], trees["gradients"], opt_state, recurrent_state)


def _like_parameters(tree: Any, shapes: Any, parameters: Any, otherwise: Any) -> Any:
  """Returns for each leaf what the parameter has whose path ends the leaf's own, else `otherwise`.

  An optimizer's state holds trees of the parameters' form in places of its own choice, and counters. A leaf of another
  shape than its parameter, such as a factored moment, is not split.
  """
  known = {
    tuple(map(str, path)): (shape.shape, leaf)
    for (path, shape), leaf in zip(
      jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(parameters), strict=True
    )
  }

  def find(path: tuple[Any, ...], leaf: Any) -> Any:
    words = tuple(map(str, path))
    endings = (words[index:] for index in range(len(words)))
    shape, sharding = next((known[ending] for ending in endings if ending in known), ((), otherwise))
    return sharding if leaf.shape == shape else otherwise

  return jax.tree_util.tree_map_with_path(find, tree)


def undivided_dimensions(model: configs.Model, layout: ShardingLayout) -> list[str]:
  """Returns, and logs, what of the model does not divide by the mesh."""
  sentences = layouts.undivided_sentences(
    layout.whole(language_model.logical_axes(model), language_model.parameter_shapes(model))
  )
  for sentence in sentences:
    logging.warning("layout: %s", sentence)
  return sentences
