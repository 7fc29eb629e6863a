"""Compares a TPU's kernel on four simulated devices with attention written out on one, for the test beside it.

Heads that the devices divide, a key head that they share, and heads that they do not divide.
"""

import functools
import os

if __name__ == "__main__":
  os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
  os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from jax.experimental import pallas

from gen.kernels import fused_attention, gradients
from gen.kernels.fused_attention import SegmentIds
from gen.models import transformer
from gen.sharding import mesh as meshes

B, T, K = 2, 21, 8


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def compare(heads, groups, mesh):
  segments = np.sort(np.random.default_rng(1).integers(1, 3, (B, T)), axis=1).astype(np.int32)
  q, k, v = normal(0, B, heads, T, K), normal(1, B, groups, T, K), normal(2, B, groups, T, K)
  weights, bias = normal(3, B, heads, T, K), normal(4, 1, heads, T, T)

  def through_kernel(q, k, v, bias):
    return fused_attention.fused_dot_product_attention(
      q, k, v, bias, SegmentIds(segments, segments), 0.6, True
    )

  def written_out(q, k, v, bias):
    return gradients.dot_product_attention(
      q, k, v, transformer.attention_mask(segments, segments, True) + bias, 0.6
    )

  def differentiated(function, *arrays):
    value, pull = jax.vjp(function, *arrays)
    return value, *pull(weights)

  def on_mesh(*arrays):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return differentiated(through_kernel, *arrays)

  everywhere = jax.sharding.NamedSharding(mesh, jax.P())
  found = jax.jit(on_mesh)(*(jax.device_put(x, everywhere) for x in (q, k, v, bias)))
  wanted = jax.jit(functools.partial(differentiated, written_out))(q, k, v, bias)
  for one, other in zip(found, wanted, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
  pallas.pallas_call = functools.partial(pallas.pallas_call, interpret=True)
  gradients.target_platform = lambda: "tpu"
  for heads, groups in ((4, 2), (4, 1), (3, 3)):
    compare(heads, groups, meshes.build_mesh("data=2,tensor=2"))
