import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model
from gen.config.heads import HeadConfig, published_head
from gen.errors import UserError
from gen.models import heads, language_model

T = 5
LABELS = ("a", "b", "c")
ROWS = [[3, 7, 1], [9, 2, 8, 4, 5]]
ENCODER = Model(family="encoder", vocab=11, width=8, depth=2, head_width=4, context=9, positions="learned")
DECODER = dataclasses.replace(ENCODER, family="decoder", positions="rotary")
MODELS = {
  "encoder": ENCODER,
  "decoder": DECODER,
  "alibi": dataclasses.replace(DECODER, positions="alibi"),
  "lstm": Model(family="lstm", vocab=11, width=8, depth=1),
  "encoder_decoder": dataclasses.replace(ENCODER, family="encoder_decoder", positions="relative"),
}


def padded(rows, left=False, junk=0):
  """Returns ids and segments of rows padded to T columns, with junk in the padding."""
  ids_bt, segments_bt = np.full((len(rows), T), junk), np.zeros((len(rows), T), int)
  for row, (ids, segments) in zip(rows, zip(ids_bt, segments_bt, strict=True), strict=True):
    at = slice(T - len(row), T) if left else slice(0, len(row))
    ids[at], segments[at] = row, 1
  return jnp.asarray(ids_bt), jnp.asarray(segments_bt)


def drawn(model, head):
  """Returns random parameters of a model with a head, which takes less time than to initialize them."""
  random = np.random.default_rng(1)
  shapes = heads.headed_parameter_shapes(model, head)
  return jax.tree.map(lambda leaf: jnp.asarray(0.4 * random.normal(size=leaf.shape), jnp.float32), shapes)


@pytest.mark.parametrize("name", MODELS)
def test_neither_padding_nor_its_side_changes_a_text_s_logits(name):
  model, head = MODELS[name], HeadConfig("classify", LABELS, "mean")  # the mean reads every token
  params, module = drawn(model, head), heads.build_headed_model(model, head)

  @jax.jit
  def logits(ids_bt, segments_bt):
    source = {"source_bs": ids_bt, "source_segments_bs": segments_bt}
    more = source if model.family == "encoder_decoder" else {}
    return module.apply({"params": params}, ids_bt, segments_bt=segments_bt, **more)

  expected_bk = logits(*padded(ROWS))
  np.testing.assert_allclose(logits(*padded(ROWS, junk=6)), expected_bk, atol=1e-5)
  if not model.recurrent:  # a recurrent state starts at the first column
    np.testing.assert_allclose(logits(*padded(ROWS, left=True, junk=10)), expected_bk, atol=1e-5)
  if name == "encoder":
    alone_1k = jax.jit(module.apply)({"params": params}, jnp.asarray([ROWS[0]]))
    np.testing.assert_allclose(alone_1k, expected_bk[:1], atol=1e-5)


def test_pooling_reads_the_first_the_mean_or_the_last_token():
  x_btd = jnp.arange(2 * 4 * 3.0).reshape(2, 4, 3)
  pooled_bt = jnp.array([[0, 1, 1, 0], [0, 0, 0, 0]])
  assert heads.pool_states(x_btd, pooled_bt, "first")[0].tolist() == [3, 4, 5]
  assert heads.pool_states(x_btd, pooled_bt, "mean")[0].tolist() == [4.5, 5.5, 6.5]
  assert heads.pool_states(x_btd, pooled_bt, "last")[0].tolist() == [6, 7, 8]
  # A row without a token is no division by 0.
  assert heads.pool_states(x_btd, pooled_bt, "mean")[1].tolist() == [0, 0, 0]
  assert heads.pool_states(x_btd, pooled_bt, "last")[1].tolist() == [12, 13, 14]


def hidden_states(model, params, ids_bt):
  """Returns the last hidden states of a model without its head."""
  body = {name: value for name, value in params.items() if name != "head"}
  module = language_model.build_model(model)
  return jax.jit(lambda ids_bt: module.apply({"params": body}, ids_bt, method="states"))(ids_bt)


def test_tags_and_spans_have_logits_for_each_token():
  ids_bt = jnp.asarray([ROWS[1]])
  for head, outputs in ((HeadConfig("tag", LABELS), 3), (HeadConfig("span"), 2)):
    params, module = drawn(ENCODER, head), heads.build_headed_model(ENCODER, head)
    logits_btk = jax.jit(module.apply)({"params": params}, ids_bt)
    states_btd = hidden_states(heads.body_config(ENCODER, head), params, ids_bt)
    output = params["head"]["output"]
    expected_btk = states_btd @ output["kernel"] + output["bias"]
    assert logits_btk.shape == (1, T, outputs)
    np.testing.assert_allclose(logits_btk, expected_btk, atol=1e-5)


def test_a_head_takes_the_place_of_the_language_model_s_and_keeps_the_rest():
  model = dataclasses.replace(ENCODER, head_transform=True, head_bias=True, pooler=True)
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), language_model.parameter_shapes(model))
  head = published_head(model, "classify", LABELS)
  assert head.hidden == "pooler"
  headed = heads.attach_head(params, model, head, jax.random.key(4))
  assert headed["pool"] is params["pool"] and headed["target"] is params["target"]
  shapes = jax.tree.map(jnp.shape, headed)
  assert shapes == jax.tree.map(jnp.shape, heads.headed_parameter_shapes(model, head))
  assert shapes["head"] == {"output": {"kernel": (8, 3), "bias": (3,)}}
  # A model without the pooler gets one, and a head that does not read it leaves it out.
  without = {name: value for name, value in params.items() if name != "pool"}
  assert set(heads.attach_head(without, model, head, jax.random.key(5))) == {
    "embedding",
    "head",
    "pool",
    "target",
  }
  assert "pool" not in heads.attach_head(params, model, HeadConfig("tag", LABELS), jax.random.key(5))


def test_a_layer_before_the_logits_is_that_of_the_language_model_head():
  model = dataclasses.replace(
    ENCODER, first_norm=False, head_transform=True, head_bias=True, activation="gelu"
  )
  params = jax.tree.map(
    lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape),
    language_model.parameter_shapes(model),
  )
  head = published_head(model, "tag", LABELS)
  assert head.hidden == "transform"
  headed = heads.attach_head(params, model, head, jax.random.key(4))
  assert all(headed["head"][name] is params["head"][name] for name in ("transform", "transform_norm"))
  bare = {name: value for name, value in params.items() if name != "head"}
  assert set(heads.attach_head(bare, model, head, jax.random.key(4))["head"]) == set(headed["head"])
  ids_bt = jnp.asarray([ROWS[1]])
  prepared_btd = language_model.build_model(model).apply({"params": params}, ids_bt, method="hidden")
  output = headed["head"]["output"]
  found_btk = jax.jit(heads.build_headed_model(model, head).apply)({"params": headed}, ids_bt)
  np.testing.assert_allclose(found_btk, prepared_btd @ output["kernel"] + output["bias"], atol=1e-5)


def test_the_head_s_dropout_needs_a_key_and_is_its_own():
  head = HeadConfig("classify", LABELS, "last", 0.5, "dense")
  params, ids_bt = drawn(DECODER, head), jnp.asarray([ROWS[1]])
  apply = jax.jit(heads.build_headed_model(DECODER, head).apply)
  plain = apply({"params": params}, ids_bt)
  dropped = apply({"params": params}, ids_bt, rngs={"dropout": jax.random.key(7)})
  assert not jnp.allclose(plain, dropped)
  states = hidden_states(DECODER, params, ids_bt)
  dense, output = params["head"]["dense"], params["head"]["output"]
  by_hand = jnp.tanh(states[:, -1] @ dense["kernel"] + dense["bias"]) @ output["kernel"] + output["bias"]
  np.testing.assert_allclose(plain, by_hand, atol=1e-5)


def test_a_head_of_kind_none_is_the_language_model():
  head = HeadConfig("none")
  assert isinstance(heads.build_headed_model(DECODER, head), language_model.LanguageModel)
  params = {"embedding": 1, "head": 2, "target": 3}
  assert heads.attach_head(params, DECODER, head, jax.random.key(9)) == params
  assert heads.initialize_head(DECODER, head, jax.random.key(9)) == {}


def test_the_decoder_of_a_classified_text_reads_it_after_the_start_token():
  assert heads.decoder_inputs(jnp.array([[4, 5, 2]]), 9).tolist() == [[9, 4, 5]]


@pytest.mark.parametrize(
  ("fields", "sentence"),
  [
    ({"kind": "sort"}, "head.kind is 'sort'; it must be one of classify, tag, span, none"),
    ({"kind": "classify"}, "head.labels is empty"),
    ({"kind": "span", "labels": LABELS}, "head.labels is set"),
    ({"kind": "tag", "labels": ("a", "a")}, "names 'a' twice"),
    ({"kind": "tag", "labels": LABELS, "hidden": "dense"}, "head.hidden is 'dense'"),
    ({"kind": "tag", "labels": LABELS, "dropout": 1.0}, "head.dropout is 1.0"),
  ],
)
def test_a_head_that_cannot_be_is_one_sentence(fields, sentence):
  with pytest.raises(UserError, match=sentence):
    HeadConfig(**fields)


def test_a_family_of_the_user_s_own_has_no_heads():
  with pytest.raises(UserError, match="code of your own"):
    heads.build_headed_model(dataclasses.replace(DECODER, family="mine.py:Bag"), HeadConfig("span"))
