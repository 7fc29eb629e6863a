"""Where the axes of activations lie, said inside the models and without effect where there is no mesh.

A program that runs on a mesh is traced under `jax.sharding.use_abstract_mesh`; one that does not sees the functions
here change nothing, at no cost, and compiles to what it did without them.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator, Sequence

import jax
from jax import Array
from jax.sharding import PartitionSpec

# Logical axis of an activation: the axes of the mesh that it is split over. Rows go to all that hold a batch's parts.
ACTIVATIONS = {
  "batch": ("data", "fsdp"),
  "heads": ("tensor",),
  "kv_heads": ("tensor",),
  "mlp": ("tensor",),
  "vocab": ("tensor",),
}


_APART: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("apart", default=())


def on_mesh() -> bool:
  """Returns whether the program that is traced runs on a mesh."""
  return not jax.sharding.get_abstract_mesh().empty


def mesh_axes(name: str | None) -> tuple[str, ...]:
  """Returns the axes of the mesh at hand that a logical axis is split over; none without a mesh."""
  sizes = jax.sharding.get_abstract_mesh().shape
  return tuple(axis for axis in ACTIVATIONS.get(name or "", ()) if sizes.get(axis, 1) > 1)


def num_shards(name: str) -> int:
  """Returns into how many parts a logical axis is split; 1 without a mesh."""
  sizes = jax.sharding.get_abstract_mesh().shape
  return math.prod(sizes[axis] for axis in mesh_axes(name))


def shard_activation(x: Array, *names: str | None) -> Array:
  """Returns x with its axes split as their names say; one that does not divide, and None, is whole."""
  if not on_mesh():
    return x
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _used(x: Array, names: tuple[str | None, ...]) -> Array:
  return jax.lax.with_sharding_constraint(x, activation_spec(x, names))


# The gradient is free to lie elsewhere: summed where it is stored, it need not be whole anywhere.
_used.defvjp(lambda x, names: (_used(x, names), None), lambda names, _, gradient: (gradient,))


def gather_weight(weight: Array, *names: str | None) -> Array:
  """Returns a parameter as products want it: put together from where it is stored apart, but for parts of tensor."""
  return _used(weight, names) if on_mesh() else weight


@contextlib.contextmanager
def weights_sharded_in_backward(over: tuple[str, ...]) -> Iterator[None]:
  """Within, the backward pass finds weights in parts over these axes of the mesh, as they are stored."""
  token = _APART.set(over)
  try:
    yield
  finally:
    _APART.reset(token)


def shard_residual(weight_io: Array) -> Array:
  """Returns a product's weight as it waits for the backward pass: in parts, where it is stored in parts."""
  return _first_axis(weight_io, _apart(weight_io))


def gather_residual(weight_io: Array) -> Array:
  """Returns what `shard_residual` did, put together."""
  return _first_axis(weight_io, None) if _apart(weight_io) else weight_io


def _apart(weight_io: Array) -> tuple[str, ...]:
  sizes = jax.sharding.get_abstract_mesh().shape
  over = tuple(axis for axis in _APART.get() if sizes.get(axis, 1) > 1)
  return over if weight_io.shape[0] % math.prod(sizes[axis] for axis in over) == 0 else ()


def _first_axis(weight_io: Array, over: tuple[str, ...] | None) -> Array:
  if over == ():
    return weight_io
  return jax.lax.with_sharding_constraint(weight_io, PartitionSpec(over, PartitionSpec.UNCONSTRAINED))


def activation_spec(x: Array, names: Sequence[str | None]) -> PartitionSpec:
  """Returns how an array is split over the mesh at hand, its axes named; one that does not divide is whole."""
  split = [
    mesh_axes(name) or None if name and size % num_shards(name) == 0 else None
    for name, size in zip(names, x.shape, strict=True)
  ]
  return PartitionSpec(*split)
