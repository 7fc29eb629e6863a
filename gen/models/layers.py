"""Dense layers, norms, embeddings and the feed-forward of a block (arXiv:1706.03762, section 3.3).

B batch, T length, N = B T tokens, D width, F feed-forward width, V vocab. Parameters are float32 and carry the
logical names of their axes; compute is in the config's dtype, norms in float32.
"""

import functools
import math
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import decode_weights, norms
from gen.sharding import activation_sharding


def recompute_activation(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
  """Returns an elementwise function whose gradient keeps its input alone and computes the rest again.

  The numbers are the same. What lies between (tanh, erf, their products) would be written in the forward pass and
  read in the backward pass, each as large as the feed-forward's hidden layer, and memory is slower than tanh. The
  barrier keeps the compiler from finding the forward pass's tanh again and keeping it after all.
  """
  keeping = jax.custom_vjp(function)

  def backward(x: Array, dy: Array) -> tuple[Array, ...]:
    return jax.vjp(function, jax.lax.optimization_barrier(x))[1](dy)

  keeping.defvjp(lambda x: (function(x), x), backward)
  return keeping


@jax.custom_jvp
def relu_from_output(x: Array) -> Array:
  """Returns max(x, 0); its gradient reads the sign off the result, which the next product keeps, and not off x.

  The barrier keeps the compiler from reading it off x after all, and so keeping both.
  """
  return jnp.maximum(x, 0)


@relu_from_output.defjvp
def _relu_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
  y, dx = relu_from_output(*primals), tangents[0]
  return y, jax.lax.select(jax.lax.optimization_barrier(y) > 0, dx, jnp.zeros_like(dx))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "relu": relu_from_output,
  "gelu": recompute_activation(functools.partial(nn.gelu, approximate=False)),
  "gelu_tanh": recompute_activation(functools.partial(nn.gelu, approximate=True)),
  "geglu": recompute_activation(functools.partial(nn.gelu, approximate=True)),
  "swiglu": recompute_activation(nn.silu),
}


def fan_in_normal(fan_in: int, scale: float = 1.0) -> Callable[..., Array]:
  """Returns a normal initializer of standard deviation scale / sqrt(fan_in)."""
  return nn.initializers.normal(scale / math.sqrt(fan_in))


@jax.custom_vjp
def matmul(x_ni: Array, kernel_io: Array) -> Array:
  """Returns x W, with a gradient of W that runs at the rate of a matrix product on a CPU too.

  Where W is wider at its entrance than at its exit, x^T dy runs at half the rate of (dy^T x)^T; the barrier keeps
  the compiler from turning the latter into the former.
  """
  return (
    decode_weights.transposed_matmul(x_ni, kernel_io)
    if decode_weights.transposed_active()
    else x_ni @ kernel_io
  )


def _matmul_backward(kept: tuple[Array, Array], dy_no: Array) -> tuple[Array, Array]:
  x_ni, kernel_io = kept
  kernel_io = activation_sharding.gather_residual(kernel_io)
  return dy_no @ kernel_io.T, contract_tokens(x_ni, dy_no).astype(kernel_io.dtype)


matmul.defvjp(
  lambda x_ni, kernel_io: (x_ni @ kernel_io, (x_ni, activation_sharding.shard_residual(kernel_io))),
  _matmul_backward,
)


def contract_tokens(x_ni: Array, y_no: Array) -> Array:
  """Returns x^T y over the last but one axis, the narrower factor on the left; leading axes are batch."""
  batch = tuple(range(x_ni.ndim - 2))
  tokens = (x_ni.ndim - 2,)
  numbers = ((tokens, tokens), (batch, batch))
  if (
    x_ni.shape[-1] <= y_no.shape[-1] or activation_sharding.on_mesh()
  ):  # there a barrier would part a sum from its scattering
    return jax.lax.dot_general(x_ni, y_no, numbers)
  return jax.lax.optimization_barrier(jax.lax.dot_general(y_no, x_ni, numbers)).swapaxes(-1, -2)


Initializer = Callable[..., Array]
ZEROS, ONES = nn.initializers.zeros_init(), nn.initializers.ones_init()


def make_weight(
  module: nn.Module, name: str, initializer: Initializer, shape: tuple[int, ...], axes: tuple[str | None, ...]
) -> Array:
  """Returns a float32 parameter of the module, its axes named for sharding tables."""
  boxed = nn.with_logical_partitioning(initializer, axes)
  return activation_sharding.gather_weight(cast(Array, module.param(name, boxed, shape, jnp.float32)), *axes)


class KernelOnly(nn.Module):
  """A weight of any rank."""

  shape: tuple[int, ...]
  axes: tuple[str | None, ...]
  fan_in: int
  scale: float = 1.0

  @nn.compact
  def __call__(self) -> Array:
    """Returns the weight, float32."""
    return make_weight(self, "kernel", fan_in_normal(self.fan_in, self.scale), self.shape, self.axes)


class Dense(nn.Module):
  """x W + b over the last axis, the others flattened to tokens.

  The flattening matters: the gradient of W then contracts one axis, which XLA's CPU backend does at the rate of
  a matrix product; contracting batch and length apart is twice as slow.
  """

  inputs: int
  outputs: int
  axes: tuple[str | None, str | None]
  bias: bool = False
  scale: float = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., inputs] to [..., outputs]."""
    initializer = fan_in_normal(self.inputs, self.scale)
    kernel_io = make_weight(self, "kernel", initializer, (self.inputs, self.outputs), self.axes)
    y_no = matmul(x.reshape(-1, self.inputs), kernel_io.astype(self.dtype))
    if self.bias:
      y_no = y_no + make_weight(self, "bias", ZEROS, (self.outputs,), self.axes[1:]).astype(self.dtype)
    return y_no.reshape(*x.shape[:-1], self.outputs)


class Norm(nn.Module):
  """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) over the last axis, in float32."""

  width: int
  kind: str = "layernorm"
  bias: bool = False
  epsilon: float = 1e-5
  dtype: str = "float32"
  axis: str = "norm"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Normalizes [..., width]."""
    scale_d = make_weight(self, "scale", ONES, (self.width,), (self.axis,))
    y = norms.normalize(x.astype(jnp.float32), scale_d, self.kind == "layernorm", self.epsilon)
    if self.bias and self.kind == "layernorm":
      y = y + make_weight(self, "bias", ZEROS, (self.width,), (self.axis,))
    return y.astype(self.dtype)


def make_norm(config: Model, name: str | None = None) -> Norm:
  """Returns the config's norm over the residual stream."""
  return Norm(config.width, config.norm, config.norm_bias, config.norm_epsilon, config.dtype, name=name)


class Embedding(nn.Module):
  """Rows of a table, looked up by id."""

  rows: int
  width: int
  axes: tuple[str | None, str | None] = ("vocab", "embed")
  scale: float = 1.0

  def setup(self) -> None:
    """Makes the table."""
    initializer = fan_in_normal(self.width, self.scale)
    self.table_vd = make_weight(self, "embedding", initializer, (self.rows, self.width), self.axes)

  def matrix(self) -> Array:
    """Returns the whole table [rows, width]."""
    return self.table_vd

  def __call__(self, ids: Array) -> Array:
    """Maps ids of any shape to [..., width], float32."""
    return jnp.take(self.matrix(), ids, axis=0, mode="clip").astype(jnp.float32)


class FeedForward(nn.Module):
  """Two dense layers with an activation between, or three where it is gated (GLU, arXiv:2002.05202)."""

  config: Model

  @nn.compact
  def __call__(self, x_btd: Array) -> Array:
    """Maps the residual stream to its change."""
    cfg = self.config
    width, hidden, scale = cfg.width, cfg.feed_forward_width, cfg.initializer_scale
    inward = ("embed", "mlp")
    h_btf = Dense(width, hidden, inward, cfg.bias, scale, cfg.dtype, name="in")(x_btd)
    h_btf = ACTIVATIONS[cfg.activation](h_btf)
    if cfg.gated:
      h_btf = h_btf * Dense(width, hidden, inward, cfg.bias, scale, cfg.dtype, name="gate")(x_btd)
    h_btf = activation_sharding.shard_activation(apply_dropout(cfg, h_btf, self), "batch", None, "mlp")
    return Dense(hidden, width, ("mlp", "embed"), cfg.bias, output_scale(cfg), cfg.dtype, name="out")(h_btf)


def output_scale(config: Model) -> float:
  """Returns the factor on initial weights that write to the residual stream: 1 / sqrt(2 L), as in GPT-2."""
  return config.initializer_scale / math.sqrt(2 * max(config.depth, config.target_depth))


def apply_dropout(config: Model, x: Array, module: nn.Module) -> Array:
  """Applies the config's dropout where the caller gave a `apply_dropout` key, and nothing otherwise."""
  if config.dropout == 0.0 or not module.has_rng("dropout"):
    return x
  keep = jax.random.bernoulli(module.make_rng("dropout"), 1 - config.dropout, x.shape)
  return jnp.where(keep, x / (1 - config.dropout), 0)
