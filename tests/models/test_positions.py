import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model
from gen.models import layers


def test_sinusoidal_positions_are_the_papers_up_to_a_permutation_of_the_width():
  places = np.array([[0, 1, 2, 5, 900], [3, 3, 0, 17, 4]])
  found = np.asarray(layers.sinusoidal_positions(jnp.asarray(places), 6))
  for pair in range(3):
    angles = places / 10_000 ** (2 * pair / 6)
    np.testing.assert_allclose(found[..., pair], np.sin(angles), atol=1e-4)
    np.testing.assert_allclose(found[..., 3 + pair], np.cos(angles), atol=1e-4)


def test_sinusoidal_positions_serve_an_odd_width():
  found = np.asarray(layers.sinusoidal_positions(jnp.arange(4)[None], 5))
  assert found.shape == (1, 4, 5)
  assert np.linalg.matrix_rank(found[0]) == 4  # each place has a row of its own


def test_sinusoidal_positions_depend_on_the_place_alone():
  rows = np.asarray(layers.sinusoidal_positions(jnp.array([[0, 1, 2, 0, 1]]), 8))[0]
  np.testing.assert_array_equal(rows[:2], rows[3:])


def turned(places, x_bhtk, base=10_000.0):
  return np.asarray(_turned(places, x_bhtk, base))


@functools.partial(jax.jit, static_argnums=2)
def _turned(places, x_bhtk, base):
  return layers.apply_rotary(
    x_bhtk, layers.rotary_angles(places, Model(head_width=x_bhtk.shape[-1], rotary_base=base))
  )


def test_rotary_turns_each_pair_by_its_angle():
  rng = np.random.default_rng(0)
  x, places, base = rng.normal(size=(2, 3, 4, 6)).astype(np.float32), rng.integers(0, 50, (2, 4)), 100.0
  as_complex = x[..., :3].astype(np.float64) + 1j * x[..., 3:]
  rates = base ** (-2 * np.arange(3) / 6)
  wanted = as_complex * np.exp(1j * places[:, None, :, None] * rates)
  found = turned(places, x, base)
  np.testing.assert_allclose(found[..., :3], wanted.real, atol=2e-5)
  np.testing.assert_allclose(found[..., 3:], wanted.imag, atol=2e-5)


def test_rotary_scores_depend_on_the_difference_of_places_only():
  rng = np.random.default_rng(1)
  q, k = rng.normal(size=(2, 1, 3, 5, 8)).astype(np.float32)
  places = np.array([[0, 3, 4, 9, 20]])

  def scores(shift):
    return np.einsum("bhtk,bhsk->bhts", turned(places + shift, q), turned(places + shift, k))

  np.testing.assert_allclose(scores(0), scores(31), atol=1e-4)
  moved_apart = np.einsum("bhtk,bhsk->bhts", turned(places + 1, q), turned(places, k))
  assert np.abs(moved_apart - scores(0)).max() > 0.1


def test_rotary_leaves_place_zero_and_all_lengths_alone():
  x = np.random.default_rng(2).normal(size=(1, 2, 3, 4)).astype(np.float32)
  np.testing.assert_array_equal(turned(np.zeros((1, 3), int), x), x)
  far = turned(np.array([[7, 1000, 30]]), x)
  np.testing.assert_allclose(np.linalg.norm(far, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


def test_rotary_of_a_part_of_the_head_leaves_the_other_dimensions():
  x = np.random.default_rng(3).normal(size=(1, 2, 3, 7)).astype(np.float32)
  places = np.array([[5, 1, 30]])
  found = layers.apply_rotary(x, layers.rotary_angles(places, Model(head_width=7, rotary_width=4)))
  np.testing.assert_array_equal(found[..., 4:], x[..., 4:])
  np.testing.assert_allclose(found[..., :4], turned(places, x[..., :4]), atol=1e-6)


def test_llama_3_divides_long_wavelengths_and_keeps_short_ones():
  plain = Model(head_width=64, rotary_base=5e5)
  scaled = dataclasses.replace(plain, rotary_factor=8.0, rotary_context=8192)
  rates, found = layers.rotary_rates(plain), layers.rotary_rates(scaled)
  waves = 2 * np.pi / rates
  np.testing.assert_array_equal(found[waves < 8192 / 4], rates[waves < 8192 / 4])
  np.testing.assert_allclose(found[waves > 8192], rates[waves > 8192] / 8, rtol=1e-6)
  between = (waves > 8192 / 4) & (waves < 8192)
  assert (
    between.any() and np.all(found[between] < rates[between]) and np.all(found[between] > rates[between] / 8)
  )


def test_rotary_keeps_the_compute_dtype():
  angles = layers.rotary_angles(jnp.arange(3)[None], Model(head_width=4))
  assert layers.apply_rotary(jnp.ones((1, 2, 3, 4), jnp.bfloat16), angles).dtype == jnp.bfloat16


def papers_bucket(distance, buckets, furthest, bidirectional):
  """T5's rule, in whole numbers: the far bucket i is the largest with exact (furthest / exact)^(i/n) <= distance."""
  first = 0
  if bidirectional:
    buckets //= 2
    first = buckets if distance > 0 else 0
    distance = abs(distance)
  else:
    distance = max(0, -distance)
  exact = buckets // 2
  if distance < exact:
    return first + distance
  far = buckets - exact
  bucket = 0
  while bucket < far - 1 and distance**far >= exact ** (far - bucket - 1) * furthest ** (bucket + 1):
    bucket += 1
  return first + exact + bucket


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (16, 50), (8, 20), (10, 128), (64, 1000)])
def test_relative_buckets_follow_the_papers_rule(buckets, furthest, bidirectional):
  distances = np.arange(-3 * furthest, 3 * furthest + 1)
  in_buckets = jax.jit(layers.relative_buckets, static_argnums=(1, 2, 3))
  found = in_buckets(distances[None, None], buckets, furthest, bidirectional)
  wanted = [papers_bucket(int(d), buckets, furthest, bidirectional) for d in distances]
  np.testing.assert_array_equal(np.asarray(found)[0, 0], wanted)
  assert set(wanted) <= set(range(buckets))


def test_a_relative_bias_is_the_heads_row_of_the_pairs_bucket():
  model = Model(width=12, heads=3, relative_buckets=8, relative_distance=20)
  module = layers.RelativeBias(model, bidirectional=True)
  table = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
  queries, keys = np.array([[0, 1, 30]]), np.array([[0, 1, 2, 60]])
  found = np.asarray(jax.jit(module.apply)({"params": {"embedding": table}}, queries, keys))
  assert found.shape == (1, 3, 3, 4)
  for head in range(3):
    for t, query in enumerate(queries[0]):
      for s, key in enumerate(keys[0]):
        assert found[0, head, t, s] == table[papers_bucket(int(key - query), 8, 20, True), head]


def bloom_slopes(heads):
  """The slopes as BLOOM's code makes them: a geometric series, and every other slope of the next one."""
  power = 2 ** math.floor(math.log2(heads))
  base = 2 ** -(2 ** -(math.log2(power) - 3))
  slopes = [base**exponent for exponent in range(1, power + 1)]
  if power != heads:
    base = 2 ** -(2 ** -(math.log2(2 * power) - 3))
    slopes += [base**exponent for exponent in range(1, 1 + 2 * (heads - power), 2)]
  return slopes


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 16, 25])
def test_alibi_slopes_are_those_of_the_paper_and_bloom(heads):
  np.testing.assert_allclose(layers.alibi_slopes(heads), bloom_slopes(heads), rtol=1e-6)


def test_alibi_slopes_of_eight_heads_halve():
  np.testing.assert_array_equal(layers.alibi_slopes(8), [2.0**-i for i in range(1, 9)])


def test_alibi_grows_with_the_distance_of_places_not_of_columns():
  queries, keys = jnp.array([[0, 1, 0]]), jnp.array([[0, 1, 0, 5]])
  found = np.asarray(layers.alibi_bias(queries, keys, 3))
  assert found.shape == (1, 3, 3, 4)
  distances = np.abs(np.array([[0, 1, 0, 5], [-1, 0, -1, 4], [0, 1, 0, 5]]))
  for head, slope in enumerate([2**-4, 2**-8, 2**-2]):
    np.testing.assert_allclose(found[0, head], -slope * distances, rtol=1e-6)


def test_distances_far_to_near_become_scores_of_keys():
  length = 4
  for causal in (True, False):
    distances = list(range(length - 1, -1 if causal else -length, -1))
    scores = np.tile(np.array(distances, np.float32), (1, 2, length, 1))
    shifted = np.asarray(jax.jit(layers.shift_relative)(scores))
    assert shifted.shape == (1, 2, length, length)
    for t, s in np.ndindex(length, length):
      if s <= t or not causal:
        assert (shifted[..., t, s] == t - s).all()


def test_the_waves_of_distances_are_sinusoids_of_them():
  for causal, distances in ((True, [2, 1, 0]), (False, [2, 1, 0, -1, -2])):
    found = layers.distance_waves(3, 8, causal)
    np.testing.assert_allclose(found, layers.sinusoidal_positions(jnp.array([distances]), 8)[0], atol=1e-6)


def test_distance_scores_are_the_papers_terms_one_pair_at_a_time():
  model = Model(width=10, heads=3, head_width=4)
  rng = np.random.default_rng(0)
  params = {
    "distance": {"kernel": rng.normal(size=(10, 3, 4))},
    "content_bias": rng.normal(size=(3, 4)),
    "distance_bias": rng.normal(size=(3, 4)),
  }
  params = jax.tree.map(lambda x: x.astype(np.float32), params)
  q_bhtk = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
  waves_rd = np.asarray(layers.distance_waves(5, 10, causal=False))
  content, scores = jax.jit(layers.DistanceScores(model).apply)({"params": params}, q_bhtk, waves_rd)
  np.testing.assert_allclose(content, q_bhtk + params["content_bias"][:, None], rtol=1e-6)
  for b, h, t, s in np.ndindex(2, 3, 5, 5):
    key = waves_rd[4 - (t - s)] @ params["distance"]["kernel"][:, h]
    wanted = (q_bhtk[b, h, t] + params["distance_bias"][h]) @ key
    assert float(np.asarray(scores)[b, h, t, s]) == pytest.approx(wanted, abs=1e-4)
