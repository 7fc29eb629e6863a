"""Logits of quantized models of every family equal an emulation of the same integers in numpy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import quantized
from gen.quantization import model_quantization
from gen.quantization.model_scheme import parse_scheme


def read_levels(values, format, inputs):
  """Returns the levels as int64; those of 4 bits lie two to a byte, in two's complement."""
  if format == "int8":
    return values.astype(np.int64)
  nibbles = (
    np.stack([values & 15, values >> 4], axis=-1).reshape(len(values), -1)[:, :inputs].astype(np.int64)
  )
  return np.where(nibbles > 7, nibbles - 16, nibbles)


def emulate_product(x_ni, values, scales_og, zeros_og, *, format, activations):
  """Returns x W: integers are summed exactly, and scaled once in float64."""
  levels_oi = read_levels(values, format, x_ni.shape[1])
  groups = scales_og.shape[1]
  if zeros_og is not None:
    levels_oi = levels_oi - np.repeat(zeros_og.astype(np.int64), x_ni.shape[1] // groups, axis=1)
  if activations == "int8":
    largest_n1 = np.abs(x_ni).max(1, keepdims=True)
    steps_n1 = np.where(largest_n1 > 0, largest_n1 / np.float32(127), np.float32(1))
    rows_ni, scales_n1 = np.rint(x_ni / steps_n1).astype(np.int64), steps_n1.astype(np.float64)
  else:
    rows_ni, scales_n1 = x_ni.astype(np.float64), 1.0
  made_no = np.zeros((len(x_ni), len(values)))
  for group, (rows_nc, levels_oc) in enumerate(
    zip(np.split(rows_ni, groups, axis=1), np.split(levels_oi, groups, axis=1), strict=True)
  ):
    made_no += (rows_nc @ levels_oc.T) * scales_og[:, group].astype(np.float64)
  return (made_no * scales_n1).astype(np.float32)


@pytest.fixture
def emulated(monkeypatch):
  """Multiplies and looks up in numpy; returns the shapes of what was multiplied."""
  seen = []

  def multiply(x_ni, kernel, dtype=None):
    def product(*arrays):
      seen.append(arrays[0].shape)
      arrays = [None if array is None else np.asarray(array) for array in arrays]
      return emulate_product(*arrays, format=kernel.format, activations=kernel.activations)

    shape = jax.ShapeDtypeStruct((x_ni.shape[0], kernel.outputs), jnp.float32)
    arrays = (x_ni.astype(jnp.float32), kernel.values, kernel.scales, kernel.zeros)
    return jax.pure_callback(product, shape, *arrays).astype(dtype or x_ni.dtype)

  def take(table, ids):
    def rows(values, scales, ids):
      assert table.format == "int8" and table.zeros is None
      return (values[ids].astype(np.float64) * scales[ids].astype(np.float64)).astype(np.float32)

    shape = jax.ShapeDtypeStruct((*ids.shape, table.input_size), jnp.float32)
    return jax.pure_callback(
      lambda *arrays: rows(*map(np.asarray, arrays)), shape, table.values, table.scales, ids
    )

  monkeypatch.setattr(quantized, "multiply_stored", multiply)
  monkeypatch.setattr(quantized, "take_rows", take)
  return seen


@pytest.mark.parametrize("words", ["int8 int8 ", "int8 none affine", "int4 none group:4"])
@pytest.mark.parametrize("family", ["decoder", "encoder", "encoder_decoder", "lstm"])
def test_logits_are_those_of_the_integers_within_a_hundred_thousandth(
  family, words, toy, toy_batch, emulated, monkeypatch
):
  model, module, params = toy(family)
  weights, activations, rest = words.split(" ")
  made = model_quantization.quantize_model(params, model, parse_scheme(weights, activations, rest)).params
  batch = toy_batch(model, rows=2, length=5)
  sources = {} if batch.source_bs is None else {"source_bs": batch.source_bs}

  def logits():
    return np.asarray(jax.jit(lambda tree: module.apply({"params": tree}, batch.inputs_bt, **sources))(made))

  emulation = logits()
  assert len(emulated) >= 4
  monkeypatch.undo()
  ours = logits()
  assert ours.std() > 0.02
  np.testing.assert_allclose(ours, emulation, rtol=0, atol=1e-5 * max(1, np.abs(emulation).max()))
