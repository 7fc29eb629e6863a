"""Attention, the block of every transformer here, and a stack of blocks.

Attention is multi-head, grouped-query or multi-query (arXiv:1706.03762; arXiv:2305.13245). A block is self-attention,
cross attention where the stack has a memory, and a feed-forward, each inside a residual branch. Pre-norm puts the norm
at the entrance of a branch (GPT-2, T5), post-norm after the sum (BERT, BART), output norm at the exit (OLMo 2).

B batch, T query, S key, D width, F feed-forward width, H heads, G key and value heads, K head width, L layers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import cached_attention, decode_weights, fused_attention, gradients
from gen.kernels.cached_attention import QuantizedRows
from gen.kernels.fused_attention import SegmentIds
from gen.models import kv_cache, layers, own_modules
from gen.models.kv_cache import MASKED_SCORE, CachedRows, CacheSlots
from gen.models.layers import shard

# flax's collection of values that a caller requests (attention weights); otherwise they are not computed.
INTERMEDIATES = "intermediates"


class AttentionInputs(NamedTuple):
  """Inputs that all layers of a stack share, beside the residual stream.

  Attributes:
    bias: the mask, added to the scores of self-attention, float32 [B, 1, T, S]; None if `segments` hold the mask.
    distance_bias: bias of T5 or ALiBi, added to the scores too, float32 [1 or B, H, T, S], or None.
    angles: rotary cosines and sines, or None.
    waves_rd: sinusoids of Transformer-XL's distances, or None.
    memory_bsd: the source that cross attention attends to, or None.
    memory_bias: the mask of cross attention, [B, 1, T, S].
    slots: slots of the KV cache while text is generated; None in training.
    layer: number of the layer, from 0, if its scores depend on it.
    segments: the mask of self-attention for a fused kernel; None for plain attention.
    memory_segments: the same for cross attention.
    local: the mask and the angles of layers with a window, where others have none; None where all layers are alike.
  """

  bias: Array | None
  # Separate from the mask: one bias for all rows, and its gradient, then stay [1, H, T, S].
  distance_bias: Array | None = None
  angles: tuple[Array, Array] | None = None
  waves_rd: Array | None = None
  memory_bsd: Array | None = None
  memory_bias: Array | None = None
  slots: CacheSlots | None = None
  layer: Array | int | None = None
  segments: SegmentIds | None = None
  memory_segments: SegmentIds | None = None
  local: tuple[Array, tuple[Array, Array] | None] | None = None

  def of_layer(self, config: Model, layer: Array | int) -> "AttentionInputs":
    """Returns the inputs of one layer, whose number decides over its window and the scale of its scores."""
    if self.local is not None:
      is_global = layer % config.global_every == 0
      bias, angles = jax.tree.map(
        functools.partial(jnp.where, is_global), (self.bias, self.angles), self.local
      )
      return self._replace(bias=bias, angles=angles, local=None)
    return self._replace(layer=layer) if config.attention_scale_by_layer else self

  def of_memory(self) -> "AttentionInputs":
    """Returns the inputs of cross attention: a memory has its own mask, and no positions relative to the target."""
    return AttentionInputs(
      self.memory_bias, memory_bsd=self.memory_bsd, slots=self.slots, segments=self.memory_segments
    )


def attention_mask(
  queries_bt: Array, keys_bs: Array, causal: bool, prefix_bs: Array | None = None, window: int = 0
) -> Array:
  """Returns 0 where a query may attend, MASKED_SCORE elsewhere, float32 [B, 1, T, S].

  A query attends inside its own segment. If causal, it does not attend to later keys, except those of the prefix,
  which is visible to the whole segment (arXiv:1910.10683, figure 3). With a window, it attends to that many tokens,
  itself included (arXiv:2310.06825), or to so many on either side if later keys are not masked (arXiv:2412.13663).

      segments 1 1 2 2, causal      x . . .      segments 1 1 1 2, causal,      x x . .
                                    x x . .      prefix   1 1 0 0               x x . .
                                    . . x .                                     x x x .
                                    . . x x                                     . . . x

  Args:
    queries_bt: segment of each query.
    keys_bs: segment of each key.
    causal: whether later keys are masked.
    prefix_bs: 1 for keys of the prefix, or None.
    window: tokens that a query attends to, or those on either side; 0 is all.
  """
  seen_bts = queries_bt[:, :, None] == keys_bs[:, None, :]
  if causal:
    back = jnp.tri(queries_bt.shape[1], keys_bs.shape[1], dtype=bool)
    seen_bts &= back if prefix_bs is None else back | (prefix_bs[:, None, :] > 0)
  if window:
    masked = -window if causal else -window - 1  # the nearest earlier key that is masked
    seen_bts &= ~jnp.tri(queries_bt.shape[1], keys_bs.shape[1], masked, dtype=bool)
  if window and not causal:
    seen_bts &= jnp.tri(queries_bt.shape[1], keys_bs.shape[1], window, dtype=bool)
  # Added to scores and not selected, so that mask and biases of distance are one sum. The axis of 1 is the heads'.
  return jnp.where(seen_bts, 0.0, MASKED_SCORE)[:, None].astype(jnp.float32)


class Attention(nn.Module):
  """Self-attention, or cross attention where a memory is given.

  Attributes:
    causal: whether the bias masks all later keys, which `gradients.causal_attention` then does not compute.
  """

  config: Model
  causal: bool = False

  def setup(self) -> None:
    """Makes the four projections."""
    cfg, formats = self.config, self.config.training_formats

    def projection(heads: int, axis: str) -> layers.KernelOnly:
      # Heads are an axis of their own, which tensor parallelism splits. In a [D, H K] matrix a part of an axis would be
      # split.
      shape = (cfg.width, heads, cfg.head_width)
      return layers.KernelOnly(shape, ("embed", axis, "head"), cfg.width, cfg.initializer_scale, formats)

    self.query = projection(cfg.n_heads, "heads")
    self.key = projection(cfg.n_key_value_heads, "kv_heads")
    self.value = projection(cfg.n_key_value_heads, "kv_heads")
    output = (cfg.n_heads, cfg.head_width, cfg.width)
    # Its inputs are the H K results of all heads, which is the fan-in of its initial scale.
    self.out = layers.KernelOnly(
      output, ("heads", "head", "embed"), cfg.attention_width, layers.output_scale(cfg), formats
    )
    if cfg.bias or cfg.qkv_bias:
      self.query_bias = self._bias("query_bias", cfg.n_heads, "heads")
      self.key_bias = self._bias("key_bias", cfg.n_key_value_heads, "kv_heads")
      self.value_bias = self._bias("value_bias", cfg.n_key_value_heads, "kv_heads")
    if cfg.bias:
      self.out_bias = layers.make_weight(self, "out_bias", layers.ZEROS, (cfg.width,), ("embed",))
    if cfg.positions == "transformer_xl":
      # In cross attention it is never called, and so has no parameters.
      self.distances = layers.DistanceScores(cfg)
    # Scores of normalized queries and keys are bounded. Others grow at high learning rates until training diverges
    # (arXiv:2309.14322).
    if cfg.qk_norm:
      self.query_norm = self._norm(cfg.attention_width)
      self.key_norm = self._norm(cfg.key_value_width)

  def _norm(self, joint_width: int) -> layers.Norm:
    cfg = self.config
    width, axis = (joint_width, "norm") if cfg.qk_norm_joint else (cfg.head_width, "head")
    return layers.Norm(width, "rmsnorm", False, cfg.norm_epsilon, cfg.dtype, axis, cfg.norm_offset)

  def _normalize(self, norm: layers.Norm, x_bhtk: Array) -> Array:
    """Returns queries or keys after their norm: of each head, or of all heads of a token together."""
    if not self.config.qk_norm_joint:
      return norm(x_bhtk)
    x_bthk = x_bhtk.swapaxes(1, 2)
    return norm(x_bthk.reshape(*x_bthk.shape[:2], -1)).reshape(x_bthk.shape).swapaxes(1, 2)

  def _bias(self, name: str, heads: int, axis: str) -> Array:
    return layers.make_weight(self, name, layers.ZEROS, (heads, self.config.head_width), (axis, "head"))

  def __call__(self, x_btd: Array, inputs: AttentionInputs, cross: bool = False) -> Array:
    """Maps the residual stream [B, T, D] to its change [B, T, D]; `cross` attends to `inputs.memory_bsd`."""
    inputs = inputs.of_memory() if cross else inputs
    # The memory does not change while text is generated: its keys and values were cached with the prompt.
    if cross and inputs.slots is not None and not inputs.slots.is_prefill:
      return self.merge(self._mix(*self._recall_memory(x_btd), inputs))
    memory_bsd = inputs.memory_bsd if cross else x_btd
    if memory_bsd is None or (inputs.bias is None and inputs.segments is None):
      raise ValueError("cross attention needs a memory and its mask")
    q_bhtk, k_bgsk, v_bgsk = self.project(x_btd, memory_bsd)
    if inputs.layer is not None:
      # Scores are linear in the queries, so dividing these divides the scores.
      q_bhtk = q_bhtk / (inputs.layer + 1)
    if inputs.angles is not None:
      q_bhtk, k_bgsk = (layers.apply_rotary(x, inputs.angles) for x in (q_bhtk, k_bgsk))
    # Keys are cached after their rotation: a token's position does not change while text is generated.
    if inputs.slots is not None and cross:
      kv_cache.store_memory(self, k_bgsk, v_bgsk)
    elif inputs.slots is not None:
      return self.merge(self._mix(q_bhtk, *inputs.slots.append_stored(self, k_bgsk, v_bgsk), inputs))
    return self.merge(self._mix(q_bhtk, k_bgsk, v_bgsk, inputs))

  def project(self, x_btd: Array, memory_bsd: Array) -> tuple[Array, Array, Array]:
    """Returns queries [B, H, T, K], keys and values [B, G, S, K]."""
    kernels_dhk = (self.query(), self.key(), self.value())
    biased = self.config.bias or self.config.qkv_bias
    biases_hk = (self.query_bias, self.key_bias, self.value_bias) if biased else None
    sources_btd = (x_btd, memory_bsd, memory_bsd)
    q, k, v = gradients.project_heads(sources_btd, kernels_dhk, biases_hk, self.config.dtype)
    if self.config.qk_norm:
      q, k = self._normalize(self.query_norm, q), self._normalize(self.key_norm, k)
    # Tensor parallelism splits attention by heads: each device computes its own heads without communication.
    q, k, v = (shard(x, "batch", "heads", None, None) for x in (q, k, v))
    return q, k, v

  def _recall_memory(self, x_btd: Array) -> tuple[Array, CachedRows, CachedRows]:
    """Returns queries, and the keys and values of a memory that were cached with the prompt."""
    biases_hk = (self.query_bias,) if self.config.bias or self.config.qkv_bias else None
    (q_bhtk,) = gradients.project_heads((x_btd,), (self.query(),), biases_hk, self.config.dtype)
    q_bhtk = self._normalize(self.query_norm, q_bhtk) if self.config.qk_norm else q_bhtk
    return q_bhtk, *kv_cache.load_stored(self)

  def _mix(self, q_bhtk: Array, keys: CachedRows, values: CachedRows, inputs: AttentionInputs) -> Array:
    """Returns softmax(q k^T scale + biases) v, [B, H, T, K]."""
    # 1 / sqrt(K) keeps scores at variance 1 (arXiv:1706.03762, 3.2.1). T5 has 1, and draws queries smaller by sqrt(K).
    scale, bias = self.config.attention_scale or self.config.head_width**-0.5, inputs.bias
    # Of a cache of int8 only a caller that asks for weights reads these; XLA removes the conversion otherwise.
    k_bgsk, v_bgsk = (
      rows.dequantize(q_bhtk.dtype) if isinstance(rows, QuantizedRows) else rows for rows in (keys, values)
    )
    if inputs.segments is not None:
      return fused_attention.fused_dot_product_attention(
        q_bhtk, k_bgsk, v_bgsk, inputs.distance_bias, inputs.segments, scale, self.causal
      )
    if bias is None:
      raise ValueError("attention needs a mask")
    if inputs.distance_bias is not None:
      bias = bias + inputs.distance_bias
    if inputs.waves_rd is not None:
      in_order = inputs.slots is not None and not inputs.slots.is_prefill
      q_bhtk, distance_bhts = self.distances(q_bhtk, inputs.waves_rd, in_order)
      bias = bias + distance_bhts * scale
    if self.is_mutable_collection(INTERMEDIATES):
      # Computed a second time, for this caller alone: `softmax_attention` never divides its powers into weights.
      self.sow(INTERMEDIATES, "weights", gradients.attention_weights(q_bhtk, k_bgsk, bias, scale))
    if isinstance(keys, QuantizedRows) and isinstance(values, QuantizedRows):
      return cached_attention.attend_quantized(q_bhtk, keys, values, bias, scale)
    # With a cache the keys are slots, not the queries' own tokens in order.
    in_order = self.causal and inputs.slots is None
    mix = gradients.causal_attention if in_order else gradients.dot_product_attention
    return mix(q_bhtk, k_bgsk, v_bgsk, bias, scale)

  def merge(self, mixed_bhtk: Array) -> Array:
    """Returns the heads' results projected to the residual stream, [B, T, D]."""
    cfg = self.config
    batch, _, queries, _ = mixed_bhtk.shape
    # Tokens and heads times their width are flattened, so that the product has two axes, see `layers.Dense`.
    mixed_nd = mixed_bhtk.swapaxes(1, 2).reshape(batch * queries, cfg.attention_width)
    kernel_od = self.out().astype(cfg.dtype).reshape(cfg.attention_width, cfg.width)
    out_nd = gradients.matmul(mixed_nd, kernel_od)
    if cfg.bias:
      out_nd = out_nd + self.out_bias.astype(cfg.dtype)
    return out_nd.reshape(batch, queries, cfg.width)


class FeedForward(nn.Module):
  """Two dense layers with an activation between, or three where it is gated (GLU, arXiv:2002.05202)."""

  config: Model

  @nn.compact
  def __call__(self, x_btd: Array) -> Array:
    """Maps the residual stream [B, T, D] to its change [B, T, D]."""
    cfg = self.config
    width, hidden, scale = cfg.width, cfg.feed_forward_width, cfg.initializer_scale
    formats = cfg.training_formats
    inward = (width, hidden, ("embed", "mlp"), cfg.bias, scale, cfg.dtype, formats)
    # (activation(x W) * x V) W2: "in" is W, "gate" is V and "out" is W2 of arXiv:2002.05202, section 2.
    h_btf = layers.Dense(*inward, name="in")(x_btd)
    h_btf = layers.find_activation(cfg.activation)(h_btf)
    if cfg.gated:
      h_btf = h_btf * layers.Dense(*inward, name="gate")(x_btd)
    # Under tensor parallelism the hidden layer stays split by units between the two products; only the second product
    # is followed by a sum over devices (arXiv:1909.08053, section 3).
    h_btf = shard(layers.apply_dropout(cfg, h_btf, self), "batch", None, "mlp")
    outward = (hidden, width, ("mlp", "embed"), cfg.bias, layers.output_scale(cfg), cfg.dtype, formats)
    return layers.Dense(*outward, name="out")(h_btf)


class TransformerBlock(nn.Module):
  """One layer: residual stream in, residual stream out."""

  config: Model
  cross: bool = False
  causal: bool = False

  @nn.compact
  def __call__(
    self, x_btd: Array, inputs: AttentionInputs, layer: Array | int | None = None
  ) -> tuple[Array, None]:
    """Returns (residual stream [B, T, D], None), as a scan's body must; `layer` is the block's number, if needed."""
    cfg = self.config
    inputs = inputs if layer is None else inputs.of_layer(cfg, layer)
    if cfg.block:
      return own_modules.OwnBlock(cfg, "model.block", self.causal, name="block")(x_btd, inputs), None
    # Kept for `parallel`: feed-forward and attention both read the block's input (GPT-NeoX, arXiv:2204.06745).
    first_btd = x_btd
    bare = None if cfg.first_norm or layer is None else layer == 0
    x_btd = self._branch(x_btd, "attention", lambda x: self._attention()(x, inputs), bare=bare)
    if self.cross:
      cross = Attention(cfg, name="cross_attention")
      x_btd = self._branch(x_btd, "cross_attention", lambda x: cross(x, inputs, cross=True))
    read_btd = first_btd if cfg.parallel else x_btd
    x_btd = self._branch(x_btd, "feed_forward", self._feed_forward(), read_btd)
    return x_btd, None

  def _attention(self) -> Callable[..., Array]:
    if self.config.attention_module:
      return own_modules.OwnBlock(self.config, "model.attention_module", self.causal, name="attention")
    return Attention(self.config, self.causal, name="attention")

  def _feed_forward(self) -> Callable[[Array], Array]:
    if self.config.feed_forward_module:
      return own_modules.OwnBlock(self.config, "model.feed_forward_module", name="feed_forward")
    return FeedForward(self.config, name="feed_forward")

  def _branch(
    self,
    x_btd: Array,
    name: str,
    change: Callable[[Array], Array],
    read_btd: Array | None = None,
    bare: Array | bool | None = None,
  ) -> Array:
    """Adds to the residual stream what a branch computes of it, or of what it reads instead; `bare`: without a norm."""
    normalize, placement = layers.make_norm(self.config, name=f"{name}_norm"), self.config.norm_placement
    read_btd = x_btd if read_btd is None else read_btd
    # The residual stream is split by rows only. This is where partial sums of tensor parallelism are all-reduced.
    normed_btd = normalize(read_btd) if placement == "pre" else read_btd
    normed_btd = normed_btd if bare is None else jnp.where(bare, read_btd, normed_btd)
    change_btd = shard(change(normed_btd), "batch", None, None)
    change_btd = normalize(change_btd) if placement == "output" else change_btd
    # Dropout is on the branch alone (arXiv:1706.03762, 5.4): the residual stream itself always passes.
    x_btd = x_btd + layers.apply_dropout(self.config, change_btd, self)
    return normalize(x_btd) if placement == "post" else x_btd


class LayerStack(nn.Module):
  """L blocks whose parameters are stacked along a first axis, and the last norm.

  `config.scan` compiles one block and loops over it; otherwise the loop is unrolled, which is faster at few
  layers. Both hold the same parameters and give the same numbers.
  """

  config: Model
  depth: int
  cross: bool = False
  causal: bool = False

  @nn.compact
  def __call__(self, x_btd: Array, inputs: AttentionInputs) -> Array:
    """Maps the embeddings to hidden states."""
    cfg = self.config
    if inputs.slots is not None:
      return self._finish(self._one_by_one(x_btd, inputs))
    block = gradients.recompute_layer(TransformerBlock, cfg.remat, cfg.scan)
    numbers = (jnp.arange(self.depth),) if cfg.numbered else ()
    # Also without `config.scan`: parameters are stacked either way, so checkpoints do not depend on it.
    # Each layer draws its own parameters and dropout; inputs are shared by all. No axis of the mesh splits the stacked
    # axis "layers": each pass of the loop would need a layer that lies on one device.
    scanned = nn.scan(
      block,
      variable_axes={"params": 0, INTERMEDIATES: 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=(nn.broadcast, 0) if numbers else nn.broadcast,
      length=self.depth,
      unroll=1 if cfg.scan else self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x_btd, _ = scanned(cfg, self.cross, self.causal, name="layers")(x_btd, inputs, *numbers)
    return self._finish(x_btd)

  def _finish(self, x_btd: Array) -> Array:
    if self.config.norm_placement != "post" and self.config.final_norm:
      x_btd = layers.make_norm(self.config, name="norm")(x_btd)
    return x_btd

  def _one_by_one(self, x_btd: Array, inputs: AttentionInputs) -> Array:
    """Runs the layers in a Python loop, each with a cache of its own.

    XLA updates separate caches in place. A scan would slice and copy a stacked cache for every token.
    """
    stacked: Any = self.get_variable("params", "layers")
    unstacked = stacked if isinstance(stacked, tuple) else None  # see `decode_weights.unstack_layers`
    # parent=None: flax would register it as a submodule, with parameters of its own beside the stack's.
    block = TransformerBlock(self.config, self.cross, self.causal, parent=None)
    for index in range(self.depth):
      name = f"layer_{index}"
      params = unstacked[index] if unstacked else jax.tree.map(lambda x, index=index: x[index], stacked)
      # Modules see [in, out] kernels; XLA makes the transpose a part of their products.
      variables = {
        "params": decode_weights.untranspose_kernels(params),
        "cache": self.get_variable("cache", name, {}),
      }
      number = index if self.config.numbered else None
      with gradients.transposed_weights(decode_weights.is_transposed(params)):
        (x_btd, _), changed = block.apply(variables, x_btd, inputs, number, mutable=["cache"])
      self.put_variable("cache", name, changed.get("cache", {}))
    return x_btd
