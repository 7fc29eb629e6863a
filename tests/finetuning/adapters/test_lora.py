import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.finetuning.adapters import lora
from gen.finetuning.adapters.lora import LoraConfig
from gen.interop.parameters import flatten_tree
from gen.models import heads, language_model

MODEL = Model(
  vocab=11, width=8, depth=3, head_width=4, key_value_heads=1, feed_forward=6, tied=True, activation="swiglu"
)
LAYERS = "target/stack/layers"
CONFIG = LoraConfig(rank=2, alpha=3.0, targets=("attention/query", "attention/out", "feed_forward/in"))


@pytest.fixture(scope="module")
def params():
  random = np.random.default_rng(0)
  shapes = language_model.parameter_shapes(MODEL)
  return jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), shapes)


def drawn(adapters):
  """Returns adapters in which B is not 0."""
  random = np.random.default_rng(1)
  return jax.tree.map(lambda leaf: leaf + random.normal(size=leaf.shape).astype(np.float32), adapters)


def test_each_matrix_gets_the_product_of_its_adapter_times_alpha_over_rank(params):
  adapters = drawn(lora.initialize_adapters(params, CONFIG, jax.random.key(1)))
  before, after = flatten_tree(params), flatten_tree(lora.apply_adapters(params, adapters, CONFIG))
  flat = flatten_tree(adapters)
  changed = [path for path in before if not np.array_equal(before[path], after[path])]
  assert changed == [f"{LAYERS}/{name}/kernel" for name in sorted(CONFIG.targets)]
  for path in changed:
    a_lir, b_lro = (flat[path.replace("kernel", name)] for name in "ab")
    for layer in range(3):
      product_io = 3.0 / 2 * np.asarray(a_lir[layer], np.float64) @ np.asarray(b_lro[layer], np.float64)
      difference = np.asarray(after[path][layer] - before[path][layer])
      np.testing.assert_allclose(difference.reshape(product_io.shape), product_io, atol=1e-5)
  # Heads are inputs of the matrix after attention, and outputs of the one before.
  assert flat[f"{LAYERS}/attention/query/a"].shape == (3, 8, 2)
  assert flat[f"{LAYERS}/attention/out/a"].shape == (3, 2 * 4, 2)
  assert flat[f"{LAYERS}/attention/out/b"].shape == (3, 2, 8)


def test_new_adapters_change_nothing_and_gradients_flow_to_them_alone(params):
  adapters = lora.initialize_adapters(params, CONFIG, jax.random.key(2))
  module, ids_bt = language_model.build_model(MODEL), jnp.array([[1, 5, 3], [2, 9, 4]])

  def loss(adapters):
    merged = lora.apply_adapters(params, adapters, CONFIG)
    return (module.apply({"params": merged}, ids_bt) ** 2).sum()

  same = flatten_tree(lora.apply_adapters(params, adapters, CONFIG))
  assert all(np.array_equal(same[path], leaf) for path, leaf in flatten_tree(params).items())
  grads = flatten_tree(jax.jit(jax.grad(loss))(adapters))
  # With B = 0 the gradient of A is 0, and that of B is not.
  assert all(np.any(leaf) == path.endswith("/b") for path, leaf in grads.items())


def test_the_rank_stabilized_factor_divides_by_the_root():
  assert LoraConfig(4, 6.0).scale == 1.5
  assert LoraConfig(4, 6.0, rank_stabilized=True).scale == 3.0


def test_dropout_leaves_out_inputs_of_a_and_keeps_its_mean(params):
  config = dataclasses.replace(CONFIG, dropout=0.25, targets=("attention/query",))
  adapters = drawn(lora.initialize_adapters(params, config, jax.random.key(3)))
  path = f"{LAYERS}/attention/query/kernel"
  plain = flatten_tree(lora.apply_adapters(params, adapters, config))[path] - flatten_tree(params)[path]
  apply = jax.jit(lambda key: flatten_tree(lora.apply_adapters(params, adapters, config, key))[path])
  total, draws = np.zeros_like(plain), 200
  for number in range(draws):
    dropped = apply(jax.random.key(number))
    total += np.asarray(dropped - flatten_tree(params)[path])
  rows = np.asarray(dropped - flatten_tree(params)[path]).reshape(3 * 8, -1)
  kept = np.abs(rows).max(1) > 1e-6
  assert 0 < kept.sum() < 24
  np.testing.assert_allclose(rows[kept], np.asarray(plain).reshape(24, -1)[kept] / 0.75, atol=1e-4)
  np.testing.assert_allclose(total / draws, plain, atol=0.2 * float(np.abs(plain).max()))


def test_targets_are_names_or_patterns_and_leave_the_head_of_a_task_alone(params):
  def names(*targets):
    found = lora.find_targets(params, targets)
    return [path.removeprefix(f"{LAYERS}/").removesuffix("/kernel") for path in found]

  assert names("attention") == [f"attention/{name}" for name in ("key", "out", "query", "value")]
  assert names("feed_forward/*") == [f"feed_forward/{name}" for name in ("gate", "in", "out")]
  assert names("value", "*/query/kernel") == ["attention/query", "attention/value"]
  head = HeadConfig("classify", ("a", "b"), hidden="dense")
  headed = heads.attach_head(params, MODEL, head, jax.random.key(4))
  assert list(lora.find_targets(headed, ("*",))) == list(lora.find_targets(params, ("*",)))
  assert list(lora.find_targets(headed, ("head/dense",))) == ["head/dense/kernel"]


def test_layers_of_a_recurrent_model_are_stacked_too():
  shapes = language_model.parameter_shapes(Model(family="gru", vocab=11, width=6, depth=3))
  (path, shape), *others = lora.find_targets(shapes, ("layers",)).items()
  assert (path, shape.layers, shape.inputs, shape.outputs) == ("target/layers/kernel", 3, 6, 3 * 6)
  assert not others


def test_a_target_or_a_rank_that_does_not_fit_is_one_sentence(params):
  with pytest.raises(
    UserError, match="'queries', which matches no matrix; there are attention/key, attention"
  ):
    lora.initialize_adapters(params, LoraConfig(targets=("queries",)), jax.random.key(0))
  with pytest.raises(UserError, match=r"lora\.rank is 7, above the 6 of"):
    lora.initialize_adapters(params, LoraConfig(7, targets=("feed_forward/in",)), jax.random.key(0))
  for fields, sentence in (
    ({"rank": 0}, "lora.rank is 0"),
    ({"alpha": 0.0}, "lora.alpha is 0.0"),
    ({"dropout": 1.0}, "lora.dropout is 1.0"),
    ({"targets": ()}, "lora.targets is empty"),
  ):
    with pytest.raises(UserError, match=sentence):
      LoraConfig(**fields)
