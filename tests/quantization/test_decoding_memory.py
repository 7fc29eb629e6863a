"""Decoding with 8 bits takes at most .30 of the memory in float32, at GPT-2's proportions."""

import dataclasses

import jax
import numpy as np
import pytest

from gen import presets
from gen.config import Model
from gen.generation.decoding import benchmark
from gen.kernels import cached_attention, quantized
from gen.models import language_model
from gen.quantization import model_quantization
from gen.quantization.model_scheme import parse_scheme

pytestmark = pytest.mark.optimized


@pytest.mark.parametrize("activations", ["int8", "none"])
def test_decoding_in_int8_takes_at_most_three_tenths_of_float32s_memory(activations, monkeypatch):
  # As small beside this model as the block is beside GPT-2.
  monkeypatch.setattr(quantized, "BLOCK_ELEMENTS", 1 << 13)
  # A sixth of GPT-2's width, its share of embeddings, and few layers, which are alike.
  model = dataclasses.replace(
    presets.get_model("gpt2"), width=192, depth=2, heads=3, vocab=2_300, context=128, dropout=0.0
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) / 10, language_model.parameter_shapes(model)
  )
  module = language_model.build_model(model)
  made = model_quantization.quantize_model(params, model, parse_scheme("int8", activations, ""))
  sizes = {"batch": 1, "prompt": 8, "new": 8}
  wide, narrow = (benchmark.decoding_bytes(module, tree, **sizes) for tree in (params, made.params))
  assert narrow.total <= 0.30 * wide.total, (narrow, wide)


@pytest.mark.slow
def test_an_int8_cache_is_neither_copied_nor_widened_as_a_whole(monkeypatch):
  # Eight heads a block of the 24 here, as few as in GPT-2 with eight rows.
  monkeypatch.setattr(cached_attention, "BLOCK_ELEMENTS", 8 * 48 * 16)
  model = Model(
    vocab=80, width=48, depth=3, head_width=16, context=64, positions="learned", cache_format="int8"
  )
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), language_model.parameter_shapes(model))
  made = model_quantization.quantize_model(params, model, parse_scheme("int8", "int8", "")).params
  found = benchmark.decoding_bytes(language_model.build_model(model), made, batch=8, prompt=32, new=16)
  widened = 4 * 24 * 48 * 16  # of the keys of one layer
  assert found.temporaries < 1.2 * widened, (found, widened)
