"""How activations and weights are split over a mesh while a model computes.

Models and kernels call this module only where a program is traced for a mesh (`jax.sharding.use_abstract_mesh`), so a
program for one device never enters it.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator, Sequence

import jax
from jax import Array
from jax.sharding import PartitionSpec

# Logical axis of an activation: the axes of the mesh that it is split over. Rows are split over all data-parallel axes.
ACTIVATIONS = {
  "batch": ("data", "fsdp"),
  "heads": ("tensor",),
  "kv_heads": ("tensor",),
  "mlp": ("tensor",),
  "vocab": ("tensor",),
}


# Axes of the mesh over which weights are stored sharded while the backward pass waits for them (ZeRO-3).
_SHARDED: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("sharded", default=())


def mesh_axes(name: str | None) -> tuple[str, ...]:
  """Returns the axes of the mesh at hand that a logical axis is split over; none without a mesh."""
  sizes = jax.sharding.get_abstract_mesh().shape
  return tuple(axis for axis in ACTIVATIONS.get(name or "", ()) if sizes.get(axis, 1) > 1)


def num_shards(name: str) -> int:
  """Returns into how many parts a logical axis is split; 1 without a mesh."""
  sizes = jax.sharding.get_abstract_mesh().shape
  return math.prod(sizes[axis] for axis in mesh_axes(name))


def shard_activation(x: Array, *names: str | None) -> Array:
  """Returns x split by the names of its axes; an axis named None, or that does not divide, is not split."""
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gathered(x: Array, names: tuple[str | None, ...]) -> Array:
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


# The gradient gets no constraint: reduce-scattered to where it is stored, it need not be whole on any device.
_gathered.defvjp(lambda x, names: (_gathered(x, names), None), lambda names, _, gradient: (gradient,))


def gather_weight(weight: Array, *names: str | None) -> Array:
  """Returns a parameter gathered from its shards for a product, but still split over the axis `tensor`."""
  return _gathered(weight, names)


@contextlib.contextmanager
def weights_sharded_in_backward(over: tuple[str, ...]) -> Iterator[None]:
  """Within, weights wait for the backward pass sharded over these axes of the mesh, as they are stored."""
  token = _SHARDED.set(over)
  try:
    yield
  finally:
    _SHARDED.reset(token)


def shard_residual(weight_io: Array) -> Array:
  """Returns a product's weight as it waits for the backward pass: sharded, where it is stored sharded."""
  return _first_axis(weight_io, _sharded_axes(weight_io))


def gather_residual(weight_io: Array) -> Array:
  """Returns the weight that `shard_residual` sharded, gathered."""
  return _first_axis(weight_io, None) if _sharded_axes(weight_io) else weight_io


def _sharded_axes(weight_io: Array) -> tuple[str, ...]:
  sizes = jax.sharding.get_abstract_mesh().shape
  over = tuple(axis for axis in _SHARDED.get() if sizes.get(axis, 1) > 1)
  return over if weight_io.shape[0] % math.prod(sizes[axis] for axis in over) == 0 else ()


def _first_axis(weight_io: Array, over: tuple[str, ...] | None) -> Array:
  if over == ():
    return weight_io
  return jax.lax.with_sharding_constraint(weight_io, PartitionSpec(over, PartitionSpec.UNCONSTRAINED))


def activation_spec(x: Array, names: Sequence[str | None]) -> PartitionSpec:
  """Returns how an array with named axes is split over the mesh; an axis that does not divide is not split."""
  split = [
    mesh_axes(name) or None if name and size % num_shards(name) == 0 else None
    for name, size in zip(names, x.shape, strict=True)
  ]
  return PartitionSpec(*split)
