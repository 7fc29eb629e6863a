"""The bytes of a quantized model and of its cache are those of the arrays, for every family and scheme."""

import dataclasses

import jax
import numpy as np
import pytest

from gen.generation.decoding import decoders
from gen.quantization import model_quantization, quantized_memory
from gen.quantization.model_scheme import parse_scheme


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder", "encoder", "distances", "gru", "lstm"])
@pytest.mark.parametrize(
  "words", ["int8 none affine", "int4 none group:4", "nf4 none ", "int8 int8 tensor", "int4 none channel"]
)
def test_shapes_of_a_quantized_model_are_those_that_quantization_makes(family, words, toy):
  model, _, params = toy(family)
  weights, activations, rest = words.split(" ")
  scheme = parse_scheme(weights, activations, rest, vectors="bfloat16", head="int8")
  made = model_quantization.quantize_model(params, model, scheme)
  shapes = quantized_memory.quantized_shapes(model, scheme)
  assert jax.tree.structure(shapes) == jax.tree.structure(made.params)
  for ours, theirs in zip(jax.tree.leaves(shapes), jax.tree.leaves(made.params), strict=True):
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
  found = quantized_memory.decoding_footprint(model, scheme, 3, 11)
  assert found.parameters == made.bytes_after


def test_a_cache_of_int8_is_counted_with_its_scales(toy):
  model, module, params = toy("decoder")
  model = dataclasses.replace(model, cache_format="int8")
  scheme = parse_scheme("int8", "none", "")
  rows, length = 3, 11
  prompts = decoders.PromptBatch(np.ones((rows, 4), np.int32), np.zeros(rows, np.int32))
  decoder = decoders.TransformerDecoder(type(module)(model))
  cache = jax.eval_shape(lambda tree: decoder.prefill(tree, prompts, length)[1], params)
  found = quantized_memory.decoding_footprint(model, scheme, rows, length)
  assert found.cache == model_quantization.count_bytes(cache)
