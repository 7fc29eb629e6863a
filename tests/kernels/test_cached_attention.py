"""Attention over a cache of int8 equals the same sums in numpy's float64, in one block and in several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import cached_attention
from gen.kernels.cached_attention import QuantizedRows

B, H, S, K = 3, 6, 7, 5


def drawn_rows(rng, groups):
  levels = rng.integers(-127, 128, (B, groups, S, K)).astype(np.int8)
  return QuantizedRows(levels, rng.uniform(0.001, 0.02, (B, groups, S, 1)).astype(np.float32))


def attend_in_float64(q, keys, values, bias, scale):
  """Returns the result of each head by a loop; query head h reads key head h // R."""
  made = np.zeros(q.shape)
  k, v = (rows.levels_bgsk.astype(np.float64) * rows.scales_bgs1 for rows in (keys, values))
  repeats = H // k.shape[1]
  bias = np.broadcast_to(bias, (B, H, q.shape[2], S)).astype(np.float64)
  for b, h in np.ndindex(B, H):
    scores = scale * q[b, h].astype(np.float64) @ k[b, h // repeats].T + bias[b, h]
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    made[b, h] = powers / powers.sum(-1, keepdims=True) @ v[b, h // repeats]
  return made


@pytest.mark.parametrize(
  ("groups", "new", "block"), [(6, 1, 1 << 18), (2, 1, 2 * S * K), (3, 2, 4 * S * K), (6, 1, 1)]
)
def test_it_is_the_sum_over_the_same_integers(groups, new, block, monkeypatch):
  monkeypatch.setattr(cached_attention, "BLOCK_ELEMENTS", block)
  rng = np.random.default_rng(groups)
  keys, values = drawn_rows(rng, groups), drawn_rows(rng, groups)
  q = rng.normal(size=(B, H, new, K)).astype(np.float32)
  bias = rng.normal(size=(B, H if new == 2 else 1, new, S)).astype(np.float32)
  bias[0, :, :, :3] = -1e9
  found = jax.jit(cached_attention.attend_quantized)(q, keys, values, bias, 0.7)
  np.testing.assert_allclose(found, attend_in_float64(q, keys, values, bias, 0.7), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_small_values_survive_in_16_bits(dtype, tolerance):
  rng = np.random.default_rng(3)
  keys, values = drawn_rows(rng, 2), drawn_rows(rng, 2)
  values = values._replace(scales_bgs1=values.scales_bgs1 * np.float32(1e-4))  # subnormal as float16
  q = rng.normal(size=(B, H, 1, K)).astype(np.float32)
  bias = np.zeros((B, 1, 1, S), np.float32)
  found = jax.jit(cached_attention.attend_quantized)(jnp.asarray(q, dtype), keys, values, bias, 0.7)
  wanted = attend_in_float64(np.asarray(jnp.asarray(q, dtype), np.float32), keys, values, bias, 0.7)
  assert found.dtype == dtype
  assert np.abs(np.asarray(found, np.float64) - wanted).max() < tolerance * np.abs(wanted).max()
