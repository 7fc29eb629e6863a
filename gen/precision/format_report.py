"""Number formats as rows for JSON and as a table for the terminal."""

import dataclasses
import math

from gen.errors import UserError
from gen.io import quantities
from gen.precision import formats

CONSTANTS = {"pi": math.pi, "e": math.e}
_WORDS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormatRow:
  """A number in one format, and what the format is.

  Attributes:
    format: its name.
    pattern: the bits as a whole number; None where the format has none for the number.
    sign: the bit of the sign.
    exponent: the exponent's bits.
    fraction: the fraction's bits.
    value: what the pattern stands for.
    error: value - number.
    spacing: distance between neighbours there.
    title: the format's name in tables.
    hexadecimal: the pattern.
    bits: of a pattern.
    stored_bits: that an array has for a number.
    largest: number of the format.
    lowest: number of the format.
    smallest: number above 0.
    smallest_normal: smallest number with all bits of the fraction; None for integers.
    rounding_error: largest one.
    rounding_error_is_relative: whether it is a share of the number.
    fields: bits of each part of a pattern.
    gigabytes_of_a_billion: numbers.
    value_text: the value in at most nine digits.
  """

  format: str
  pattern: int | None
  sign: str
  exponent: str
  fraction: str
  value: float
  error: float
  spacing: float
  title: str
  hexadecimal: str | None
  bits: int
  stored_bits: int
  largest: float
  lowest: float
  smallest: float
  smallest_normal: float | None
  rounding_error: float
  rounding_error_is_relative: bool
  fields: dict[str, int]
  gigabytes_of_a_billion: float
  value_text: str


@dataclasses.dataclass(frozen=True)
class NumberReport:
  """A number in every format; `scale` is what a step of an integer format stands for."""

  number: float
  number_text: str
  scale: float
  formats: list[FormatRow]


def parse_any_number(text: str) -> float:
  """Returns the float64 of a text: a number with or without a unit, pi, e, inf or nan, each with a sign.

  Raises:
    UserError: for other text, and for numbers beyond the range of float64, which would silently become inf or 0.

  >>> parse_any_number("-pi"), parse_any_number("-0"), parse_any_number("1.5k")
  (-3.141592653589793, -0.0, 1500.0)
  """
  word = text.strip().lower()
  sign = -1.0 if word.startswith("-") else 1.0
  bare = word.removeprefix("-") if sign < 0 else word.removeprefix("+")
  if bare in CONSTANTS or bare in _WORDS:
    return math.copysign((CONSTANTS | _WORDS)[bare], sign)
  try:
    number = quantities.parse_number(text)
  except ValueError as error:
    raise UserError(f"--number: {error}; pi, e, inf and nan are numbers too") from None
  # Python reads 1e-400 as 0.0 without an error. A text with a digit other than 0 before the exponent is no 0.
  if number == 0 and any(digit in "123456789" for digit in bare.partition("e")[0]):
    raise UserError(
      f"--number={quantities.shorten_text(text)} is below the smallest number of 64 bits, 4.9e-324; give a larger one"
    )
  # copysign and not a product, so that -0 keeps its sign.
  return math.copysign(number, sign)


def report_number(number: float, scale: float = 1.0) -> NumberReport:
  """Returns a number in every format, and what each format is.

  Args:
    number: any float.
    scale: what a step of an integer format, or 1.0 of nf4, stands for.

  Raises:
    UserError: for a scale that is not positive and finite.
  """
  rows = []
  for name, found in formats.FORMATS.items():
    encoded = formats.describe_number(number, name, scale)
    rows.append(
      FormatRow(
        **encoded._asdict(),
        title=found.title,
        # Four bits a digit, rounded up: TF32's 19 bits have five digits.
        hexadecimal=None if encoded.pattern is None else f"0x{encoded.pattern:0{-(-found.bits // 4)}X}",
        bits=found.bits,
        stored_bits=found.stored_bits,
        largest=found.largest,
        lowest=found.lowest,
        smallest=found.smallest,
        smallest_normal=getattr(found, "smallest_normal", None),
        rounding_error=found.rounding_error,
        rounding_error_is_relative=isinstance(found, formats.FloatFormat),
        fields={key: value for key, value in dataclasses.asdict(found).items() if key.endswith("_bits")},
        gigabytes_of_a_billion=formats.parameter_bytes(1e9, name) / 1e9,
        value_text=_text(encoded.value),
      )
    )
  return NumberReport(number, _text(number), scale, rows)


def table_lines(report: NumberReport) -> list[str]:
  """Returns the lines of a table of `report_number`'s result."""
  lines = [
    f"{report.number_text} in each format"
    + (f"; integers and NF4 times the scale {report.scale:g}" if report.scale != 1 else ""),
    f"{'format':9} {'sign exponent fraction':37} {'pattern':>10} {'value':>14} {'error':>10} {'spacing':>9}",
  ]
  for row in report.formats:
    bits = " ".join(part for part in (row.sign, row.exponent, row.fraction) if part) or "no pattern"
    lines.append(
      f"{row.title:9} {bits:37} {row.hexadecimal or '-':>10} {_text(row.value):>14}"
      f" {_number(row.error):>10} {_number(row.spacing):>9}"
    )
  lines.append(
    f"\n{'format':9} {'bits':>4} {'lowest':>10} {'largest':>10} {'smallest':>9} {'normal from':>11} {'rounding':>9} "
    f"{'GB of 1 B':>9}"
  )
  for row in report.formats:
    lines.append(
      f"{row.title:9} {row.stored_bits:4} {_number(row.lowest):>10} {_number(row.largest):>10} "
      f"{_number(row.smallest):>9} {_number(row.smallest_normal):>11} {_number(row.rounding_error):>9} "
      f"{row.gigabytes_of_a_billion:9g}"
    )
  lines.append(
    "rounding: the largest error, relative for floats, in steps for integers and in units of the scale for NF4"
  )
  return lines


def _text(value: float) -> str:
  """Returns a number with its sign and at most nine digits: -0 differs from 0."""
  # Nine digits tell every two float32 numbers apart.
  return "NaN" if math.isnan(value) else f"{value:.9g}"


def _number(value: float | None) -> str:
  return "-" if value is None or math.isnan(value) else f"{value:.3g}"
