"""Numbers with fewer bits: formats, encoding and decoding, quantized arrays, loss scaling.

`gen.precision.describe_number(3.14159, "bf16")` shows the bits of a number in one format. This module imports numpy
alone; what needs jax (`gen.precision.quantized_array` and `loss_scaling`) is imported by name.
"""

from gen.precision.float_format import FloatFormat
from gen.precision.formats import (
  FORMATS,
  EncodedNumber,
  IntegerFormat,
  LevelFormat,
  describe_number,
  find_format,
  parameter_bytes,
)

__all__ = [
  "FORMATS",
  "EncodedNumber",
  "FloatFormat",
  "IntegerFormat",
  "LevelFormat",
  "describe_number",
  "find_format",
  "parameter_bytes",
]
