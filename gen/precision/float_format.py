"""Binary floating-point formats of 32 bits and fewer, encoded and decoded by integer operations of numpy alone.

A float of E bits of exponent and F bits of fraction, with the fields s, e and f and the bias 2^(E - 1) - 1, is

    (-1)^s 2^(e - bias) (1 + f / 2^F)     if e > 0 (normal)
    (-1)^s 2^(1 - bias) f / 2^F           if e = 0 (subnormal)

Encoding rounds to the nearest number, ties to the even pattern (IEEE 754-2019, roundTiesToEven).
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_FRACTION = 52  # of float64, in which numbers arrive
_BIAS = 1023  # of float64's exponent


def _pattern_type(bits: int) -> Any:
  """Returns the smallest unsigned integer type that holds so many bits."""
  # TF32 has 19 bits and is kept in 32, as the GPU's registers keep it.
  return np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32


@dataclasses.dataclass(frozen=True)
class FloatFormat:
  """A binary floating-point format.

  Attributes:
    name: its key in `formats.FORMATS`.
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
    # Without infinities NaN is the pattern of ones alone (E4M3: S.1111.111, arXiv:2209.05433, table 1).
    return self._infinity | (1 << (self.fraction_bits - 1) if self.infinities else 2**self.fraction_bits - 1)

  @property
  def _largest(self) -> int:
    """Pattern of the largest finite number."""
    # Patterns of positive numbers rise with the numbers, so the largest is the one before infinity or NaN.
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

    >>> hex(FloatFormat("fp32", "FP32", 8, 23, 32).encode(3.141592))
    '0x40490fd8'
    """
    # Integers alone from here on, so that no cast of a library decides how a number is rounded.
    bits = np.asarray(numbers, np.float64).view(np.uint64).astype(np.uint64)
    sign, field = bits >> np.uint64(63), ((bits >> np.uint64(_FRACTION)) & np.uint64(0x7FF)).astype(np.int64)
    fraction = (bits & np.uint64(2**_FRACTION - 1)).astype(np.int64)
    # The number is significand x 2^(power - 52); subnormal numbers of float64 have no hidden bit.
    significand = np.where(field > 0, fraction | 2**_FRACTION, fraction)
    power = np.maximum(field, 1) - _BIAS
    # Below the smallest normal number each power of two costs one more bit of the fraction.
    dropped = _FRACTION - self.fraction_bits + np.maximum(self.min_power - power, 0)
    # A shift of an int64 by 64 or more is undefined in C. After 62 the significand of 53 bits is 0 anyway.
    dropped = np.minimum(dropped, 62)
    retained, rest = significand >> dropped, significand & ((np.int64(1) << dropped) - 1)
    half = np.int64(1) << (dropped - 1)
    # Ties go to the even pattern: up only where the last retained bit is 1.
    retained = retained + ((rest > half) | ((rest == half) & (retained % 2 == 1)))
    # The hidden bit, and a carry out of the fraction, add 1 to the exponent that lies beside it.
    magnitude = (np.maximum(power - self.min_power, 0) << self.fraction_bits) + retained
    magnitude = np.where(
      magnitude > self._largest, self._infinity if self.infinities else self._nan, magnitude
    )
    # float64's exponent of ones with a fraction is NaN; without a fraction it is infinity, which the line above
    # handles.
    magnitude = np.where((field == 0x7FF) & (fraction > 0), self._nan, magnitude)
    patterns = (sign.astype(np.int64) << (self.bits - 1)) | magnitude
    return patterns.astype(_pattern_type(self.bits))

  def decode(self, patterns: ArrayLike) -> np.ndarray:
    """Returns the numbers of patterns, exactly, as float64.

    >>> float(FloatFormat("fp16", "FP16", 5, 10, 16).decode(0x4248))
    3.140625
    """
    codes = np.asarray(patterns).astype(np.int64)
    fraction = codes & (2**self.fraction_bits - 1)
    exponent = (codes >> self.fraction_bits) & (2**self.exponent_bits - 1)
    significand = np.where(exponent > 0, fraction | 2**self.fraction_bits, fraction)
    # Subnormal numbers have the power of the smallest normal ones, without the hidden bit.
    power = np.maximum(exponent, 1) - 1 + self.min_power - self.fraction_bits
    magnitude = np.ldexp(significand.astype(np.float64), power.astype(np.int32))
    codes_of_magnitude = codes & (2 ** (self.bits - 1) - 1)
    if self.infinities:
      magnitude = np.where(codes_of_magnitude == self._infinity, np.inf, magnitude)
    # `infinities` counts as 1: where there is one, the pattern behind the largest number is no NaN.
    magnitude = np.where(codes_of_magnitude > self._largest + self.infinities, np.nan, magnitude)
    return np.where(codes >> (self.bits - 1) & 1, -magnitude, magnitude)

  def spacing(self, number: float) -> float:
    """Returns the distance between neighbours at a number; NaN where it is not finite in this format."""
    value = float(self.decode(self.encode(number)))
    if not math.isfinite(value):
      return math.nan
    # frexp gives a mantissa in [0.5, 1), whose exponent is one above the power of two.
    power = max(math.frexp(value)[1] - 1, self.min_power) if value else self.min_power
    return 2.0 ** (power - self.fraction_bits)

  def split_bits(self, pattern: int) -> tuple[str, str, str]:
    """Returns sign, exponent and fraction of a pattern as text of zeros and ones."""
    text = f"{int(pattern):0{self.bits}b}"
    return text[0], text[1 : 1 + self.exponent_bits], text[1 + self.exponent_bits :]
