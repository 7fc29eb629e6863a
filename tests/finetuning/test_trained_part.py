import jax
import numpy as np
import pytest

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.finetuning import trained_part
from gen.interop.parameters import flatten_tree
from gen.models import heads

HEAD = HeadConfig("classify", ("a", "b"), "last")
MODELS = {
  "decoder": Model(vocab=11, width=8, depth=3, head_width=4),
  "encoder_decoder": Model(
    family="encoder_decoder", vocab=11, width=8, depth=2, decoder_depth=3, head_width=4
  ),
  "gru": Model(family="gru", vocab=11, width=6, depth=3, residual=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layers_and_the_head_are_trained_and_no_bit_of_the_others(name):
  model, random = MODELS[name], np.random.default_rng(0)
  shapes = heads.headed_parameter_shapes(model, HEAD)
  params = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
  trained, frozen = trained_part.split_parameters(params, model, HEAD, "last", 2)
  # An optimizer with weight decay changes every number of the trained tree.
  after = trained_part.complete_parameters(jax.tree.map(lambda leaf: 0.9 * leaf + 1, trained), frozen)
  before, after = flatten_tree(params), flatten_tree(after)
  assert before.keys() == after.keys()
  stacked = {path for path in before if path.startswith("target/") and "layers/" in path}
  for path, leaf in before.items():
    same = np.asarray(after[path]) == leaf
    if path in stacked:
      assert same[0].all() and not same[1:].any(), path
    elif path.startswith("head/") or path in ("target/stack/norm/scale", "target/norm/scale"):
      assert not same.any(), path
    else:
      assert same.all(), path
  assert stacked and any(path.endswith("norm/scale") and path not in stacked for path in before)


@pytest.mark.parametrize("method", ["full", "last"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_bias_of_the_logits_of_a_bart_is_a_constant(method, tied):
  model = Model(family="encoder_decoder", vocab=11, width=8, depth=2, head_width=4, head_bias=True, tied=tied)
  head = HeadConfig("none")
  params = jax.tree.map(lambda leaf: np.ones(leaf.shape), heads.headed_parameter_shapes(model, head))
  trained, frozen = trained_part.split_parameters(params, model, head, method, 1)
  assert frozen["head"] == {"bias": params["head"]["bias"]}
  assert set(trained[trained_part.PARAMETERS].get("head", {})) == (set() if tied else {"logits"})
  after = flatten_tree(trained_part.complete_parameters(trained, frozen))
  assert {path: leaf.shape for path, leaf in after.items()} == {
    path: leaf.shape for path, leaf in flatten_tree(params).items()
  }
