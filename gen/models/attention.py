"""Multi-head, grouped-query and multi-query attention (arXiv:1706.03762; arXiv:2305.13245).

B batch, T query, S key, N tokens, D width, H heads, G key and value heads, R = H / G, K head width.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import decode_weights, fused_attention, norms
from gen.kernels.fused_attention import SegmentIds
from gen.models import kv_cache, layers, positions
from gen.models.kv_cache import MASKED_SCORE, CacheSlots
from gen.sharding import activation_sharding

INTERMEDIATES = (
  "intermediates"  # flax's collection of what a caller asked to see; where none asked, nothing is computed
)
BLOCK = 64  # queries, at least, that are scored together in causal attention
MAX_BLOCKS = 8  # more of them cost compile time and save little


class AttentionInputs(NamedTuple):
  """What every layer of a stack is given beside the residual stream.

  Attributes:
    bias: added to the scores of self-attention, [B, 1, T, S]: the mask. None where `segments` say it.
    distance_bias: added too, [1 or B, H, T, S]: T5's or ALiBi's, or None. It is apart so that one for all rows stays
      one, and its gradient too.
    angles: rotary cosines and sines, or None.
    waves_rd: sinusoids of Transformer-XL's distances, or None.
    memory_bsd: what cross attention looks at, or None.
    memory_bias: added to the scores of cross attention.
    slots: where the cache keeps what is read, while text is generated; None trains.
    layer: number of the layer, from 0, where its scores depend on it.
    segments: the mask of self-attention where a kernel of the backend's does it; None is attention written out here.
    memory_segments: that of cross attention.
  """

  bias: Array | None
  distance_bias: Array | None = None
  angles: tuple[Array, Array] | None = None
  waves_rd: Array | None = None
  memory_bsd: Array | None = None
  memory_bias: Array | None = None
  slots: CacheSlots | None = None
  layer: Array | int | None = None
  segments: SegmentIds | None = None
  memory_segments: SegmentIds | None = None


def attention_mask(queries_bt: Array, keys_bs: Array, causal: bool, prefix_bs: Array | None = None) -> Array:
  """Returns 0 where a query may look, NEVER elsewhere, float32 [B, 1, T, S].

  It may look inside its own segment, and, if causal, not beyond its own place, but for keys of the prefix, which
  all of the segment sees (arXiv:1910.10683, figure 3).

      segments 1 1 2 2, causal      x . . .      segments 1 1 1 2, causal,      x x . .
                                    x x . .      prefix   1 1 0 0               x x . .
                                    . . x .                                     x x x .
                                    . . x x                                     . . . x
  """
  seen_bts = queries_bt[:, :, None] == keys_bs[:, None, :]
  if causal:
    back = jnp.tri(queries_bt.shape[1], keys_bs.shape[1], dtype=bool)
    seen_bts &= back if prefix_bs is None else back | (prefix_bs[:, None, :] > 0)
  return jnp.where(seen_bts, 0.0, MASKED_SCORE)[:, None].astype(jnp.float32)


def causal_attention(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns what `dot_product_attention` does where the bias hides all later keys, leaving most of those out.

  Queries go in blocks, each with the keys up to its end: of the scores above the diagonal, only those of the
  blocks on it are computed.

      x . | . .
      x x | . .
      ----+----
      x x   x .
      x x   x x
  """
  length = q_bhtk.shape[2]
  count = min(MAX_BLOCKS, length // BLOCK)
  if count < 2 or length != k_bgsk.shape[2]:
    return dot_product_attention(q_bhtk, k_bgsk, v_bgsk, bias, scale)
  q_bhtk = q_bhtk * scale
  ends = [length * (i + 1) // count for i in range(count)]
  parts = [
    _grouped(q_bhtk[:, :, begin:end], k_bgsk[:, :, :end], v_bgsk[:, :, :end], bias[:, :, begin:end, :end])
    for begin, end in itertools.pairwise([0, *ends])
  ]
  return jnp.concatenate(parts, axis=2)


def dot_product_attention(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns softmax(q k^T scale + bias) v as [B, H, T, K]; R = H / G queries share a key head."""
  return _grouped(q_bhtk * scale, k_bgsk, v_bgsk, bias)


def _grouped(q_bhtk: Array, k_bgsk: Array, v_bgsk: Array, bias: Array) -> Array:
  """Returns softmax(q k^T + bias) v of queries that are scaled already, once: a gradient keeps them, and no others."""
  batch, heads, length, head_width = q_bhtk.shape
  groups = k_bgsk.shape[1]
  if groups == heads:
    return softmax_attention(q_bhtk, k_bgsk, v_bgsk, bias)
  # Queries that share a key head stand below one another: [B, G, R T, K].
  repeats = heads // groups
  rows = (batch, groups, repeats * length)
  bias = jnp.broadcast_to(bias, (batch, heads, length, k_bgsk.shape[2])).reshape(*rows, -1)
  mixed = softmax_attention(q_bhtk.reshape(*rows, head_width), k_bgsk, v_bgsk, bias)
  return mixed.reshape(q_bhtk.shape)


def attention_weights(q_bhtk: Array, k_bgsk: Array, bias: Array, scale: float) -> Array:
  """Returns the attention weights softmax(q k^T scale + bias), float32 [B, H, T, S]."""
  k_bhsk = jnp.repeat(k_bgsk, q_bhtk.shape[1] // k_bgsk.shape[1], axis=1)
  scores = jnp.einsum("bhtk,bhsk->bhts", q_bhtk * scale, k_bhsk, preferred_element_type=jnp.float32) + bias
  return nn.softmax(scores)


@jax.custom_vjp
def softmax_attention(q_bhtk: Array, k_bhsk: Array, v_bhsk: Array, bias: Array) -> Array:
  """Returns softmax(q k^T + bias) v, keeping one [T, S] matrix a head for its gradient.

  With e = exp(score - largest), z = sum e and o = e v / z, the gradient in the scores is e (dp - do . o) where
  dp = (do / z) v^T and do is divided by z too (arXiv:2205.14135, appendix B.2, without its blocks).
  """
  return _softmax_attention(q_bhtk, k_bhsk, v_bhsk, bias)[0]


def _softmax_attention(
  q_bhtk: Array, k_bhsk: Array, v_bhsk: Array, bias: Array
) -> tuple[Array, tuple[Array, ...]]:
  scores = jnp.einsum("bhtk,bhsk->bhts", q_bhtk, k_bhsk, preferred_element_type=jnp.float32) + bias
  powers_bhts = jnp.exp(scores - scores.max(-1, keepdims=True))
  # Behind the barrier it stays one number a query; XLA's CPU backend widens it to K for the product's sake.
  inverse_bht1 = jax.lax.optimization_barrier(1 / powers_bhts.sum(-1, keepdims=True))
  mixed = jnp.einsum(
    "bhts,bhsk->bhtk", powers_bhts.astype(v_bhsk.dtype), v_bhsk, preferred_element_type=jnp.float32
  )
  mixed_bhtk = (mixed * inverse_bht1).astype(v_bhsk.dtype)
  return mixed_bhtk, (q_bhtk, k_bhsk, v_bhsk, bias, powers_bhts, inverse_bht1, mixed_bhtk)


def _softmax_attention_backward(kept: tuple[Array, ...], do_bhtk: Array) -> tuple[Array, ...]:
  q_bhtk, k_bhsk, v_bhsk, bias, powers_bhts, inverse_bht1, mixed_bhtk = kept
  dtype = q_bhtk.dtype
  do_bhtk = do_bhtk.astype(jnp.float32) * inverse_bht1
  along_bht1 = norms.row_sums(do_bhtk * mixed_bhtk, jnp.ones(mixed_bhtk.shape[-1]))
  do_bhtk = do_bhtk.astype(dtype)
  dv_bhsk = layers.contract_tokens(powers_bhts.astype(dtype), do_bhtk)
  dp_bhts = jnp.einsum("bhtk,bhsk->bhts", do_bhtk, v_bhsk, preferred_element_type=jnp.float32)
  dscores_bhts = powers_bhts * (dp_bhts - along_bht1)
  narrow_bhts = dscores_bhts.astype(dtype)
  dq_bhtk = jnp.einsum("bhts,bhsk->bhtk", narrow_bhts, k_bhsk)
  dk_bhsk = layers.contract_tokens(narrow_bhts, q_bhtk)
  return dq_bhtk, dk_bhsk, dv_bhsk, _sum_to(dscores_bhts, bias.shape)  # unread, the last costs nothing


softmax_attention.defvjp(_softmax_attention, _softmax_attention_backward)


def _sum_to(x: Array, shape: tuple[int, ...]) -> Array:
  """Returns x summed over the axes along which something of that shape was broadcast."""
  axes = tuple(i for i, (size, wanted) in enumerate(zip(x.shape, shape, strict=True)) if size != wanted)
  return x.sum(axes, keepdims=True)


class Attention(nn.Module):
  """Self-attention, or cross attention where a memory is given.

  Attributes:
    causal: whether the bias hides what comes later, whatever else it hides.
  """

  config: Model
  causal: bool = False

  def setup(self) -> None:
    """Makes the four projections."""
    cfg = self.config

    def projection(heads: int, axis: str) -> layers.KernelOnly:
      shape = (cfg.width, heads, cfg.head_width)
      return layers.KernelOnly(shape, ("embed", axis, "head"), cfg.width, cfg.initializer_scale)

    self.query = projection(cfg.n_heads, "heads")
    self.key = projection(cfg.n_key_value_heads, "kv_heads")
    self.value = projection(cfg.n_key_value_heads, "kv_heads")
    output = (cfg.n_heads, cfg.head_width, cfg.width)
    self.out = layers.KernelOnly(
      output, ("heads", "head", "embed"), cfg.attention_width, layers.output_scale(cfg)
    )
    if cfg.bias:
      self.query_bias = self._bias("query_bias", cfg.n_heads, "heads")
      self.key_bias = self._bias("key_bias", cfg.n_key_value_heads, "kv_heads")
      self.value_bias = self._bias("value_bias", cfg.n_key_value_heads, "kv_heads")
      self.out_bias = layers.make_weight(self, "out_bias", layers.ZEROS, (cfg.width,), ("embed",))
    if cfg.positions == "transformer_xl":
      self.distances = positions.DistanceScores(
        cfg
      )  # without parameters in cross attention, which never calls it
    if cfg.qk_norm:
      self.query_norm = layers.Norm(cfg.head_width, "rmsnorm", False, cfg.norm_epsilon, cfg.dtype, "head")
      self.key_norm = layers.Norm(cfg.head_width, "rmsnorm", False, cfg.norm_epsilon, cfg.dtype, "head")

  def _bias(self, name: str, heads: int, axis: str) -> Array:
    return layers.make_weight(self, name, layers.ZEROS, (heads, self.config.head_width), (axis, "head"))

  def __call__(self, x_btd: Array, context: AttentionInputs, cross: bool = False) -> Array:
    """Maps the residual stream to its change."""
    cfg, slots = self.config, context.slots
    memory_bsd, bias = (context.memory_bsd, context.memory_bias) if cross else (x_btd, context.bias)
    if cross and slots is not None and not slots.is_prefill:
      return self._look_again(x_btd, context)
    segments = context.memory_segments if cross else context.segments
    if memory_bsd is None or (bias is None and segments is None):
      raise ValueError("cross attention needs a memory and its mask")
    q_bhtk, k_bgsk, v_bgsk = self.project(x_btd, memory_bsd)
    if context.layer is not None and not cross:
      q_bhtk = q_bhtk / (context.layer + 1)
    if context.angles is not None and not cross:
      q_bhtk, k_bgsk = (
        positions.apply_rotary(q_bhtk, context.angles),
        positions.apply_rotary(k_bgsk, context.angles),
      )
    if slots is not None and cross:
      kv_cache.store_memory(self, k_bgsk, v_bgsk)
    elif slots is not None:
      k_bgsk, v_bgsk = slots.append(self, k_bgsk, v_bgsk)
    scale = cfg.attention_scale or cfg.head_width**-0.5
    if segments is not None:
      causal = self.causal and not cross
      distance_bias = None if cross else context.distance_bias
      mixed_bhtk = fused_attention.fused_dot_product_attention(
        q_bhtk, k_bgsk, v_bgsk, distance_bias, segments, scale, causal
      )
      return self.merge(mixed_bhtk)
    assert bias is not None
    if context.distance_bias is not None and not cross:
      bias = bias + context.distance_bias
    if context.waves_rd is not None and not cross:
      in_order = slots is not None and not slots.is_prefill
      q_bhtk, distance_bhts = self.distances(q_bhtk, context.waves_rd, in_order)
      bias = bias + distance_bhts * scale
    if self.is_mutable_collection(INTERMEDIATES):
      self.sow(INTERMEDIATES, "weights", attention_weights(q_bhtk, k_bgsk, bias, scale))
    mix = causal_attention if self.causal and not cross and slots is None else dot_product_attention
    mixed_bhtk = mix(q_bhtk, k_bgsk, v_bgsk, bias, scale)
    return self.merge(mixed_bhtk)

  def _look_again(self, x_btd: Array, context: AttentionInputs) -> Array:
    """Returns cross attention over a memory whose keys and values are in the cache."""
    cfg = self.config
    (q_bhtk,) = _project(x_btd, (self.query(),), (self.query_bias,) if cfg.bias else None, cfg.dtype)
    q_bhtk = self.query_norm(q_bhtk) if cfg.qk_norm else q_bhtk
    k_bgsk, v_bgsk = kv_cache.load_memory(self)
    if context.memory_bias is None:
      raise ValueError("cross attention needs its memory's mask")
    scale = cfg.attention_scale or cfg.head_width**-0.5
    return self.merge(dot_product_attention(q_bhtk, k_bgsk, v_bgsk, context.memory_bias, scale))

  def project(self, x_btd: Array, memory_bsd: Array) -> tuple[Array, Array, Array]:
    """Returns queries [B, H, T, K], keys and values [B, G, S, K]."""
    cfg = self.config
    q_dhk, k_dgk, v_dgk = self.query(), self.key(), self.value()
    biases = (self.query_bias, self.key_bias, self.value_bias) if cfg.bias else None
    alone = activation_sharding.num_shards("heads") > 1 or decode_weights.transposed_active()
    if memory_bsd is x_btd and cfg.n_heads == cfg.n_key_value_heads and not alone:
      # One product and one transpose for all three: a third of the passes over memory.
      q, k, v = _project(x_btd, (q_dhk, k_dgk, v_dgk), biases, cfg.dtype)
    elif (
      alone
    ):  # Side by side they would not be split by heads on a mesh; turned ones would be copied for each token.
      each = zip((x_btd, memory_bsd, memory_bsd), (q_dhk, k_dgk, v_dgk), biases or (None,) * 3, strict=True)
      q, k, v = (
        _project(x, (kernel,), None if bias is None else (bias,), cfg.dtype)[0] for x, kernel, bias in each
      )
    else:
      (q,) = _project(x_btd, (q_dhk,), biases and biases[:1], cfg.dtype)
      k, v = _project(memory_bsd, (k_dgk, v_dgk), biases and biases[1:], cfg.dtype)
    if cfg.qk_norm:
      q, k = self.query_norm(q), self.key_norm(k)
    q, k, v = (activation_sharding.shard_activation(x, "batch", "heads", None, None) for x in (q, k, v))
    return q, k, v

  def merge(self, mixed_bhtk: Array) -> Array:
    """Returns the heads' results projected to the residual stream, [B, T, D]."""
    cfg = self.config
    batch, _, queries, _ = mixed_bhtk.shape
    mixed_nd = mixed_bhtk.swapaxes(1, 2).reshape(batch * queries, cfg.attention_width)
    kernel_od = self.out().astype(cfg.dtype).reshape(cfg.attention_width, cfg.width)
    out_nd = layers.matmul(mixed_nd, kernel_od)
    if cfg.bias:
      out_nd = out_nd + self.out_bias.astype(cfg.dtype)
    return out_nd.reshape(batch, queries, cfg.width)


def _project(
  x_btd: Array, kernels: tuple[Array, ...], biases: tuple[Array, ...] | None, dtype: str
) -> tuple[Array, ...]:
  """Returns x times each [D, H, K] kernel as [B, H, T, K], in one product."""
  batch, length, width = x_btd.shape
  count, heads, head_width = len(kernels), *kernels[0].shape[1:]
  kernel_dchk = jnp.stack([kernel.astype(dtype) for kernel in kernels], axis=1)
  kernel_do = kernel_dchk.reshape(width, count * heads * head_width)
  y_nchk = layers.matmul(x_btd.reshape(-1, width), kernel_do).reshape(-1, count, heads, head_width)
  if biases is not None:
    y_nchk = y_nchk + jnp.stack(biases).astype(dtype)
  return _split_heads(y_nchk.reshape(batch, length, count, heads, head_width))


@jax.custom_vjp
def _split_heads(y_btchk: Array) -> tuple[Array, ...]:
  """Returns C arrays [B, H, T, K], by one transpose; their gradients go back by one transpose each."""
  return tuple(y_btchk.transpose(2, 0, 3, 1, 4))


_split_heads.defvjp(
  lambda y_btchk: (_split_heads(y_btchk), None),
  lambda _, parts: (jnp.stack([dy_bhtk.swapaxes(1, 2) for dy_bhtk in parts], axis=2),),
)
