"""Sharding of activations and weights over a mesh inside a compiled step.

Models and kernels call this module only while a program is traced for a mesh (`jax.sharding.use_abstract_mesh`), so a
program for one device never uses it. Each call is a hint: XLA inserts the communication that it implies.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator, Sequence

import jax
from jax import Array
from jax.sharding import PartitionSpec

# Logical axis of an activation -> axes of the mesh that split it. Rows are split over all data-parallel axes; heads,
# hidden units and vocabulary by tensor parallelism. The residual stream's width is never split.
ACTIVATIONS = {
  "batch": ("data", "fsdp"),
  "heads": ("tensor",),
  "kv_heads": ("tensor",),
  "mlp": ("tensor",),
  "vocab": ("tensor",),
}

# Axes of the mesh over which weights are stored sharded between forward and backward pass (ZeRO-3, fsdp). It is a
# context and no argument, because only `gradients.matmul` reads it, below all layers.
_SHARDED: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("sharded", default=())


def mesh_axes(name: str | None) -> tuple[str, ...]:
  """Returns the axes of the current mesh that split a logical axis; none without a mesh."""
  # Axes of size 1 are omitted, so that specs of equal meshes are equal.
  sizes = jax.sharding.get_abstract_mesh().shape
  return tuple(axis for axis in ACTIVATIONS.get(name or "", ()) if sizes.get(axis, 1) > 1)


def num_shards(name: str) -> int:
  """Returns the number of parts that a logical axis is split into; 1 without a mesh."""
  sizes = jax.sharding.get_abstract_mesh().shape
  return math.prod(sizes[axis] for axis in mesh_axes(name))


def shard_activation(x: Array, *names: str | None) -> Array:
  """Returns x split by the names of its axes; an axis named None, or that does not divide, is not split."""
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gathered(x: Array, names: tuple[str | None, ...]) -> Array:
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


# The gradient gets no constraint. With the forward's constraint, each device would hold the complete gradient after an
# all-reduce; without it XLA reduce-scatters the gradient to the shards that are stored.
_gathered.defvjp(lambda x, names: (_gathered(x, names), None), lambda names, _, gradient: (gradient,))


def gather_weight(weight: Array, *names: str | None) -> Array:
  """Returns a parameter gathered from its shards for a product, but still split over the axis `tensor`.

  Args:
    weight: the parameter.
    names: logical name or None of each axis.
  """
  return _gathered(weight, names)


@contextlib.contextmanager
def weights_sharded_in_backward(axes: tuple[str, ...]) -> Iterator[None]:
  """Saves weights for the backward pass sharded over these axes of the mesh, inside the context."""
  token = _SHARDED.set(axes)
  try:
    yield
  finally:
    _SHARDED.reset(token)


def shard_residual(weight_io: Array) -> Array:
  """Returns a product's weight as it is saved for the backward pass: sharded if it is stored sharded."""
  return _first_axis(weight_io, _sharded_axes(weight_io))


def gather_residual(weight_io: Array) -> Array:
  """Returns the weight that `shard_residual` sharded, gathered."""
  return _first_axis(weight_io, None) if _sharded_axes(weight_io) else weight_io


def _sharded_axes(weight_io: Array) -> tuple[str, ...]:
  sizes = jax.sharding.get_abstract_mesh().shape
  axes = tuple(axis for axis in _SHARDED.get() if sizes.get(axis, 1) > 1)
  # A weight that does not divide is saved complete.
  return axes if weight_io.shape[0] % math.prod(sizes[axis] for axis in axes) == 0 else ()


def _first_axis(weight_io: Array, axes: tuple[str, ...] | None) -> Array:
  if axes == ():
    return weight_io
  # The second axis is left to XLA: tensor parallelism may split it.
  return jax.lax.with_sharding_constraint(weight_io, PartitionSpec(axes, PartitionSpec.UNCONSTRAINED))


def activation_spec(x: Array, names: Sequence[str | None]) -> PartitionSpec:
  """Returns how an array with named axes is split over the mesh; an axis that does not divide is not split.

  Args:
    x: anything with a shape.
    names: logical name or None of each axis.
  """
  split = [
    mesh_axes(name) or None if name and size % num_shards(name) == 0 else None
    for name, size in zip(names, x.shape, strict=True)
  ]
  return PartitionSpec(*split)
