"""Quantization of matrices: numbers of fewer bits with scales, and the array that a tree of parameters holds of them.

With the levels q, a scale s and a zero point z, a weight is

    symmetric   w = s q              int8: q in [-127, 127]; int4: [-7, 7]; nf4: q one of 16 levels in [-1, 1]
    affine      w = s (q - z)        int8: q in [-128, 127]; int4: [-8, 7]

with one scale for all weights (tensor), for each output (channel), or for each `group` inputs of an output. A scale
covers the largest magnitude of its weights (absmax), a percentile of them, or what leaves the least squared error.
Rounding is to the nearest level, ties to even, and what lies outside saturates. All arithmetic is float32.

O outputs, I inputs, G groups of inputs.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.precision.formats import NF4_LEVELS

WEIGHT_FORMATS = ("int8", "int4", "nf4")
CLIPPINGS = ("absmax", "percentile", "mse")
DEFAULT_GROUP = 64  # inputs of a group of 4-bit weights, as in QLoRA (arXiv:2305.14314)
# Shares of the largest magnitude that the search for the least squared error tries.
# From all of the range down to 0.3 of it in steps of 0.02; the full range comes first and wins ties.
_SHARES = np.linspace(1.0, 0.3, 36)
# Bits of one stored number. NF4's 16 levels take 4 (arXiv:2305.14314, section 3).
_BITS = {"int8": 8, "int4": 4, "nf4": 4}


@dataclasses.dataclass(frozen=True)
class WeightScheme:
  """How a matrix is quantized.

  Attributes:
    format: int8 | int4 | nf4.
    symmetric: whether there is no zero point.
    granularity: tensor | channel | group, of one scale.
    group: inputs of a group; 0 chooses the largest divisor of the inputs up to `DEFAULT_GROUP`.
    clipping: absmax | percentile | mse.
    percentile: of magnitudes that a scale covers, for clipping by percentile.
  """

  format: str = "int8"
  symmetric: bool = True
  granularity: str = "channel"
  group: int = 0
  clipping: str = "absmax"
  percentile: float = 99.9

  @property
  def bits(self) -> int:
    """Bits of a weight, without its share of the scales."""
    return _BITS[self.format]

  def group_size(self, inputs: int, name: str = "a matrix") -> int:
    """Returns the inputs that share a scale.

    Args:
      inputs: I.
      name: what errors call the matrix.

    Raises:
      UserError: for a group that does not divide the inputs.
    """
    if self.granularity != "group":
      return inputs
    # A divisor is needed, so that every group of a row has equally many inputs and scales form an array [O, G].
    if not self.group:
      return max(size for size in range(1, min(DEFAULT_GROUP, inputs) + 1) if inputs % size == 0)
    if inputs % self.group:
      raise UserError(
        f"groups of {self.group} do not divide the {inputs} inputs of {name}; choose a divisor of them"
      )
    return self.group


class QuantizedMatrix(NamedTuple):
  """A quantized matrix, unpacked.

  Attributes:
    levels_oi: int8; of nf4 the indices of the levels.
    scales_og: float32; [1, 1] for one scale of the whole matrix.
    zeros_og: zero points, int8, or None if there are none.
  """

  levels_oi: np.ndarray
  scales_og: np.ndarray
  zeros_og: np.ndarray | None


def level_range(scheme: WeightScheme) -> tuple[int, int]:
  """Returns the lowest and the highest level; symmetric ranges leave out -128 and -8, whose negatives do not exist.

  >>> level_range(WeightScheme("int8")), level_range(WeightScheme("int4", symmetric=False))
  ((-127, 127), (-8, 7))
  """
  if scheme.format == "nf4":
    return 0, 15
  # Symmetric int8 levels times int8 activations then have products of at most 127^2, and a level's negative is a level.
  high = 2 ** (scheme.bits - 1) - 1
  return (-high if scheme.symmetric else -high - 1), high


def quantize_matrix(weights_oi: np.ndarray, scheme: WeightScheme, name: str = "a matrix") -> QuantizedMatrix:
  """Returns a matrix quantized by rounding each weight to its nearest level.

  Args:
    weights_oi: float32, outputs first.
    scheme: how.
    name: what errors call the matrix.

  Raises:
    UserError: for weights that are not finite, or a group that does not divide the inputs.
  """
  scales_og, zeros_og = find_scales(weights_oi, scheme, name)
  return QuantizedMatrix(round_to_levels(weights_oi, scales_og, zeros_og, scheme), scales_og, zeros_og)


def find_scales(
  weights_oi: np.ndarray, scheme: WeightScheme, name: str = "a matrix"
) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns the scales [O, G] of a matrix, or [1, 1], and its zero points; raises as `quantize_matrix`."""
  weights_oi = np.asarray(weights_oi, np.float32)
  if not np.isfinite(weights_oi).all():
    raise UserError(
      f"{name} holds weights that are NaN or infinite, which no scale covers; take another checkpoint"
    )
  outputs, inputs = weights_oi.shape
  size = scheme.group_size(inputs, name)
  # [O, G, inputs of a group]; all weights of the matrix are one group of one output where they share one scale.
  grouped = (
    weights_oi.reshape(1, 1, -1) if scheme.granularity == "tensor" else weights_oi.reshape(outputs, -1, size)
  )
  low, high = _bounds(grouped, scheme)
  if scheme.clipping == "mse":
    return _least_squares(grouped, low, high, scheme)
  return _scales(low, high, scheme)


def _bounds(grouped: np.ndarray, scheme: WeightScheme) -> tuple[np.ndarray, np.ndarray]:
  """Returns the lowest and highest weight that each scale covers, [O, G]; 0 lies between them."""
  if scheme.clipping == "percentile":
    share = scheme.percentile / 100
    if scheme.symmetric:
      # Of magnitudes and not of each side, so that the covered range stays symmetric.
      magnitudes = np.abs(grouped)
      limit = np.quantile(magnitudes, share, axis=-1).astype(np.float32)
      # Where most weights are pruned to 0, a scale that covers zeros alone would lose all others.
      limit = np.where(limit > 0, limit, magnitudes.max(-1))
      return -limit, limit
    low, high = np.quantile(grouped, [1 - share, share], axis=-1).astype(np.float32)
    pruned = (low >= 0) & (high <= 0)
    low, high = np.where(pruned, grouped.min(-1), low), np.where(pruned, grouped.max(-1), high)
    # 0 must lie in the range, as its level is the zero point, see `_scales`.
    return np.minimum(low, 0), np.maximum(high, 0)
  if scheme.symmetric:
    limit = np.abs(grouped).max(-1)
    return -limit, limit
  return np.minimum(grouped.min(-1), 0), np.maximum(grouped.max(-1), 0)


def _scales(low: np.ndarray, high: np.ndarray, scheme: WeightScheme) -> tuple[np.ndarray, np.ndarray | None]:
  lowest, highest = level_range(scheme)
  if scheme.format == "nf4":
    # The outermost levels are -1 and 1, so the scale is the largest magnitude itself (absmax, arXiv:2305.14314, 2).
    return np.where(high > 0, high, 1).astype(np.float32), None
  if scheme.symmetric:
    scales = high / np.float32(highest)
    # All weights are 0, or so small that the division underflows: any scale represents 0.
    return np.where(scales > 0, scales, 1).astype(np.float32), None
  levels = np.float32(highest - lowest)
  with np.errstate(over="ignore"):
    scales = ((high - low) / levels).astype(np.float32)
  # Ends of opposite signs may lie further apart than the largest float32.
  scales = np.where(np.isfinite(scales), scales, high / levels - low / levels)
  scales = np.where(scales > 0, scales, 1).astype(np.float32)
  # 0 must be a level: padding and pruned weights are exactly 0.
  zeros = np.clip(np.rint(lowest - low / scales), lowest, highest).astype(np.int8)
  return scales, zeros


def _least_squares(
  grouped: np.ndarray, low: np.ndarray, high: np.ndarray, scheme: WeightScheme
) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns the scales of the share of the range that leaves the least squared error, for each group."""
  best_error = np.full(low.shape, np.inf)
  scales, zeros = _scales(low, high, scheme)
  for share in _SHARES.astype(np.float32):
    tried, tried_zeros = _scales(low * share, high * share, scheme)
    levels = _round(
      grouped, tried[..., None], None if tried_zeros is None else tried_zeros[..., None], scheme
    )
    back = _values(
      levels, tried[..., None], None if tried_zeros is None else tried_zeros[..., None], scheme.format
    )
    # Summed in float64, because the errors of neighbouring shares differ by little.
    error = np.square(back - grouped, dtype=np.float64).sum(-1)
    better = error < best_error
    best_error = np.where(better, error, best_error)
    scales = np.where(better, tried, scales)
    zeros = None if zeros is None or tried_zeros is None else np.where(better, tried_zeros, zeros)
  return scales, zeros


def round_to_levels(
  weights_oi: np.ndarray, scales_og: np.ndarray, zeros_og: np.ndarray | None, scheme: WeightScheme
) -> np.ndarray:
  """Returns the nearest levels of weights, int8 [O, I], ties to even, saturated."""
  scales_oi = expand_groups(scales_og, weights_oi.shape[1])
  zeros_oi = None if zeros_og is None else expand_groups(zeros_og, weights_oi.shape[1])
  return _round(np.asarray(weights_oi, np.float32), scales_oi, zeros_oi, scheme)


def _round(
  weights: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, scheme: WeightScheme
) -> np.ndarray:
  lowest, highest = level_range(scheme)
  ratios = weights / scales
  if scheme.format == "nf4":
    levels = np.asarray(NF4_LEVELS, np.float32)
    # The nearest level is the number of midpoints below; ties go to the lower level.
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, ratios).astype(np.int8)
  # Rounded before the zero point is added, as ONNX defines it: ties are even in w / s.
  levels = np.rint(ratios) if zeros is None else np.rint(ratios) + zeros
  return np.clip(levels, lowest, highest).astype(np.int8)


def expand_groups(of_groups: np.ndarray, inputs: int) -> np.ndarray:
  """Returns one number for each input, [O, I], of one for each group, [O, G]; of a single group, [O, 1] or [1, 1]."""
  groups = of_groups.shape[-1]
  return of_groups if groups == 1 else np.repeat(of_groups, inputs // groups, axis=-1)


def dequantize_matrix(matrix: QuantizedMatrix, format: str) -> np.ndarray:
  """Returns the weights that a quantized matrix stands for, float32 [O, I]."""
  inputs = matrix.levels_oi.shape[-1]
  zeros_oi = None if matrix.zeros_og is None else expand_groups(matrix.zeros_og, inputs)
  return _values(matrix.levels_oi, expand_groups(matrix.scales_og, inputs), zeros_oi, format)


def _values(levels: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, format: str) -> np.ndarray:
  if format == "nf4":
    return np.asarray(NF4_LEVELS, np.float32)[levels] * scales
  shifted = levels.astype(np.float32) if zeros is None else levels.astype(np.float32) - zeros
  return shifted * scales


def pack_nibbles(levels: np.ndarray) -> np.ndarray:
  """Returns levels of 4 bits two a byte, along the last axis: the even ones in the lower half.

  >>> [hex(byte) for byte in pack_nibbles(np.array([1, -8, 7], np.int8))]
  ['0x81', '0x7']
  """
  # The low four bits of two's complement; of nf4 the index itself.
  codes = levels.astype(np.uint8) & 15
  if codes.shape[-1] % 2:
    # An odd row ends in half a byte; `unpack_levels` cuts it off by the number of inputs.
    codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], -1)
  return codes[..., ::2] | (codes[..., 1::2] << 4)
