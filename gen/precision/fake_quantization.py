"""Fake quantization for training, with straight-through gradients (Bengio et al. 2013, arXiv:1308.3432).

The forward pass rounds weights and activations to the levels that integers would have, and keeps them as floats:

    fake(w) = s clip(round(w / s), -q, q)      s = max |w| / q over the weights that share a scale

Rounding has a gradient of 0 almost everywhere. The straight-through estimator takes that of the identity instead, so
that the float weights are trained to lose little when they are rounded after training (arXiv:1712.05877, section 3).
Scales are those of `gen.precision.quantizing` with symmetric levels and absmax: one for each output, or for each group
of inputs of an output; activations have one for each token.

I inputs, O outputs, N tokens, G groups of inputs.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from gen.config.model import TrainingFormats
from gen.precision.quantized_array import StoredKernel
from gen.precision.quantizing import WeightScheme, level_range


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FakeQuantizedKernel(StoredKernel):
  """A kernel whose products round it, and their other factor.

  Attributes:
    kernel: float32, inputs first.
    shape: as a layer sees it.
    input_size: I.
    formats: what is rounded.
  """

  kernel: Array
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
  input_size: int = dataclasses.field(metadata={"static": True})
  formats: TrainingFormats = dataclasses.field(metadata={"static": True})

  def matrix(self, dtype: Any) -> Array:
    """Returns the rounded weights as [I, O]."""
    return round_weights(self.kernel.reshape(self.input_size, -1), self.formats).astype(dtype)

  def dequantize(self) -> Array:
    """Returns the rounded weights in the kernel's shape, float32."""
    return self.matrix(jnp.float32).reshape(self.shape)


def wrap_kernel(kernel: Array, input_size: int, formats: TrainingFormats) -> Array:
  """Returns a kernel as the products of a training take it."""
  if isinstance(kernel, StoredKernel):
    return kernel  # one with fewer bits is rounded already
  return FakeQuantizedKernel(kernel, kernel.shape, input_size, formats)  # type: ignore[return-value]


def weight_scheme(formats: TrainingFormats) -> WeightScheme:
  """Returns how the same weights are quantized after training."""
  # 15 levels are too few for the outliers of a complete row, so int4 always has groups.
  grouped = formats.group > 0 or formats.weights == "int4"
  return WeightScheme(
    formats.weights, granularity="group" if grouped else "channel", group=formats.group if grouped else 0
  )


def round_weights(kernel_io: Array, formats: TrainingFormats) -> Array:
  """Returns weights [I, O] at the levels of their format, float32; gradients pass straight through.

  Raises:
    UserError: for a group that does not divide the inputs.
  """
  if formats.weights == "none":
    return kernel_io
  scheme = weight_scheme(formats)
  size = scheme.group_size(kernel_io.shape[0], "a kernel (model.quantize_group)")
  # [G, inputs of a group, O]: the scale is over axis 1. Inputs come first here, unlike in `quantizing`.
  grouped = kernel_io.astype(jnp.float32).reshape(-1, size, kernel_io.shape[1])
  return _round_straight_through(grouped, level_range(scheme)[1], 1).reshape(kernel_io.shape)


def round_activations(x_ni: Array, format: str) -> Array:
  """Returns activations at the levels of their format, one scale for each row; gradients pass straight through."""
  if format == "none":
    return x_ni
  highest = level_range(WeightScheme(format))[1]
  # Each token has its own scale, so no token's rounding depends on the others of its batch.
  return _round_straight_through(x_ni.astype(jnp.float32), highest, -1).astype(x_ni.dtype)


# A rule of its own: x + stop_gradient(fake(x) - x) has the same gradient, but that sum rounds, so its values may miss
# their levels by an ulp.
@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _round_straight_through(x: Array, highest: int, axis: int) -> Array:
  """Returns x at symmetric levels with a scale for each slice along an axis."""
  scales = jnp.abs(x).max(axis, keepdims=True) / highest
  scales = jnp.where(scales > 0, scales, 1.0)  # all are 0: any scale represents them
  return jnp.clip(jnp.round(x / scales), -highest, highest) * scales


@_round_straight_through.defjvp
def _straight_through(
  highest: int, axis: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Any, Any]:
  # The scale covers the largest magnitude, so nothing saturates and the estimator is the identity everywhere.
  return _round_straight_through(*primals, highest, axis), tangents[0]
