"""Rounding to any number of bits: the formats' own levels at 4 and 8, fewer bits lose more, every family."""

import jax
import numpy as np
import pytest

from gen.errors import UserError
from gen.precision import quantized_array
from gen.quantization import kernel_places, model_quantization, rounding
from gen.quantization.model_scheme import parse_scheme


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder", "encoder", "distances", "gru"])
def test_eight_bits_are_int8_and_fewer_bits_have_fewer_levels_and_larger_errors(family, toy):
  model, _, params = toy(family)
  made = model_quantization.quantize_model(params, model, parse_scheme("int8", "none", "channel"))
  rounded = {bits: rounding.round_model(params, model, bits) for bits in (8, 6, 5, 4, 3)}
  for ours, exact in zip(
    jax.tree.leaves(rounded[8]), jax.tree.leaves(quantized_array.dequantize_tree(made.params)), strict=True
  ):
    np.testing.assert_allclose(ours, exact, atol=1e-6)
  place = kernel_places.find_places(params, model)[-1]
  kernel = kernel_places.read_leaf(params, place.path)
  errors = []
  for bits, tree in rounded.items():
    values = kernel_places.read_leaf(tree, place.path)
    errors.append(float(np.square(values - kernel).mean()))
    for matrix in place.matrices(values):
      assert max(len(np.unique(row)) for row in matrix) <= 2**bits - 1
  assert errors == sorted(errors) and errors[0] < errors[-1] / 100


def test_bits_out_of_range_and_broken_weights_are_refused(toy):
  model, _, params = toy("gru")
  with pytest.raises(UserError, match="cannot be rounded to 1 bits; choose 2 to 16"):
    rounding.round_model(params, model, 1)
  broken = jax.tree.map(lambda leaf: np.where(leaf == leaf.max(), np.nan, leaf), params)
  with pytest.raises(UserError, match="NaN or infinite"):
    rounding.round_model(broken, model, 4)
