"""Attention of a few new tokens over keys and values that are stored as int8 (`gen.models.kv_cache`).

A stored row is s q, with levels q and one scale s. So the scales leave both products:

    scores = s_k (x q_k^T)        result = (softmax(scores) s_v) q_v

On a CPU, heads are taken a block at a time, whose levels exist in float32 only while they are read. Twelve layers of
12 heads over 160 slots take 8.4 ms with eight rows, as much as with keys and values of float32. Conversion of a layer's
complete cache takes 54 ms (one core with AVX-512).

B rows, T new tokens, S slots, H heads, G key and value heads, R = H / G, N = B G, K head width.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from gen.kernels import gradients

# Levels of a block, of keys or of values: 1 MiB of float32, so that a block stays in the second cache of a core.
BLOCK_ELEMENTS = 1 << 18


class QuantizedRows(NamedTuple):
  """Keys or values as int8.

  Attributes:
    levels_bgsk: in [-127, 127].
    scales_bgs1: float32, one for each key or value.
  """

  levels_bgsk: Array
  scales_bgs1: Array

  def dequantize(self, dtype: Any) -> Array:
    """Returns the numbers [B, G, S, K]."""
    return (self.levels_bgsk.astype(jnp.float32) * self.scales_bgs1).astype(dtype)


def attend_quantized(
  q_bhtk: Array, keys: QuantizedRows, values: QuantizedRows, bias: Array, scale: float
) -> Array:
  """Returns softmax(q k^T scale + bias) v as [B, H, T, K]; `bias` broadcasts to [B, H, T, S]."""
  batch, heads, length, head_width = q_bhtk.shape
  _, groups, slots, _ = keys.levels_bgsk.shape
  rows = batch * groups
  # Queries that share a key head are rows of one product, as in `gradients.dot_product_attention`.
  q_nrk = (q_bhtk * scale).reshape(rows, -1, head_width)
  bias_nrs = jnp.broadcast_to(bias, (batch, heads, length, slots)).reshape(rows, -1, slots)
  stored = (keys.levels_bgsk, keys.scales_bgs1, values.levels_bgsk, values.scales_bgs1)
  arrays = (q_nrk, bias_nrs, *(array.reshape(rows, slots, -1) for array in stored))
  size = _block_heads(rows, slots * head_width)
  if size == rows:
    return _attend(*arrays).reshape(q_bhtk.shape)
  blocks = [array.reshape(rows // size, size, *array.shape[1:]) for array in arrays]
  return jax.lax.map(lambda block: _attend(*block), blocks).reshape(q_bhtk.shape)


def _block_heads(rows: int, elements: int) -> int:
  """Returns the heads of a block: a divisor of all of them."""
  # A loop would be slower elsewhere: GPUs convert inside the product. On a mesh it would gather the rows.
  if gradients.target_platform() != "cpu" or gradients.on_mesh():
    return rows
  limit = max(1, BLOCK_ELEMENTS // elements)
  return max(size for size in range(1, min(rows, limit) + 1) if rows % size == 0)


def _attend(
  q_nrk: Array,
  bias_nrs: Array,
  keys_nsk: Array,
  key_scales_ns1: Array,
  values_nsk: Array,
  value_scales_ns1: Array,
) -> Array:
  # Levels are exact in bfloat16. A weight times a scale may be too small for float16.
  dtype = jnp.float32 if q_nrk.dtype == jnp.float16 else q_nrk.dtype
  products = jnp.einsum(
    "nrk,nsk->nrs", q_nrk.astype(dtype), keys_nsk.astype(dtype), preferred_element_type=jnp.float32
  )
  scores_nrs = products * key_scales_ns1.swapaxes(1, 2) + bias_nrs
  powers_nrs = jnp.exp(scores_nrs - scores_nrs.max(-1, keepdims=True))
  sums_nr1 = powers_nrs.sum(-1, keepdims=True)
  weighted_nrs = (powers_nrs * value_scales_ns1.swapaxes(1, 2)).astype(dtype)
  mixed = jnp.einsum(
    "nrs,nsk->nrk", weighted_nrs, values_nsk.astype(dtype), preferred_element_type=jnp.float32
  )
  return (mixed / sums_nr1).astype(q_nrk.dtype)
