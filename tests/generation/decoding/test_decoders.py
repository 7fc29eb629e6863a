"""A cache is as large as its count says, and prompts are arranged so that they end together."""

import jax
import numpy as np
import pytest

from gen.generation.decoding import decoders


@pytest.mark.parametrize("name", ["gpt2", "modern", "t5-small", "waves"])
def test_the_cache_is_exactly_as_large_as_counted(name, models, built):
  model, params = models[name], built(name)[1]
  sources = [[1, 2, 3]] * 3 if model.family == "encoder_decoder" else None
  prompts = decoders.arrange_prompts([np.array(ids) for ids in ([1, 2], [3], [4, 5, 6])], sources, 4)
  decoder = decoders.make_decoder(model)
  _, held = jax.eval_shape(lambda p: decoder.prefill(p, prompts, 11), params)
  size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(held))
  assert size == decoders.cache_bytes(model, batch=3, capacity=11, source=4 if sources else 0)


def test_prompts_end_together_and_sources_begin_together():
  prompts = decoders.arrange_prompts(
    [np.array([7]), np.array([5, 6, 8])], [np.array([1, 2, 3, 4, 5]), np.array([9])], 2
  )
  assert prompts.tokens_bt.tolist() == [[0, 0, 0, 7], [0, 5, 6, 8]]
  assert prompts.pads_b.tolist() == [3, 1]
  assert prompts.source_bs.tolist() == [[1, 2, 3, 4, 5, 0], [9, 0, 0, 0, 0, 0]]
  assert prompts.source_segments_bs.tolist() == [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]


def test_training_holds_no_cache(built):
  module, params = built("gpt2")
  _, changed = jax.eval_shape(
    lambda p: module.apply({"params": p}, np.zeros((2, 3), int), mutable=["cache"]), params
  )
  assert not changed
