"""Numbers as people type them: units, exponents and separators are exact, and what is no number is one sentence."""

import math

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from gen.io import quantities

SPELLINGS = {
  "1M": 10**6,
  "2e6": 2 * 10**6,
  "3_000_000": 3 * 10**6,
  "3,000,000": 3 * 10**6,
  "1e3": 1000,
  "2k": 2000,
  "1.5B": 1_500_000_000,
  "1.5G": 1_500_000_000,
  "0.3M": 300_000,
  "7 million": 7 * 10**6,
  "2T": 2 * 10**12,
  "8Ki": 8192,
  "+5.": 5,
  "-0.5k": -500,
  "10e-1": 1,
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_a_number_is_exact(text):
  assert quantities.parse_integer(text) == SPELLINGS[text]
  assert quantities.parse_number(text) == SPELLINGS[text]


@given(st.integers(0, 2**53), st.sampled_from(["", "k", "M", "Ki"]))
def test_a_whole_number_with_a_unit_is_its_product(value, unit):
  product = value * quantities.UNITS[unit]
  if product <= quantities.MAX_INTEGER:
    assert (
      quantities.parse_integer(f"{value}{unit}") == quantities.parse_integer(f"{value:,}{unit}") == product
    )


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_what_python_writes(value):
  assert quantities.parse_number(repr(value)) == value


@pytest.mark.parametrize("text", ["64KiB", "65536", "65536B", "65.536KB", "0.0625MiB"])
def test_bytes_have_units_of_their_own(text):
  assert quantities.parse_integer(text, in_bytes=True) == 65536


BAD = ["", " ", "nan", "inf", "-inf", "many", "1.5.2", "1__0", "0x10", "10^30", "1e400", "1e99999999999", "5x", "3m",
       "٣", "1e", "e3", "9" * 5000, "y" * 5000, "1,00", "None"]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:12])
def test_what_is_no_number_is_one_short_sentence(text):
  for read in (quantities.parse_integer, quantities.parse_number):
    with pytest.raises(ValueError) as raised:
      read(text)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_a_fraction_is_no_whole_number():
  with pytest.raises(ValueError, match=r"1\.5 is not a whole number"):
    quantities.parse_integer("1.5")
  with pytest.raises(ValueError, match="1e-3 is not a whole number"):
    quantities.parse_integer("1e-3")


def test_m_is_ambiguous_and_says_what_to_write():
  with pytest.raises(ValueError, match="write 3M or 3e-3"):
    quantities.parse_number("3m")


def test_infinity_is_a_number_only_where_it_may_be_one():
  assert quantities.parse_number("inf", infinite=True) == math.inf
  with pytest.raises(ValueError):
    quantities.parse_number("nan", infinite=True)


@pytest.fixture
def flag_values():
  return flags.FlagValues()


def test_flags_take_units_and_keep_their_bounds(flag_values):
  count = quantities.DEFINE_integer("count", 3, "", lower_bound=1, upper_bound=2000, flag_values=flag_values)
  rate = quantities.DEFINE_float("rate", None, "", lower_bound=0, flag_values=flag_values)
  sizes = quantities.DEFINE_integers("sizes", [4, 5], "", lower_bound=0, flag_values=flag_values)
  flag_values(["program", "--count=2k", "--rate=1.5M", "--sizes=1k,2e3,7"])
  assert (count.value, rate.value, sizes.value) == (2000, 1.5e6, [1000, 2000, 7])
  assert flag_values["count"].parser.lower_bound == 1 and flag_values["sizes"].parser.lower_bound == 0


@pytest.mark.parametrize(
  ("word", "says"),
  [
    ("--count=0", "--count=0: 0 is too small; the value must be from 1 to 2,000"),
    ("--count=1e30", "too large; the value must be at most 2,000"),
    ("--count=1.5", "1.5 is not a whole number"),
    ("--sizes=1,x", "'x' is not a whole number"),
    ("--sizes=", "write whole numbers, with commas between them; the list is empty"),
  ],
)
def test_a_flag_out_of_bounds_is_named_with_its_range(flag_values, word, says):
  quantities.DEFINE_integer("count", 3, "", lower_bound=1, upper_bound=2000, flag_values=flag_values)
  quantities.DEFINE_integers("sizes", [4], "", flag_values=flag_values)
  with pytest.raises(flags.IllegalFlagValueError, match=says):
    flag_values(["program", word])


def test_flags_written_out_are_read_back(flag_values):
  quantities.DEFINE_integer("count", 3, "", flag_values=flag_values)
  sizes = quantities.DEFINE_floats("sizes", [4], "", flag_values=flag_values)
  flag_values(["program", "--count=2k", "--sizes=1k,2.5"])
  written = flag_values.flags_into_string()
  assert "--count=2000" in written and "--sizes=1000.0,2.5" in written
  flag_values.unparse_flags()
  flag_values(["program", *written.split()])
  assert sizes.value == [1000, 2.5]


def test_tuples_hold_numbers_with_units():
  assert quantities.parse_literal("((64, 1k), (1.5M,), 'k2M')") == ((64, 1000), (1.5e6,), "k2M")
  with pytest.raises((ValueError, SyntaxError)):
    quantities.parse_literal("(" * 10_000)
