"""LayerNorm (arXiv:1607.06450) and RMSNorm (arXiv:1910.07467) with their gradients, in few passes over memory.

With m the mean over the last axis (LayerNorm alone takes it off), c = x - m(x) and r = 1 / sqrt(m(c^2) + epsilon),

    n = c r,    y = n s,    dc = r (s dy - n m(s dy n)),    dx = dc - m(dc),    ds = sum dy n

where m(dc) = r m(s dy), because n has no mean of its own. D width.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def normalize(x: Array, scale_d: Array, centred: bool, epsilon: float) -> Array:
  """Returns x [..., D], float32, normalized over its last axis and scaled; centred is LayerNorm, else RMSNorm."""
  return _forward(x, scale_d, centred, epsilon)[0]


def _forward(
  x: Array, scale_d: Array, centred: bool, epsilon: float
) -> tuple[Array, tuple[Array, Array, Array]]:
  mean_d = jnp.full_like(scale_d, 1 / scale_d.size)
  if centred:
    x = x - row_sums(x, mean_d)
  inverse = jax.lax.rsqrt(row_sums(jnp.square(x), mean_d) + epsilon)
  normal = x * inverse
  return normal * scale_d, (normal, inverse, scale_d)


def _backward(
  centred: bool, epsilon: float, kept: tuple[Array, Array, Array], dy: Array
) -> tuple[Array, Array]:
  del epsilon
  normal, inverse, scale_d = kept
  mean_d = scale_d / scale_d.size
  along = dy * normal
  dx = dy * scale_d - normal * row_sums(along, mean_d)
  if centred:
    dx = dx - row_sums(dy, mean_d)
  return dx * inverse, along.sum(range(along.ndim - 1))


normalize.defvjp(_forward, _backward)


def row_sums(x: Array, weights_d: Array) -> Array:
  """Returns the weighted sums over the last axis as [..., 1].

  On a CPU this is a product with a column: XLA's reductions along short rows take three times as long.
  """
  return jax.lax.platform_dependent(
    x,
    weights_d,
    cpu=lambda x, w: jnp.matmul(x, w[:, None]),
    default=lambda x, w: (x * w).sum(-1, keepdims=True),
  )
