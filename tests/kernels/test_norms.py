"""Norms and their gradients against float64 and differences, and what they become on other hardware."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.kernels import gradients

EPSILON = 1e-3


def reference(x, scale_d, centred):
  """The definition, in float64."""
  c = x - x.mean(-1, keepdims=True) if centred else x
  return c / np.sqrt((c * c).mean(-1, keepdims=True) + EPSILON) * scale_d


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4, 6), (1, 33)])
def test_values_and_gradients_are_those_of_the_definition(shape, centred):
  draw = np.random.default_rng(3)
  x, dy = draw.normal(0.4, 1.3, shape), draw.normal(size=shape)
  scale_d = draw.normal(1, 0.4, shape[-1])
  value, pull = jax.vjp(
    lambda x, scale_d: gradients.normalize(x, scale_d, centred, EPSILON), jnp.float32(x), jnp.float32(scale_d)
  )
  np.testing.assert_allclose(value, reference(x, scale_d, centred), rtol=0, atol=3e-6)
  dx, dscale_d = pull(jnp.float32(dy))

  def slope(change_x, change_scale_d):
    ahead = reference(x + change_x, scale_d + change_scale_d, centred)
    behind = reference(x - change_x, scale_d - change_scale_d, centred)
    return ((ahead - behind) * dy).sum() / 2e-6

  for i in range(shape[-1]):
    step_d = 1e-6 * np.eye(shape[-1])[i]
    np.testing.assert_allclose(dscale_d[i], slope(0, step_d), rtol=1e-4, atol=1e-5)
  for index in [(0,) * len(shape), tuple(size - 1 for size in shape)]:
    step = np.zeros(shape)
    step[index] = 1e-6
    np.testing.assert_allclose(dx[index], slope(step, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("platform", "product"), [("cpu", True), ("tpu", False), ("cuda", False)])
def test_rows_are_summed_by_a_product_on_a_cpu_alone(platform, product):
  # An accelerator would round the factors of a product.
  traced = jax.jit(gradients.row_sums).trace(jnp.ones((3, 5)), jnp.ones(5))
  assert ("dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()) == product
