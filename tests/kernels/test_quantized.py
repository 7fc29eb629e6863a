"""Products with fewer bits equal float64 on the same integers, in every scheme, for one row and for several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import gradients, losses, quantized
from gen.precision import quantized_array, quantizing
from gen.precision.quantizing import WeightScheme

INPUTS, OUTPUTS = 12, 7
SCHEMES = {
  "channel": WeightScheme("int8"),
  "tensor": WeightScheme("int8", granularity="tensor"),
  "group": WeightScheme("int8", granularity="group", group=4),
  "affine": WeightScheme("int8", symmetric=False),
  "affine_group": WeightScheme("int4", symmetric=False, granularity="group", group=3),
  "int4": WeightScheme("int4"),
  "nf4": WeightScheme("nf4", granularity="group", group=6),
}


def stored(scheme, activations="none", inputs=INPUTS, seed=0, **others):
  """Returns a random kernel [I, O] as it is stored, and the float64 weights [O, I] that it stands for."""
  weights_oi = np.random.default_rng(seed).normal(size=(OUTPUTS, inputs)).astype(np.float32)
  matrix = quantizing.quantize_matrix(weights_oi, scheme)
  array = quantized_array.store_matrices(
    [matrix],
    (inputs, OUTPUTS),
    format=scheme.format,
    activations=activations,
    inputs_first=True,
    stacked=False,
    **others,
  )
  scales_oi = quantizing.expand_groups(matrix.scales_og.astype(np.float64), inputs)
  if scheme.format == "nf4":
    return array, np.asarray(quantizing.NF4_LEVELS)[matrix.levels_oi] * scales_oi
  zeros_oi = 0 if matrix.zeros_og is None else quantizing.expand_groups(matrix.zeros_og, inputs).astype(int)
  return array, (matrix.levels_oi.astype(int) - zeros_oi) * scales_oi


def activations_of(rows, inputs=INPUTS):
  return np.random.default_rng(rows).normal(size=(rows, inputs)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_product_with_float_activations_is_that_of_the_weights_it_stands_for(name, rows):
  array, weights_oi = stored(SCHEMES[name])
  x_ni = activations_of(rows)
  got = quantized.multiply_stored(jnp.asarray(x_ni), array)
  np.testing.assert_allclose(got, x_ni.astype(np.float64) @ weights_oi.T, atol=1e-5)
  np.testing.assert_allclose(array.dequantize(), weights_oi.T, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "nf4"])
def test_a_product_of_integers_is_that_of_float64_on_the_same_integers(name, rows):
  array, weights_oi = stored(SCHEMES[name], "int8")
  x_ni = activations_of(rows)
  levels_ni, scales_n1 = quantized.quantize_rows(jnp.asarray(x_ni))
  exact = np.asarray(levels_ni, np.float64) * np.asarray(scales_n1, np.float64) @ weights_oi.T
  np.testing.assert_allclose(quantized.multiply_stored(jnp.asarray(x_ni), array), exact, atol=1e-5)


def test_a_kernel_of_many_blocks_with_a_part_left_over_gives_the_same(monkeypatch):
  array, weights_oi = stored(SCHEMES["channel"])
  monkeypatch.setattr(quantized, "BLOCK_ELEMENTS", 3 * INPUTS)
  x_ni = activations_of(2)
  np.testing.assert_allclose(
    quantized.multiply_stored(jnp.asarray(x_ni), array), x_ni @ weights_oi.T, atol=1e-5
  )


def test_one_row_is_multiplied_as_two_so_that_no_weight_is_widened():
  array, _ = stored(SCHEMES["channel"], "int8")
  text = str(jax.make_jaxpr(lambda x: quantized.multiply_stored(x, array))(jnp.ones((1, INPUTS))))
  assert (
    f"i8[2,{INPUTS}]" in text
    and f"i32[{OUTPUTS},{INPUTS}]" not in text
    and f"f32[{OUTPUTS},{INPUTS}]" not in text
  )


def test_rows_of_activations_round_to_even_saturate_and_may_be_zero():
  levels, scales = quantized.quantize_rows(jnp.array([[127.0, 2.5, -3.5, 0.5], [0, 0, 0, 0]]))
  assert levels.tolist() == [[127, 2, -4, 0], [0, 0, 0, 0]] and scales.tolist() == [[1.0], [1.0]]
  levels, _ = quantized.quantize_rows(jnp.array([[300.0, -300.0]]), jnp.float32(1.0))
  assert levels.tolist() == [[127, -127]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_row_that_is_not_finite_has_no_finite_product(bad, scale):
  levels, scales = quantized.quantize_rows(jnp.array([[1.0, bad, 2.0], [1.0, 3.0, 2.0]]), scale)
  products = np.asarray(levels, np.float32).sum(1) * np.asarray(scales)[:, 0]
  assert np.isnan(products[0]) and np.isfinite(products[1])


def test_smoothing_and_static_scales_are_applied_to_activations():
  factors = np.linspace(0.5, 2, INPUTS).astype(np.float32)
  array, weights_oi = stored(SCHEMES["channel"], "int8", smoothing=factors, input_scale=np.float32(0.03))
  x_ni = activations_of(3)
  levels = np.clip(np.rint(x_ni * factors / np.float32(0.03)), -127, 127)
  exact = levels.astype(np.float64) * np.float32(0.03) @ weights_oi.T
  np.testing.assert_allclose(quantized.multiply_stored(jnp.asarray(x_ni), array), exact, atol=1e-5)


def test_rows_of_a_table_and_logits_with_it_are_those_of_its_numbers():
  table_vd = np.random.default_rng(2).normal(size=(OUTPUTS, 5)).astype(np.float32)
  for format in ("int8", "int4"):
    matrix = quantizing.quantize_matrix(table_vd, WeightScheme(format))
    table = quantized_array.store_matrices(
      [matrix], table_vd.shape, format=format, activations="none", inputs_first=False, stacked=False
    )
    numbers_vd = np.asarray(table.dequantize())
    ids = jnp.array([[3, 0], [6, 99]])
    np.testing.assert_array_equal(quantized.take_rows(table, ids), numbers_vd[np.array([[3, 0], [6, 6]])])
    hidden = activations_of(4, 5)
    terms, targets = losses.LossTerms(), jnp.array([1, 2, 3, 6])
    sums = losses.cross_entropy(jnp.asarray(hidden), table.T, None, targets, jnp.ones(4), terms)
    plain = losses.cross_entropy(
      jnp.asarray(hidden), jnp.asarray(numbers_vd.T), None, targets, jnp.ones(4), terms
    )
    np.testing.assert_allclose(sums.nll, plain.nll, rtol=1e-5)


def test_heads_and_reshaped_kernels_multiply_as_their_numbers_do():
  matrix = quantizing.quantize_matrix(
    np.random.default_rng(4).normal(size=(6, INPUTS)).astype(np.float32), WeightScheme("int8")
  )
  kernel = quantized_array.store_matrices(
    [matrix], (INPUTS, 3, 2), format="int8", activations="none", inputs_first=True, stacked=False
  )
  x_btd = jnp.asarray(activations_of(4).reshape(2, 2, INPUTS))
  (got,) = gradients.project_heads((x_btd,), (kernel,), None, "float32")
  (plain,) = gradients.project_heads((x_btd,), (kernel.dequantize(),), None, "float32")
  np.testing.assert_allclose(got, plain, atol=1e-5)
  assert kernel.reshape(INPUTS, -1).shape == (INPUTS, 6) and kernel.ndim == 3
  # Code that does not recognize it gets its numbers.
  np.testing.assert_allclose(
    jnp.einsum("rd,dhk->rhk", x_btd[0], kernel), jnp.einsum("rd,dhk->rhk", x_btd[0], kernel.dequantize())
  )
