"""Small models of every architecture, and what they say without a cache."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen import presets
from gen.models import language_model

VOCAB, CONTEXT = 29, 40
PRESETS = ("gpt2", "bloom-560m", "chinchilla-44m", "modern", "t5-small", "bart-base")


def small(name):
  """Returns a preset's architecture at the size of a toy, with unequal sizes."""
  model = presets.get_model(name)
  groups = 1 if model.key_value_heads else 0
  return dataclasses.replace(
    model, vocab=VOCAB, width=14, depth=2, heads=3, head_width=4, key_value_heads=groups, feed_forward=10,
    context=CONTEXT, dropout=0.0, relative_buckets=8, relative_distance=11,
  )  # fmt: skip


MODELS = {name: small(name) for name in PRESETS} | {
  "switches": dataclasses.replace(
    small("modern"),
    positions="none",
    qk_norm=True,
    logits_soft_cap=5.0,
    attention_scale=0.3,
    head_bias=True,
    attention_scale_by_layer=True,
  ),
  "window": dataclasses.replace(
    small("modern"),
    window=3,
    parallel=True,
    rotary_width=2,
    qk_norm=True,
    qk_norm_joint=True,
    norm_offset=True,
  ),
  "olmo": dataclasses.replace(small("modern"), norm_placement="output", qkv_bias=True, rotary_factor=2.0),
  "waves": dataclasses.replace(
    small("t5-small"), positions="sinusoidal", decoder_depth=1, decoder_heads=2, decoder_feed_forward=9
  ),
}


@functools.cache
def built(name):
  """Returns a model's module and parameters, drawn by numpy; logits are far apart."""
  model = MODELS[name]
  rng = np.random.default_rng(len(name))

  def draw(path, shape):
    centre = 1.0 if path[-1].key == "scale" else 0.0
    return (centre + 0.4 * rng.normal(size=shape.shape)).astype(np.float32)

  return language_model.build_model(model), jax.tree_util.tree_map_with_path(
    draw, language_model.parameter_shapes(model)
  )


def prompts(count, seed=0, longest=15):
  """Returns prompts of unequal lengths."""
  rng = np.random.default_rng(seed)
  return [rng.integers(1, VOCAB, rng.integers(1, longest + 1)) for _ in range(count)]


def uncached(module, params, texts, sources=None):
  """Returns log-probabilities [B, T, V] of texts read whole, padded on the right."""

  def rows(lists):
    longest = max(map(len, lists))
    filled = [[*ids, *[0] * (longest - len(ids))] for ids in lists]
    return jnp.array(filled), jnp.array([[1] * len(ids) + [0] * (longest - len(ids)) for ids in lists])

  arguments = {}
  if sources is not None:
    arguments["source_bs"], arguments["source_segments_bs"] = rows(sources)
  apply = jax.jit(lambda p, ids, others: jax.nn.log_softmax(module.apply({"params": p}, ids, **others)))
  return np.asarray(apply(params, rows(texts)[0], arguments))


@pytest.fixture(scope="session")
def models():
  return MODELS


@pytest.fixture(scope="session", name="built")
def _built():
  return built


@pytest.fixture(scope="session", name="prompts")
def _prompts():
  return prompts


@pytest.fixture(scope="session", name="uncached")
def _uncached():
  return uncached
