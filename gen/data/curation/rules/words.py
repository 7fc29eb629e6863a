"""Words of a text, and 64-bit hashes of words and n-grams that are the same in every process."""

import functools
import hashlib
import re
import string
from collections.abc import Iterator

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
_BLOCK = 1 << 15  # bytes that are hashed at a time, so that all arrays stay in a core's cache
# T: any constants do, if they are odd and share no pattern; K is odd, so it has an inverse modulo 2^64.
_BYTE_VALUES = np.arange(1, 257, dtype=np.uint64) * _FACTOR
# A round of SplitMix64's mixer; the lowest bit is set, so that each value is odd.
_BYTE_VALUES = ((_BYTE_VALUES ^ (_BYTE_VALUES >> _SHIFT)) * _MIXER) | np.uint64(1)
_BYTE_VALUES[32] = 0
_POWERS = np.cumprod(np.full(_BLOCK, _FACTOR))
# Powers of K's inverse: a word's hash is shifted to its own beginning by a product.
_INVERSES = np.cumprod(np.full(_BLOCK, pow(int(_FACTOR), -1, 1 << 64), np.uint64))
# Of ASCII text: letters in lower case, digits and the underscore as `\w` has them, spaces for all else.
_FOLD = bytes(ord(chr(code).lower()) if re.match(r"\w", chr(code), re.A) else 32 for code in range(256))


class _WordTable(dict[bytes, bytes]):
  """Hashes of words in UTF-8, as eight bytes each: joined, they are an array without a Python integer on the way."""

  def __missing__(self, word: bytes) -> bytes:
    if len(self) >= _MAX_TABLE:
      self.clear()
    value = self[word] = hashlib.blake2b(word, digest_size=8).digest()
    return value


_TABLE = _WordTable()


def text_hash(text: str) -> int:
  """Returns the 64-bit BLAKE2b hash of a text."""
  # Not Python's `hash`, which differs from process to process, while shards are hashed by several workers.
  return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


@functools.lru_cache(maxsize=1)
def split_at_spaces(text: str) -> list[str]:
  """Returns `text.split()`; the rules that ask for it one after the other share the list, so it must not change."""
  return text.split()


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


def word_hashes(text: str) -> np.ndarray:
  """Returns the hash of each of the words of a text, as `split_words` finds them."""
  if text.isascii():
    words = text.encode().translate(_FOLD).split()
  else:
    words = [word.encode("utf-8", "surrogatepass") for word in split_words(text)]
  # Big-endian, as `text_hash` reads them.
  return np.frombuffer(b"".join(map(_TABLE.__getitem__, words)), ">u8").astype(np.uint64)


def extend_ngrams(hashes: np.ndarray, following: np.ndarray) -> np.ndarray:
  """Returns hashes of n-grams, each extended by a word.

  Args:
    hashes: of the n-grams that begin at each word.
    following: hashes of the words; the last ones are those after the n-grams.
  """
  count = len(hashes) - 1
  if count <= 0:
    return np.empty(0, np.uint64)
  return add_word(hashes[:count], following[len(following) - count :])


def add_word(hashes: np.ndarray, following: np.ndarray) -> np.ndarray:
  """Returns the hashes of n-grams, each with the word after it; both arrays have one length."""
  # Mixed before the next word is added: a plain sum would give "a b" and "b a" one hash. Products wrap at 64 bits.
  mixed = hashes >> _SHIFT
  mixed ^= hashes
  mixed *= _MIXER
  mixed += following
  mixed *= _FACTOR
  return mixed


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
  if text.isascii():
    content = text.encode().translate(_FOLD)
  else:
    content = " ".join(split_words(text)).encode("utf-8", "surrogatepass")
  hashes = np.concatenate([_hash_runs(block) for block in _cut_at_spaces(content)])
  return ngram_hashes(hashes, min(n, len(hashes)))


def _cut_at_spaces(content: bytes) -> Iterator[bytes]:
  """Yields blocks of whole words, each of at most _BLOCK bytes; of a longer word its first _BLOCK bytes."""
  at = 0
  while len(content) - at > _BLOCK:
    end = content.rfind(b" ", at, at + _BLOCK) + 1
    if not end:
      end = content.find(b" ", at + _BLOCK) % (len(content) + 1)  # -1, without a space, becomes the end
    yield content[at : min(end, at + _BLOCK)]
    at = end
  yield content[at:]


def _hash_runs(block: bytes) -> np.ndarray:
  """Returns a hash of each run of bytes without spaces: sum of T[byte] K^place, modulo 2^64, then mixed.

  It takes a few operations for each byte of a block and none for each word, so it is faster than a table of words.
  """
  codes = np.frombuffer(b" " + block, np.uint8)
  inside = codes != 32
  starts = np.flatnonzero(inside[1:] & ~inside[:-1])
  if not len(starts):
    return np.empty(0, np.uint64)
  values = _BYTE_VALUES[codes[1:]]
  values *= _POWERS[: len(values)]
  # Spaces count zero, so each sum is of the bytes from one start to the next. The inverse power moves it to place 0.
  hashes = np.add.reduceat(values, starts) * _INVERSES[starts]
  hashes ^= hashes >> _SHIFT
  hashes *= _MIXER
  hashes ^= hashes >> _SHIFT
  return hashes
