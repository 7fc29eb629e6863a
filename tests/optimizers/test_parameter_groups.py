"""Frozen parameters have no state and never change; groups have the learning rates that their patterns say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen import optimizers
from gen.config import Optimizer, Run, config_hash, identity_fields, parameter_patterns
from gen.errors import UserError

RATE = jnp.float32(0.01)
SHAPES = {
  "embedding": {"embedding": (7, 3)},
  "head": {"logits": {"kernel": (3, 7)}, "bias": (7,)},
  "target": {"stack": {"layers": {"attention": {"out": {"kernel": (2, 3, 3)}}, "norm": {"scale": (2, 3)}}}},
}


def tree(seed, shapes=SHAPES):
  leaves, form = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
  keys = jax.random.split(jax.random.key(seed), len(leaves))
  return jax.tree.unflatten(
    form, [jax.random.normal(key, shape) for key, shape in zip(keys, leaves, strict=True)]
  )


def trained(config, steps=3, shapes=SHAPES):
  params, rule = tree(0, shapes), optimizers.make_update_rule(config)
  opt_state = rule.init(params)
  for step in range(steps):
    opt_state, apply = rule.update(
      optimizers.split_frozen(config, tree(step + 1, shapes))[0], opt_state, params, RATE
    )
    params = apply(params, opt_state)
  return params, opt_state


def test_multipliers_give_what_a_multi_transform_of_optax_gives():
  config = Optimizer(rate_multipliers=("head=10", "head/bias=0.5"), weight_decay=0.2)
  labels = {
    "embedding": {"embedding": "plain"},
    "head": {"logits": {"kernel": "fast"}, "bias": "slow"},
    "target": {"stack": {"layers": {"attention": {"out": {"kernel": "plain"}}, "norm": {"scale": "plain"}}}},
  }
  decays = {
    "embedding": {"embedding": True},
    "head": {"logits": {"kernel": True}, "bias": False},
    "target": {"stack": {"layers": {"attention": {"out": {"kernel": True}}, "norm": {"scale": False}}}},
  }

  rates = {"plain": 0.01, "fast": 0.1, "slow": 0.005}
  reference = optax.chain(
    optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
    optax.add_decayed_weights(config.weight_decay, decays),
    optax.multi_transform({name: optax.scale(-rate) for name, rate in rates.items()}, labels),
  )
  params = tree(0)
  state = reference.init(params)
  for step in range(3):
    updates, state = reference.update(tree(step + 1), state, params)
    params = optax.apply_updates(params, updates)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), trained(config)[0], params
  )


@pytest.mark.parametrize("name", ["adamw", "muon", "lion", "adafactor", "sgd", "optax:lamb"])
def test_a_frozen_parameter_keeps_its_bits_and_has_no_state_whatever_the_optimizer(name):
  config = Optimizer(name=name, frozen=("embedding", "target/stack/layers/attention/*"))
  params, opt_state = trained(config)
  before = tree(0)
  np.testing.assert_array_equal(params["embedding"]["embedding"], before["embedding"]["embedding"])
  layers, layers_before = params["target"]["stack"]["layers"], before["target"]["stack"]["layers"]
  np.testing.assert_array_equal(
    layers["attention"]["out"]["kernel"], layers_before["attention"]["out"]["kernel"]
  )
  assert not np.array_equal(params["head"]["logits"]["kernel"], before["head"]["logits"]["kernel"])
  assert not np.array_equal(layers["norm"]["scale"], layers_before["norm"]["scale"])
  shapes = {leaf.shape for leaf in jax.tree.leaves(opt_state)}
  assert (7, 3) not in shapes and (2, 3, 3) not in shapes


def test_what_is_trained_beside_frozen_parameters_is_trained_as_without_them():
  some, _ = trained(Optimizer(frozen=("embedding",)))
  every, _ = trained(Optimizer())
  np.testing.assert_array_equal(some["head"]["logits"]["kernel"], every["head"]["logits"]["kernel"])


def test_an_optimizer_without_groups_is_the_rule_itself_and_its_run_keeps_its_hash():
  config = Optimizer()
  state = optimizers.make_update_rule(config).init(tree(0))
  assert isinstance(state, tuple)  # and not a dict by group
  plain = Run(steps=3, optimizer=config)
  assert config_hash(plain) != config_hash(Run(steps=3, optimizer=Optimizer(frozen=("head",))))
  fields = identity_fields(plain)  # those of a run before there were groups and starts
  added = {"frozen", "rate_multipliers", "start_from", "start_opt_state", "start_partial"}
  assert not added & {*fields, *fields["optimizer"]}


def test_the_last_pattern_that_matches_decides():
  multipliers = parameter_patterns.assign_multipliers(["a/b", "a/c"], (), ("a=2", "*/c=3"))
  assert multipliers == {"a/b": 2.0, "a/c": 3.0}


@pytest.mark.parametrize(
  ("fields", "sentence"),
  [
    ({"frozen": ("embeding",)}, "'embeding' matches no parameter; the nearest is embedding/embedding"),
    (
      {"rate_multipliers": ("head/logit=2",)},
      "'head/logit' matches no parameter; the nearest is head/logits",
    ),
    ({"frozen": ("*",)}, "nothing is left to train"),
    (
      {"frozen": ("head",), "rate_multipliers": ("head/bias=2",)},
      "matches only parameters that optimizer.froz",
    ),
  ],
)
def test_a_pattern_that_does_nothing_is_one_sentence(fields, sentence):
  with pytest.raises(UserError, match=sentence.replace("*", r"\*")):
    optimizers.make_update_rule(Optimizer(**fields)).init(tree(0))


@pytest.mark.parametrize(
  "text", ["head", "head=", "=2", "head=0", "head=-1", "head=nan", "head=inf", "head=x"]
)
def test_a_multiplier_that_is_none_is_one_sentence(text):
  with pytest.raises(UserError, match="write PATTERN=NUMBER with a positive number"):
    parameter_patterns.check_patterns((), (text,))
