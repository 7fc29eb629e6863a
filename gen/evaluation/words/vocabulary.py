"""Text as words: splitting, a vocabulary by count, and ids.

A word is a run of letters and digits that begins with a letter, in lower case; an apostrophe may join two (don't).
Underscores and dots separate words, so `jax.numpy.float32` is three words.
"""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gen.errors import UserError

_WORD = re.compile(r"[^\W\d_][^\W_]*(?:['’][^\W\d_]+)?")


class Vocabulary(NamedTuple):
  """Words by decreasing count; ties in alphabetical order.

  Attributes:
    words: the index of a word is its id.
    counts_v: occurrences of each word, int64.
  """

  words: tuple[str, ...]
  counts_v: np.ndarray


class WordIds(NamedTuple):
  """The in-vocabulary words of several texts, concatenated.

  Attributes:
    ids_n: their ids, int32.
    documents_n: index of each word's text, int32, increasing.
  """

  ids_n: np.ndarray
  documents_n: np.ndarray


def split_words(text: str) -> list[str]:
  """Returns the words of a text.

  >>> split_words("Don't call jax.numpy.float32 on 3 x_bt!")
  ["don't", 'call', 'jax', 'numpy', 'float32', 'on', 'x', 'bt']
  """
  return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def count_vocabulary(texts: Iterable[str], min_count: int = 10, max_words: int = 0) -> Vocabulary:
  """Counts the words of texts.

  Args:
    texts: to read.
    min_count: minimum count of a word.
    max_words: maximum number of words, the most frequent; 0 is all.

  Raises:
    UserError: if fewer than two words are left.
  """
  counts: collections.Counter[str] = collections.Counter()
  for text in texts:
    counts.update(split_words(text))
  frequent = sorted(
    # Ties by the alphabet: the same ids in any order of the texts.
    ((word, count) for word, count in counts.items() if count >= min_count),
    key=lambda x: (-x[1], x[0]),
  )
  frequent = frequent[: max_words or None]
  if len(frequent) < 2:
    raise UserError(
      f"of {len(counts):,} words {len(frequent)} occur {min_count} times or more, too few to compare; lower the minimum"
    )
  return Vocabulary(tuple(word for word, _ in frequent), np.array([count for _, count in frequent], np.int64))


def encode_words(texts: Sequence[str], known: Vocabulary) -> WordIds:
  """Returns the ids of texts; unknown words are dropped."""
  ids = {word: number for number, word in enumerate(known.words)}
  parts = [np.array([ids[word] for word in split_words(text) if word in ids], np.int32) for text in texts]
  lengths = [len(part) for part in parts]
  documents_n = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)
  return WordIds(np.concatenate(parts) if parts else np.zeros(0, np.int32), documents_n)
