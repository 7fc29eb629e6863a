"""MinHash (Broder 1997) in numpy, and bands and rows for a threshold. A pair is a candidate if one band agrees.

Two sets of Jaccard similarity s agree in a band of r rows with probability s^r, and in one of b bands with probability
1 - (1 - s^r)^b.
"""

import functools

import numpy as np

_EMPTY = np.uint32(0xFFFFFFFF)  # the minimum over no shingles: above every hash
# Multiply-shift hashing takes the high half of the product, whose bits are the best mixed (Dietzfelbinger et al. 1997).
_HIGH = np.uint64(32)
_BLOCK = 1 << 15  # products at a time, which stay in a core's cache


def choose_bands(threshold: float, permutations: int, max_miss: float) -> tuple[int, int]:
  """Returns (bands, rows): the most rows with which a pair at the threshold is missed at most that often.

  >>> choose_bands(0.8, 128, 0.001)
  (25, 5)
  """
  best = (permutations, 1)
  # More rows make a band stricter, so fewer false candidates are confirmed at a cost; the miss rate is what limits
  # them.
  for rows in range(2, permutations + 1):
    bands = permutations // rows
    if (1 - threshold**rows) ** bands > max_miss:
      break
    best = (bands, rows)
  return best


@functools.cache
def _hash_functions(permutations: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns factors and terms of multiply-shift hashing (Dietzfelbinger et al. 1997)."""
  rng = np.random.default_rng(seed)
  # Odd factors: an even one would ignore the highest bit of its input.
  factors = rng.integers(0, 1 << 63, permutations, np.uint64) * np.uint64(2) + np.uint64(1)
  return factors, rng.integers(0, 1 << 63, permutations, np.uint64)


def compute_signature(shingles: np.ndarray, permutations: int, seed: int) -> np.ndarray:
  """Returns the smallest hash of a set under each hash function."""
  # The high halves of 64-bit functions: processors multiply several 32-bit numbers at once.
  factors, terms = ((values >> _HIGH).astype(np.uint32) for values in _hash_functions(permutations, seed))
  # The upper half of an odd factor need not be odd.
  factors |= np.uint32(1)
  shingles = (shingles >> _HIGH).astype(np.uint32)
  smallest = np.full(permutations, _EMPTY)
  # [step, permutations] products at a time: a table of all shingles by all functions would leave the cache.
  step = max(1, _BLOCK // permutations)
  for start in range(0, len(shingles), step):
    hashes = shingles[start : start + step, None] * factors
    hashes += terms
    np.minimum(smallest, hashes.min(axis=0), out=smallest)
  return smallest


def hash_bands(signature: np.ndarray, bands: int, rows: int) -> np.ndarray:
  """Returns one hash for the rows of each band."""
  factors, _ = _hash_functions(rows, bands)
  hashes = (signature[: bands * rows].astype(np.uint64).reshape(bands, rows) * factors).sum(axis=1)
  # Shift and multiplier mix the sum's high bits into its low ones; the multiplier is SplitMix64's second.
  return (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)


def jaccard_similarity(first: np.ndarray, second: np.ndarray) -> float:
  """Returns |A and B| / |A or B| of two sets, each sorted and without repetition."""
  if not len(first) or not len(second):
    return 0.0
  merged = np.concatenate([first, second])
  merged.sort(kind="stable")  # of two sorted runs, which timsort merges
  shared = int((merged[1:] == merged[:-1]).sum())
  return shared / (len(merged) - shared)
