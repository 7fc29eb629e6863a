"""Bytes of a quantized model before it exists: its parameters, and what decoding with it holds. All are exact.

O outputs, I inputs, G groups of inputs.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen.config import Model
from gen.generation.decoding import decoders
from gen.models import language_model, recurrent
from gen.precision.quantized_array import QuantizedArray
from gen.precision.quantizing import WeightScheme
from gen.quantization import kernel_places, model_quantization
from gen.quantization.kernel_places import KernelPlace
from gen.quantization.model_scheme import ModelScheme


class DecodingFootprint(NamedTuple):
  """Bytes that decoding holds on one device.

  Attributes:
    parameters: weights with scales, zero points, norms and biases.
    cache: keys and values with their scales, and positions; of a recurrent model its state.
  """

  parameters: int
  cache: int

  @property
  def total(self) -> int:
    """Both."""
    return self.parameters + self.cache


def quantized_shapes(model: Model, scheme: ModelScheme) -> Any:
  """Returns the tree that `model_quantization.quantize_model` makes, as shapes; allocates nothing.

  Raises:
    UserError: for a group that does not divide.
  """
  # Of the abstract model, so a model larger than this machine's memory can be asked about.
  shapes = language_model.parameter_shapes(model)
  leaves = {}
  for place in kernel_places.find_places(shapes, model):
    weights = model_quantization.weight_scheme(place, scheme)
    if weights is not None:
      leaves[place.path] = _array_shape(place, weights, scheme)
  made = kernel_places.replace_leaves(shapes, leaves)
  if scheme.vectors == "bfloat16":
    made = model_quantization.narrow_vectors(made)
  return made


def _array_shape(place: KernelPlace, weights: WeightScheme, scheme: ModelScheme) -> QuantizedArray:
  stack = () if place.layers is None else (place.layers,)
  inputs = place.input_size
  outputs = math.prod(place.shape) // inputs
  size = weights.group_size(inputs, place.name)
  of_scales = (*stack, 1, 1) if weights.granularity == "tensor" else (*stack, outputs, inputs // size)
  # The same conditions as in `model_quantization`, and a test compares both.
  integers = scheme.activations == "int8" and place.multiplied and weights.format != "nf4"
  smooths = integers and scheme.smoothing > 0 and place.role == "layer"
  wide = weights.format == "int8"

  def shaped(sizes: tuple[int, ...], dtype: Any, present: bool = True) -> Any:
    return jax.ShapeDtypeStruct(sizes, dtype) if present else None

  return QuantizedArray(
    # Two levels of 4 bits in a byte; an odd row is padded.
    shaped((*stack, outputs, inputs if wide else -(-inputs // 2)), jnp.int8 if wide else jnp.uint8),
    shaped(of_scales, jnp.float32),
    shaped(of_scales, jnp.int8, not weights.symmetric and weights.format != "nf4"),
    shaped((*stack, inputs), jnp.float32, smooths),
    shaped(stack, jnp.float32, integers and scheme.static),
    place.shape,
    inputs,
    weights.format,
    "int8" if integers else "none",
    place.inputs_first,
  )


def decoding_footprint(
  model: Model, scheme: ModelScheme | None, rows: int, length: int, source: int = 0
) -> DecodingFootprint:
  """Returns what decoding holds between two tokens.

  Args:
    model: its config; `cache_format` is that of keys and values.
    scheme: of the weights; None keeps float32.
    rows: texts at a time.
    length: positions of each, prompt and new tokens.
    source: positions of an encoder-decoder's source.

  Raises:
    UserError: for a group that does not divide.
  """
  params = language_model.parameter_shapes(model) if scheme is None else quantized_shapes(model, scheme)
  parameters = model_quantization.count_bytes(params)
  if model.recurrent:
    state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, rows))
    return DecodingFootprint(parameters, model_quantization.count_bytes(state))
  # An encoder sees all positions at once and caches nothing.
  if model.family == "encoder":
    return DecodingFootprint(parameters, 0)
  return DecodingFootprint(parameters, decoders.cache_bytes(model, rows, length, source))
