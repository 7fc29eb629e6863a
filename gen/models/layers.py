"""The layers of blocks: dense layers, norms, embeddings and positions.

Dense layers and embeddings follow arXiv:1706.03762, section 3. There are six kinds of positions:

    sinusoidal, learned   added to embeddings                arXiv:1706.03762, 3.5
    rotary                rotations of queries and keys      arXiv:2104.09864
    relative              T5's buckets, a bias on scores     arXiv:1910.10683, 2.1
    alibi                 a bias on scores                   arXiv:2108.12409
    transformer_xl        keys of distances, also in Gopher  arXiv:1901.02860, 3.3
                          and Chinchilla

Parameters are float32, and their axes have logical names. Compute is in the config's dtype, norms in float32.
B batch, T query, S key, N tokens, R distance, H heads, K head width, D width.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import dropout, gradients, quantized
from gen.models import own_modules
from gen.precision import fake_quantization
from gen.precision.quantized_array import QuantizedArray, StoredKernel
from gen.sharding import activation_sharding

Initializer = Callable[..., Array]
ZEROS, ONES = nn.initializers.zeros_init(), nn.initializers.ones_init()

# Each stores one array for its gradient; why is in `gradients.recompute_activation` and `relu_from_output`. The gates
# of GLU variants are named as in arXiv:2002.05202; `geglu` uses tanh, as T5 v1.1 does.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "relu": gradients.relu_from_output,
  "gelu": gradients.recompute_activation(functools.partial(nn.gelu, approximate=False)),
  "gelu_tanh": gradients.recompute_activation(functools.partial(nn.gelu, approximate=True)),
  "geglu": gradients.recompute_activation(functools.partial(nn.gelu, approximate=True)),
  "geglu_exact": gradients.recompute_activation(functools.partial(nn.gelu, approximate=False)),
  "swiglu": gradients.recompute_activation(nn.silu),
}


def find_activation(name: str) -> Callable[[Array], Array]:
  """Returns the activation of a config, which may be the user's own."""
  return ACTIVATIONS[name] if name in ACTIVATIONS else own_modules.load_activation(name)


def fan_in_normal(fan_in: int, scale: float = 1.0) -> Callable[..., Array]:
  """Returns a normal initializer of standard deviation scale / sqrt(fan_in)."""
  # Keeps the variance of activations at 1 through a layer (LeCun et al. 1998, Efficient BackProp, section 4.6).
  return nn.initializers.normal(scale / math.sqrt(fan_in))


def output_scale(config: Model) -> float:
  """Returns the factor on initial weights that write to the residual stream: 1 / sqrt(2 L), as in GPT-2."""
  # L blocks add 2 L results to the residual stream, whose variance would grow as 2 L (Radford et al. 2019, 2.3). An
  # encoder-decoder takes its deeper stack for both.
  return config.initializer_scale / math.sqrt(2 * max(config.depth, config.target_depth))


def make_weight(
  module: nn.Module, name: str, initializer: Initializer, shape: tuple[int, ...], axes: tuple[str | None, ...]
) -> Array:
  """Returns a float32 parameter of the module.

  `axes` has a logical name or None for each axis; `gen.sharding` maps names to axes of the mesh.
  """
  stored: Any = module.get_variable("params", name) if module.has_variable("params", name) else None
  if isinstance(stored, StoredKernel):
    return cast(Array, stored)  # with fewer bits; products recognize it
  value = cast(Array, module.param(name, nn.with_logical_partitioning(initializer, axes), shape, jnp.float32))
  # Under ZeRO-3 and fsdp it is stored in shards, and gathered here, before it is used.
  return activation_sharding.gather_weight(value, *axes) if gradients.on_mesh() else value


def shard(x: Array, *axes: str | None) -> Array:
  """Returns x split over the mesh by the logical names of its axes (None: not split); without a mesh, x."""
  if isinstance(x, StoredKernel):
    return x
  # Without these hints XLA may choose another split for an activation than for the next, and communicate between them.
  return activation_sharding.shard_activation(x, *axes) if gradients.on_mesh() else x


def num_shards(axis: str) -> int:
  """Returns over how many devices a logical axis is split; 1 without a mesh."""
  return activation_sharding.num_shards(axis) if gradients.on_mesh() else 1


class KernelOnly(nn.Module):
  """A weight of any rank."""

  shape: tuple[int, ...]
  axes: tuple[str | None, ...]
  fan_in: int
  scale: float = 1.0
  formats: fake_quantization.TrainingFormats | None = None

  @nn.compact
  def __call__(self) -> Array:
    """Returns the weight, float32."""
    kernel = make_weight(self, "kernel", fan_in_normal(self.fan_in, self.scale), self.shape, self.axes)
    return fake_quantization.wrap_kernel(kernel, self.fan_in, self.formats) if self.formats else kernel


class Dense(nn.Module):
  """x W + b over the last axis."""

  inputs: int
  outputs: int
  axes: tuple[str | None, str | None]
  bias: bool = False
  scale: float = 1.0
  dtype: str = "float32"
  formats: fake_quantization.TrainingFormats | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., inputs] to [..., outputs]."""
    initializer = fan_in_normal(self.inputs, self.scale)
    kernel_io = make_weight(self, "kernel", initializer, (self.inputs, self.outputs), self.axes)
    if self.formats:
      kernel_io = fake_quantization.wrap_kernel(kernel_io, self.inputs, self.formats)
    # With tokens flattened to one axis, XLA's CPU backend computes the gradient of W at the rate of a matrix product.
    # Contracting batch and length as two axes takes twice as long: 21 ms for a feed-forward instead of 10.5.
    y_no = gradients.matmul(x.reshape(-1, self.inputs), kernel_io.astype(self.dtype))
    if self.bias:
      y_no = y_no + make_weight(self, "bias", ZEROS, (self.outputs,), self.axes[1:]).astype(self.dtype)
    return y_no.reshape(*x.shape[:-1], self.outputs)


class Norm(nn.Module):
  """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) over the last axis, in float32."""

  width: int
  kind: str = "layernorm"
  bias: bool = False
  epsilon: float = 1e-5
  dtype: str = "float32"
  axis: str = "norm"
  offset: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Normalizes [..., width]; the result is in the config's dtype."""
    # In float32: a mean of squares in bfloat16 would have 8 bits.
    scale_d = make_weight(self, "scale", ZEROS if self.offset else ONES, (self.width,), (self.axis,))
    scale_d = scale_d.astype(jnp.float32)
    scale_d = 1 + scale_d if self.offset else scale_d
    y = gradients.normalize(x.astype(jnp.float32), scale_d, self.kind == "layernorm", self.epsilon)
    if self.bias and self.kind == "layernorm":
      y = y + make_weight(self, "bias", ZEROS, (self.width,), (self.axis,))
    return y.astype(self.dtype)


def make_norm(config: Model, name: str | None = None) -> Norm:
  """Returns the config's norm over the residual stream."""
  sizes = (config.width, config.norm, config.norm_bias, config.norm_epsilon, config.dtype)
  return Norm(*sizes, offset=config.norm_offset, name=name)


class Embedding(nn.Module):
  """Rows of a table, looked up by id."""

  rows: int
  width: int
  axes: tuple[str | None, str | None] = ("vocab", "embed")
  scale: float = 1.0

  def setup(self) -> None:
    """Makes the table."""
    # Rows have a norm of about 1: with a tied table and a normalized hidden state, logits start with variance 1.
    initializer = fan_in_normal(self.width, self.scale)
    self.table_vd = make_weight(self, "embedding", initializer, (self.rows, self.width), self.axes)

  def matrix(self) -> Array:
    """Returns the table, float32 [rows, width]."""
    return self.table_vd

  def __call__(self, ids: Array) -> Array:
    """Maps ids of any shape to [..., width], float32."""
    table_vd = self.matrix()
    if isinstance(table_vd, QuantizedArray):
      return quantized.take_rows(table_vd, ids)
    # "clip" instead of jax's default "fill", which would return NaN for an id outside the table.
    return jnp.take(table_vd, ids, axis=0, mode="clip").astype(jnp.float32)


def apply_dropout(config: Model, x: Array, module: nn.Module) -> Array:
  """Applies the config's dropout where the caller gave a `dropout` key, and nothing otherwise."""
  if config.dropout == 0.0 or not module.has_rng("dropout"):
    return x
  # Scaled by the share that stays, so that evaluation needs no factor.
  keep = dropout.draw_mask(module.make_rng("dropout"), 1 - config.dropout, x.shape)
  return jnp.where(keep, x / (1 - config.dropout), 0)


def sinusoidal_positions(positions_bt: Array, width: int) -> Array:
  """Returns sines in the first half of the width and cosines in the second, float32 [B, T, D].

  Angles are position / 10000^(2 i / D). The paper (arXiv:1706.03762, 3.5) interleaves sines and cosines, which only
  permutes D.
  """
  # Angles are float32 whatever the compute dtype: bfloat16 cannot represent integers above 256 exactly.
  rates_d = 10_000.0 ** (-2 * np.arange((width + 1) // 2, dtype=np.float32) / width)
  angles_btd = positions_bt[..., None].astype(jnp.float32) * rates_d
  return jnp.concatenate([jnp.sin(angles_btd), jnp.cos(angles_btd)], axis=-1)[..., :width]


def rotary_rates(config: Model) -> np.ndarray:
  """Returns the radians per position of each rotated pair, float32.

  With a context, long wavelengths are divided by the factor, short ones stay, and those between are interpolated
  (Llama 3.1, arXiv:2407.21783); without one, all are divided.
  """
  # Computed in numpy on the host, so the powers are constants of the program.
  width, factor = config.turned_width, config.rotary_factor
  rates_k = config.rotary_base ** (-np.arange(width // 2, dtype=np.float32) * 2 / width)
  if not config.rotary_context:
    return rates_k if factor == 1.0 else rates_k / factor
  turns_k = config.rotary_context * rates_k / (2 * np.pi)  # full turns within the context of pre-training
  kept_k = np.clip((turns_k - config.rotary_low) / (config.rotary_high - config.rotary_low), 0, 1)
  return (rates_k * (kept_k + (1 - kept_k) / factor)).astype(np.float32)


def rotary_angles(positions_bt: Array, config: Model) -> tuple[Array, Array] | None:
  """Returns cosines and sines [B, 1, T, K/2] of the angles by which pairs (i, i + K/2) of a head are rotated.

  None where positions of the user's own are a bias.
  """
  if ":" in config.positions:
    return own_modules.rotary_angles(config, positions_bt)
  angles_b1tk = positions_bt[:, None, :, None].astype(jnp.float32) * rotary_rates(config)
  return jnp.cos(angles_b1tk), jnp.sin(angles_b1tk)


def apply_rotary(x_bhtk: Array, angles: tuple[Array, Array]) -> Array:
  """Rotates queries or keys [..., B, H, T, K] by their positions (arXiv:2104.09864).

  Dimensions of a head after the rotated ones stay.
  """
  cosines, sines = angles
  # Pairs are halves of a head, as in GPT-NeoX and in Llama's weights of transformers, where the paper pairs neighbours.
  # Slices of halves are contiguous; strided ones are not. Angles are float32, and so is the rotation.
  half = cosines.shape[-1]
  x, y, rest = x_bhtk[..., :half], x_bhtk[..., half : 2 * half], x_bhtk[..., 2 * half :]
  parts = [x * cosines - y * sines, y * cosines + x * sines]
  rotated = jnp.concatenate([*parts, rest] if rest.shape[-1] else parts, axis=-1)
  return rotated.astype(x_bhtk.dtype)


def relative_buckets(distance_bts: Array, buckets: int, furthest: int, bidirectional: bool) -> Array:
  """Returns T5's bucket of each key position minus query position (arXiv:1910.10683, 2.1).

  Half of the buckets (per direction) hold single distances, the others grow logarithmically up to `furthest`.

  Args:
    distance_bts: key position minus query position.
    buckets: number of buckets, of both directions together if `bidirectional`.
    furthest: distance from which on all are in the last bucket.
    bidirectional: whether later keys have buckets of their own; otherwise they are all in that of distance 0.
  """
  offset = jnp.zeros_like(distance_bts)
  if bidirectional:
    buckets //= 2
    offset = jnp.where(distance_bts > 0, buckets, 0)
    distance_bts = jnp.abs(distance_bts)
  else:
    distance_bts = -jnp.minimum(distance_bts, 0)
  # The table is made on the host, because a compiled logarithm may round to the other side of a bucket's edge. It is
  # float32 as in published models: float64 would move some edges too.
  exact, distances, narrow = buckets // 2, np.arange(furthest + 1), np.float32
  ratio = np.log(np.maximum(distances, 1).astype(narrow) / narrow(exact)) / narrow(math.log(furthest / exact))
  logarithmic = np.minimum(exact + (ratio * narrow(buckets - exact)).astype(np.int32), buckets - 1)
  table = jnp.asarray(np.where(distances < exact, distances, logarithmic).astype(np.int32))
  return offset + jnp.take(table, jnp.minimum(distance_bts, furthest))


class RelativeBias(nn.Module):
  """T5's learned bias of a score by head and bucket of distance, shared by the layers of a stack."""

  config: Model
  bidirectional: bool

  @nn.compact
  def __call__(self, queries_bt: Array, keys_bs: Array) -> Array:
    """Returns the bias [B, H, T, S] for positions of queries and keys."""
    cfg = self.config
    shape = (cfg.relative_buckets, cfg.n_heads)
    # 1 / sqrt(D) is T5's own scale of this table. Heads are split as those of attention, so the bias needs no gather.
    table = make_weight(self, "embedding", fan_in_normal(cfg.width), shape, (None, "heads"))
    distance_bts = keys_bs[:, None, :] - queries_bt[:, :, None]
    buckets_bts = relative_buckets(
      distance_bts, cfg.relative_buckets, cfg.relative_distance, self.bidirectional
    )
    return jnp.moveaxis(jnp.take(table, buckets_bts, axis=0), -1, 1)


def alibi_slopes(heads: int) -> np.ndarray:
  """Returns ALiBi's slope of each head, float32 [H]: 2^(-8 i / n) (arXiv:2108.12409, section 3).

  If the number of heads is no power of two, the slopes of the next lower power are followed by every second slope of
  the next higher one, as in BLOOM.
  """
  power = 2 ** math.floor(math.log2(heads))
  slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
  slopes += [2 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(heads - power)]
  return np.array(slopes, np.float32)


def alibi_bias(queries_bt: Array, keys_bs: Array, heads: int) -> Array:
  """Returns the bias -slope |query - key| as [B, H, T, S]."""
  # The paper's bias is for keys before the query. The absolute distance extends it to encoders.
  distance_bts = jnp.abs(keys_bs[:, None, :] - queries_bt[:, :, None]).astype(jnp.float32)
  return -jnp.asarray(alibi_slopes(heads))[None, :, None, None] * distance_bts[:, None]


def distance_waves(length: int, width: int, causal: bool) -> Array:
  """Returns the sinusoids [R, D] of distances length - 1 down to 0, or to 1 - length where both ways are seen."""
  distances_r = jnp.arange(length - 1, -1 if causal else -length, -1)
  return sinusoidal_positions(distances_r[None], width)[0]


def shift_relative(scores_bhtr: Array) -> Array:
  """Returns scores by distance as scores by key: [b, h, t, s] is that of distance t - s.

  Scores of keys at distances that do not exist are undefined; a causal mask hides them.

  Args:
    scores_bhtr: scores by distance, the furthest first (`distance_waves`).
  """
  batch, heads, length, distances = scores_bhtr.shape
  # Row t must move left by T - 1 - t. Padding each row by one element in front and dropping the first T elements of the
  # flat array does so without an index (arXiv:1901.02860, appendix B).
  longer = jnp.pad(scores_bhtr, ((0, 0), (0, 0), (0, 0), (1, 0)))
  flat = longer.reshape(batch, heads, length * (distances + 1))[..., length:]
  return flat.reshape(batch, heads, length, distances)[..., :length]


class DistanceScores(nn.Module):
  """Transformer-XL's scores of distances, (q + v) W r, and the queries of content q + u (arXiv:1901.02860, 3.3).

  u is `content_bias` and v is `distance_bias`, each [H, K]; r are the waves of the distances.
  """

  config: Model

  @nn.compact
  def __call__(self, q_bhtk: Array, waves_rd: Array, in_order: bool = False) -> tuple[Array, Array]:
    """Returns queries of content [B, H, T, K], and what distance adds to scores before the scale [B, H, T, S].

    Args:
      q_bhtk: queries.
      waves_rd: waves of all distances, the furthest first.
      in_order: whether the waves are those of each key's distance to the single query instead.
    """
    cfg = self.config
    sizes, axes = (cfg.n_heads, cfg.head_width), ("heads", "head")
    shape, names, scale = (cfg.width, *sizes), ("embed", *axes), cfg.initializer_scale
    project = KernelOnly(shape, names, cfg.width, scale, cfg.training_formats, name="distance")
    content_hk = make_weight(self, "content_bias", ZEROS, sizes, axes).astype(cfg.dtype)
    distance_hk = make_weight(self, "distance_bias", ZEROS, sizes, axes).astype(cfg.dtype)
    # Keys of distances are the same for all rows, so this product has no batch axis.
    keys_hrk = jnp.einsum("rd,dhk->hrk", waves_rd.astype(cfg.dtype), project().astype(cfg.dtype))
    scores_bhtr = jnp.einsum(
      "bhtk,hrk->bhtr", q_bhtk + distance_hk[:, None], keys_hrk, preferred_element_type=jnp.float32
    )
    return q_bhtk + content_hk[:, None], scores_bhtr if in_order else shift_relative(scores_bhtr)


class InputEmbeddings(nn.Module):
  """Token, position and type embeddings of one stack's input; the token table may be shared."""

  config: Model
  table: Embedding

  @nn.compact
  def __call__(self, ids_bt: Array, positions_bt: Array, token_types_bt: Array | None) -> Array:
    """Maps ids [B, T] to the residual stream [B, T, D]."""
    cfg = self.config
    # Sums and the norm are float32; only the result is in the compute dtype.
    x_btd = self.table(ids_bt) * cfg.embedding_scale
    if cfg.positions == "learned":
      rows = cfg.context + cfg.position_offset
      table = Embedding(rows, cfg.width, ("positions", "embed"), name="positions")
      x_btd = x_btd + table(positions_bt + cfg.position_offset)
    elif cfg.positions == "sinusoidal":
      x_btd = x_btd + sinusoidal_positions(positions_bt, cfg.width)
    if cfg.token_types:
      # Without types every token is BERT's sentence A, which is row 0.
      kinds = Embedding(cfg.token_types, cfg.width, (None, "embed"), name="token_types")
      x_btd = x_btd + kinds(jnp.zeros_like(ids_bt) if token_types_bt is None else token_types_bt)
    if cfg.embedding_norm:
      x_btd = make_norm(cfg, name="norm")(x_btd)
    return shard(apply_dropout(cfg, x_btd.astype(cfg.dtype), self), "batch", None, None)
