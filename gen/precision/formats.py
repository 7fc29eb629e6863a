"""Number formats of 32 bits and fewer (floats: `gen.precision.float_format`), and the bits of a number in each.

    fp32, fp16     IEEE 754 binary32 and binary16
    tf32           exponent of fp32 with 10 bits of fraction, held in a register of 32 bits (NVIDIA A100)
    bf16           the upper half of fp32
    fp8_e4m3       no infinities, NaN is all ones (ml_dtypes.float8_e4m3fn; arXiv:2209.05433)
    fp8_e5m2       as IEEE 754 (ml_dtypes.float8_e5m2; arXiv:2209.05433)
    int8, int4     two's complement; numbers are rounded to the nearest integer and saturate
    nf4            16 levels at quantiles of a normal distribution, in [-1, 1] (QLoRA, arXiv:2305.14314)

Every encoding rounds to the nearest number, ties to the even pattern (nf4: ties to the lower level). Integers and nf4
stand for numbers of any range through a scale: number = scale x level.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError
from gen.precision.float_format import FloatFormat


@dataclasses.dataclass(frozen=True)
class IntegerFormat:
  """Signed integers in two's complement; the attributes are those of `FloatFormat`."""

  name: str
  title: str
  bits: int

  @property
  def stored_bits(self) -> int:
    """Bits in memory."""
    return self.bits

  @property
  def largest(self) -> float:
    """Largest integer."""
    return 2.0 ** (self.bits - 1) - 1

  @property
  def lowest(self) -> float:
    """Lowest integer, whose negative is out of range."""
    return -(2.0 ** (self.bits - 1))

  @property
  def smallest(self) -> float:
    """Smallest positive integer."""
    return 1.0

  @property
  def rounding_error(self) -> float:
    """Largest error of a number in range, in steps: the error does not grow with the number."""
    return 0.5

  def encode(self, numbers: ArrayLike) -> np.ndarray:
    """Returns the patterns of the nearest integers, ties to even, saturated at the ends of the range.

    Raises:
      UserError: for NaN, which no integer stands for.

    >>> FORMATS["int8"].encode([3.14159, 2.5, -1e9]).tolist()
    [3, 2, 128]
    """
    values = np.asarray(numbers, np.float64)
    if np.isnan(values).any():
      raise UserError(f"{self.title} has no NaN; remove the numbers that are not a number")
    # Rounded before it is clipped: 127.5 is 128 first, and saturates.
    integers = np.clip(np.rint(values), self.lowest, self.largest).astype(np.int64)
    # The mask keeps the low bits of two's complement, which is the pattern.
    return (integers & (2**self.bits - 1)).astype(np.uint8)

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the integers of patterns, as float64."""
    codes = np.asarray(patterns).astype(np.int64) & (2**self.bits - 1)
    # A set sign bit counts as -2^(bits - 1), so subtracting 2^bits once gives the negative number.
    return np.where(codes >> (self.bits - 1), codes - 2**self.bits, codes).astype(np.float64)

  def spacing(self, number: float) -> float:
    """Returns the distance between neighbours, 1 everywhere; NaN for NaN."""
    return math.nan if math.isnan(number) else 1.0

  def split_bits(self, pattern: int) -> tuple[str, str, str]:
    """Returns the sign bit, no exponent, and the other bits of a pattern."""
    text = f"{int(pattern):0{self.bits}b}"
    return text[0], "", text[1:]


@dataclasses.dataclass(frozen=True)
class LevelFormat:
  """Rising levels in [-1, 1], numbered from 0; the attributes are those of `FloatFormat`."""

  name: str
  title: str
  bits: int
  levels: tuple[float, ...]

  @property
  def stored_bits(self) -> int:
    """Bits in memory."""
    return self.bits

  @property
  def largest(self) -> float:
    """Largest level."""
    return self.levels[-1]

  @property
  def lowest(self) -> float:
    """Lowest level."""
    return self.levels[0]

  @property
  def smallest(self) -> float:
    """Smallest positive level."""
    return min(level for level in self.levels if level > 0)

  @property
  def rounding_error(self) -> float:
    """Largest error of a number in range: half of the widest gap."""
    return float(np.diff(self.levels).max()) / 2

  def encode(self, numbers: ArrayLike) -> np.ndarray:
    """Returns the indices of the nearest levels, ties to the lower one.

    Raises:
      UserError: for NaN, which no level stands for.

    >>> FORMATS["nf4"].encode([-1.0, 0.0, 0.5, 3.0]).tolist()
    [0, 7, 12, 15]
    """
    values = np.asarray(numbers, np.float64)
    if np.isnan(values).any():
      raise UserError(f"{self.title} has no NaN; remove the numbers that are not a number")
    levels = np.asarray(self.levels)
    # The index of the nearest level is the number of midpoints below the number.
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.uint8)

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the levels of indices, as float64."""
    return np.asarray(self.levels)[np.asarray(patterns).astype(np.int64)]

  def spacing(self, number: float) -> float:
    """Returns the distance from a number's level to the next, at the largest to the one before; NaN for NaN."""
    if math.isnan(number):
      return math.nan
    # The last level has no next one.
    index = min(int(self.encode(number)), len(self.levels) - 2)
    return self.levels[index + 1] - self.levels[index]

  def split_bits(self, pattern: int) -> tuple[str, str, str]:
    """Returns no sign, no exponent, and the index of the level."""
    return "", "", f"{int(pattern):0{self.bits}b}"


NumberFormat = FloatFormat | IntegerFormat | LevelFormat

# The levels of QLoRA (arXiv:2305.14314, appendix E), float32: quantiles of a normal distribution whose ends are scaled
# to -1 and 1, seven below zero, zero, and eight above.
NF4_LEVELS = (
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip

FORMATS: dict[str, NumberFormat] = {
  made.name: made
  for made in (
    # Bits of exponent and fraction, and bits in memory.
    FloatFormat("fp32", "FP32", 8, 23, 32),
    FloatFormat("tf32", "TF32", 8, 10, 32),
    FloatFormat("fp16", "FP16", 5, 10, 16),
    FloatFormat("bf16", "BF16", 8, 7, 16),
    FloatFormat("fp8_e4m3", "FP8 E4M3", 4, 3, 8, infinities=False),
    FloatFormat("fp8_e5m2", "FP8 E5M2", 5, 2, 8),
    IntegerFormat("int8", "INT8", 8),
    IntegerFormat("int4", "INT4", 4),
    LevelFormat("nf4", "NF4", 4, NF4_LEVELS),
  )
}


class EncodedNumber(NamedTuple):
  """A number in one format.

  Attributes:
    format: name of the format.
    pattern: its bits as an integer; None if the format has no pattern for it.
    sign: the sign bit, zeros and ones as text; empty where the format has no such field.
    exponent: the exponent's bits.
    fraction: the fraction's bits; those of an integer below its sign, or the index of an nf4 level.
    value: the number that the pattern stands for, times the scale.
    error: value - number; NaN where either is not finite.
    spacing: distance between neighbours there, times the scale.
  """

  format: str
  pattern: int | None
  sign: str
  exponent: str
  fraction: str
  value: float
  error: float
  spacing: float


def find_format(name: str) -> NumberFormat:
  """Returns a format by its name, in any case.

  Raises:
    UserError: for an unknown name, with those that there are.
  """
  found = FORMATS.get(name.lower())
  if found is None:
    raise UserError(f"{name} is no number format; choose one of {', '.join(FORMATS)}")
  return found


def describe_number(number: float, name: str, scale: float = 1.0) -> EncodedNumber:
  """Returns the bits, value and error of a number in one format.

  Args:
    number: any float, infinities and NaN included.
    name: of the format, see `FORMATS`.
    scale: what a level of an integer format or nf4 stands for; floats ignore it.

  Raises:
    UserError: for an unknown format, or a scale that is not positive and finite.

  >>> describe_number(3.141592, "bf16").value
  3.140625
  """
  found = find_format(name)
  if not 0 < scale < math.inf:
    raise UserError(f"scale is {scale}; it must be a positive finite number")
  # A float has a range of its own, so a scale would only hide its limits.
  scale = 1.0 if isinstance(found, FloatFormat) else scale
  if math.isnan(number) and not isinstance(found, FloatFormat):
    return EncodedNumber(found.name, None, "", "", "", math.nan, math.nan, math.nan)
  # In float64 throughout, so that the error shown is the format's and not this division's.
  pattern = int(found.encode(number / scale))
  value = float(found.decode(pattern)) * scale
  error = value - number if math.isfinite(value) and math.isfinite(number) else math.nan
  spacing = found.spacing(number / scale) * scale
  return EncodedNumber(found.name, pattern, *found.split_bits(pattern), value, error, spacing)


def parameter_bytes(parameters: float, name: str) -> float:
  """Returns the bytes of so many numbers in one format, without scales.

  >>> [parameter_bytes(1e9, name) / 1e9 for name in ("fp32", "fp16", "bf16", "int8")]
  [4.0, 2.0, 2.0, 1.0]
  """
  return parameters * find_format(name).stored_bits / 8
