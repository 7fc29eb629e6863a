"""Stochastic rounding is exact in the mean, a function of seed and step, and keeps updates that rounding would lose."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import Data, Model, Optimizer, Run, config_hash, identity
from gen.optimizers import schedule_params
from gen.precision import stochastic_rounding
from gen.training import compiled_step
from gen.training.checkpointing.checkpoints import Checkpoints

OPTIMIZER = Optimizer(
  peak_learning_rate=1e-2, schedule="constant", warmup=0.0, moment_dtype="bfloat16", param_dtype="bfloat16"
)
MODEL = Model(vocab=23, width=12, depth=1, head_width=4)


def batches(count, rows=3, length=8):
  ids = np.tile(np.arange(length + 1) % 5 + 1, (count, rows, 1)).astype(np.int32)
  ones = np.ones((count, rows, length), np.int32)
  positions = np.tile(np.arange(length, dtype=np.int32), (count, rows, 1))
  return Batch(ids[..., :-1], ids[..., 1:], ones.astype(np.float32), ones, positions)


def test_the_mean_over_keys_is_the_number_and_only_its_two_neighbours_occur():
  x = jnp.array([1.001, -3.14159, 1e-30, 65_000.5, 0.0, 1.0078125], jnp.float32)
  drawn = jax.vmap(lambda key: stochastic_rounding.round_stochastically(x, key))(
    jax.random.split(jax.random.key(0), 4096)
  )
  drawn = np.asarray(drawn, np.float64)
  ulp = np.exp2(np.floor(np.log2(np.abs(np.asarray(x, np.float64)) + 1e-45)) - 7)
  # The standard error of the mean is at most half a unit over the root of the draws.
  assert (np.abs(drawn.mean(0) - np.asarray(x, np.float64)) <= 4.5 * ulp / 2 / 64).all()
  assert (np.abs(drawn - np.asarray(x, np.float64)) < ulp).all()
  assert (drawn[:, 4] == 0).all() and (drawn[:, 5] == 1.0078125).all()  # what bfloat16 has stays
  special = jnp.array([jnp.inf, -jnp.inf, jnp.nan], jnp.float32)
  kept = stochastic_rounding.round_stochastically(special, jax.random.key(1))
  np.testing.assert_array_equal(kept.astype(jnp.float32), special)


def test_small_updates_add_up_where_rounding_to_nearest_loses_them():
  def add(sums, key):
    exact, nearest = sums
    return (
      stochastic_rounding.round_stochastically(exact.astype(jnp.float32) + 1e-4, key),
      (nearest.astype(jnp.float32) + 1e-4).astype(jnp.bfloat16),
    ), None

  start = jnp.ones(200, jnp.bfloat16)
  (random, nearest), _ = jax.lax.scan(add, (start, start), jax.random.split(jax.random.key(2), 1000))
  assert (nearest == 1).all()
  assert float(random.astype(jnp.float32).mean()) == pytest.approx(1.1, abs=0.01)


@pytest.fixture(scope="module")
def trained():
  """Returns the programs and the state after some steps."""
  programs = compiled_step.step_programs(MODEL, OPTIMIZER)
  state = programs.initialize(np.uint32(1))
  state, sums = programs.train(state, batches(12), 12, schedule_params(OPTIMIZER, 100))
  return programs, jax.tree.map(np.asarray, state), sums


def test_parameters_and_moments_are_16_bits_and_the_model_learns(trained):
  programs, state, first = trained
  arrays = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.ndim]
  assert {str(leaf.dtype) for leaf in arrays} == {"bfloat16"}
  state = jax.tree.map(jnp.asarray, state)
  for _ in range(3):
    state, sums = programs.train(state, batches(12), 12, schedule_params(OPTIMIZER, 100))
  assert float(sums.nll) < 0.7 * float(first.nll)


def test_the_bits_are_a_function_of_seed_and_step(trained):
  programs, state, _ = trained
  again = programs.initialize(np.uint32(1))
  for begin in (0, 5):
    part = batches(12).map_arrays(lambda array, begin=begin: array[begin : begin + (5 if begin == 0 else 7)])
    count = len(part.inputs_bt)
    padded = part.map_arrays(lambda array: np.concatenate([array, array[: 12 - len(array)], array])[:12])
    again, _ = programs.train(again, padded, count, schedule_params(OPTIMIZER, 100))
  for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
    np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(theirs, np.float32))


def test_a_checkpoint_of_16_bits_is_read_as_the_float32_that_readers_ask_for(trained, tmp_path):
  _, state, _ = trained
  with Checkpoints(tmp_path / "checkpoints") as checkpoints:
    checkpoints.save(3, state, {})
    checkpoints.wait()
    restored, _ = checkpoints.restore(jax.tree.map(jnp.asarray, state), 3)
    assert restored.params["embedding"]["embedding"].dtype == jnp.bfloat16
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), state.params)
    on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), state.params)
    for template in (shapes, on_host):
      read = checkpoints.restore_parameters(template, 3)
      for ours, theirs in zip(jax.tree.leaves(read), jax.tree.leaves(state.params), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs.astype(np.float32))


def test_the_types_are_a_part_of_a_runs_identity_only_where_they_differ():
  run = Run(model=MODEL, data=Data(), optimizer=Optimizer(), steps=1)
  assert not [name for name in identity.identity_fields(run)["optimizer"] if "dtype" in name]
  assert config_hash(run) != config_hash(dataclasses.replace(run, optimizer=OPTIMIZER))


def test_what_an_optimizer_of_the_users_own_stores_in_16_bits_stays_its_own():
  own = {"mu": jnp.ones(3, jnp.bfloat16), "count": jnp.int32(2)}
  assert stochastic_rounding.widen_tree(own, "float32") is own
  assert stochastic_rounding.round_like(own, own, jax.random.key(0), 0) is own
