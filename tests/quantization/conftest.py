"""Toys of every family, with parameters drawn by numpy."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from gen import presets
from gen.batch import Batch
from gen.config import Model
from gen.models import language_model

VOCAB = 31


def small(name):
  """Returns a preset's architecture at the size of a toy, with unequal sizes."""
  return dataclasses.replace(
    presets.get_model(name), vocab=VOCAB, width=12, depth=2, heads=3, head_width=4, feed_forward=8, context=40,
    dropout=0.0, relative_buckets=8, relative_distance=11,
  )  # fmt: skip


MODELS = {
  "decoder": small("gpt2"),
  "encoder_decoder": small("t5-small"),
  "encoder": small("bert-base"),
  "distances": Model(
    vocab=VOCAB, width=12, depth=1, head_width=4, positions="transformer_xl", activation="swiglu"
  ),
  "gru": Model(family="gru", vocab=VOCAB, width=12, depth=2, residual=True),
  "lstm": Model(family="lstm", vocab=VOCAB, width=12, depth=1, tied=True),
}


@functools.cache
def _parameters(name):
  rng = np.random.default_rng(len(name))

  def draw(path, shape):
    centre = 1.0 if path[-1].key == "scale" else 0.0
    return (centre + 0.3 * rng.normal(size=shape.shape)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, language_model.parameter_shapes(MODELS[name]))


@pytest.fixture(scope="session")
def toy():
  """Returns the config, the module and the parameters of a family."""
  return lambda name: (MODELS[name], language_model.build_model(MODELS[name]), _parameters(name))


@pytest.fixture(scope="session")
def toy_batch():
  """Returns a batch for a family."""

  def draw(model, rows=3, length=9, seed=0):
    rng = np.random.default_rng(seed)
    ids_bt = rng.integers(1, VOCAB, (rows, length + 1)).astype(np.int32)
    ones_bt = np.ones((rows, length), np.int32)
    positions_bt = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    source = (
      (ids_bt[:, :5], ones_bt[:, :5], positions_bt[:, :5])
      if model.family == "encoder_decoder"
      else (None,) * 3
    )
    return Batch(ids_bt[:, :-1], ids_bt[:, 1:], ones_bt.astype(np.float32), ones_bt, positions_bt, *source)

  return draw
