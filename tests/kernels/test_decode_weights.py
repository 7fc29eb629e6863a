"""Weights that lie turned are the same weights, and their products of few rows the same numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import decode_weights, gradients

ROWS = [1, 2, 5, decode_weights.MAX_ROWS, decode_weights.MAX_ROWS + 1]


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(found, wanted):
  np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("rows", ROWS)
def test_a_product_with_a_turned_weight_is_the_product(rows):
  x, kernel = normal(0, rows, 7), normal(1, 7, 11)
  held = decode_weights.transpose_kernels({"kernel": jnp.asarray(kernel)})

  @jax.jit
  def product(x, held):
    with gradients.transposed_weights(True):
      return gradients.matmul(x, decode_weights.untranspose_kernels(held)["kernel"])

  assert held["kernel"].kernel_oi.shape == (11, 7)
  close(product(x, held), x.astype(np.float64) @ kernel)


@pytest.mark.parametrize("rows", ROWS)
def test_a_product_with_a_table_is_float32_and_has_its_gradient(rows):
  x, table = normal(1, rows, 5), normal(2, 11, 5)
  close(decode_weights.matmul_with_table(x, table), x.astype(np.float64) @ table.T)
  narrow = decode_weights.matmul_with_table(jnp.asarray(x, jnp.bfloat16), jnp.asarray(table, jnp.bfloat16))
  assert narrow.dtype == jnp.float32
  np.testing.assert_allclose(narrow, x @ table.T, atol=0.1)
  found = jax.grad(lambda x, t: (decode_weights.matmul_with_table(x, t) ** 2).sum(), (0, 1))(x, table)
  wanted = jax.grad(lambda x, t: ((x @ t.T) ** 2).sum(), (0, 1))(x, table)
  for one, other in zip(found, wanted, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_kernels_of_any_rank_come_back_as_they_were_and_nothing_else_is_turned():
  params = {
    "attention": {
      "query": {"kernel": jnp.asarray(normal(0, 6, 2, 3))},
      "out": {"kernel": jnp.asarray(normal(1, 2, 3, 6))},
      "query_bias": jnp.asarray(normal(2, 2, 3)),
    },
    "feed_forward": {"in": {"kernel": jnp.asarray(normal(3, 6, 8)), "bias": jnp.zeros(8)}},
    "norm": {"scale": jnp.ones(6)},
  }
  held = decode_weights.transpose_kernels(params)
  attention = held["attention"]
  assert attention["query"]["kernel"].kernel_oi.shape == (6, 6)
  np.testing.assert_array_equal(
    attention["query"]["kernel"].kernel_oi, params["attention"]["query"]["kernel"].reshape(6, 6).T
  )
  np.testing.assert_array_equal(
    attention["out"]["kernel"].kernel_oi, params["attention"]["out"]["kernel"].reshape(6, 6).T
  )
  assert attention["query_bias"] is params["attention"]["query_bias"]
  assert decode_weights.is_transposed(held) and not decode_weights.is_transposed(params)
  jax.tree.map(np.testing.assert_array_equal, decode_weights.untranspose_kernels(held), params)


def test_a_compiled_product_of_few_rows_moves_no_weight():
  x, held = (
    jnp.asarray(normal(0, 4, 96)),
    decode_weights.transpose_kernels({"kernel": jnp.asarray(normal(1, 96, 80))}),
  )

  def product(x, held, rows):
    with gradients.transposed_weights(True):
      return gradients.matmul(x[:rows], decode_weights.untranspose_kernels(held)["kernel"])

  for rows in (1, 4):
    program = jax.jit(functools.partial(product, rows=rows)).lower(x, held).compile().as_text()
    assert "dot(" in program or "matmul" in program
    moved = [
      line
      for line in program.splitlines()
      if ("[96,80]" in line or "[80,96]" in line) and "transpose(" in line
    ]
    assert not moved, moved
