"""Weights that lie turned, [out, in], and products of few rows with them, as decoding wants them on a CPU.

Reading one token of each text, a product is bound by reading its weights, and XLA's CPU backend reads one that lies
[out, in] and stands on the left faster than one that lies [in, out]: GPT-2 writes 98 tokens a second in place of 59
with eight rows, and 34 in place of 31 with one (`scripts/benchmark_generate.py`, two cores of an EPYC server).
N rows, I inputs, O outputs.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

MAX_ROWS = 32  # with more, the weight stands on the right as everywhere else

_HERE: contextvars.ContextVar[bool] = contextvars.ContextVar("turned", default=False)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransposedKernel:
  """A kernel that lies turned.

  Attributes:
    kernel_oi: its numbers, outputs first.
    shape: the kernel's own.
  """

  kernel_oi: Array
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

  def upright(self) -> Array:
    """Returns the kernel as modules know it; inside a compiled function the turn is part of the product."""
    return self.kernel_oi.T.reshape(self.shape)


def transpose_kernels(params: Any, name: str = "") -> Any:
  """Returns a layer's parameters with its kernels turned; `out` of attention has two axes of inputs, others one."""
  if not isinstance(params, Mapping):
    return params
  found = {key: transpose_kernels(value, key) for key, value in params.items()}
  kernel = found.get("kernel")
  if isinstance(kernel, jax.Array) and kernel.ndim > 1:
    outputs = kernel.shape[-1:] if name == "out" else kernel.shape[1:]
    found["kernel"] = TransposedKernel(kernel.reshape(-1, math.prod(outputs)).T, kernel.shape)
  return found


def untranspose_kernels(params: Any) -> Any:
  """Returns parameters whose kernels are as modules know them."""

  def kernel(leaf: Any) -> Any:
    return leaf.upright() if isinstance(leaf, TransposedKernel) else leaf

  return jax.tree.map(kernel, params, is_leaf=lambda leaf: isinstance(leaf, TransposedKernel))


def is_transposed(params: Any) -> bool:
  """Says whether a layer's kernels lie turned."""
  leaves = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, TransposedKernel))
  return any(isinstance(leaf, TransposedKernel) for leaf in leaves)


@contextlib.contextmanager
def transposed_weights(turned: bool) -> Iterator[None]:
  """Within, products of few rows take their weights for turned."""
  token = _HERE.set(turned)
  try:
    yield
  finally:
    _HERE.reset(token)


def transposed_active() -> bool:
  """Says whether the weights at hand lie turned."""
  return _HERE.get()


def transposed_matmul(x_ni: Array, kernel_io: Array) -> Array:
  """Returns x W of few rows with a weight that lies turned."""
  return _left(kernel_io.T, x_ni, x_ni.dtype) if len(x_ni) <= MAX_ROWS else x_ni @ kernel_io


def matmul_with_table(x_ni: Array, table_oi: Array) -> Array:
  """Returns x E^T of few rows as float32: a table of the vocabulary lies turned as it is.

  As x E^T, one row reads a table of 50,257 x 768 at 25 GB/s, as E x^T at 43 (two cores of a Xeon).
  """
  return _left(table_oi, x_ni, jnp.float32)


def _left(kernel_oi: Array, x_ni: Array, dtype: Any) -> Array:
  """Returns (W x^T)^T, a single row as a column; the barriers keep the compiler from turning it into x W^T."""
  if len(x_ni) == 1:
    column_i1 = jax.lax.optimization_barrier(x_ni.reshape(-1, 1))
    y_o1 = jnp.matmul(kernel_oi, column_i1, preferred_element_type=dtype)
    return jax.lax.optimization_barrier(y_o1).reshape(1, -1)
  numbers = (((1,), (1,)), ((), ()))
  return jax.lax.optimization_barrier(
    jax.lax.dot_general(kernel_oi, x_ni, numbers, preferred_element_type=dtype)
  ).T
