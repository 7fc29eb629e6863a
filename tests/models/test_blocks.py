import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gen.config import Model
from gen.models import layers, transformer
from gen.models.transformer import AttentionInputs, attention_mask

B, T, S, D = 2, 5, 3, 12
MODEL = Model(width=D, heads=3, head_width=4, feed_forward=7, depth=3, bias=True, norm_bias=True)


def key(seed):
  return jax.random.key(seed, impl="unsafe_rbg")  # compiles in half the time of the default


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(found, wanted, tolerance=1e-5):
  np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def context():
  segments_bt, segments_bs = jnp.ones((B, T), int), jnp.ones((B, S), int)
  return AttentionInputs(
    bias=attention_mask(segments_bt, segments_bt, True),
    memory_bsd=jnp.asarray(normal(1, B, S, D)),
    memory_bias=attention_mask(segments_bt, segments_bs, False),
  )


def random_params(module):
  shapes = jax.eval_shape(lambda: module.init(key(0), jnp.zeros((B, T, D)), context()))
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: (0.4 * rng.normal(size=x.shape)).astype(np.float32), nn.meta.unbox(shapes)["params"]
  )


def written_out(model, params, x, context):
  """A block by its definition, out of the layers that other tests hold against numpy."""

  def norm(name, x):
    return layers.make_norm(model).apply({"params": params[f"{name}_norm"]}, x)

  changes = {
    "attention": lambda x: transformer.Attention(model).apply({"params": params["attention"]}, x, context),
    "cross_attention": lambda x: transformer.Attention(model).apply(
      {"params": params["cross_attention"]}, x, context, cross=True
    ),
    "feed_forward": lambda x: transformer.FeedForward(model).apply({"params": params["feed_forward"]}, x),
  }
  for name, change in changes.items():
    if f"{name}_norm" in params:
      wired = {
        "pre": lambda x: x + change(norm(name, x)),  # noqa: B023
        "post": lambda x: norm(name, x + change(x)),  # noqa: B023
        "output": lambda x: x + norm(name, change(x)),  # noqa: B023
      }
      x = wired[model.norm_placement](x)
  return x


@pytest.mark.parametrize("placement", ["pre", "post", "output"])
@pytest.mark.parametrize("cross", [False, True])
def test_a_block_is_its_branches_with_the_norm_where_it_belongs(placement, cross):
  model = dataclasses.replace(MODEL, norm_placement=placement)
  module, x = transformer.TransformerBlock(model, cross), normal(0, B, T, D)
  params = random_params(module)
  found, nothing = jax.jit(module.apply)({"params": params}, x, context())
  close(found, jax.jit(lambda x: written_out(model, params, x, context()))(x))
  assert nothing is None


@pytest.mark.parametrize(
  ("switches", "normed"),
  [({}, True), ({"final_norm": False}, False), ({"norm_placement": "post"}, False)],
)
def test_a_stack_is_its_blocks_one_after_another_and_the_last_norm(switches, normed):
  model = dataclasses.replace(MODEL, **switches)
  module, x = transformer.LayerStack(model, depth=2), normal(0, B, T, D)
  params = random_params(module)
  assert ("norm" in params) == normed

  def wanted(x):
    for layer in range(2):
      x = written_out(model, jax.tree.map(lambda p: p[layer], params["layers"]), x, context())  # noqa: B023
    return layers.make_norm(model).apply({"params": params["norm"]}, x) if normed else x

  close(jax.jit(module.apply)({"params": params}, x, context()), jax.jit(wanted)(x))


def value_and_gradients(**switches):
  """A stack's result and gradients under dropout, with the same parameters whatever the switches."""
  module = transformer.LayerStack(dataclasses.replace(MODEL, dropout=0.2, **switches), depth=2)
  params, x, weights = random_params(module), normal(0, B, T, D), normal(1, B, T, D)

  def loss(params, x):
    y = module.apply({"params": params}, x, context(), rngs={"dropout": key(0)})
    return (y * weights).sum(), y

  (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
  return y, gradients


@pytest.fixture(scope="module")
def unrolled():
  return value_and_gradients()


@pytest.mark.parametrize(
  "switches", [{"scan": True}, {"remat": "dots"}, {"scan": True, "remat": "full"}], ids=str
)
def test_scanned_and_recomputed_layers_equal_unrolled_ones_with_dropout_too(switches, unrolled):
  found = value_and_gradients(**switches)
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(unrolled), strict=True):
    close(one, other)


@pytest.mark.parametrize(("remat", "recomputes"), [("none", False), ("dots", True), ("full", True)])
def test_remat_recomputes_in_the_backward_pass(remat, recomputes):
  module = transformer.LayerStack(dataclasses.replace(MODEL, remat=remat), depth=2)
  program = jax.make_jaxpr(module.apply)({"params": random_params(module)}, normal(0, B, T, D), context())
  assert ("checkpoint" in str(program) or "remat" in str(program)) == recomputes


def test_each_layer_drops_places_of_its_own():
  model = dataclasses.replace(MODEL, dropout=0.5, final_norm=False, scan=True)
  module, x = transformer.LayerStack(model, depth=2), np.zeros((B, T, D), np.float32)
  # Each branch but the feed-forward adds 0, and that of layer l adds 1 + l, which dropout doubles or drops.
  params = jax.tree.map(np.zeros_like, random_params(module))
  params["layers"]["feed_forward"]["out"]["bias"] = np.array([[1.0], [10.0]], np.float32) * np.ones(
    D, np.float32
  )
  run = jax.jit(lambda drops: module.apply({"params": params}, x, context(), rngs={"dropout": drops}))
  one, same, other = run(key(1)), run(key(1)), run(key(2))
  assert set(np.unique(one)) == {0, 2, 20, 22}
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
