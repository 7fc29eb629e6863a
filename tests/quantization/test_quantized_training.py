"""Training with fake quantization: all families, equal to the quantized model, and less is lost afterwards."""

import dataclasses

import jax
import numpy as np
import pytest

from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.kernels import losses
from gen.optimizers import schedule_params
from gen.quantization import kernel_places, model_quantization
from gen.quantization.model_scheme import parse_scheme
from gen.training import compiled_step, step

PLAIN = losses.LossTerms()


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder", "encoder", "distances", "gru"])
def test_the_loss_is_that_of_the_quantized_model_and_every_kernel_has_a_gradient(family, toy, toy_batch):
  model, _, params = toy(family)
  batch = toy_batch(model, rows=2, length=5)
  rounds = dataclasses.replace(model, quantize_weights="int4", quantize_activations="int8")
  scheme = parse_scheme("int4", "int8", "", embeddings="float32", head="float32")
  made = model_quantization.quantize_model(params, model, scheme)
  fake, grads = jax.jit(jax.value_and_grad(lambda tree: step.batch_loss(rounds, PLAIN, tree, batch).loss))(
    params
  )
  real, exact = (
    jax.jit(lambda tree: step.batch_loss(model, PLAIN, tree, batch).loss)(tree)
    for tree in (made.params, params)
  )
  np.testing.assert_allclose(fake, real, rtol=2e-4)
  assert abs(float(fake) - float(exact)) > 5 * abs(float(fake) - float(real))
  for place in kernel_places.find_places(params, model):
    grad = np.asarray(kernel_places.read_leaf(grads, place.path))
    assert np.isfinite(grad).all() and (place.path[0] == "pool" or np.abs(grad).max() > 0), place.name


def texts_by_heart(count, rows=6, length=10):
  """Returns batches of few texts, which a small model learns by heart."""
  rng = np.random.default_rng(3)
  texts = rng.integers(1, 23, (12, length + 1))
  ids = texts[rng.integers(0, 12, (count, rows))].astype(np.int32)
  ones = np.ones((count, rows, length), np.int32)
  positions = np.tile(np.arange(length, dtype=np.int32), (count, rows, 1))
  return Batch(ids[..., :-1], ids[..., 1:], ones.astype(np.float32), ones, positions)


@pytest.mark.slow
def test_four_bits_cost_less_after_training_that_rounds():
  plain = Model(vocab=23, width=16, depth=2, head_width=8)
  aware = dataclasses.replace(plain, quantize_weights="int4", quantize_group=8)
  optimizer = Optimizer(peak_learning_rate=1e-2, schedule="linear", warmup=0.1, weight_decay=0.0)
  data, schedule = texts_by_heart(80), schedule_params(optimizer, 160)
  last = data.map_arrays(lambda array: array[0])
  scheme = parse_scheme("int4", "none", "group:8", embeddings="float32", head="float32")
  loss = jax.jit(lambda tree: step.batch_loss(plain, PLAIN, tree, last).nll)
  found = []
  for model in (plain, aware):
    programs = compiled_step.step_programs(model, optimizer)
    losses = []
    for seed in range(5):
      state = programs.initialize(np.uint32(seed))
      for _ in range(2):
        state, _ = programs.train(state, data, 80, schedule)
      losses.append(float(loss(model_quantization.quantize_model(state.params, plain, scheme).params)))
    found.append(losses)
  assert all(after < 0.97 * before for before, after in zip(*found, strict=True))
