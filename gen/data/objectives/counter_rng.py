"""Random numbers as a pure function of (key, stream, counter): SplitMix64 (Steele et al. 2014), vectorized.

A row has one 64-bit key, and its numbers depend on nothing else. So a batch has the same numbers as its rows one by
one, and row 10^9 costs as much as row 0. B rows, N counters.
"""

import numpy as np

# The increment and the two multipliers of SplitMix64; the last is an LCG multiplier (Steele and Vigna 2022).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# "Mix13" of Stafford, which Steele et al. 2014 took for SplitMix64.
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
# The second of the same pair.
_SECOND = np.uint64(0x94D049BB133111EB)
# A multiplier of a 64-bit LCG with good spectral figures (Steele and Vigna 2022): it spreads streams apart.
_STREAM = np.uint64(0xD1342543DE82EF95)
# Shifts of SplitMix64, and the 11 bits by which 64 exceed the 53 of a float64's fraction.
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
# 64 random bits less the 53 of a float64's significand.
_FRACTION = np.uint64(11)


def _mix(x: np.ndarray) -> np.ndarray:
  """Scrambles 64-bit words in place; a bijection."""
  x ^= x >> _SHIFTS[0]
  x *= _FIRST
  x ^= x >> _SHIFTS[1]
  x *= _SECOND
  x ^= x >> _SHIFTS[2]
  return x


def _word(value: int | np.ndarray) -> np.ndarray:
  """Returns integers as 64-bit words, negative ones modulo 2^64."""
  if isinstance(value, (int, np.integer)):
    return np.array([int(value) % 2**64], np.uint64)
  return np.asarray(value).astype(np.uint64)


def row_keys(seed: int, epoch: int | np.ndarray, rows: int | np.ndarray) -> np.ndarray:
  """Returns one key per row; `epoch` and `rows` broadcast against each other."""
  with np.errstate(over="ignore"):
    key = _mix(_word(seed) + _GOLDEN)
    key = _mix(key + _word(epoch) * _GOLDEN + _FIRST)
    return _mix(key + _word(rows) * _GOLDEN + _SECOND)


def derive_keys(rng: np.random.Generator | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Returns a key for each row of `shape`: drawn from a generator, or passed in."""
  if isinstance(rng, np.random.Generator):
    return rng.integers(0, 2**64 - 1, shape, dtype=np.uint64, endpoint=True)
  keys = np.asarray(rng, np.uint64)
  return keys if keys.shape == shape else keys.reshape(shape)


def random_bits(keys: np.ndarray, stream: int, counters: np.ndarray) -> np.ndarray:
  """Returns 64 random bits for each counter; two counters of one key and stream never share a value."""
  with np.errstate(over="ignore"):
    # Mixed twice: without the first, streams of neighbouring keys would be shifted copies of each other.
    bases = _mix(keys + np.uint64(stream + 1) * _STREAM)
    return _mix(bases + counters.astype(np.uint64) * _GOLDEN)


def random_uniform(keys: np.ndarray, stream: int, counters: np.ndarray) -> np.ndarray:
  """Returns float64 in [0, 1) for each counter."""
  # 53 bits are all that a float64 in [0, 1) can hold evenly.
  return (random_bits(keys, stream, counters) >> _FRACTION) * 2.0**-53


def choose_exactly(
  candidates_bn: np.ndarray, counts_b: np.ndarray, keys_b: np.ndarray, stream: int
) -> np.ndarray:
  """Marks exactly `counts_b` of each row's candidates (all, if there are fewer), uniformly."""
  rows, columns = np.nonzero(candidates_bn)
  scores_bn = np.full(candidates_bn.shape, np.iinfo(np.uint64).max)
  # The candidates with the lowest random numbers are a uniform choice without replacement.
  scores_bn[rows, columns] = random_bits(keys_b[rows], stream, columns)
  ordered_bn = np.sort(scores_bn, axis=1)
  counts_b = np.minimum(counts_b, candidates_bn.sum(1))
  limits_b = ordered_bn[np.arange(counts_b.size), np.maximum(counts_b, 1) - 1]
  return candidates_bn & (scores_bn <= limits_b[:, None]) & (counts_b > 0)[:, None]
