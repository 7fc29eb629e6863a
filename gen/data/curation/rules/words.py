"""Words of a text, and 64-bit hashes of words and n-grams that are the same in every process."""

import hashlib
import re
import string

import numpy as np

_WORD = re.compile(r"\w+")
# Scripts without spaces between words: each character counts as a word.
_UNSPACED = (
  "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACED_OR_SINGLE = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_PUNCTUATION = string.punctuation.encode()
# Words are frequent by Zipf's law, so a table saves most hashes. It is cleared when full instead of evicting single
# words: the frequent ones return at once.
_MAX_TABLE = 1 << 20  # words whose hash is kept; chosen: about 150 MB of Python objects in each worker
# 2^64 divided by the golden ratio, SplitMix64's increment; odd, so a product by it loses no bit.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# A multiplier and a shift of SplitMix64 (Steele et al. 2014).
_MIXER = np.uint64(0xBF58476D1CE4E5B9)
# The last of SplitMix64's three shifts (30, 27, 31): it brings the high bits, which the product mixed best, down.
_SHIFT = np.uint64(31)


class _WordTable(dict[str, int]):
  def __missing__(self, word: str) -> int:
    if len(self) >= _MAX_TABLE:
      self.clear()
    value = self[word] = text_hash(word)
    return value


_TABLE = _WordTable()


def text_hash(text: str) -> int:
  """Returns the 64-bit BLAKE2b hash of a text."""
  # Not Python's `hash`, which differs from process to process, while shards are hashed by several workers.
  return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def split_words(text: str) -> list[str]:
  """Returns the words of a text in lower case, without punctuation.

  >>> split_words("It's GPT-3, 学习.")
  ['it', 's', 'gpt', '3', '学', '习']
  """
  lowered = text.lower()
  if lowered.isascii() or not _HAS_UNSPACED.search(lowered):
    return _WORD.findall(lowered)
  return _SPACED_OR_SINGLE.findall(lowered)


def count_tokens(text: str) -> int:
  """Returns the number of words and ASCII punctuation marks, the default count of tokens in a report.

  >>> count_tokens("One, two (three).")
  7
  """
  content = text.encode("utf-8", "surrogatepass")
  return len(content.split()) + len(content) - len(content.translate(None, _PUNCTUATION))


def word_hashes(words: list[str]) -> np.ndarray:
  """Returns the hash of each word."""
  return np.fromiter(map(_TABLE.__getitem__, words), np.uint64, len(words))


def extend_ngrams(hashes: np.ndarray, following: np.ndarray) -> np.ndarray:
  """Returns hashes of n-grams, each extended by a word.

  Args:
    hashes: of the n-grams that begin at each word.
    following: hashes of the words; the last ones are those after the n-grams.
  """
  count = len(hashes) - 1
  if count <= 0:
    return np.empty(0, np.uint64)
  # Mixed before the next word is added: a plain sum would give "a b" and "b a" one hash. Products wrap at 64 bits.
  mixed = (hashes[:count] ^ (hashes[:count] >> _SHIFT)) * _MIXER
  return (mixed + following[len(following) - count :]) * _FACTOR


def ngram_hashes(hashes: np.ndarray, n: int) -> np.ndarray:
  """Returns the hash of each n-gram; none if there are fewer than n words."""
  grams = hashes
  for _ in range(n - 1):
    grams = extend_ngrams(grams, hashes)
  return grams


def shingle_set(text: str, n: int) -> np.ndarray:
  """Returns the sorted hashes of the different n-grams of a text; a shorter text is one n-gram of all its words."""
  grams = np.sort(all_shingles(text, n))
  return grams[np.append(True, grams[1:] != grams[:-1])] if len(grams) else grams


def all_shingles(text: str, n: int) -> np.ndarray:
  """Returns the hashes of `shingle_set` in the order of the text, repetitions included."""
  hashes = word_hashes(split_words(text))
  return ngram_hashes(hashes, min(n, len(hashes)))
