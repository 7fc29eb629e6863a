"""float16 trains with a scale of the loss that follows its gradients; nothing of it exists in other dtypes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.optimizers import schedule_params
from gen.precision import loss_scaling
from gen.precision.loss_scaling import LossScale
from gen.training import compiled_step, step

OPTIMIZER = Optimizer(peak_learning_rate=1e-2, schedule="constant", warmup=0.0)
MODELS = {
  "decoder": Model(vocab=23, width=12, depth=1, head_width=4, dtype="float16"),
  "gru": Model(family="gru", vocab=23, width=12, depth=1, dtype="float16"),
}


def batches(count, rows=3, length=8):
  ids = np.tile(np.arange(length + 1) % 5 + 1, (count, rows, 1)).astype(np.int32)
  ones = np.ones((count, rows, length), np.int32)
  positions = np.tile(np.arange(length, dtype=np.int32), (count, rows, 1))
  return Batch(ids[..., :-1], ids[..., 1:], ones.astype(np.float32), ones, positions)


def scale_of(scale, finite=0, backoffs=0):
  return LossScale(jnp.float32(scale), jnp.int32(finite), jnp.int32(backoffs))


def test_the_scale_halves_after_overflow_doubles_after_an_interval_and_stays_in_its_bounds(monkeypatch):
  monkeypatch.setattr(loss_scaling, "GROWTH_INTERVAL", 3)
  scale, seen = scale_of(8.0), []
  for finite in (True, True, True, False, True, True, True):
    scale = loss_scaling.adjust_scale(scale, jnp.bool_(finite))
    seen.append((float(scale.scale), int(scale.finite), int(scale.backoffs)))
  assert seen == [(8, 1, 0), (8, 2, 0), (16, 0, 0), (8, 0, 1), (8, 1, 1), (8, 2, 1), (16, 0, 1)]
  low = loss_scaling.adjust_scale(scale_of(1.0), jnp.bool_(False))
  assert (float(low.scale), int(low.backoffs)) == (1, 0)
  high = loss_scaling.adjust_scale(scale_of(loss_scaling.MAX_SCALE, finite=2), jnp.bool_(True))
  assert float(high.scale) == loss_scaling.MAX_SCALE


@pytest.mark.parametrize("family", MODELS)
def test_a_planted_overflow_is_skipped_changes_nothing_and_training_goes_on(family):
  model = MODELS[family]
  programs, data = compiled_step.step_programs(model, OPTIMIZER), batches(4)
  schedule = schedule_params(OPTIMIZER, 100)
  state = programs.initialize(np.uint32(1))._replace(loss_scale=scale_of(2.0**40))
  before = jax.tree.map(np.array, state.params)
  state, _ = programs.train(state, data, 1, schedule)
  assert (
    float(state.loss_scale.scale) == 2.0**24 and int(state.loss_scale.backoffs) == 1
  )  # the largest there is
  assert int(state.skipped) == 0 and step.count_skipped(state) == 1
  assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(state.params)))
  losses = []
  for _ in range(12):
    state, sums = programs.train(state, data, 4, schedule)
    losses.append(float(sums.nll / max(float(sums.weight), 1)))
  assert 1 < int(state.loss_scale.backoffs) < 25 and int(state.skipped) == 0
  assert 1 < float(state.loss_scale.scale) < 2**24
  assert losses[-1] < 0.7 * np.log(23)


def test_gradients_do_not_depend_on_the_scale_and_are_those_of_float32():
  model, data = MODELS["decoder"], batches(1).map_arrays(lambda array: array[0])
  state = step.initialize_state(model, OPTIMIZER, 2)
  key = jax.random.key(0)

  @jax.jit
  def gradients(scale):
    grads, _ = step.batch_gradients(model, OPTIMIZER, state.params, data, key, scale=scale)
    return jax.tree.map(lambda g: g * loss_scaling.unscale_factor(scale), grads)

  small, large = gradients(scale_of(1.0)), gradients(scale_of(64.0))
  wide, _ = step.batch_gradients(
    dataclasses.replace(model, dtype="float32"), OPTIMIZER, state.params, data, key
  )
  for a, b, c in zip(*map(jax.tree.leaves, (small, large, wide)), strict=True):
    assert a.dtype == jnp.float32
    assert np.linalg.norm(a - b) < 5e-3 * np.linalg.norm(c) + 1e-6
    assert np.linalg.norm(b - c) < 2e-2 * np.linalg.norm(c) + 1e-6


def test_gradients_that_underflow_in_float16_survive_with_a_scale():
  tiny = jnp.float16(2.0**-30)  # less than half of the smallest number
  assert tiny == 0
  scaled = loss_scaling.scale_loss(jnp.float32(2.0**-30), scale_of(2.0**15)).astype(jnp.float16)
  assert float(scaled) * float(loss_scaling.unscale_factor(scale_of(2.0**15))) == 2.0**-30


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes_have_no_scale_in_their_state(dtype):
  state = step.saved_state(dataclasses.replace(MODELS["decoder"], dtype=dtype), OPTIMIZER, 3)
  assert state.loss_scale is None
  assert step.saved_state(MODELS["decoder"], OPTIMIZER, 3).loss_scale is not None
