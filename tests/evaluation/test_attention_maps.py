"""The maps show what the model computes: checked against the whole attention written again in numpy, float64."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from gen.config import Model
from gen.data.tokenizers import subwords
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation import attention_maps
from gen.models import language_model, transformer
from gen.models.transformer import AttentionInputs

B, T, S, D, H, K, L = 2, 5, 7, 12, 3, 4, 2
POSITIONS = ["none", "learned", "sinusoidal", "rotary", "relative", "alibi", "transformer_xl"]


def model(**fields):
  return Model(
    **{"vocab": 400, "width": D, "depth": L, "head_width": K, "feed_forward": 9, "context": 32, "relative_buckets": 8}
    | fields
  )  # fmt: skip


def parameters(config, seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: (0.4 * rng.normal(size=x.shape)).astype(np.float32), language_model.parameter_shapes(config)
  )


def sinusoids(positions, width):
  angles = positions[..., None] / 10_000.0 ** (2 * np.arange(width // 2) / width)
  return np.concatenate([np.sin(angles), np.cos(angles)], -1)


def turned(x_bhtk, base):
  half = K // 2
  angles = np.arange(x_bhtk.shape[2])[:, None] * base ** (-2 * np.arange(half) / K)
  pairs = (x_bhtk[..., :half] + 1j * x_bhtk[..., half:]) * np.exp(1j * angles)
  return np.concatenate([pairs.real, pairs.imag], -1)


def t5_bucket(distance, buckets, furthest, both_ways):
  """arXiv:1910.10683, 2.1, one distance (key minus query) at a time."""
  offset = 0
  if both_ways:
    buckets //= 2
    offset, distance = (buckets if distance > 0 else 0), abs(distance)
  else:
    distance = max(-distance, 0)
  exact = buckets // 2
  if distance < exact:
    return offset + distance
  far = exact + int(math.log(distance / exact) / math.log(furthest / exact) * (buckets - exact))
  return offset + min(far, buckets - 1)


def brute_force(config, params, x_btd, tower, causal):
  """Weights of one self-attention of random input, in float64; params are one layer's."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  x_btd = np.asarray(x_btd, np.float64)
  length = x_btd.shape[1]
  q, k = (np.einsum("btd,dhk->bhtk", x_btd, p[name]["kernel"]) for name in ("query", "key"))
  k = np.repeat(k, H // k.shape[1], axis=1)
  if config.positions == "rotary":
    q, k = turned(q, config.rotary_base), turned(k, config.rotary_base)
  content = q
  if config.positions == "transformer_xl":
    content = q + p["distances"]["content_bias"][:, None]
  scores = np.einsum("bhtk,bhsk->bhts", content, k) / math.sqrt(K)
  for t, s in np.ndindex(length, length):
    if config.positions == "relative":
      bucket = t5_bucket(s - t, config.relative_buckets, config.relative_distance, not causal)
      scores[:, :, t, s] += np.asarray(tower["relative"]["embedding"], np.float64)[bucket]
    elif config.positions == "alibi":
      scores[:, :, t, s] -= abs(t - s) * np.array([2**-4.0, 2**-8.0, 2**-2.0])  # three heads, BLOOM's rule
    elif config.positions == "transformer_xl":
      key_hk = np.einsum(
        "d,dhk->hk", sinusoids(np.array(float(t - s)), D), p["distances"]["distance"]["kernel"]
      )
      query = q[:, :, t] + p["distances"]["distance_bias"]
      scores[:, :, t, s] += np.einsum("bhk,hk->bh", query, key_hk) / math.sqrt(K)
    if causal and s > t:
      scores[:, :, t, s] = -np.inf
  powers = np.exp(scores - scores.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def layer_of(params, index):
  return jax.tree.map(lambda x: x[index], params)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_the_first_layer_looks_where_numpy_says(positions, family):
  config = model(family=family, positions=positions, norm_placement="post", key_value_heads=1)
  params = parameters(config)
  inputs_bt = np.random.default_rng(1).integers(0, 400, (B, T)).astype(np.int32)
  x_btd = np.asarray(params["embedding"]["embedding"], np.float64)[
    inputs_bt
  ]  # post-norm: layer 1 reads embeddings
  target = params["target"]
  if positions == "learned":
    x_btd = x_btd + np.asarray(target["embeddings"]["positions"]["embedding"], np.float64)[:T]
  elif positions == "sinusoidal":
    x_btd = x_btd + sinusoids(np.arange(T), D)
  found = attention_maps.attention_weights(config, params, inputs_bt=inputs_bt)
  assert set(found) == {"self"}
  assert found["self"].shape == (L, B, H, T, T)
  causal = family == "decoder"
  wanted = brute_force(config, layer_of(target["stack"]["layers"]["attention"], 0), x_btd, target, causal)
  np.testing.assert_allclose(found["self"][0], wanted, atol=2e-6)
  np.testing.assert_allclose(np.asarray(found["self"], np.float64).sum(-1), 1.0, atol=1e-5)
  if causal:
    above = np.triu(np.ones((T, T), bool), 1)
    assert (np.asarray(found["self"])[..., above] == 0).all()


def test_an_encoder_decoder_shows_source_self_and_cross_attention_scanned_and_unrolled():
  config = model(family="encoder_decoder", decoder_depth=3, positions="relative", bias=True)
  params = parameters(config)
  rng = np.random.default_rng(2)
  arguments = {
    "inputs_bt": rng.integers(0, 400, (B, T)),
    "source_bs": rng.integers(0, 400, (B, S)),
    "segments_bt": np.array([[1, 1, 1, 2, 2]] * B),
    "source_segments_bs": np.array([[1, 1, 2, 2, 2, 2, 2]] * B),
  }
  found = attention_maps.attention_weights(config, params, **arguments)
  shapes = {"source": (L, B, H, S, S), "self": (3, B, H, T, T), "cross": (3, B, H, T, S)}
  assert {kind: one.shape for kind, one in found.items()} == shapes
  for one in found.values():
    np.testing.assert_allclose(np.asarray(one, np.float64).sum(-1), 1.0, atol=1e-5)
  crossing = arguments["segments_bt"][0][:, None] != arguments["source_segments_bs"][0][None, :]
  assert (np.asarray(found["cross"])[..., crossing] == 0).all()
  assert (np.asarray(found["cross"])[..., ~crossing] > 0).all()
  scanned = attention_maps.attention_weights(
    dataclasses.replace(config, scan=True, remat="full"), params, **arguments
  )
  for kind, one in found.items():
    np.testing.assert_allclose(scanned[kind], one, atol=1e-6)


def test_the_weights_are_those_that_the_module_mixes_values_by():
  config = model(key_value_heads=1, positions="none", bias=True)
  module, rng = transformer.Attention(config), np.random.default_rng(3)
  x_btd, memory_bsd = (rng.normal(size=(B, n, D)).astype(np.float32) for n in (T, S))
  bias = rng.normal(size=(B, H, T, S)).astype(np.float32)
  context = AttentionInputs(bias, memory_bsd=memory_bsd, memory_bias=bias)
  shapes = jax.eval_shape(lambda: nn.meta.unbox(module.init(jax.random.key(0), x_btd, context, cross=True)))
  variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
  out_btd, seen = module.apply(variables, x_btd, context, cross=True, mutable=[transformer.INTERMEDIATES])
  (weights_bhts,) = seen[transformer.INTERMEDIATES]["weights"]
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"])
  v_bgsk = np.einsum("bsd,dgk->bgsk", memory_bsd, p["value"]["kernel"]) + p["value_bias"][:, None]
  mixed_bhtk = np.einsum("bhts,bsk->bhtk", weights_bhts, v_bgsk[:, 0])
  wanted = np.einsum("bhtk,hkd->btd", mixed_bhtk, p["out"]["kernel"]) + p["out_bias"]
  np.testing.assert_allclose(out_btd, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_a_model_that_nobody_looks_into_computes_no_maps_for_them(scan):
  config = model(scan=scan)
  params, inputs_bt = parameters(config), np.zeros((B, T), np.int32)
  module = language_model.build_model(config)
  plain = str(jax.make_jaxpr(lambda p: module.apply({"params": p}, inputs_bt))(params))
  looked = str(
    jax.make_jaxpr(lambda p: module.apply({"params": p}, inputs_bt, mutable=[transformer.INTERMEDIATES]))(
      params
    )
  )
  square = f"f32[{B},{H},{T},{T}]"
  assert plain.count(square) < looked.count(square)
  assert f"f32[{L},{B},{H},{T},{T}]" not in plain
  assert f"f32[{L},{B},{H},{T},{T}]" in looked
  logits, _ = module.apply({"params": params}, inputs_bt, mutable=[transformer.INTERMEDIATES])
  np.testing.assert_array_equal(logits, module.apply({"params": params}, inputs_bt))


@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder_decoder"])
def test_a_text_is_read_as_its_family_reads(family):
  config = model(family=family)
  maps = attention_maps.read_maps(config, parameters(config), ByteTokenizer(), "a b", "xyz", start=(1,))
  shown = {one.kind: (one.queries, one.keys) for one in maps}
  text = ("<s>", "a", "␣", "b", "</s>")
  if family == "encoder_decoder":
    target = ("</s>", "x", "y", "z")
    assert shown == {"source": (text, text), "self": (target, target), "cross": (target, text)}
  else:
    text = text if family == "encoder" else text[:-1]
    assert shown == {"self": (text, text)}
  for one in maps:
    assert one.weights_lhts.shape[2:] == (len(one.queries), len(one.keys))


def test_tokens_are_readable_whatever_the_tokenizer():
  tokens = attention_maps.show_tokens(
    ByteTokenizer(), np.array([3, *(4 + np.frombuffer("a\n é".encode(), np.uint8)), 262])
  )
  assert tokens == ("<s>", "a", "\\n", "␣", "\\xc3", "\\xa9", "<mask>")
  texts = ["the cat sat on the mat and the cat ate"] * 30
  for kind in ("bpe", "unigram"):
    tokenizer = subwords.train_subwords(texts, kind, 272)
    shown = attention_maps.show_tokens(tokenizer, tokenizer.encode("the cat"))
    assert "".join(shown) == "the␣cat"


def test_what_has_no_room_or_no_attention_is_refused():
  config = model(positions="learned", context=4)
  with pytest.raises(UserError, match="has 4 learned positions"):
    attention_maps.read_maps(config, parameters(config), ByteTokenizer(), "too long")
  with pytest.raises(UserError, match="empty"):
    attention_maps.read_maps(config, {}, ByteTokenizer(), "")
  with pytest.raises(UserError, match="has no attention"):
    attention_maps.attention_weights(model(family="recurrent"), {}, inputs_bt=np.zeros((1, 2), np.int32))
