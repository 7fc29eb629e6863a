"""Training rounds weights and activations to the levels of their format, and its gradients pass straight through."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Data, Model, Run, config_hash, identity, validation
from gen.errors import UserError
from gen.kernels import gradients
from gen.precision import fake_quantization, quantizing
from gen.precision.fake_quantization import TrainingFormats

INPUTS, OUTPUTS = 12, 5


def kernel_of(seed=0):
  return np.random.default_rng(seed).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)


@pytest.mark.parametrize(("format", "group"), [("int8", 0), ("int4", 0), ("int8", 4), ("int4", 3)])
def test_rounded_weights_are_those_of_quantization_after_training(format, group):
  kernel_io, formats = kernel_of(), TrainingFormats(format, "none", group)
  kernel_io[:, 2] = 0
  matrix = quantizing.quantize_matrix(kernel_io.T, fake_quantization.weight_scheme(formats))
  exact = quantizing.dequantize_matrix(matrix, format).T
  np.testing.assert_allclose(
    fake_quantization.round_weights(jnp.asarray(kernel_io), formats), exact, atol=1e-7
  )


def test_activations_have_a_scale_for_each_token():
  x_ni = jnp.array([[127.0, 2.5, -3.5], [0.7, 0.1, 0.31], [0, 0, 0]])
  rounded = fake_quantization.round_activations(x_ni, "int8")
  np.testing.assert_allclose(rounded[0], [127, 2, -4])
  np.testing.assert_allclose(fake_quantization.round_activations(x_ni, "int4")[1], [0.7, 0.1, 0.3], atol=1e-6)
  np.testing.assert_array_equal(rounded[2], 0)


def test_gradients_are_those_of_the_product_of_rounded_numbers_with_respect_to_the_rounded_numbers():
  x_ni, kernel_io = jnp.asarray(np.random.default_rng(1).normal(size=(3, INPUTS)), jnp.float32), kernel_of()
  formats = TrainingFormats("int4", "int8", 4)

  def product(x, kernel):
    wrapped = fake_quantization.wrap_kernel(kernel, INPUTS, formats)
    return jnp.sin(gradients.matmul(x, wrapped)).sum()

  def plain(x, kernel):
    return jnp.sin(x @ kernel).sum()

  rounded = (
    fake_quantization.round_activations(x_ni, "int8"),
    fake_quantization.round_weights(jnp.asarray(kernel_io), formats),
  )
  got = jax.grad(product, argnums=(0, 1))(x_ni, jnp.asarray(kernel_io))
  for ours, exact in zip(got, jax.grad(plain, argnums=(0, 1))(*rounded), strict=True):
    np.testing.assert_allclose(ours, exact, atol=1e-5)


def test_rounding_is_a_part_of_a_runs_identity_only_where_it_happens():
  run = Run(model=Model(vocab=9, width=8, head_width=4), data=Data(), steps=1)
  hashes = {
    config_hash(dataclasses.replace(run, model=dataclasses.replace(run.model, **fields)))
    for fields in (
      {},
      {"quantize_weights": "int8"},
      {"quantize_weights": "int4"},
      {"quantize_weights": "int4", "quantize_group": 4},
      {"quantize_activations": "int8"},
    )
  }
  assert len(hashes) == 5
  assert "quantize" not in str(identity.identity_fields(run))


@pytest.mark.parametrize(
  ("fields", "sentence"),
  [
    ({"quantize_weights": "int3"}, "must be one of none, int8, int4"),
    ({"quantize_group": 4}, "no weights are rounded"),
    ({"quantize_weights": "int4", "quantize_group": 3}, "does not divide model.width, which is 8"),
    ({"quantize_weights": "int4", "block": "mine.py:Block"}, "which model.block mine.py:Block replaces"),
  ],
)
def test_settings_that_cannot_be_are_refused_in_one_sentence(fields, sentence):
  model = Model(width=8, head_width=4, **fields)
  with pytest.raises(UserError, match=sentence) as raised:
    validation.check_run(Run(model=model, data=Data(), steps=1))
  assert "\n" not in str(raised.value)
