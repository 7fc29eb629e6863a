"""Scales, rounding, saturation and packing of quantized matrices."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.precision import quantizing
from gen.precision.quantizing import WeightScheme

WEIGHTS = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)


def error(scheme, weights_oi=WEIGHTS):
  matrix = quantizing.quantize_matrix(weights_oi, scheme)
  return float(np.square(quantizing.dequantize_matrix(matrix, scheme.format) - weights_oi).sum())


def test_symmetric_scales_are_the_largest_magnitude_over_the_largest_level():
  for granularity, largest in (
    ("channel", np.abs(WEIGHTS).max(1, keepdims=True)),
    ("tensor", np.abs(WEIGHTS).max(keepdims=True)),
    ("group", np.abs(WEIGHTS.reshape(5, 4, 3)).max(-1)),
  ):
    for format, highest in (("int8", 127), ("int4", 7)):
      matrix = quantizing.quantize_matrix(WEIGHTS, WeightScheme(format, granularity=granularity, group=3))
      assert np.array_equal(matrix.scales_og, largest / np.float32(highest)) and matrix.zeros_og is None
      assert np.abs(matrix.levels_oi).max() == highest


def test_ties_round_to_even_and_symmetric_levels_never_reach_minus_128():
  weights = np.array([[127.0, -127.0, 2.5, 3.5, -0.5, -1.5]], np.float32)
  assert quantizing.quantize_matrix(weights, WeightScheme()).levels_oi.tolist() == [[127, -127, 2, 4, 0, -2]]
  clipped = WeightScheme(clipping="percentile", percentile=50)
  levels = quantizing.quantize_matrix(weights, clipped).levels_oi
  assert levels[0, :2].tolist() == [127, -127]


def test_affine_levels_fill_the_range_and_hold_zero_exactly():
  weights = np.array([[-1.0, 0.0, 3.0, 0.5]], np.float32)
  scheme = WeightScheme(symmetric=False)
  matrix = quantizing.quantize_matrix(weights, scheme)
  assert matrix.scales_og == np.float32(4) / 255 and matrix.zeros_og.tolist() == [[-64]]
  assert (matrix.levels_oi.min(), matrix.levels_oi.max()) == (-128, 127)
  assert quantizing.dequantize_matrix(matrix, "int8")[0, 1] == 0
  positive = quantizing.quantize_matrix(np.array([[2.0, 4.0]], np.float32), scheme)
  assert positive.zeros_og.tolist() == [[-128]] and positive.levels_oi[0, 1] == 127


def test_clipping_by_least_squares_is_never_worse_and_helps_where_there_is_an_outlier():
  weights = np.random.default_rng(3).normal(size=(4, 64)).astype(np.float32)
  weights[:, 0] = 9
  for format, symmetric in (("int4", True), ("int4", False), ("nf4", True)):
    plain, best = (
      error(WeightScheme(format, symmetric, clipping=clipping), weights) for clipping in ("absmax", "mse")
    )
    assert best <= plain
  assert error(WeightScheme("int4", clipping="mse"), weights) < 0.95 * error(WeightScheme("int4"), weights)


def test_smaller_groups_have_smaller_errors_and_nf4_beats_int4_on_normal_weights():
  weights = np.random.default_rng(4).normal(size=(8, 128)).astype(np.float32)
  errors = [error(WeightScheme("int4", granularity="group", group=group), weights) for group in (128, 32, 8)]
  assert errors == sorted(errors, reverse=True)
  assert error(WeightScheme("nf4", granularity="group"), weights) < error(
    WeightScheme("int4", granularity="group"), weights
  )


def test_zeros_and_the_smallest_numbers_have_a_scale():
  for weights in (np.zeros((2, 4), np.float32), np.full((2, 4), 1e-45, np.float32)):
    for scheme in (WeightScheme(), WeightScheme(symmetric=False), WeightScheme("nf4")):
      matrix = quantizing.quantize_matrix(weights, scheme)
      assert np.isfinite(quantizing.dequantize_matrix(matrix, scheme.format)).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_clipping_by_percentile_keeps_the_few_weights_that_pruning_left(symmetric):
  weights = np.zeros((2, 20), np.float32)
  weights[0, 3], weights[1] = -0.5, np.linspace(-1, 1, 20)
  matrix = quantizing.quantize_matrix(
    weights, WeightScheme(symmetric=symmetric, clipping="percentile", percentile=80)
  )
  back = quantizing.dequantize_matrix(matrix, "int8")
  np.testing.assert_allclose(back[0], weights[0], atol=0.005)
  assert np.abs(back[1]).max() < 0.9  # its largest weights are clipped


def test_two_levels_of_four_bits_share_a_byte():
  levels = np.arange(-8, 7, dtype=np.int8).reshape(3, 5)
  packed = quantizing.pack_nibbles(levels)
  assert packed.dtype == np.uint8 and packed.shape == (3, 3)
  nibbles = np.stack([packed & 15, packed >> 4], -1).reshape(3, 6)[:, :5]
  assert np.array_equal(np.where(nibbles > 7, nibbles.astype(int) - 16, nibbles), levels)


def test_a_group_is_chosen_where_none_is_given_and_must_divide_where_it_is():
  scheme = WeightScheme("int4", granularity="group")
  assert [scheme.group_size(inputs) for inputs in (256, 96, 7, 67)] == [64, 48, 7, 1]
  with pytest.raises(UserError, match="groups of 5 do not divide the 12 inputs of a matrix"):
    quantizing.quantize_matrix(WEIGHTS, WeightScheme("int4", granularity="group", group=5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
  with pytest.raises(UserError, match="NaN or infinite"):
    quantizing.quantize_matrix(np.array([[1.0, bad]], np.float32), WeightScheme())
