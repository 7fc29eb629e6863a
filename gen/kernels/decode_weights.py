"""Parameters as decoding reads them fastest: layers unstacked, and on a CPU kernels transposed to [out, in].

A product of few rows is bound by the time to read its weights. XLA's CPU backend reads a kernel [out, in] on the left
of a product faster than a kernel [in, out] on its right. GPT-2 generates 98 tokens a second in place of 59 with eight
rows, and 34 in place of 31 with one (`scripts/benchmark_generate.py`, two cores of an EPYC server).

N rows, I inputs, O outputs.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gen.kernels import quantized
from gen.precision.quantized_array import StoredKernel

# Rows up to which the weight is the left operand. A product of few rows takes the time to read its weight; with more
# rows it is bound by arithmetic, and the weight stands on the right as in training.
MAX_ROWS = 32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransposedKernel:
  """A kernel stored transposed.

  Attributes:
    kernel_oi: its numbers, outputs first.
    shape: shape that the model's layer expects.
  """

  kernel_oi: Array
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

  def untransposed(self) -> Array:
    """Returns the kernel as the model's layer expects it, [inputs, outputs] or with heads as axes of their own."""
    # Nothing is moved: XLA makes the transpose a part of the product.
    return self.kernel_oi.T.reshape(self.shape)


def unstack_layers(params: Any) -> Any:
  """Returns parameters whose stacks hold a tuple of layers in place of layers stacked along a first axis.

  Decoding runs the same layers for each token. A layer that is sliced from a stacked array inside that loop is copied
  each time, which costs more than the products with it. Only a model that reads through a cache takes unstacked layers.
  """
  if not isinstance(params, Mapping):
    return params
  unstacked = {name: unstack_layers(value) for name, value in params.items()}
  stacked = unstacked["stack"].get("layers") if isinstance(unstacked.get("stack"), Mapping) else None
  if isinstance(stacked, Mapping):
    depth = len(jax.tree.leaves(stacked)[0])
    layers = tuple(jax.tree.map(lambda x, index=index: x[index], stacked) for index in range(depth))
    # `LayerStack` recognizes unstacked layers by the tuple.
    unstacked["stack"] = {**unstacked["stack"], "layers": layers}
  return unstacked


def transpose_kernels(params: Any, name: str = "") -> Any:
  """Returns a layer's parameters with each kernel as a `TransposedKernel`; vectors stay as they are.

  Args:
    params: mapping of parameters, nested by module.
    name: name of the module that holds them.
  """
  if not isinstance(params, Mapping):
    return params
  transposed = {key: transpose_kernels(value, key) for key, value in params.items()}
  kernel = transposed.get("kernel")
  if isinstance(kernel, jax.Array) and kernel.ndim > 1:
    # Attention's `out` has two axes of inputs, [heads, head width, width]; all other kernels have one.
    outputs = kernel.shape[-1:] if name == "out" else kernel.shape[1:]
    transposed["kernel"] = TransposedKernel(kernel.reshape(-1, math.prod(outputs)).T, kernel.shape)
  return transposed


def untranspose_kernels(params: Any) -> Any:
  """Returns parameters whose kernels are as the model's layers expect them."""

  def kernel(leaf: Any) -> Any:
    return leaf.untransposed() if isinstance(leaf, TransposedKernel) else leaf

  return jax.tree.map(kernel, params, is_leaf=lambda leaf: isinstance(leaf, TransposedKernel))


def is_transposed(params: Any) -> bool:
  """Returns whether a layer's kernels are stored transposed."""
  leaves = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, TransposedKernel))
  return any(isinstance(leaf, TransposedKernel) for leaf in leaves)


def transposed_matmul(x_ni: Array, kernel_io: Array) -> Array:
  """Returns x W as [N, O], for a weight that is stored transposed and few rows."""
  # The transpose of a transpose: with W stored as [O, I], `kernel_io.T` is the array in memory.
  return _left(kernel_io.T, x_ni, x_ni.dtype) if len(x_ni) <= MAX_ROWS else x_ni @ kernel_io


def matmul_with_table(x_ni: Array, table_oi: Array) -> Array:
  """Returns x E^T as float32 [N, O], for few rows; a table of token embeddings is stored [O, I] anyway.

  One row reads a table of 50,257 x 768 at 43 GB/s as E x^T, and at 25 as x E^T (two cores of a Xeon).
  """
  # Float32 whatever the compute dtype: these are logits, and a softmax follows.
  if isinstance(table_oi, StoredKernel):
    return quantized.multiply_stored(x_ni, table_oi, jnp.float32)
  return _left(table_oi, x_ni, jnp.float32)


def _left(kernel_oi: Array, x_ni: Array, dtype: Any) -> Array:
  """Returns (W x^T)^T; a single row goes in as a column."""
  # The barriers keep the compiler from rewriting (W x^T)^T as x W^T, the slower product.
  if len(x_ni) == 1:
    column_i1 = jax.lax.optimization_barrier(x_ni.reshape(-1, 1))
    y_o1 = jnp.matmul(kernel_oi, column_i1, preferred_element_type=dtype)
    return jax.lax.optimization_barrier(y_o1).reshape(1, -1)
  # Contracts I with I, so that x needs no transpose before the product.
  numbers = (((1,), (1,)), ((), ()))
  return jax.lax.optimization_barrier(
    jax.lax.dot_general(kernel_oi, x_ni, numbers, preferred_element_type=dtype)
  ).T
