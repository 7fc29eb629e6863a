import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gen.config import Model
from gen.kernels import gradients
from gen.models import layers, transformer
from gen.models.transformer import MASKED_SCORE, AttentionInputs

B, T, S, H, K, D = 2, 5, 7, 3, 4, 10
BIASES = [(1, 1, T, S), (B, 1, T, S), (1, H, T, S), (B, H, T, S)]


def close(found, wanted, tolerance=1e-5):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(bias_shape):
  bias = normal(3, *bias_shape)
  bias[..., 1, 2] = bias[..., 4, 0] = MASKED_SCORE  # some pairs that must not see one another
  return normal(0, B, H, T, K), normal(1, B, H, S, K), normal(2, B, H, S, K), bias


def plain(q, k, v, bias, scale):
  """Attention as a line of algebra, for autodiff in float64."""
  return jax.nn.softmax(jnp.einsum("bhtk,bhsk->bhts", q, k) * scale + bias) @ v


def slow(q, k, v, bias, scale):
  """Attention one number at a time."""
  bias = np.broadcast_to(bias, (B, H, T, S))
  out = np.zeros((B, H, T, K))
  for b, h, t in np.ndindex(B, H, T):
    scores = [
      float(np.dot(q[b, h, t].astype(np.float64), k[b, h, s])) * scale + bias[b, h, t, s] for s in range(S)
    ]
    powers = np.exp(np.array(scores) - max(scores))
    for s in range(S):
      out[b, h, t] += powers[s] / powers.sum() * v[b, h, s]
  return out


@pytest.mark.parametrize("bias_shape", BIASES)
def test_attention_is_the_formula_one_number_at_a_time(bias_shape):
  q, k, v, bias = inputs(bias_shape)
  close(gradients.dot_product_attention(q, k, v, bias, 0.6), slow(q, k, v, bias, 0.6))


@pytest.mark.parametrize("bias_shape", BIASES)
def test_its_gradient_is_that_of_autodiff_in_float64(bias_shape):
  arrays, weights = inputs(bias_shape), normal(4, B, H, T, K)

  def loss(function, *arrays):
    return (function(*arrays, 0.6) * weights).sum()

  found = jax.jit(jax.grad(functools.partial(loss, gradients.dot_product_attention), (0, 1, 2, 3)))(*arrays)
  with jax.enable_x64(True):
    exact = [jnp.asarray(x, jnp.float64) for x in arrays]
    wanted = jax.jit(jax.grad(functools.partial(loss, plain), (0, 1, 2, 3)))(*exact)
    assert wanted[0].dtype == jnp.float64
  for one, other in zip(found, wanted, strict=True):
    assert one.shape == other.shape
    assert one.dtype == np.float32
    close(one, other)


def test_scores_too_large_for_exp_do_no_harm():
  q, k, v, bias = inputs(BIASES[0])
  found, pull = jax.vjp(lambda q: gradients.dot_product_attention(q, k, v, bias, 500.0), q)
  close(found, slow(q, k, v, bias, 500.0), 1e-3)
  assert np.isfinite(pull(jnp.ones_like(found))[0]).all()


def test_bfloat16_comes_out_as_bfloat16_near_the_float32_result():
  q, k, v, bias = inputs(BIASES[1])
  narrow = [jnp.asarray(x, jnp.bfloat16) for x in (q, k, v)]
  found, pull = jax.vjp(lambda *qkv: gradients.dot_product_attention(*qkv, bias, 0.6), *narrow)
  assert found.dtype == jnp.bfloat16
  close(found.astype(jnp.float32), slow(q, k, v, bias, 0.6), 0.05)
  assert {grad.dtype for grad in pull(found)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("bias_heads", [1, 6])
def test_grouped_queries_equal_heads_whose_keys_repeat(groups, bias_heads):
  q, k, v = normal(0, B, 6, T, K), normal(1, B, groups, S, K), normal(2, B, groups, S, K)
  bias = normal(3, B, bias_heads, T, S)

  def grouped(q, k, v, bias):
    return gradients.dot_product_attention(q, k, v, bias, 0.7)

  def repeated(q, k, v, bias):
    return plain(q, jnp.repeat(k, 6 // groups, 1), jnp.repeat(v, 6 // groups, 1), bias, 0.7)

  weights = normal(4, B, 6, T, K)
  arrays = (q, k, v, bias)

  @functools.partial(jax.jit, static_argnums=0)
  def value_and_gradients(function):
    value, pull = jax.vjp(function, *arrays)
    return value, *pull(weights)

  for one, other in zip(value_and_gradients(grouped), value_and_gradients(repeated), strict=True):
    close(one, other)


SEGMENTS = np.array([[1, 1, 2, 2, 0], [1, 2, 2, 2, 3]])


@pytest.mark.parametrize("causal", [False, True])
def test_the_mask_shows_the_own_segment_and_no_future(causal):
  found = np.asarray(transformer.attention_mask(jnp.asarray(SEGMENTS), jnp.asarray(SEGMENTS), causal))
  assert found.shape == (2, 1, 5, 5)
  for b, t, s in np.ndindex(2, 5, 5):
    seen = SEGMENTS[b, t] == SEGMENTS[b, s] and (s <= t or not causal)
    assert found[b, 0, t, s] == (0 if seen else MASKED_SCORE)


def test_a_causal_mask_with_a_prefix_shows_the_prefix_of_the_own_segment_too():
  prefix = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 1]])
  found = np.asarray(
    transformer.attention_mask(jnp.asarray(SEGMENTS), jnp.asarray(SEGMENTS), True, jnp.asarray(prefix))
  )
  assert found.shape == (2, 1, 5, 5)
  for b, t, s in np.ndindex(2, 5, 5):
    seen = SEGMENTS[b, t] == SEGMENTS[b, s] and (s <= t or prefix[b, s])
    assert found[b, 0, t, s] == (0 if seen else MASKED_SCORE)


def test_a_mask_between_two_texts_has_a_row_a_query_and_a_column_a_key():
  keys = np.array([[1, 2, 2], [3, 1, 0]])
  found = np.asarray(transformer.attention_mask(jnp.asarray(SEGMENTS), jnp.asarray(keys), False))
  assert found.shape == (2, 1, 5, 3)
  np.testing.assert_array_equal(found[:, 0] == 0, SEGMENTS[:, :, None] == keys[:, None, :])


ROTATE = jax.jit(layers.apply_rotary)


def params_of(model, draw=False):
  """Parameters of one attention: as the initializers draw them, or random ones, biases and scales too."""
  module = transformer.Attention(model)

  def initialize():
    context = AttentionInputs(jnp.zeros((1, 1, 2, 2)))
    return nn.meta.unbox(module.init(jax.random.key(0), jnp.zeros((1, 2, model.width)), context))["params"]

  if draw:
    return jax.jit(initialize)()
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), jax.eval_shape(initialize))


def by_hand(model, params, x, memory, bias, angles):
  """The layer written out: projections, norms, turns, attention with repeated keys, output."""
  p = jax.tree.map(lambda a: a.astype(np.float64), params)

  def project(name, text):
    y = np.einsum("btd,dhk->bhtk", text, p[name]["kernel"])
    return y + p[f"{name}_bias"][:, None] if model.bias or model.qkv_bias else y

  def rms(name, y):
    if model.qk_norm_joint:
      scale = p[name]["scale"].reshape(y.shape[1], 1, y.shape[3])
      return y / np.sqrt((y**2).mean((1, 3), keepdims=True) + model.norm_epsilon) * scale
    return y / np.sqrt((y**2).mean(-1, keepdims=True) + model.norm_epsilon) * p[name]["scale"]

  q, k, v = project("query", x), project("key", memory), project("value", memory)
  if model.qk_norm:
    q, k = rms("query_norm", q), rms("key_norm", k)
  if angles is not None:
    q, k = (np.asarray(ROTATE(y.astype(np.float32), angles), np.float64) for y in (q, k))
  repeats = model.n_heads // model.n_key_value_heads
  k, v = np.repeat(k, repeats, 1), np.repeat(v, repeats, 1)
  scores = np.einsum("bhtk,bhsk->bhts", q, k) * (model.attention_scale or model.head_width**-0.5) + bias
  powers = np.exp(scores - scores.max(-1, keepdims=True))
  mixed = np.einsum("bhts,bhsk->bhtk", powers / powers.sum(-1, keepdims=True), v)
  out = np.einsum("bhtk,hkd->btd", mixed, p["out"]["kernel"])
  return out + p["out_bias"] if model.bias else out


@functools.cache
def angles_of():
  return layers.rotary_angles(jnp.tile(jnp.arange(T), (B, 1)), Model(head_width=K, rotary_base=100.0))


MODELS = [
  {},
  {"bias": True},
  {"qk_norm": True},
  {"attention_scale": 1.3},
  {"key_value_heads": 1, "bias": True},
  {"heads": 4, "key_value_heads": 2, "qk_norm": True},
  {"heads": 4, "key_value_heads": 2, "qk_norm": True, "qk_norm_joint": True, "qkv_bias": True},
]


def test_a_window_hides_what_lies_before_that_many_tokens():
  segments = np.array([[1, 1, 1, 1, 2, 2]])
  seen = np.asarray(transformer.attention_mask(segments, segments, True, window=2))[0, 0] == 0
  wanted = [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0],
            [0, 0, 0, 0, 1, 1]]  # fmt: skip
  np.testing.assert_array_equal(seen, wanted)


def test_a_window_of_an_encoder_has_so_many_tokens_on_either_side():
  segments = np.array([[1, 1, 1, 1, 1, 2]])
  seen = np.asarray(transformer.attention_mask(segments, segments, False, window=2))[0, 0] == 0
  wanted = [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 0],
            [0, 0, 0, 0, 0, 1]]  # fmt: skip
  np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("switches", MODELS, ids=str)
@pytest.mark.parametrize("rotary", [False, True])
def test_self_attention_is_the_layer_written_out(switches, rotary):
  model = Model(**{"width": D, "heads": H, "head_width": K} | switches)
  params, x, bias = params_of(model), normal(0, B, T, D), normal(1, B, 1, T, T)
  angles = angles_of() if rotary else None
  found = jax.jit(transformer.Attention(model).apply)(
    {"params": params}, x, AttentionInputs(bias, angles=angles)
  )
  close(found, by_hand(model, params, x, x, bias, angles), 2e-4)


@pytest.mark.parametrize("switches", [MODELS[0], MODELS[4]], ids=str)
def test_cross_attention_looks_at_the_memory_through_its_own_mask_unturned(switches):
  model = Model(**{"width": D, "heads": H, "head_width": K} | switches)
  params, x, memory, bias = params_of(model), normal(0, B, T, D), normal(1, B, S, D), normal(2, B, 1, T, S)
  angles = angles_of()
  context = AttentionInputs(normal(3, B, 1, T, T), angles=angles, memory_bsd=memory, memory_bias=bias)
  layer = jax.jit(functools.partial(transformer.Attention(model).apply, cross=True))
  found = layer({"params": params}, x, context)
  close(found, by_hand(model, params, x, memory, bias, None), 2e-4)


def test_cross_attention_without_a_memory_is_an_error():
  model = Model(width=D, heads=H, head_width=K)
  with pytest.raises(ValueError, match="needs a memory"):
    transformer.Attention(model).apply(
      {"params": params_of(model)}, jnp.zeros((B, T, D)), AttentionInputs(jnp.zeros((B, 1, T, T))), cross=True
    )


def test_a_query_that_may_look_nowhere_but_at_itself_gets_its_own_value():
  q, k, v = normal(0, 1, 1, T, K), normal(1, 1, 1, T, K), normal(2, 1, 1, T, K)
  alone = jnp.where(jnp.eye(T, dtype=bool), 0.0, MASKED_SCORE)[None, None]
  np.testing.assert_array_equal(gradients.softmax_attention(q, k, v, alone), v)


def test_initial_scores_have_unit_size():
  model = Model(width=256, heads=4, head_width=64, depth=8)
  params = params_of(model, draw=True)
  x = normal(0, 1, 40, 256)
  q, k = (np.einsum("btd,dhk->bhtk", x, params[name]["kernel"]) for name in ("query", "key"))
  scores = np.einsum("bhtk,bhsk->bhts", q, k) / 8
  assert scores.std() == pytest.approx(1, rel=0.2)
  assert np.std(params["out"]["kernel"]) == pytest.approx(1 / 4 / 16, rel=0.05)


@pytest.mark.parametrize("length", [129, 205])  # two blocks, three of unequal lengths
@pytest.mark.parametrize("groups", [3, 1])
def test_attention_to_the_past_in_blocks_equals_attention_under_the_mask_whole(length, groups):
  segments = np.sort(np.random.default_rng(5).integers(1, 4, (B, length)), axis=1)
  bias = transformer.attention_mask(segments, segments, causal=True) + normal(3, 1, H, length, length)
  q, k, v = normal(0, B, H, length, K), normal(1, B, groups, length, K), normal(2, B, groups, length, K)
  weights = normal(4, B, H, length, K)

  def loss(function, *arrays):
    mixed = function(*arrays, 0.6)
    return (mixed * weights).sum(), mixed

  def differentiated(function):
    return jax.jit(jax.value_and_grad(functools.partial(loss, function), argnums=(0, 1, 2, 3), has_aux=True))

  blocks, whole = (
    differentiated(each)(q, k, v, bias)
    for each in (gradients.causal_attention, gradients.dot_product_attention)
  )
  jax.tree.map(close, blocks, whole)


def test_attention_to_the_past_computes_few_scores_of_the_future():
  q = jax.ShapeDtypeStruct((B, H, 512, K), jnp.float32)
  bias = jax.ShapeDtypeStruct((1, 1, 512, 512), jnp.float32)

  def flops(function):
    lowered = jax.jit(functools.partial(function, scale=0.6)).lower(q, q, q, bias)
    return lowered.compile().cost_analysis()["flops"]

  assert flops(gradients.causal_attention) < 0.6 * flops(gradients.dot_product_attention)
