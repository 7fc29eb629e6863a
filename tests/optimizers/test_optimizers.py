"""Each optimizer against its equations in numpy, and the door for one of the user's own."""

import functools

import jax
import numpy as np
import optax
import pytest

from gen import optimizers
from gen.config import Model, Optimizer, optimizer, validation
from gen.config.run import Run
from gen.errors import UserError
from gen.models import language_model
from gen.optimizers import muon

RATE = 0.03


def tree(seed):
  """A tree like a model's: heads, gates, tables, a bias of rank 2 and a scale, in a stack of 2 layers."""
  rng = np.random.default_rng(seed)
  shapes = {
    "embedding": {"embedding": (5, 3)},
    "stack": {
      "layers": {
        "attention": {
          "query": {"kernel": (2, 6, 2, 5)},
          "out": {"kernel": (2, 2, 5, 6)},
          "query_bias": (2, 2, 5),
        },
        "input_kernel": (2, 4, 3, 7),
        "scale": (2, 3),
      }
    },
    "head": {"logits": {"kernel": (3, 5)}, "transform": {"kernel": (3, 4)}},
  }
  is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
  return jax.tree.map(lambda shape: rng.normal(size=shape).astype(np.float32), shapes, is_leaf=is_shape)


def steps_of(config, count=3):
  params, rule = tree(0), optimizers.make_update_rule(config)
  opt_state = rule.init(params)

  @jax.jit
  def step(grads, opt_state, params):
    opt_state, apply_update = rule.update(grads, opt_state, params, np.float32(RATE))
    return apply_update(params, opt_state), opt_state

  for seed in range(1, count + 1):
    params, opt_state = step(tree(seed), opt_state, params)
  return params


def newton_schulz(x):
  """Five quintic iterations on one matrix, in float64."""
  a, b, c = 3.4445, -4.7750, 2.0315
  flipped = x.shape[0] > x.shape[1]
  x = (x.T if flipped else x) / (np.linalg.norm(x) + 1e-8)
  for _ in range(5):
    gram = x @ x.T
    x = a * x + (b * gram + c * gram @ gram) @ x
  return x.T if flipped else x


def momentum_of(gradients, beta, t):
  """Nesterov momentum of Muon in optax: both terms without bias."""
  mean = 0.0
  for gradient in gradients[:t]:
    mean = beta * mean + (1 - beta) * gradient
  return beta * mean / (1 - beta ** (t + 1)) + (1 - beta) * gradients[t - 1] / (1 - beta**t)


MATRICES = {  # path -> how an array becomes matrices [count, in, out]
  ("attention", "query"): lambda x: x.reshape(2, 6, 10),
  ("attention", "out"): lambda x: x.reshape(2, 10, 6),
  ("layers", "input_kernel"): lambda x: x.swapaxes(1, 2).reshape(6, 4, 7),
  ("head", "transform"): lambda x: x[None],
}


@pytest.mark.parametrize("path", MATRICES)
def test_muon_orthogonalizes_the_momentum_of_each_matrix_of_each_layer(path):
  config = Optimizer(name="muon", momentum=0.9, weight_decay=0.2)
  names = lambda where: [key.key for key in where]  # noqa: E731
  select = lambda params: next(  # noqa: E731
    np.asarray(leaf, np.float64)
    for where, leaf in jax.tree_util.tree_leaves_with_path(params)
    if all(name in names(where) for name in path) and not names(where)[-1].endswith("bias")
  )
  expected = MATRICES[path](select(tree(0)))
  gradients = [MATRICES[path](select(tree(seed))) for seed in (1, 2, 3)]
  for t in (1, 2, 3):
    momentum = momentum_of(gradients, 0.9, t)
    update = np.stack([newton_schulz(matrix) for matrix in momentum])
    update *= 0.2 * np.sqrt(max(update.shape[1:]))
    expected = expected - RATE * (update + 0.2 * expected)
  np.testing.assert_allclose(MATRICES[path](select(steps_of(config))), expected, rtol=2e-4, atol=2e-5)


def test_muon_leaves_tables_logits_biases_and_scales_to_adamw():
  config = Optimizer(name="muon", beta1=0.8, beta2=0.95, weight_decay=0.2)
  ours, adamw = steps_of(config), steps_of(Optimizer(beta1=0.8, beta2=0.95, weight_decay=0.2))
  axes = muon.matrix_axes(tree(0))
  is_leaf = lambda x: x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)  # noqa: E731
  spared = [axis is None for axis in jax.tree.leaves(axes, is_leaf=is_leaf)]
  assert sum(spared) == 4 and len(spared) == 8  # the embedding, the logits, a bias and a scale
  for mine, theirs, is_spared in zip(jax.tree.leaves(ours), jax.tree.leaves(adamw), spared, strict=True):
    assert np.allclose(mine, theirs, rtol=1e-5, atol=1e-6) == is_spared


def test_the_products_of_muon_are_counted():
  shapes = {"layers": {"kernel": np.zeros((3, 4, 10)), "scale": np.zeros((3, 4))}}
  iteration = 2 * 4 * 4 * 10 + 2 * 4 * 4 * 4 + 2 * 4 * 4 * 10
  assert optimizers.count_update_flops(Optimizer(name="muon"), shapes) == 3 * 5 * iteration
  assert optimizers.count_update_flops(Optimizer(), shapes) == 0


def test_the_count_of_muon_is_that_of_a_compiled_update():
  shapes = {"layers": {"kernel": jax.ShapeDtypeStruct((3, 64, 160), np.float32)}}
  rule = optimizers.make_update_rule(Optimizer(name="muon"))
  state = jax.eval_shape(rule.init, shapes)
  compiled = jax.jit(lambda g, s, p: rule.update(g, s, p, np.float32(0.1))[1](p, s)).lower(
    shapes, state, shapes
  )
  counted = optimizers.count_update_flops(Optimizer(name="muon"), shapes)
  assert compiled.compile().cost_analysis()["flops"] == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(
  ("name", "theirs"),
  [
    ("lion", lambda mask: optax.lion(RATE, 0.8, 0.95, weight_decay=0.2, mask=mask)),
    (
      "sgd",
      lambda mask: optax.chain(
        optax.add_decayed_weights(0.0),
        optax.trace(0.9, nesterov=True),
        optax.add_decayed_weights(0.2, mask),
        optax.scale(-RATE),
      ),
    ),
  ],
)
def test_steps_are_those_of_optax(name, theirs):
  config = Optimizer(name=name, beta1=0.8, beta2=0.95, momentum=0.9, weight_decay=0.2)
  params, optimizer_of_optax = tree(0), theirs(optimizers.decay_mask)
  state = optimizer_of_optax.init(params)
  for seed in (1, 2, 3):
    updates, state = optimizer_of_optax.update(tree(seed), state, params)
    params = optax.apply_updates(params, updates)
  for ours, wanted in zip(jax.tree.leaves(steps_of(config)), jax.tree.leaves(params), strict=True):
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def test_the_first_step_of_adafactor_is_the_gradient_over_its_factored_root_mean_square():
  rng = np.random.default_rng(3)
  gradient, kernel = (rng.normal(size=(130, 140)).astype(np.float32) for _ in range(2))
  rule = optimizers.make_update_rule(Optimizer(name="adafactor", weight_decay=0.0))
  params = {"kernel": kernel}
  opt_state, apply_update = rule.update({"kernel": gradient}, rule.init(params), params, np.float32(RATE))
  squares = gradient.astype(np.float64) ** 2 + 1e-30
  rows, columns = squares.mean(1), squares.mean(0)
  update = gradient / np.sqrt(np.outer(rows, columns) / rows.mean())
  update /= max(1.0, np.sqrt(np.mean(update**2)))
  expected = kernel - RATE * update * np.sqrt(np.mean(kernel.astype(np.float64) ** 2))
  np.testing.assert_allclose(apply_update(params, opt_state)["kernel"], expected, rtol=1e-4, atol=1e-5)


def test_every_name_of_the_config_has_an_optimizer():
  assert tuple(optimizers.OPTIMIZERS) == optimizer.OPTIMIZER_NAMES


def test_an_optimizer_of_optax_is_named_with_its_options():
  config = Optimizer(name="optax:adamw", options="b1=0.8, b2=0.95, weight_decay=0.0")
  ours = steps_of(config)
  expected = steps_of(Optimizer(beta1=0.8, beta2=0.95, weight_decay=0.0))
  for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


OWN = """
import optax

def sign_descent(learning_rate, power=1.0):
  return optax.chain(optax.stateless(lambda g, p: sign(g)), optax.scale_by_learning_rate(learning_rate))

def sign(tree):
  import jax, jax.numpy as jnp
  return jax.tree.map(jnp.sign, tree)

sign_descent.count_flops = lambda params: 77.0
not_an_optimizer = lambda learning_rate: 3
"""


@pytest.fixture
def own_file(tmp_path):
  (tmp_path / "own.py").write_text(OWN)
  return str(tmp_path / "own.py")


def test_an_optimizer_from_a_file_of_the_users_trains_and_counts(own_file):
  config = Optimizer(name=f"{own_file}:sign_descent", options="power=2.0")
  assert optimizers.count_update_flops(config, {}) == 77
  moved = functools.reduce(
    lambda total, seed: total + np.sign(tree(seed)["embedding"]["embedding"]), (1, 2, 3), 0
  )
  expected = tree(0)["embedding"]["embedding"] - RATE * moved
  np.testing.assert_allclose(steps_of(config)["embedding"]["embedding"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("name", "options", "sentence"),
  [
    ("optax:adamm", "", "optax has no 'adamm'"),
    ("no_such_module:make", "", "module 'no_such_module', which cannot be found"),
    ("no/such/file.py:make", "", "names the file no/such/file.py, which cannot be read"),
    ("optax:adamw", "b7=1", "cannot be called with learning_rate and optimizer.options 'b7=1'"),
    ("optax:adamw", "b1", "optimizer.options is 'b1'; write names with plain values"),
    ("optax:adamw", "b1=__import__('os')", "write names with plain values"),
  ],
)
def test_a_wrong_reference_is_one_sentence(name, options, sentence):
  with pytest.raises(UserError, match=sentence):
    optimizers.make_update_rule(Optimizer(name=name, options=options)).init({"kernel": np.zeros((2, 3))})


def test_a_function_that_returns_no_transformation_is_refused(own_file):
  with pytest.raises(UserError, match="returns a int; it must return an optax GradientTransformation"):
    optimizers.make_update_rule(Optimizer(name=f"{own_file}:not_an_optimizer")).init({})


@pytest.mark.parametrize(
  ("name", "options", "sentence"),
  [
    ("adam", "", "must be one of adamw, muon"),
    ("adamw", "b1=0.9", "takes its settings from the other fields"),
  ],
)
def test_a_config_with_a_wrong_optimizer_is_refused_before_anything_is_built(name, options, sentence):
  with pytest.raises(UserError, match=sentence):
    validation.check_run(Run(steps=3, optimizer=Optimizer(name=name, options=options)))


def test_a_function_in_a_config_file_becomes_a_reference():
  assert Optimizer(name=optax.lamb).name == "optax._src.alias:lamb"
  with pytest.raises(UserError, match="which no other process can import"):
    Optimizer(name=lambda learning_rate: optax.sgd(learning_rate))


@pytest.mark.parametrize("name", [name for name in optimizers.OPTIMIZERS if name != "adamw"])
def test_a_step_of_each_optimizer_moves_every_parameter_of_a_model(name):
  model = Model(family="encoder_decoder", vocab=11, width=12, heads=3, head_width=4, depth=2)
  params = language_model.initialize_parameters(model, jax.random.key(0))
  grads = jax.tree.map(lambda p: 0.01 * jax.numpy.cos(jax.numpy.arange(p.size)).reshape(p.shape), params)
  rule = optimizers.make_update_rule(Optimizer(name=name))

  @jax.jit
  def distances(params, grads):
    opt_state, apply_update = rule.update(grads, rule.init(params), params, np.float32(RATE))
    return jax.tree.map(lambda p, q: abs(p - q).max(), params, apply_update(params, opt_state))

  moved = jax.tree.map(float, distances(params, grads))
  assert all(0 < distance < 1 for distance in jax.tree.leaves(moved))
