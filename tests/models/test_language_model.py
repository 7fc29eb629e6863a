import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import Model
from gen.models import language_model, layers

V, T, S = 29, 7, 5
SIZES = {"width": 12, "heads": 3, "head_width": 4, "feed_forward": 10, "depth": 2, "vocab": V, "context": T}
SWITCHES = {
  "bias": True,
  "norm_bias": True,
  "head_bias": True,
  "relative_buckets": 8,
  "relative_distance": 20,
}
POSITIONS = ("none", "learned", "sinusoidal", "rotary", "relative", "alibi", "transformer_xl")
ENCODERS = ("learned", "relative", "transformer_xl")
TRANSLATORS = ("rotary", "relative")

# Row 0 packs two documents, rows 1 and 2 hold one each, filled up with padding. All ids are different, so that
# the gradient in a row of the embedding table is the gradient in one place of the text.
IDS = np.array([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 0, 0, 0], [5, 6, 7, 0, 0, 0, 0]])
SEGMENTS = np.array([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]])
PLACES = np.array([[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 0, 0], [0, 1, 2, 0, 0, 0, 0]])
SOURCE = {
  "source_bs": np.array([[11, 12, 13, 14, 15], [11, 12, 13, 0, 0], [14, 15, 0, 0, 0]]),
  "source_segments_bs": np.array([[1, 1, 1, 2, 2], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]),
  "source_positions_bs": np.array([[0, 1, 2, 0, 1], [0, 1, 2, 0, 0], [0, 1, 0, 0, 0]]),
}


def close(found, wanted, tolerance=1e-4):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def texts(family):
  rows = {"inputs_bt": IDS, "segments_bt": SEGMENTS, "positions_bt": PLACES}
  return rows | (SOURCE if family == "encoder_decoder" else {})


@pytest.fixture(scope="module")
def look(random_parameters):
  """Returns a function (family, positions) -> (logits of all rows, influence [T, V] of each id on row 0)."""

  @functools.cache
  def looking(family, scheme):
    model = Model(family=family, positions=scheme, **SIZES, **SWITCHES)
    params, rows = random_parameters(model), texts(family)
    weights_v = np.random.default_rng(1).normal(size=V).astype(np.float32)

    def of_table(table):
      tree = params | {"embedding": {"embedding": table}}
      logits_btv = language_model.build_model(model).apply({"params": tree}, **rows)
      return logits_btv[0] @ weights_v, logits_btv

    gradient_tvd, logits_btv = jax.jit(jax.jacrev(of_table, has_aux=True))(params["embedding"]["embedding"])
    return np.asarray(logits_btv), np.abs(gradient_tvd).max(-1)

  return looking


CASES = (
  [("decoder", scheme) for scheme in POSITIONS]
  + [("encoder", scheme) for scheme in ENCODERS]
  + [("encoder_decoder", scheme) for scheme in TRANSLATORS]
)


@pytest.mark.parametrize(("family", "scheme"), [case for case in CASES if case[0] != "encoder"])
def test_the_past_has_exactly_no_gradient_in_future_tokens(look, family, scheme):
  influence_ts = look(family, scheme)[1][:, IDS[0]]
  same_document = SEGMENTS[0][:, None] == SEGMENTS[0]
  past = np.tri(T, dtype=bool)
  assert (influence_ts[~past] == 0).all()
  assert (influence_ts[past & same_document] > 1e-4).all()


@pytest.mark.parametrize("scheme", ENCODERS)
def test_an_encoder_looks_both_ways(look, scheme):
  influence_ts = look("encoder", scheme)[1][:, IDS[0]]
  assert (influence_ts[SEGMENTS[0][:, None] == SEGMENTS[0]] > 1e-4).all()


@pytest.mark.parametrize(("family", "scheme"), CASES)
def test_no_document_has_a_gradient_in_another(look, family, scheme):
  influence_ts = look(family, scheme)[1][:, IDS[0]]
  assert (influence_ts[SEGMENTS[0][:, None] != SEGMENTS[0]] == 0).all()


@pytest.mark.parametrize("scheme", TRANSLATORS)
def test_a_target_looks_at_its_own_source_whole_and_at_no_other(look, scheme):
  influence_ts = look("encoder_decoder", scheme)[1][:, SOURCE["source_bs"][0]]
  own = SEGMENTS[0][:, None] == SOURCE["source_segments_bs"][0]
  assert (influence_ts[own] > 1e-4).all()
  assert (influence_ts[~own] == 0).all()


@pytest.mark.parametrize(("family", "scheme"), CASES)
def test_packed_documents_equal_documents_alone(look, family, scheme):
  logits_btv = look(family, scheme)[0]
  close(logits_btv[0, :4], logits_btv[1, :4])
  close(logits_btv[0, 4:], logits_btv[2, :3])


def test_texts_without_segments_are_one_document(look, random_parameters):
  model = Model(family="encoder_decoder", positions="relative", **SIZES, **SWITCHES)
  found = logits_of(
    model, random_parameters(model), inputs_bt=IDS[:1, :4], source_bs=SOURCE["source_bs"][:1, :3]
  )
  close(found[0], look("encoder_decoder", "relative")[0][0, :4])


def test_every_scheme_gives_other_logits(look):
  last = [look("decoder", scheme)[0][1, 3] for scheme in POSITIONS]
  for i, one in enumerate(last):
    assert all(np.abs(one - other).max() > 1e-3 for other in last[:i])


def logits_of(model, params, **others):
  return np.asarray(
    jax.jit(language_model.build_model(model).apply)({"params": params}, **({"inputs_bt": IDS} | others))
  )


def test_a_layer_without_positions_forgets_the_order_of_the_past(random_parameters):
  model = Model(positions="none", **(SIZES | {"depth": 1}))
  logits_btv = logits_of(model, random_parameters(model), inputs_bt=np.array([[1, 2, 3, 4], [2, 3, 1, 4]]))
  close(logits_btv[0, -1], logits_btv[1, -1], 1e-5)
  assert np.abs(logits_btv[0, 1] - logits_btv[1, 1]).max() > 1e-3


PLAIN = Model(**SIZES, positions="none")


def leaves(model):
  found = jax.tree_util.tree_leaves_with_path(language_model.parameter_shapes(model))
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in found}


BLOCK = "target/stack/layers/"
BIASED = {"query_bias": (2, 3, 4), "key_bias": (2, 3, 4), "value_bias": (2, 3, 4), "out_bias": (2, 12)}
TREES = [
  ({"positions": "sinusoidal"}, {}, ()),
  ({"positions": "rotary"}, {}, ()),
  ({"positions": "alibi"}, {}, ()),
  ({"positions": "learned", "position_offset": 2}, {"target/embeddings/positions/embedding": (9, 12)}, ()),
  ({"positions": "relative", "relative_buckets": 6}, {"target/relative/embedding": (6, 3)}, ()),
  ({"token_types": 2}, {"target/embeddings/token_types/embedding": (2, 12)}, ()),
  ({"embedding_norm": True}, {"target/embeddings/norm/scale": (12,)}, ()),
  ({"final_norm": False}, {}, ("target/stack/norm/scale",)),
  ({"norm_placement": "post"}, {}, ("target/stack/norm/scale",)),
  ({"tied": True}, {}, ("head/logits/kernel",)),
  ({"head_bias": True}, {"head/bias": (29,)}, ()),
  ({"head_transform": True}, {"head/transform/kernel": (12, 12), "head/transform_norm/scale": (12,)}, ()),
  ({"pooler": True}, {"pool/kernel": (12, 12), "pool/bias": (12,)}, ()),
  ({"activation": "swiglu"}, {f"{BLOCK}feed_forward/gate/kernel": (2, 12, 10)}, ()),
  (
    {"qk_norm": True},
    {f"{BLOCK}attention/query_norm/scale": (2, 4), f"{BLOCK}attention/key_norm/scale": (2, 4)},
    (),
  ),
  (
    {"bias": True},
    {f"{BLOCK}attention/{name}": shape for name, shape in BIASED.items()}
    | {f"{BLOCK}feed_forward/in/bias": (2, 10), f"{BLOCK}feed_forward/out/bias": (2, 12)},
    (),
  ),
  (
    {"norm_bias": True},
    {
      "target/stack/norm/bias": (12,),
      f"{BLOCK}attention_norm/bias": (2, 12),
      f"{BLOCK}feed_forward_norm/bias": (2, 12),
    },
    (),
  ),
  ({"norm_bias": True, "norm": "rmsnorm"}, {}, ()),
  ({"scan": True, "remat": "full", "dropout": 0.5}, {}, ()),
]


@pytest.mark.parametrize(("switches", "more", "fewer"), TREES, ids=[str(tree[0]) for tree in TREES])
def test_a_switch_adds_and_removes_its_own_parameters_alone(switches, more, fewer):
  plain, switched = leaves(PLAIN), leaves(dataclasses.replace(PLAIN, **switches))
  assert {name: shape for name, shape in switched.items() if name not in plain} == more
  assert {name for name in plain if name not in switched} == set(fewer)


def test_sizes_are_where_the_config_says():
  model = Model(
    family="encoder_decoder", width=10, heads=4, head_width=6, key_value_heads=2, feed_forward=7, depth=2,
    decoder_depth=3, decoder_heads=6, decoder_feed_forward=5, vocab=13,
  )  # fmt: skip
  shapes = leaves(model)
  assert shapes["source/stack/layers/attention/query/kernel"] == (2, 10, 4, 6)
  assert shapes["source/stack/layers/attention/key/kernel"] == (2, 10, 2, 6)
  assert shapes["source/stack/layers/feed_forward/in/kernel"] == (2, 10, 7)
  assert shapes["target/stack/layers/attention/out/kernel"] == (3, 6, 4, 10)
  assert shapes["target/stack/layers/cross_attention/query/kernel"] == (3, 10, 6, 4)
  assert shapes["target/stack/layers/feed_forward/out/kernel"] == (3, 5, 10)
  assert not any(name.startswith("source/stack/layers/cross") for name in shapes)


def hidden_and_head(model, params):
  module, variables = language_model.build_model(model), {"params": params}

  @jax.jit
  def run():
    kernel_dv, bias_v = module.apply(variables, method="head_weights")
    hidden_btd = module.apply(variables, IDS, method="hidden")
    return hidden_btd, kernel_dv, bias_v, module.apply(variables, IDS)

  return run()


@pytest.mark.parametrize(
  "switches",
  [
    {"tied": True, "logits_scale": 0.3},
    {"head_transform": True, "head_bias": True, "bias": True, "logits_soft_cap": 2.0, "activation": "gelu"},
  ],
  ids=str,
)
def test_logits_are_hidden_states_times_the_heads_weights(random_parameters, switches):
  model = dataclasses.replace(PLAIN, depth=1, **switches)
  params = random_parameters(model)
  hidden_btd, kernel_dv, bias_v, logits_btv = hidden_and_head(model, params)
  wanted = hidden_btd @ kernel_dv + (0 if bias_v is None else bias_v)
  cap = model.logits_soft_cap
  close(logits_btv, cap * np.tanh(wanted / cap) if cap else wanted)
  assert (bias_v is not None) == model.head_bias
  if model.tied:
    np.testing.assert_array_equal(kernel_dv, params["embedding"]["embedding"].T)
    unscaled = hidden_and_head(dataclasses.replace(model, logits_scale=1.0), params)
    close(logits_btv, 0.3 * unscaled[3])


def first_states(model, params, **rows):
  """Embeddings as the first block sees them: a model whose blocks and norms do nothing."""
  return np.asarray(
    jax.jit(functools.partial(language_model.build_model(model).apply, method="states"))(
      {"params": params}, **rows
    )
  )


def test_embeddings_add_what_the_switches_ask_for(random_parameters):
  model = dataclasses.replace(
    PLAIN,
    positions="learned",
    position_offset=2,
    token_types=2,
    embedding_scale=3.0,
    final_norm=False,
    depth=1,
  )
  params = random_parameters(model)
  params["target"]["stack"] = jax.tree.map(np.zeros_like, params["target"]["stack"])
  kinds = np.array([[0, 1, 1, 0, 1, 0, 0]] * 3)
  found = first_states(model, params, inputs_bt=IDS, positions_bt=PLACES, token_types_bt=kinds)
  tables = params["target"]["embeddings"]
  words = 3.0 * params["embedding"]["embedding"][IDS] + tables["positions"]["embedding"][PLACES + 2]
  close(found, words + tables["token_types"]["embedding"][kinds])
  close(
    first_states(model, params, inputs_bt=IDS, positions_bt=PLACES),
    words + tables["token_types"]["embedding"][0],
  )


def test_sinusoids_are_added_and_the_embeddings_norm_comes_last(random_parameters):
  model = dataclasses.replace(PLAIN, positions="sinusoidal", embedding_norm=True, final_norm=False, depth=1)
  params = random_parameters(model)
  params["target"]["stack"] = jax.tree.map(np.zeros_like, params["target"]["stack"])
  found = first_states(model, params, inputs_bt=IDS, positions_bt=PLACES)
  x = params["embedding"]["embedding"][IDS] + np.asarray(layers.sinusoidal_positions(jnp.asarray(PLACES), 12))
  x = x - x.mean(-1, keepdims=True)
  scale = params["target"]["embeddings"]["norm"]["scale"]
  close(found, x / np.sqrt((x**2).mean(-1, keepdims=True) + model.norm_epsilon) * scale)


def test_the_pooler_reads_the_first_position(random_parameters):
  model = dataclasses.replace(PLAIN, family="encoder", pooler=True)
  params = random_parameters(model)
  x_btd = np.random.default_rng(0).normal(size=(2, 3, 12)).astype(np.float32)
  found = language_model.build_model(model).apply({"params": params}, x_btd, method="pooled")
  close(found, np.tanh(x_btd[:, 0] @ params["pool"]["kernel"] + params["pool"]["bias"]))


def test_bfloat16_computes_near_float32_and_gives_float32_logits(random_parameters):
  model = dataclasses.replace(PLAIN, positions="rotary", depth=1)
  params = random_parameters(model)
  exact = logits_of(model, params)
  found = logits_of(dataclasses.replace(model, dtype="bfloat16"), params)
  assert found.dtype == np.float32
  assert 1e-5 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_dropout_is_on_with_a_key_and_only_then(random_parameters):
  model = dataclasses.replace(PLAIN, depth=1, dropout=0.3)
  params = random_parameters(model)

  @jax.jit
  def run(key):
    return language_model.build_model(model).apply({"params": params}, IDS, rngs={"dropout": key})

  one, same, other = (run(jax.random.key(seed, impl="unsafe_rbg")) for seed in (1, 1, 2))
  np.testing.assert_array_equal(one, same)
  assert np.abs(one - other).max() > 1e-3
  close(logits_of(model, params), logits_of(dataclasses.replace(model, dropout=0.0), params), 0)


def test_initial_parameters_are_a_function_of_the_key():
  model = dataclasses.replace(PLAIN, bias=True, scan=True)
  initialize = jax.jit(
    lambda seed: language_model.initialize_parameters(model, jax.random.key(seed, impl="unsafe_rbg"))
  )
  one, same, other = (jax.tree.map(np.asarray, initialize(seed)) for seed in (0, 0, 1))
  for (path, a), b, c in zip(
    jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(same), jax.tree.leaves(other), strict=True
  ):
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, b)
    constant = path[-1].key == "scale" or path[-1].key.endswith("bias")
    assert (np.unique(a).size == 1) if constant else (a != c).all(), path
  kernel = one["target"]["stack"]["layers"]["attention"]["query"]["kernel"]
  assert (kernel[0] != kernel[1]).all()  # each layer draws its own


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder"])
def test_every_parameter_names_its_axes(family):
  model = Model(family=family, **SIZES, **SWITCHES, qk_norm=True, head_transform=True, pooler=True)
  axes, shapes = language_model.logical_axes(model), language_model.parameter_shapes(model)
  assert jax.tree.structure(axes) == jax.tree.structure(shapes)
  for (path, names), shape in zip(
    jax.tree_util.tree_leaves_with_path(axes), jax.tree.leaves(shapes), strict=True
  ):
    assert len(names) == len(shape.shape), path
    assert (names[0] == "layers") == (
      path[0].key in ("target", "source") and "layers" in jax.tree_util.keystr(path)
    )


def test_a_model_reads_of_a_batch_all_but_targets_and_weights():
  batch = Batch(*range(9))
  read = language_model.batch_arguments(Model(positions="rotary"), batch)
  assert set(read) == set(Batch._fields) - {"targets_bt", "weights_bt"}
  assert read["source_bs"] == batch.source_bs


def test_what_cannot_be_built_says_why():
  with pytest.raises(
    ValueError, match="'mamba'; it must be one of encoder, decoder, encoder_decoder, rnn, lstm, gru"
  ):
    language_model.build_model(dataclasses.replace(PLAIN, family="mamba"))
  with pytest.raises(ValueError, match="vocab is 0"):
    language_model.build_model(Model())
  translator = dataclasses.replace(PLAIN, family="encoder_decoder")
  with pytest.raises(ValueError, match="pass source_bs"):
    jax.eval_shape(
      lambda: language_model.build_model(translator).init(jax.random.key(0), jnp.zeros((1, 2), int))
    )
