"""The six ways in which a transformer knows where a token stands.

Sinusoidal and learned positions are added to embeddings (arXiv:1706.03762, 3.5); rotary ones turn queries and keys
(arXiv:2104.09864); T5's relative buckets (arXiv:1910.10683, 2.1) and ALiBi (arXiv:2108.12409) are biases on scores;
Transformer-XL's distances (arXiv:1901.02860, 3.3) are keys of their own, in Gopher and Chinchilla too.
B batch, T query, S key, R distance, H heads, K head width, D width.
"""

import math

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.models import layers


def sinusoidal_positions(positions_bt: Array, width: int) -> Array:
  """Returns sines in the first half of the width and cosines in the second, float32 [B, T, D].

  Angles are position / 10000^(2 i / D). The paper interleaves sines and cosines, which only permutes D.
  """
  rates_d = 10_000.0 ** (-2 * np.arange((width + 1) // 2, dtype=np.float32) / width)
  angles_btd = positions_bt[..., None].astype(jnp.float32) * rates_d
  return jnp.concatenate([jnp.sin(angles_btd), jnp.cos(angles_btd)], axis=-1)[..., :width]


def rotary_angles(positions_bt: Array, head_width: int, base: float) -> tuple[Array, Array]:
  """Returns cosines and sines [B, 1, T, K/2] by which pairs (i, i + K/2) of a head turn."""
  rates_k = base ** (-np.arange(head_width // 2, dtype=np.float32) * 2 / head_width)
  angles_b1tk = positions_bt[:, None, :, None].astype(jnp.float32) * rates_k
  return jnp.cos(angles_b1tk), jnp.sin(angles_b1tk)


def apply_rotary(x_bhtk: Array, angles: tuple[Array, Array]) -> Array:
  """Turns queries or keys [..., B, H, T, K] by their positions."""
  cosines, sines = angles
  half = x_bhtk.shape[-1] // 2
  first, second = x_bhtk[..., :half], x_bhtk[..., half:]
  turned = jnp.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
  return turned.astype(x_bhtk.dtype)


def relative_buckets(distance_bts: Array, buckets: int, furthest: int, bidirectional: bool) -> Array:
  """Returns T5's bucket of each key position minus query position.

  Half of the buckets (per direction) hold single distances, the rest grow logarithmically up to `furthest`.
  """
  offset = jnp.zeros_like(distance_bts)
  if bidirectional:
    buckets //= 2
    offset = jnp.where(distance_bts > 0, buckets, 0)
    distance_bts = jnp.abs(distance_bts)
  else:
    distance_bts = -jnp.minimum(distance_bts, 0)
  # Looked up in a table made here: a compiled logarithm may land on the other side of a bucket's edge. In float32,
  # as published models have it, whose edges float64 would move too.
  exact, places, narrow = buckets // 2, np.arange(furthest + 1), np.float32
  ratio = np.log(np.maximum(places, 1).astype(narrow) / narrow(exact)) / narrow(math.log(furthest / exact))
  far = np.minimum(exact + (ratio * narrow(buckets - exact)).astype(np.int32), buckets - 1)
  table = jnp.asarray(np.where(places < exact, places, far).astype(np.int32))
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
    table = layers.make_weight(self, "embedding", layers.fan_in_normal(cfg.width), shape, (None, "heads"))
    distance_bts = keys_bs[:, None, :] - queries_bt[:, :, None]
    buckets_bts = relative_buckets(
      distance_bts, cfg.relative_buckets, cfg.relative_distance, self.bidirectional
    )
    return jnp.moveaxis(jnp.take(table, buckets_bts, axis=0), -1, 1)


def alibi_slopes(heads: int) -> np.ndarray:
  """Returns ALiBi's slope of each head: 2^(-8 i / n), with BLOOM's rule where heads are no power of two."""
  power = 2 ** math.floor(math.log2(heads))
  slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
  slopes += [2 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(heads - power)]
  return np.array(slopes, np.float32)


def alibi_bias(queries_bt: Array, keys_bs: Array, heads: int) -> Array:
  """Returns the bias -slope |query - key| as [B, H, T, S]."""
  distance_bts = jnp.abs(keys_bs[:, None, :] - queries_bt[:, :, None]).astype(jnp.float32)
  return -jnp.asarray(alibi_slopes(heads))[None, :, None, None] * distance_bts[:, None]


def distance_waves(length: int, width: int, causal: bool) -> Array:
  """Returns the sinusoids [R, D] of distances length - 1 down to 0, or to 1 - length where both ways are seen."""
  distances_r = jnp.arange(length - 1, -1 if causal else -length, -1)
  return sinusoidal_positions(distances_r[None], width)[0]


def shift_relative(scores_bhtr: Array) -> Array:
  """Returns scores by distance as scores by key: [b, h, t, s] is that of distance t - s.

  Row t begins T - 1 - t places late, which is what reading the rows one element longer than they are does. Keys
  at distances that are not there get numbers without meaning, which a causal mask hides.
  """
  batch, heads, length, distances = scores_bhtr.shape
  longer = jnp.pad(scores_bhtr, ((0, 0), (0, 0), (0, 0), (1, 0)))
  flat = longer.reshape(batch, heads, length * (distances + 1))[..., length:]
  return flat.reshape(batch, heads, length, distances)[..., :length]


class DistanceScores(nn.Module):
  """Scores q' W r of distances between queries and keys; q' is q with a bias, and content has another."""

  config: Model

  @nn.compact
  def __call__(self, q_bhtk: Array, waves_rd: Array, in_order: bool = False) -> tuple[Array, Array]:
    """Returns queries of content [B, H, T, K], and what distance adds to scores before the scale [B, H, T, S].

    The waves are those of all distances, furthest first, or `in_order`: of each key's distance to a single query.
    """
    cfg = self.config
    sizes, axes = (cfg.n_heads, cfg.head_width), ("heads", "head")
    project = layers.KernelOnly(
      (cfg.width, *sizes), ("embed", *axes), cfg.width, cfg.initializer_scale, name="distance"
    )
    content_hk = layers.make_weight(self, "content_bias", layers.ZEROS, sizes, axes).astype(cfg.dtype)
    distance_hk = layers.make_weight(self, "distance_bias", layers.ZEROS, sizes, axes).astype(cfg.dtype)
    keys_hrk = jnp.einsum("rd,dhk->hrk", waves_rd.astype(cfg.dtype), project().astype(cfg.dtype))
    scores_bhtr = jnp.einsum(
      "bhtk,hrk->bhtr", q_bhtk + distance_hk[:, None], keys_hrk, preferred_element_type=jnp.float32
    )
    return q_bhtk + content_hk[:, None], scores_bhtr if in_order else shift_relative(scores_bhtr)
