"""GPTQ is the greedy solution of its paper, found here by inverting the Hessian again after each input."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.precision import quantizing
from gen.precision.quantizing import WeightScheme
from gen.quantization import gptq

INPUTS, OUTPUTS = 12, 5


def problem():
  """Returns weights and the second moments of correlated inputs, one of which is always 0."""
  rng = np.random.default_rng(6)
  x_ni = (rng.normal(size=(90, INPUTS)) @ rng.normal(size=(INPUTS, INPUTS))).astype(np.float32)
  x_ni[:, 4] = 0
  return rng.normal(size=(OUTPUTS, INPUTS)).astype(np.float32), x_ni.T.astype(np.float64) @ x_ni


def greedy(weights_oi, hessian_ii, scheme, order_i):
  """Rounds inputs in an order; after each, the others take the least squares solution of what is left."""
  scales_og, _ = quantizing.find_scales(weights_oi, scheme)
  scales_oi = np.broadcast_to(scales_og, weights_oi.shape)
  hessian_ii = hessian_ii.copy()
  hessian_ii[4, 4] = 1
  hessian_ii += gptq.DAMPING * np.mean(np.diagonal(hessian_ii)) * np.eye(INPUTS)
  left, weights_oi = list(order_i), weights_oi.astype(np.float64)
  levels_oi = np.zeros(weights_oi.shape, int)
  while left:
    column = left[0]
    inverse = np.linalg.inv(hessian_ii[np.ix_(left, left)])
    ratio_o = weights_oi[:, column].astype(np.float32) / scales_oi[:, column]
    levels_oi[:, column] = np.clip(np.rint(ratio_o), -7, 7)
    error_o = weights_oi[:, column] - levels_oi[:, column] * scales_oi[:, column]
    weights_oi[:, left] -= np.outer(error_o / inverse[0, 0], inverse[0])
    left = left[1:]
  return levels_oi


@pytest.mark.parametrize("block", [5, 128])
@pytest.mark.parametrize("act_order", [False, True])
def test_levels_are_those_of_the_greedy_solution(block, act_order, monkeypatch):
  monkeypatch.setattr(gptq, "BLOCK", block)
  weights_oi, hessian_ii = problem()
  scheme = WeightScheme("int4")
  found = gptq.quantize_gptq(weights_oi, hessian_ii, scheme, act_order=act_order)
  order_i = np.argsort(-np.diagonal(hessian_ii), kind="stable") if act_order else np.arange(INPUTS)
  assert np.array_equal(found.levels_oi, greedy(weights_oi, hessian_ii, scheme, order_i))


def test_groups_are_refitted_to_the_weights_that_errors_have_changed_within_and_beyond_a_block(monkeypatch):
  weights_oi, hessian_ii = problem()
  scheme = WeightScheme("int4", symmetric=False, granularity="group", group=4)
  found = gptq.quantize_gptq(weights_oi, hessian_ii, scheme)
  for block in (3, 4, 6):
    monkeypatch.setattr(gptq, "BLOCK", block)
    again = gptq.quantize_gptq(weights_oi, hessian_ii, scheme)
    np.testing.assert_allclose(again.scales_og, found.scales_og, rtol=1e-5)
    assert np.array_equal(again.levels_oi, found.levels_oi)
  plain = quantizing.quantize_matrix(weights_oi, scheme)
  np.testing.assert_allclose(found.scales_og[:, 0], plain.scales_og[:, 0], rtol=1e-6)
  assert not np.allclose(found.scales_og[:, 1], plain.scales_og[:, 1])


def test_inputs_that_are_not_finite_are_refused():
  weights_oi, hessian_ii = problem()
  with pytest.raises(UserError, match="not finite"):
    gptq.quantize_gptq(weights_oi, hessian_ii * np.nan, WeightScheme("int4"))
