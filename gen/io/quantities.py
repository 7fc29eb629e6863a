"""Parses numbers with units, such as `1M`, `2e6`, `3_000_000`, `1.5B` and `64KiB`, and defines absl flags for them.

The units k, M, B (or G) and T are 10^3, 10^6, 10^9 and 10^12; the words thousand, million, billion and trillion are the
same. Ki, Mi, Gi and Ti are powers of 1,024. In a field of bytes a B may follow (`KiB`, `MB`). Values are read in
decimal, so a whole number stays exact: `0.3M` is 300,000.
"""

import ast
import decimal
import math
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # flags count as those of the experiment that defines them, so that its --help shows them

# The largest int64; larger values would wrap in arrays.
MAX_INTEGER = 2**63 - 1
# Decimal multiples as SI and English have them. There is no m, which is milli in SI.
UNITS = {
  "": 1,
  "k": 10**3,
  "K": 10**3,
  "M": 10**6,
  "B": 10**9,
  "b": 10**9,
  "G": 10**9,
  "T": 10**12,
  "thousand": 10**3,
  "million": 10**6,
  "billion": 10**9,
  "trillion": 10**12,
  "Ki": 2**10,
  "Mi": 2**20,
  "Gi": 2**30,
  "Ti": 2**40,
}
BYTE_UNITS = {
  "B": 1,
  **{f"{name}B": size for name, size in UNITS.items() if len(name) in (1, 2) and name not in "Bb"},
}
EXAMPLES = "such as 1000, 1e3, 1_000, 2k, 3M or 1.5B"
BYTE_EXAMPLES = "such as 4096, 64KiB or 1.5GB"
MAX_SHOWN = 40  # characters of a value that an error repeats
_NUMBER = r"(?:\d+(?:_\d+)*)(?:\.(?:\d+(?:_\d+)*)?)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
_GROUPED = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_QUANTITY = re.compile(rf"([+-]?)({_GROUPED}|{_NUMBER})\s*([A-Za-z]*)", re.ASCII)
# An item of a tuple: a number with a unit, with no letter or digit beside it.
_ITEM = re.compile(rf"(?<![\w.'\"])({_NUMBER})([A-Za-z]+)(?![\w'\"])", re.ASCII)


def shorten_text(text: str, limit: int = MAX_SHOWN) -> str:
  """Returns the text, cut to its first 40 characters if it is longer than `limit`."""
  return text if len(text) <= limit else f"{text[:MAX_SHOWN]}... ({len(text):,} characters)"


def format_seconds(seconds: float | None) -> str:
  """Formats a time in seconds for people.

  >>> format_seconds(42), format_seconds(3 * 60 + 20), format_seconds(2 * 3600 + 60), format_seconds(None)
  ('42 s', '3 min 20 s', '2 h 1 min', '? min')
  """
  if seconds is None or not math.isfinite(seconds):
    return "? min"
  rounded = round(seconds)
  if rounded < 60:
    return f"{rounded} s"
  if rounded < 3600:
    return f"{rounded // 60} min {rounded % 60} s"
  return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def parse_integer(
  text: str, lower_bound: int | None = None, upper_bound: int | None = None, in_bytes: bool = False
) -> int:
  """Returns the whole number that a text denotes, exactly.

  Args:
    text: digits, a decimal or scientific number without a fraction, or either with a unit.
    lower_bound: minimum.
    upper_bound: maximum; None is the largest signed integer of 64 bits.
    in_bytes: whether KB, KiB and the like are units.

  Raises:
    ValueError: for any other text, or a value out of range; one clause says what the value must be.

  >>> parse_integer("1.5B"), parse_integer("1e3"), parse_integer("3_000_000"), parse_integer("64KiB", in_bytes=True)
  (1500000000, 1000, 3000000, 65536)
  """
  value = _decimal(text, in_bytes, "a whole number")
  if value and value.adjusted() > 30:  # as an int it could have a billion digits
    raise ValueError(
      f"{shorten_text(text)} is too large; the value must be {_range(lower_bound, upper_bound)}"
    )
  if value != value.to_integral_value():
    raise ValueError(f"{shorten_text(text)} is not a whole number")
  result = int(value)
  _check_range(result, text, lower_bound, MAX_INTEGER if upper_bound is None else upper_bound)
  return result


def parse_number(
  text: str,
  lower_bound: float | None = None,
  upper_bound: float | None = None,
  infinite: bool = False,
  in_bytes: bool = False,
) -> float:
  """Returns the finite number that a text denotes.

  Args:
    text: a decimal or scientific number, with or without a unit.
    lower_bound: minimum.
    upper_bound: maximum.
    infinite: whether `inf` is allowed too.
    in_bytes: whether KB, KiB and the like are units.

  Raises:
    ValueError: for any other text, or a value out of range; one clause says what the value must be.

  >>> parse_number("2.5M"), parse_number("-1e-3")
  (2500000.0, -0.001)
  """
  plain = text.strip().lower().lstrip("+")
  if infinite and plain in ("inf", "infinity"):
    result = math.inf
  else:
    value = _decimal(text, in_bytes, "a number")
    result = float(value)
    if math.isinf(result):
      raise ValueError(f"{shorten_text(text)} is too large for a number of 64 bits")
  _check_range(result, text, lower_bound, upper_bound)
  return result


def _decimal(text: str, in_bytes: bool, kind: str) -> decimal.Decimal:
  units = UNITS | BYTE_UNITS if in_bytes else UNITS
  examples = BYTE_EXAMPLES if in_bytes else EXAMPLES
  if text.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
    raise ValueError(f"{text.strip()} is not a finite number; write {kind}, {examples}")
  matched = _QUANTITY.fullmatch(text.strip())
  if matched is None:
    raise ValueError(f"{shorten_text(text)!r} is not {kind}, {examples}")
  sign, digits, unit = matched.groups()
  if unit not in units:
    if unit == "m":
      raise ValueError(f"the unit m may mean milli or million; write {digits}M or {digits}e-3")
    names = ", ".join(name for name in (BYTE_UNITS if in_bytes else UNITS) if name and name not in "Kb")
    raise ValueError(f"{shorten_text(text)!r} has the unknown unit {shorten_text(unit)!r}; units are {names}")
  try:
    with decimal.localcontext(prec=1_100, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN):
      return decimal.Decimal(sign + digits.replace("_", "").replace(",", "")) * units[unit]
  except decimal.DecimalException as error:
    raise ValueError(f"{shorten_text(text)} is too large or too small to be a number") from error


def _range(lower: float | None, upper: float | None) -> str:
  if lower is not None and upper is not None and upper != MAX_INTEGER:
    return f"from {lower:,} to {upper:,}"
  return (
    f"at least {lower:,}" if lower is not None else f"at most {MAX_INTEGER if upper is None else upper:,}"
  )


def _check_range(value: float, text: str, lower: float | None, upper: float | None) -> None:
  if upper is not None and value > upper:
    raise ValueError(f"{shorten_text(text)} is too large; the value must be {_range(None, upper)}")
  if lower is not None and value < lower:
    raise ValueError(f"{shorten_text(text)} is too small; the value must be {_range(lower, upper)}")


def parse_literal(text: str) -> Any:
  """Returns the Python literal of a text whose numbers may have units.

  Raises:
    ValueError, SyntaxError: if the text is not a literal.

  >>> parse_literal("((64, 1k), (1.5M,))")
  ((64, 1000), (1500000.0,))
  """

  def plain(matched: re.Match[str]) -> str:
    value = _decimal(matched[0], False, "a number")
    if "." in matched[1] or "e" in matched[1].lower():
      return repr(parse_number(matched[0]))
    return str(int(value))

  try:
    return ast.literal_eval(_ITEM.sub(plain, text).strip())
  except (RecursionError, MemoryError) as error:
    raise ValueError("it is nested too deeply") from error


class IntegerParser(flags.ArgumentParser[int]):
  """Parses a flag of one whole number within bounds."""

  syntactic_help = f"a whole number, {EXAMPLES}"

  def __init__(
    self, lower_bound: int | None = None, upper_bound: int | None = None, in_bytes: bool = False
  ) -> None:
    """Sets the inclusive bounds."""
    super().__init__()
    self.lower_bound, self.upper_bound, self.in_bytes = lower_bound, upper_bound, in_bytes

  def parse(self, argument: Any) -> int:
    """Returns the number; a default that is already a number is checked too."""
    if isinstance(argument, bool):
      raise ValueError(f"{argument} is not a whole number")
    return parse_integer(_plain(argument), self.lower_bound, self.upper_bound, self.in_bytes)

  def flag_type(self) -> str:
    """Returns the name of the type in the help."""
    return "int"


class NumberParser(flags.ArgumentParser[float]):
  """Parses a flag of one number within bounds."""

  syntactic_help = f"a number, {EXAMPLES}"

  def __init__(
    self,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    infinite: bool = False,
    in_bytes: bool = False,
  ) -> None:
    """Sets the inclusive bounds, and whether infinity is allowed."""
    super().__init__()
    self.lower_bound, self.upper_bound = lower_bound, upper_bound
    self.infinite, self.in_bytes = infinite, in_bytes

  def parse(self, argument: Any) -> float:
    """Returns the number; a default that is already a number is checked too."""
    return parse_number(_plain(argument), self.lower_bound, self.upper_bound, self.infinite, self.in_bytes)

  def flag_type(self) -> str:
    """Returns the name of the type in the help."""
    return "float"


class ListParser(flags.ArgumentParser[list]):
  """Parses a flag of numbers with commas between them."""

  def __init__(self, item: IntegerParser | NumberParser, may_be_empty: bool = True) -> None:
    """Sets the parser of one number, which holds the bounds."""
    super().__init__()
    self.item, self.may_be_empty = item, may_be_empty
    self.lower_bound, self.upper_bound = item.lower_bound, item.upper_bound
    self.syntactic_help = f"{item.syntactic_help}, with commas between them"

  def parse(self, argument: Any) -> list:
    """Returns the numbers in order; empty text is an empty list."""
    words = argument if not isinstance(argument, str) else argument.split(",") if argument.strip() else []
    try:
      numbers = [self.item.parse(word) for word in words]
    except ValueError as error:
      raise ValueError(f"write {self._expected()}; {error}") from error
    if not numbers and not self.may_be_empty:
      raise ValueError(f"write {self._expected()}; the list is empty")
    return numbers

  def _expected(self) -> str:
    kind = "whole numbers" if isinstance(self.item, IntegerParser) else "numbers"
    minimum = "" if self.lower_bound is None else f" of at least {self.lower_bound:,}"
    return f"{kind}{minimum}, with commas between them"

  def flag_type(self) -> str:
    """Returns the name of the type in the help."""
    return f"list of {self.item.flag_type()}"


class _ListSerializer(flags.ArgumentSerializer):
  def serialize(self, value: Sequence[float]) -> str:
    return ",".join(str(item) for item in value)


def _plain(argument: Any) -> str:
  return argument if isinstance(argument, str) else repr(argument)


def DEFINE_integer(
  name: str,
  default: int | None,
  help: str,
  lower_bound: int | None = None,
  upper_bound: int | None = None,
  in_bytes: bool = False,
  **kwargs: Any,
) -> flags.FlagHolder[Any]:
  """Defines a flag of one whole number, as absl's DEFINE_integer does, with units."""
  parser = IntegerParser(lower_bound, upper_bound, in_bytes)
  return flags.DEFINE(parser, name, default, help, serializer=flags.ArgumentSerializer(), **kwargs)


def DEFINE_float(
  name: str,
  default: float | None,
  help: str,
  lower_bound: float | None = None,
  upper_bound: float | None = None,
  infinite: bool = False,
  in_bytes: bool = False,
  **kwargs: Any,
) -> flags.FlagHolder[Any]:
  """Defines a flag of one finite number, as absl's DEFINE_float does, with units."""
  parser = NumberParser(lower_bound, upper_bound, infinite, in_bytes)
  return flags.DEFINE(parser, name, default, help, serializer=flags.ArgumentSerializer(), **kwargs)


def DEFINE_integers(
  name: str,
  default: Sequence[int],
  help: str,
  lower_bound: int | None = None,
  upper_bound: int | None = None,
  may_be_empty: bool = False,
  **kwargs: Any,
) -> flags.FlagHolder[Any]:
  """Defines a flag of whole numbers with commas between them."""
  parser = ListParser(IntegerParser(lower_bound, upper_bound), may_be_empty)
  return flags.DEFINE(parser, name, list(default), help, serializer=_ListSerializer(), **kwargs)


def DEFINE_floats(
  name: str,
  default: Sequence[float],
  help: str,
  lower_bound: float | None = None,
  upper_bound: float | None = None,
  may_be_empty: bool = False,
  **kwargs: Any,
) -> flags.FlagHolder[Any]:
  """Defines a flag of numbers with commas between them."""
  parser = ListParser(NumberParser(lower_bound, upper_bound), may_be_empty)
  return flags.DEFINE(parser, name, list(default), help, serializer=_ListSerializer(), **kwargs)
