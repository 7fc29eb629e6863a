"""Number formats of 32 bits and fewer, encoded and decoded by integer operations of numpy alone.

    fp32, fp16     IEEE 754 binary32 and binary16
    tf32           exponent of fp32 with 10 bits of fraction, held in a register of 32 bits (NVIDIA A100)
    bf16           the upper half of fp32
    fp8_e4m3       no infinities, NaN is all ones (ml_dtypes.float8_e4m3fn; arXiv:2209.05433)
    fp8_e5m2       as IEEE 754 (ml_dtypes.float8_e5m2; arXiv:2209.05433)
    int8, int4     two's complement; numbers are rounded to the nearest integer and saturate
    nf4            16 levels at quantiles of a normal distribution, in [-1, 1] (QLoRA, arXiv:2305.14314)

A float of E bits of exponent and F bits of fraction, with the fields s, e and f and the bias 2^(E - 1) - 1, is

    (-1)^s 2^(e - bias) (1 + f / 2^F)     if e > 0 (normal)
    (-1)^s 2^(1 - bias) f / 2^F           if e = 0 (subnormal)

Every encoding rounds to the nearest number, ties to the even pattern (nf4: ties to the lower level). Integers and nf4
stand for numbers of any range through a scale: number = scale x level.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError

_FRACTION = 52  # of float64, in which numbers arrive
_BIAS = 1023


def _pattern_type(bits: int) -> Any:
  """Returns the smallest unsigned integer type that holds so many bits."""
  return np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32


@dataclasses.dataclass(frozen=True)
class FloatFormat:
  """A binary floating-point format.

  Attributes:
    name: its key in `FORMATS`.
    title: its usual name.
    exponent_bits: E.
    fraction_bits: F.
    stored_bits: bits in memory.
    infinities: whether the largest exponent holds infinities and NaN; otherwise only the pattern of ones is NaN.
  """

  name: str
  title: str
  exponent_bits: int
  fraction_bits: int
  stored_bits: int
  infinities: bool = True

  @property
  def bits(self) -> int:
    """Bits of a pattern: sign, exponent and fraction."""
    return 1 + self.exponent_bits + self.fraction_bits

  @property
  def min_power(self) -> int:
    """Power of two of the smallest normal number: 1 - bias."""
    return 2 - 2 ** (self.exponent_bits - 1)

  @property
  def _infinity(self) -> int:
    return (2**self.exponent_bits - 1) << self.fraction_bits

  @property
  def _nan(self) -> int:
    # The quiet NaN of IEEE 754 has the first bit of its fraction set.
    return self._infinity | (1 << (self.fraction_bits - 1) if self.infinities else 2**self.fraction_bits - 1)

  @property
  def _largest(self) -> int:
    """Pattern of the largest finite number."""
    return (self._infinity if self.infinities else self._nan) - 1

  @property
  def largest(self) -> float:
    """Largest finite number."""
    return float(self.decode(self._largest))

  @property
  def lowest(self) -> float:
    """Lowest finite number."""
    return -self.largest

  @property
  def smallest_normal(self) -> float:
    """Smallest positive number of full precision."""
    return 2.0**self.min_power

  @property
  def smallest(self) -> float:
    """Smallest positive number."""
    return 2.0 ** (self.min_power - self.fraction_bits)

  @property
  def rounding_error(self) -> float:
    """Largest relative error of a normal number: half of the spacing at 1."""
    return 2.0 ** (-self.fraction_bits - 1)

  def encode(self, numbers: ArrayLike) -> np.ndarray:
    """Returns the patterns of numbers, rounded to nearest, ties to even.

    Numbers beyond the largest become infinity, or NaN where the format has no infinity.

    Args:
      numbers: any numbers, taken as float64.

    >>> hex(FORMATS["fp32"].encode(3.141592)), hex(FORMATS["bf16"].encode(3.141592))
    ('0x40490fd8', '0x4049')
    """
    bits = np.asarray(numbers, np.float64).view(np.uint64).astype(np.uint64)
    sign, field = bits >> np.uint64(63), ((bits >> np.uint64(_FRACTION)) & np.uint64(0x7FF)).astype(np.int64)
    fraction = (bits & np.uint64(2**_FRACTION - 1)).astype(np.int64)
    # The number is significand x 2^(power - 52); subnormal numbers of float64 have no hidden bit.
    significand = np.where(field > 0, fraction | 2**_FRACTION, fraction)
    power = np.maximum(field, 1) - _BIAS
    # Below the smallest normal number each power of two costs one more bit of the fraction.
    dropped = _FRACTION - self.fraction_bits + np.maximum(self.min_power - power, 0)
    dropped = np.minimum(dropped, 62)
    retained, rest = significand >> dropped, significand & ((np.int64(1) << dropped) - 1)
    half = np.int64(1) << (dropped - 1)
    retained = retained + ((rest > half) | ((rest == half) & (retained % 2 == 1)))
    # The hidden bit, and a carry out of the fraction, add 1 to the exponent that lies beside it.
    magnitude = (np.maximum(power - self.min_power, 0) << self.fraction_bits) + retained
    magnitude = np.where(
      magnitude > self._largest, self._infinity if self.infinities else self._nan, magnitude
    )
    magnitude = np.where((field == 0x7FF) & (fraction > 0), self._nan, magnitude)
    patterns = (sign.astype(np.int64) << (self.bits - 1)) | magnitude
    return patterns.astype(_pattern_type(self.bits))

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the numbers of patterns, exactly, as float64.

    >>> float(FORMATS["fp16"].decode(0x4248))
    3.140625
    """
    codes = np.asarray(patterns).astype(np.int64)
    fraction = codes & (2**self.fraction_bits - 1)
    exponent = (codes >> self.fraction_bits) & (2**self.exponent_bits - 1)
    significand = np.where(exponent > 0, fraction | 2**self.fraction_bits, fraction)
    power = np.maximum(exponent, 1) - 1 + self.min_power - self.fraction_bits
    magnitude = np.ldexp(significand.astype(np.float64), power.astype(np.int32))
    codes_of_magnitude = codes & (2 ** (self.bits - 1) - 1)
    if self.infinities:
      magnitude = np.where(codes_of_magnitude == self._infinity, np.inf, magnitude)
    magnitude = np.where(codes_of_magnitude > self._largest + self.infinities, np.nan, magnitude)
    return np.where(codes >> (self.bits - 1) & 1, -magnitude, magnitude)

  def spacing(self, number: float) -> float:
    """Returns the distance between neighbours at a number; NaN where it is not finite in this format."""
    value = float(self.decode(self.encode(number)))
    if not math.isfinite(value):
      return math.nan
    power = max(math.frexp(value)[1] - 1, self.min_power) if value else self.min_power
    return 2.0 ** (power - self.fraction_bits)

  def split_bits(self, pattern: int) -> tuple[str, str, str]:
    """Returns sign, exponent and fraction of a pattern as text of zeros and ones."""
    text = f"{int(pattern):0{self.bits}b}"
    return text[0], text[1 : 1 + self.exponent_bits], text[1 + self.exponent_bits :]


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
    integers = np.clip(np.rint(values), self.lowest, self.largest).astype(np.int64)
    return (integers & (2**self.bits - 1)).astype(np.uint8)

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the integers of patterns, as float64."""
    codes = np.asarray(patterns).astype(np.int64) & (2**self.bits - 1)
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
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.uint8)

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the levels of indices, as float64."""
    return np.asarray(self.levels)[np.asarray(patterns).astype(np.int64)]

  def spacing(self, number: float) -> float:
    """Returns the distance from a number's level to the next, at the largest to the one before; NaN for NaN."""
    if math.isnan(number):
      return math.nan
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
  scale = 1.0 if isinstance(found, FloatFormat) else scale
  if math.isnan(number) and not isinstance(found, FloatFormat):
    return EncodedNumber(found.name, None, "", "", "", math.nan, math.nan, math.nan)
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
