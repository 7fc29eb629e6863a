"""Formats of 16 bits and fewer agree with ml_dtypes on every pattern; FP32 and TF32 with numpy's float32."""

import math

import ml_dtypes
import numpy as np
import pytest

from gen import precision
from gen.errors import UserError
from gen.precision.formats import FORMATS

ORACLES = {
  "fp16": np.float16,
  "bf16": ml_dtypes.bfloat16,
  "fp8_e4m3": ml_dtypes.float8_e4m3fn,
  "fp8_e5m2": ml_dtypes.float8_e5m2,
}


def patterns_of(name):
  """Returns every pattern of a format, in the unsigned type of its width."""
  bits = FORMATS[name].bits
  return np.arange(2**bits).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("name", ORACLES)
def test_every_pattern_stands_for_the_oracles_number(name):
  patterns = patterns_of(name)
  with np.errstate(invalid="ignore"):
    theirs = patterns.view(ORACLES[name]).astype(np.float64)
  ours = FORMATS[name].decode(patterns)
  assert np.array_equal(ours, theirs, equal_nan=True)
  assert np.array_equal(np.signbit(ours[ours == 0]), np.signbit(theirs[theirs == 0]))


@pytest.mark.parametrize("name", ORACLES)
def test_numbers_between_neighbours_and_beyond_the_range_round_as_the_oracles(name):
  exact = np.sort(FORMATS[name].decode(patterns_of(name)))
  exact = exact[np.isfinite(exact)].astype(np.float32)
  # Ties, and their float32 neighbours on both sides.
  ties = ((exact[1:].astype(np.float64) + exact[:-1]) / 2).astype(np.float32)
  beyond = np.float32([exact[-1] * (1 + step) for step in np.linspace(0, 0.3, 301)]) if name != "bf16" else []
  ends = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, 3.4028235e38, 3.3961775e38])
  numbers = np.concatenate(
    [exact, ties, np.nextafter(ties, np.float32(9e9)), np.nextafter(ties, np.float32(-9e9)), beyond, ends]
  ).astype(np.float32)
  numbers = np.concatenate([numbers, -numbers])
  with np.errstate(over="ignore"):
    theirs = numbers.astype(ORACLES[name])
  ours, finite = FORMATS[name].encode(numbers), ~np.isnan(theirs.astype(np.float32))
  assert np.array_equal(ours[finite], theirs[finite].view(ours.dtype))
  assert np.isnan(FORMATS[name].decode(ours[~finite])).all()
  assert np.array_equal(np.isnan(FORMATS[name].decode(ours)), ~finite)


def test_float32_is_numpys_at_random_patterns_ties_and_the_ends():
  rng = np.random.default_rng(3)
  patterns = rng.integers(0, 2**32, 50_000, dtype=np.uint32)
  patterns[:4] = [0, 1, 0x7F7FFFFF, 0x80000001]
  theirs = patterns.view(np.float32)
  ours = FORMATS["fp32"].decode(patterns)
  with np.errstate(over="ignore", invalid="ignore"):
    assert np.array_equal(ours, theirs.astype(np.float64), equal_nan=True)
    ties = (theirs.astype(np.float64) + np.nextafter(theirs, np.float32(np.inf)).astype(np.float64)) / 2
    numbers = np.concatenate([ties, ties * (1 + 1e-15), [3.5e38, 1e-46, 7e-46, 5e-324]])
    numbers = numbers[~np.isnan(numbers)]
    assert np.array_equal(FORMATS["fp32"].encode(numbers), numbers.astype(np.float32).view(np.uint32))


def test_tf32_is_float32_rounded_to_ten_bits_of_fraction():
  values = np.random.default_rng(5).normal(size=10_000).astype(np.float32)
  # Adding and subtracting 2^13 + 1 times the number rounds it to 24 - 13 bits (Veltkamp), in float64 without overflow.
  wide = values.astype(np.float64)
  step = 2.0 ** (np.floor(np.log2(np.abs(wide))) - 10)
  assert np.array_equal(FORMATS["tf32"].decode(FORMATS["tf32"].encode(wide)), np.rint(wide / step) * step)


@pytest.mark.parametrize(("name", "oracle"), [("int8", np.int8), ("int4", ml_dtypes.int4)])
def test_integers_are_the_oracles_on_every_pattern_and_saturate(name, oracle):
  found = FORMATS[name]
  patterns = np.arange(2**found.bits, dtype=np.uint8)
  values = found.decode(patterns)
  theirs = np.arange(found.lowest, found.largest + 1).astype(np.int32).astype(oracle)
  assert np.array_equal(np.sort(values), theirs.astype(np.float64))
  assert np.array_equal(found.encode(values), patterns)
  assert found.decode(found.encode([0.5, 1.5, -0.5, -2.5, 1e9, -math.inf])).tolist() == [
    0,
    2,
    0,
    -2,
    found.largest,
    found.lowest,
  ]


def test_nf4_takes_the_nearest_level():
  found, numbers = FORMATS["nf4"], np.linspace(-1.2, 1.2, 10_001)
  nearest = np.abs(numbers[:, None] - np.array(found.levels)).argmin(1)
  assert np.array_equal(found.encode(numbers), nearest)
  assert found.levels == tuple(np.float32(level).item() for level in found.levels) and found.levels[7] == 0


def test_pi_has_the_published_patterns():
  found = {name: precision.describe_number(3.141592, name) for name in FORMATS}
  assert (found["fp32"].pattern, found["fp16"].pattern, found["bf16"].pattern) == (0x40490FD8, 0x4248, 0x4049)
  assert found["int8"].value == found["int8"].pattern == 3
  assert (found["fp32"].sign, found["fp32"].exponent) == ("0", "10000000")
  assert found["fp32"].fraction == "10010010000111111011000"
  assert found["bf16"].spacing == 2**-6 and found["bf16"].error == 3.140625 - 3.141592


def test_ranges_are_those_of_the_oracles():
  for name, oracle in ORACLES.items():
    info, ours = ml_dtypes.finfo(oracle), FORMATS[name]
    assert (ours.largest, ours.smallest_normal) == (float(info.max), float(info.smallest_normal))
    assert (ours.smallest, ours.rounding_error) == (float(info.smallest_subnormal), float(info.eps) / 2)
  assert FORMATS["fp32"].largest == np.finfo(np.float32).max == pytest.approx(3.4e38, rel=0.01)


def test_spacing_is_the_distance_to_the_next_pattern():
  for name in ORACLES:
    ours = FORMATS[name]
    for number in (0.0, 1.0, 1.3, 300.0, ours.smallest * 5, ours.smallest_normal * 1.5):
      pattern = int(ours.encode(number))
      assert ours.spacing(-number) == ours.decode(pattern + 1) - ours.decode(pattern), (name, number)
    assert math.isnan(ours.spacing(math.inf))


def test_a_billion_parameters_take_four_two_two_and_one_gigabytes():
  sizes = [precision.parameter_bytes(1e9, name) / 1e9 for name in ("fp32", "fp16", "bf16", "int8", "int4")]
  assert sizes == [4, 2, 2, 1, 0.5]


def test_a_scale_moves_the_range_of_integers():
  found = precision.describe_number(3.141592, "int8", scale=4 / 127)
  assert found.pattern == 100 and found.value == pytest.approx(100 * 4 / 127)
  assert abs(found.error) <= found.spacing / 2


def test_what_has_no_pattern_is_said():
  assert precision.describe_number(math.nan, "int8").pattern is None
  assert math.isnan(precision.describe_number(math.inf, "fp8_e4m3").value)
  for call in (
    lambda: FORMATS["int4"].encode([1.0, math.nan]),
    lambda: precision.find_format("fp12"),
    lambda: precision.describe_number(1.0, "int8", scale=0.0),
  ):
    with pytest.raises(UserError):
      call()
