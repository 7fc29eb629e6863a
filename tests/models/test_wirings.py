"""What holds for every family and every way to compute it: packing, scanning and recomputing change no number."""

import dataclasses

import jax
import numpy as np
import pytest

from gen.config import Model
from gen.models import language_model

V, T, S = 31, 11, 9
SIZES = {"width": 12, "heads": 3, "head_width": 4, "feed_forward": 10, "depth": 2, "vocab": V, "context": T}
# Layers that differ: a window in all but every second one, and no norm before the first one's attention.
MODERN = {
  "window": 2,
  "global_every": 2,
  "window_rotary_base": 30.0,
  "first_norm": False,
  "activation": "geglu_exact",
}
PACKED = [
  ("encoder", MODERN | {"depth": 3, "embedding_norm": True}),
  ("encoder", {"positions": "sinusoidal", "norm_placement": "post", "bias": True}),
  ("encoder", {"positions": "alibi", "embedding_norm": True, "activation": "relu"}),
  ("encoder", {"positions": "rotary", "token_types": 2, "head_transform": True}),
  ("encoder", {"positions": "none", "norm": "rmsnorm", "activation": "swiglu"}),
  ("decoder", {"positions": "rotary", "key_value_heads": 1, "qk_norm": True, "activation": "geglu"}),
  ("decoder", {"positions": "learned", "norm_placement": "post", "tied": True, "embedding_scale": 3.0}),
  (
    "encoder_decoder",
    {"positions": "learned", "norm_placement": "post", "embedding_norm": True, "position_offset": 2},
  ),
  ("encoder_decoder", {"positions": "sinusoidal", "norm_placement": "post", "activation": "relu"}),
  ("encoder_decoder", {"positions": "alibi", "heads": 6, "key_value_heads": 2}),
  ("encoder_decoder", {"positions": "transformer_xl", "decoder_depth": 1}),
  ("encoder_decoder", {"positions": "none", "tied": True, "logits_scale": 0.3, "qk_norm": True}),
]


def cut(rng, length, count):
  """Returns the sizes of `count` documents, each of one token or more, that leave at least one place free."""
  return np.diff([0, *sorted(rng.choice(np.arange(1, length - 1), count, replace=False))])


def text(rng, sizes, length):
  """Returns ids, segments and positions [1 + documents, length]: all in the first row, and each in a row of its own."""
  ids, segments, places = np.zeros((3, 1 + len(sizes), length), np.int32)
  end = 0
  for number, size in enumerate(sizes, start=1):
    document = rng.integers(1, V, size)
    for row, begin, segment in ((0, end, number), (number, 0, 1)):
      here = slice(begin, begin + size)
      ids[row, here], segments[row, here], places[row, here] = document, segment, range(size)
    end += size
  return ids, segments, places


@pytest.mark.parametrize(("family", "switches"), PACKED, ids=str)
def test_documents_in_one_row_are_read_as_if_each_were_alone(random_parameters, family, switches):
  rng = np.random.default_rng(len(str(switches)))
  model = Model(family=family, **(SIZES | switches))
  sizes = cut(rng, T, 3)
  row = dict(zip(("inputs_bt", "segments_bt", "positions_bt"), text(rng, sizes, T), strict=True))
  if family == "encoder_decoder":
    names = ("source_bs", "source_segments_bs", "source_positions_bs")
    row |= zip(names, text(rng, cut(rng, S, 3), S), strict=True)
  logits_btv = np.asarray(
    jax.jit(language_model.build_model(model).apply)({"params": random_parameters(model)}, **row)
  )
  end = 0
  for number, size in enumerate(sizes, start=1):
    np.testing.assert_allclose(
      logits_btv[0, end : end + size], logits_btv[number, :size], rtol=1e-4, atol=1e-4
    )
    end += size


def loss_and_gradients(model, params, row, weights_btv):
  """Returns logits and gradients of a sum of them."""
  module = language_model.build_model(model)

  def loss(params):
    logits_btv = module.apply({"params": params}, **row)
    return (logits_btv * weights_btv).sum(), logits_btv

  gradients, logits_btv = jax.jit(jax.grad(loss, has_aux=True))(params)
  return [logits_btv, *jax.tree.leaves(gradients)]


FAMILIES = [
  ("encoder", MODERN | {"depth": 3, "head_transform": True}),
  ("encoder", {"positions": "learned", "norm_placement": "post", "bias": True}),
  ("decoder", {"positions": "rotary", "key_value_heads": 1, "activation": "swiglu"}),
  ("decoder", {"positions": "learned", "attention_scale_by_layer": True}),
  ("encoder_decoder", {"positions": "relative", "norm": "rmsnorm", "decoder_depth": 3}),
]


@pytest.mark.parametrize(("family", "switches"), FAMILIES, ids=str)
def test_a_whole_model_scanned_and_recomputed_equals_the_plain_one(random_parameters, family, switches):
  model = Model(family=family, **(SIZES | switches))
  params, rng = random_parameters(model), np.random.default_rng(0)
  row = {"inputs_bt": rng.integers(0, V, (2, T))}
  row |= {"source_bs": rng.integers(0, V, (2, S))} if family == "encoder_decoder" else {}
  weights_btv = rng.normal(size=(2, T, V)).astype(np.float32)
  plain = loss_and_gradients(model, params, row, weights_btv)
  found = loss_and_gradients(dataclasses.replace(model, scan=True, remat="full"), params, row, weights_btv)
  for one, other in zip(found, plain, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


AXES = {"layers", "vocab", "embed", "heads", "kv_heads", "head", "mlp", "norm", "positions", None}


@pytest.mark.parametrize(("family", "switches"), [*PACKED, *FAMILIES], ids=str)
def test_every_parameter_of_every_switch_has_logical_axes_that_a_layout_knows(family, switches):
  model = Model(family=family, **(SIZES | switches), head_bias=True, pooler=True, scan=True)
  for path, names in jax.tree_util.tree_leaves_with_path(
    language_model.logical_axes(model), is_leaf=lambda leaf: isinstance(leaf, jax.sharding.PartitionSpec)
  ):
    where = jax.tree_util.keystr(path)
    assert set(names) <= AXES, where
    assert (
      len([name for name in names if name]) == len({name for name in names if name}) or "transform" in where
    ), where
    if path[-1].key == "kernel":
      assert None not in names, where
