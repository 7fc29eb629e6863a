import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import special

from gen.config import Model
from gen.kernels import gradients
from gen.models import layers, transformer


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(found, wanted, tolerance=1e-5):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


FORMULAS = {
  "relu": lambda x: np.maximum(x, 0),
  "gelu": lambda x: x * 0.5 * (1 + special.erf(x / np.sqrt(2))),
  "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
  "geglu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
  "geglu_exact": lambda x: x * 0.5 * (1 + special.erf(x / np.sqrt(2))),
  "swiglu": lambda x: x * special.expit(x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name):
  x = np.linspace(-6, 6, 101)
  close(layers.ACTIVATIONS[name](jnp.asarray(x, jnp.float32)), FORMULAS[name](x), 1e-6)


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "relu"])
def test_the_gradient_of_an_activation_is_exact_and_keeps_its_input_alone(name):
  x = np.linspace(-6, 6, 97)
  y, back = jax.vjp(layers.ACTIVATIONS[name], jnp.asarray(x, jnp.float32))
  (dx,) = back(jnp.ones_like(y))
  close(dx, (FORMULAS[name](x + 1e-5) - FORMULAS[name](x - 1e-5)) / 2e-5)
  assert [kept.shape for kept in jax.tree.leaves(back) if kept.size > 1] == [(97,)]


def test_the_gradient_of_relu_is_exact_and_keeps_signs_alone():
  x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
  y, back = jax.vjp(layers.ACTIVATIONS["relu"], x)
  np.testing.assert_array_equal(back(jnp.full_like(x, 7.0))[0], [0, 0, 0, 7, 7])
  signs, *others = jax.tree.leaves(back)
  np.testing.assert_array_equal(signs, y > 0)
  assert not any(each.any() for each in others)  # the zeros to choose from


def test_every_activation_has_a_formula_here():
  assert set(layers.ACTIVATIONS) == set(FORMULAS)


# Wider at the entrance, wider at the exit, square: the gradient takes another road in each.
SHAPES = [(5, 7, 3), (5, 3, 7), (5, 4, 4), (1, 2, 1)]


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SHAPES)
def test_matmul_and_its_gradient_are_those_of_the_plain_product(tokens, inputs, outputs):
  x, kernel, dy = normal(0, tokens, inputs), normal(1, inputs, outputs), normal(2, tokens, outputs)
  y, pull = jax.vjp(gradients.matmul, x, kernel)
  dx, dkernel = jax.jit(pull)(dy)
  close(y, x.astype(np.float64) @ kernel)
  close(dx, dy.astype(np.float64) @ kernel.T)
  close(dkernel, x.T.astype(np.float64) @ dy)


def test_the_gradient_of_a_bfloat16_product_is_the_plain_one_too():
  x, kernel = normal(0, 6, 5), normal(1, 5, 3)
  x, kernel = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
  found = jax.grad(lambda x, w: gradients.matmul(x, w).astype(jnp.float32).sum(), (0, 1))(x, kernel)
  wanted = jax.grad(lambda x, w: (x @ w).astype(jnp.float32).sum(), (0, 1))(x, kernel)
  for one, other in zip(found, wanted, strict=True):
    assert one.dtype == jnp.bfloat16
    close(one.astype(jnp.float32), other.astype(jnp.float32), 2e-2)


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SHAPES)
def test_contracted_tokens_are_an_einsum_under_any_batch_axes(tokens, inputs, outputs):
  x, y = normal(0, 2, 3, tokens, inputs), normal(1, 2, 3, tokens, outputs)
  wanted = np.einsum("abni,abno->abio", x.astype(np.float64), y)
  close(jax.jit(gradients.contract_tokens)(x, y), wanted)
  close(gradients.contract_tokens(x[0, 0], y[0, 0]), wanted[0, 0])


def test_contracted_tokens_can_be_differentiated():
  x, y, weights = normal(0, 5, 7), normal(1, 5, 3), normal(2, 7, 3)
  dx, dy = jax.grad(lambda x, y: (gradients.contract_tokens(x, y) * weights).sum(), (0, 1))(x, y)
  close(dx, y @ weights.T)
  close(dy, x @ weights)


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("epsilon", "size"), [(1e-6, 1.0), (1e-3, 0.01), (1e-5, 1e3)])
def test_norms_are_their_papers_formulas(kind, bias, epsilon, size):
  x = normal(0, 2, 3, 7) * np.float32(size)
  params = {"scale": normal(1, 7), "bias": normal(2, 7)}
  has_bias = bias and kind == "layernorm"
  module = layers.Norm(7, kind, bias, epsilon)
  found = module.apply({"params": params if has_bias else {"scale": params["scale"]}}, jnp.asarray(x))

  x = x.astype(np.float64)
  centered = x - x.mean(-1, keepdims=True) if kind == "layernorm" else x
  wanted = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * params["scale"]
  close(found, wanted + params["bias"] if has_bias else wanted)


def test_norms_compute_in_float32_whatever_comes_in():
  x = jnp.asarray(300 + normal(0, 4, 64), jnp.bfloat16)  # in bfloat16 the mean would lose the signal
  params = {"params": {"scale": jnp.ones(64)}}
  found = layers.Norm(64, dtype="bfloat16").apply(params, x)
  exact = layers.Norm(64).apply(params, x.astype(jnp.float32))
  assert found.dtype == jnp.bfloat16
  close(found.astype(jnp.float32), exact, 1e-2)


def test_dense_maps_the_last_axis_of_any_rank():
  x, kernel, bias = normal(0, 2, 3, 5), normal(1, 5, 7), normal(2, 7)
  module = layers.Dense(5, 7, ("embed", "mlp"), bias=True)
  found = module.apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x))
  close(found, np.einsum("abi,io->abo", x.astype(np.float64), kernel) + bias)


@pytest.mark.parametrize("activation", FORMULAS)
def test_the_feed_forward_is_two_products_and_a_gate_where_asked(activation):
  model = Model(width=5, feed_forward=7, activation=activation, bias=True)
  rng = np.random.default_rng(0)

  def dense(inputs, outputs):
    return {"kernel": rng.normal(size=(inputs, outputs)), "bias": rng.normal(size=outputs)}

  params = {"in": dense(5, 7), "out": dense(7, 5)} | ({"gate": dense(5, 7)} if model.gated else {})
  x = rng.normal(size=(2, 3, 5))
  as_float32 = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params, x))
  found = transformer.FeedForward(model).apply({"params": as_float32[0]}, as_float32[1])

  hidden = FORMULAS[activation](x @ params["in"]["kernel"] + params["in"]["bias"])
  if model.gated:
    hidden = hidden * (x @ params["gate"]["kernel"] + params["gate"]["bias"])
  close(found, hidden @ params["out"]["kernel"] + params["out"]["bias"])


def test_an_embedding_looks_up_rows_and_its_gradient_adds_where_an_id_repeats():
  table, ids = normal(0, 5, 3), np.array([[1, 4], [1, 0]])
  module = layers.Embedding(5, 3)
  found = module.apply({"params": {"embedding": table}}, ids)
  close(found, table[ids], 0)
  grad = jax.grad(lambda table: module.apply({"params": {"embedding": table}}, ids).sum())(table)
  close(grad, np.array([1, 2, 0, 0, 1])[:, None] * np.ones(3), 0)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_initial_kernels_have_the_deviation_of_their_fan_in(factor):
  kernel = layers.Dense(64, 200, ("embed", "mlp"), scale=factor).init(jax.random.key(0), jnp.zeros((1, 64)))
  kernel = np.asarray(nn.meta.unbox(kernel)["params"]["kernel"])
  assert kernel.std() == pytest.approx(factor / 8, rel=0.03)
  assert abs(kernel.mean()) < 0.01


@pytest.mark.parametrize(
  ("model", "wanted"),
  [
    (Model(depth=8), 1 / 4),
    (Model(depth=2, initializer_scale=3.0), 3 / 2),
    (Model(depth=2, decoder_depth=8, family="encoder_decoder"), 1 / 4),
  ],
)
def test_what_writes_to_the_residual_stream_starts_smaller_with_depth(model, wanted):
  assert layers.output_scale(model) == pytest.approx(wanted)


class Dropping(nn.Module):
  config: Model

  @nn.compact
  def __call__(self, x):
    return layers.apply_dropout(self.config, x, self)


def test_dropout_needs_a_key_and_keeps_the_mean():
  module, x = Dropping(Model(dropout=0.3)), jnp.ones((40, 500))
  assert (module.apply({}, x) == x).all()
  dropped = np.asarray(module.apply({}, x, rngs={"dropout": jax.random.key(1)}))
  assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.7)}
  assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.01)
  assert dropped.mean() == pytest.approx(1, abs=0.02)


def test_dropout_draws_anew_with_each_key_and_the_same_with_the_same():
  module, x = Dropping(Model(dropout=0.5)), jnp.ones((7, 11))
  one, same, other = (module.apply({}, x, rngs={"dropout": jax.random.key(seed)}) for seed in (1, 1, 2))
  assert (one == same).all()
  assert (one != other).any()


def test_a_dropout_of_zero_ignores_its_key():
  module, x = Dropping(Model(dropout=0.0)), jnp.ones((3, 5))
  assert (module.apply({}, x, rngs={"dropout": jax.random.key(1)}) == x).all()
