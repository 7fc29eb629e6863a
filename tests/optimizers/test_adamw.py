import functools

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen import optimizers
from gen.config import Model, Optimizer
from gen.models import language_model
from gen.optimizers import ScheduleParams, learning_rate, schedule_params

RATE = jax.jit(learning_rate, static_argnums=0)


def closed_form(schedule, step, over):
  """The schedules as one would write them by hand, in float64."""
  if step < over.warmup:
    return over.peak * (step + 1) / over.warmup
  done = (step - over.warmup) / (over.steps - over.warmup)
  shape = {
    "linear": 1 - (1 - over.final) * done,
    "cosine": over.final + (1 - over.final) * np.cos(np.pi * done / 2) ** 2,
    "constant": 1.0,
    "wsd": over.final + (1 - over.final) * min(1, (over.steps - step) / over.decay),
    "wsd_sqrt": 1 - (1 - over.final) * np.sqrt(max(0, 1 - (over.steps - step) / over.decay)),
  }
  return over.peak * shape[schedule]


@given(
  schedule=st.sampled_from(optimizers.SCHEDULES),
  steps=st.integers(1, 100_000),
  warmup=st.floats(0, 0.5),
  decay=st.floats(0.01, 0.5),
  final=st.floats(0, 1),
  where=st.floats(0, 1, exclude_max=True),
)
def test_schedules_are_their_closed_forms_at_any_step(schedule, steps, warmup, decay, final, where):
  config = Optimizer(peak_learning_rate=0.03, warmup=warmup, decay=decay, final=final)
  over = schedule_params(config, steps)
  step = int(where * steps)
  assert float(RATE(schedule, step, over)) == pytest.approx(
    closed_form(schedule, step, over), rel=1e-4, abs=1e-8
  )


@pytest.mark.parametrize("schedule", optimizers.SCHEDULES)
def test_warmup_rises_from_a_first_step_that_moves_to_the_peak(schedule):
  over = ScheduleParams(peak=2.0, steps=100.0, warmup=4.0, decay=10.0, final=0.0)
  found = [float(RATE(schedule, step, over)) for step in range(5)]
  np.testing.assert_allclose(found, [0.5, 1.0, 1.5, 2.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("schedule", optimizers.SCHEDULES)
def test_without_warmup_the_first_step_is_at_the_peak(schedule):
  assert float(RATE(schedule, 0, ScheduleParams(2.0, 100.0, 0.0, 10.0, 0.1))) == 2.0


@pytest.mark.parametrize(
  ("schedule", "middle", "last"),
  [
    ("linear", 0.55, 0.109),
    ("cosine", 0.55, 0.10022),
    ("constant", 1.0, 1.0),
    ("wsd", 1.0, 0.19),
    ("wsd_sqrt", 1.0, 1 - 0.9 * 0.9**0.5),
  ],
)
def test_schedules_end_a_step_above_their_final_rate(schedule, middle, last):
  over = ScheduleParams(peak=1.0, steps=100.0, warmup=0.0, decay=10.0, final=0.1)
  assert float(RATE(schedule, 50, over)) == pytest.approx(middle, rel=1e-5)
  assert float(RATE(schedule, 99, over)) == pytest.approx(last, rel=1e-4)


def test_an_unknown_schedule_is_an_error():
  with pytest.raises(ValueError, match="'exponential'; it must be one of linear, cosine, constant, wsd"):
    learning_rate("exponential", 0, ScheduleParams(1.0, 10.0, 0.0, 1.0, 0.0))


def tree(seed):
  """A tree like a model's: a stack of layers, kernels, biases of rank 2, scales."""
  rng = np.random.default_rng(seed)
  shapes = {
    "embedding": {"embedding": (5, 3)},
    "stack": {"layers": {"kernel": (2, 3, 4), "bias": (2, 4), "query_bias": (2, 3, 2), "scale": (2, 3)}},
    "norm": {"scale": (3,)},
  }
  is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
  return jax.tree.map(lambda shape: rng.normal(size=shape).astype(np.float32), shapes, is_leaf=is_shape)


DECAYED = {
  "embedding": {"embedding": True},
  "stack": {"layers": {"kernel": True, "bias": False, "query_bias": False, "scale": False}},
  "norm": {"scale": False},
}


def test_weight_decay_is_for_matrices_by_the_rank_they_have_in_one_layer():
  assert optimizers.decay_mask(tree(0)) == DECAYED


@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder_decoder"])
def test_no_norm_and_no_bias_of_a_model_decays_and_every_kernel_does(family):
  model = Model(
    family=family, vocab=11, width=12, heads=3, head_width=4, depth=2, bias=True, norm_bias=True, qk_norm=True,
    positions="learned", context=7, head_bias=True, head_transform=True, pooler=True, token_types=2,
  )  # fmt: skip
  for path, decays in jax.tree_util.tree_leaves_with_path(
    optimizers.decay_mask(language_model.parameter_shapes(model))
  ):
    assert decays == (path[-1].key in ("kernel", "embedding")), path


def steps_of(config, rate, count=4):
  """Parameters after steps of ours, with gradients that differ from step to step."""
  params, rule = tree(0), optimizers.make_update_rule(config)
  opt_state = rule.init(params)

  @jax.jit
  def step(grads, opt_state, params):
    opt_state, apply_update = rule.update(grads, opt_state, params, np.float32(rate))
    return apply_update(params, opt_state), opt_state

  for seed in range(1, count + 1):
    params, opt_state = step(tree(seed), opt_state, params)
  return params


CONFIG = Optimizer(beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.3)


def test_steps_are_those_of_optax_adamw():
  theirs = optax.adamw(0.01, 0.8, 0.95, 1e-6, weight_decay=0.3, mask=lambda params: DECAYED)
  params = tree(0)
  state, update = theirs.init(params), jax.jit(theirs.update)
  for seed in range(1, 5):
    updates, state = update(tree(seed), state, params)
    params = optax.apply_updates(params, updates)
  for ours, wanted in zip(jax.tree.leaves(steps_of(CONFIG, 0.01)), jax.tree.leaves(params), strict=True):
    np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-7)


def test_steps_are_those_of_the_paper_one_array_at_a_time():
  found = jax.tree_util.tree_leaves_with_path(steps_of(CONFIG, 0.01))
  gradients = [jax.tree.leaves(tree(seed)) for seed in range(1, 5)]
  decays = jax.tree.leaves(DECAYED)
  for i, (_, ours) in enumerate(found):
    p = jax.tree.leaves(tree(0))[i].astype(np.float64)
    first = second = 0.0
    for t in range(1, 5):
      g = gradients[t - 1][i].astype(np.float64)
      first, second = 0.8 * first + 0.2 * g, 0.95 * second + 0.05 * g**2
      direction = first / (1 - 0.8**t) / (np.sqrt(second / (1 - 0.95**t)) + 1e-6)
      p = p - 0.01 * (direction + 0.3 * decays[i] * p)
    np.testing.assert_allclose(ours, p, rtol=1e-5, atol=1e-6)


@given(steps=st.integers(1, 10**7), warmup=st.floats(0, 0.99), decay=st.floats(0, 1))
def test_a_horizon_counts_whole_steps_within_the_run(steps, warmup, decay):
  over = schedule_params(Optimizer(warmup=warmup, decay=decay), steps)
  assert 0 <= over.warmup <= over.steps == steps
  assert 1 <= over.decay <= max(1, steps)
  assert all(isinstance(x, float) and x == int(x) for x in (over.steps, over.warmup, over.decay))


def test_a_schedule_needs_one_program_for_all_rates_and_lengths():
  program = jax.jit(functools.partial(learning_rate, "wsd"))
  for peak, steps in ((1e-3, 100), (1e-2, 7), (3.0, 10**6)):
    program(np.int32(3), schedule_params(Optimizer(peak_learning_rate=peak), steps))
  assert program._cache_size() == 1
