"""Attention of a few new tokens over keys and values that are stored as int8 (`gen.models.kv_cache`).

A stored row is s q, with levels q and one scale s. So the scales leave both products:

    scores = s_k (x q_k^T)        result = (softmax(scores) s_v) q_v

On a CPU, heads are taken a block at a time, whose levels exist in float32 only while they are read. Twelve layers of
12 heads over 160 slots take 10.8 ms with eight rows, and 6.0 with keys and values of float32. With conversion of a
layer's complete cache they take 49 ms (one core with AVX-512).

B rows, T new tokens, S slots, H heads, G key and value heads, R = H / G, N = B G, K head width.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from gen.kernels import gradients, quantized

# Levels of a block, of keys or of values: 1 MiB of float32, so that a block stays in the second cache of a core.
BLOCK_ELEMENTS = 1 << 18
MAX_BLOCKS = 8  # each takes time to compile, in every layer


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
  made: list[Array] = []
  # Unrolled: XLA copies the cache for a compiled loop that reads it while the loop over tokens updates it, 35 MiB for
  # GPT-2 with eight rows.
  for begin in range(0, rows, size):
    q, b, keys_nsk, key_scales, values_nsk, value_scales = (array[begin : begin + size] for array in arrays)
    # One block after the other, since XLA would convert all of them first.
    before = made[-1] if made else q
    keys_nsk, values_nsk = (quantized.read_after(before, levels) for levels in (keys_nsk, values_nsk))
    made.append(_attend(q, b, keys_nsk, key_scales, values_nsk, value_scales))
  return jnp.concatenate(made).reshape(q_bhtk.shape)


def _block_heads(rows: int, elements: int) -> int:
  """Returns the heads of a block, of which the last may have fewer."""
  # GPUs convert inside the product. On a mesh a slice of heads that are split over devices would be gathered.
  if gradients.target_platform() != "cpu" or gradients.on_mesh():
    return rows
  return min(rows, max(BLOCK_ELEMENTS // elements, -(-rows // MAX_BLOCKS), 1))


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
