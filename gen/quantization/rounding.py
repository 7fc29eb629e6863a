"""Plain rounding of a model's weights to any number of bits, as numbers: what the law of precision measures.

Every kernel and table has one symmetric scale for each output, and 2^(P - 1) - 1 levels on either side of zero. Norms
and biases stay as they are. The result has float32 numbers; formats that are stored are int8, int4 and nf4.
"""

from typing import Any

import numpy as np

from gen.config import Model
from gen.errors import UserError
from gen.quantization import kernel_places
from gen.quantization.kernel_places import KernelPlace

# With 1 bit the only level would be 0.
MIN_BITS, MAX_BITS = 2, 16


def round_model(params: Any, model: Model, bits: int) -> Any:
  """Returns parameters whose kernels and tables are rounded to so many bits, float32.

  Args:
    params: float32.
    model: their config.
    bits: P of each weight, from 2 to 16.

  Raises:
    UserError: for weights that are not finite, a number of bits out of range, or a model without kernels.
  """
  if not MIN_BITS <= bits <= MAX_BITS:
    raise UserError(f"weights cannot be rounded to {bits} bits; choose {MIN_BITS} to {MAX_BITS}")
  places = kernel_places.find_places(params, model)
  if not places:
    raise UserError("the model has no kernel that can be rounded; code of your own keeps its numbers")
  leaves = {place.path: _round(kernel_places.read_leaf(params, place.path), place, bits) for place in places}
  return kernel_places.replace_leaves(params, leaves)


def _round(parameter: Any, place: KernelPlace, bits: int) -> np.ndarray:
  array = np.asarray(parameter, np.float32)
  if not np.isfinite(array).all():
    raise UserError(
      f"{place.name} holds weights that are NaN or infinite, which no scale covers; take another checkpoint"
    )
  first = 0 if place.layers is None else 1
  # All axes but those of layers and outputs: one scale for each output of each layer.
  axes = tuple(range(first, first + place.inputs)) if place.inputs_first else (array.ndim - 1,)
  # Symmetric: the level -2^(P - 1) is left out, whose negative does not exist.
  highest = np.float32(2 ** (bits - 1) - 1)
  scales = np.abs(array).max(axes, keepdims=True) / highest
  # An output of zeros alone: any scale represents it.
  scales = np.where(scales > 0, scales, 1).astype(np.float32)
  return np.clip(np.rint(array / scales), -highest, highest) * scales
