r"""Patterns of words that keep combining marks.

For Python's `re` an accent of its own, as in decomposed Latin text, and the vowel signs of Hindi or Thai are no part of
a word. Split there, a word would become pieces that no tokenizer was trained on. So a mark belongs to the letter before
it, and so does a joiner of zero width.
"""

import itertools
import re
import unicodedata

# Zero width non-joiner and joiner (Unicode 16, block General Punctuation).
_JOINERS = (0x200C, 0x200D)
# Beyond the last of these are ideographs alone, and the variation selectors at the end.
_RANGES = (range(0x300, 0x20000), range(0xE0100, 0xE01F0))


def _mark_ranges() -> str:
  """Returns all combining marks as ranges of a character class."""
  marks = [
    point
    for point in itertools.chain(*_RANGES)
    if point in _JOINERS or unicodedata.category(chr(point)).startswith("M")
  ]
  ranges: list[list[int]] = []
  for point in marks:
    if ranges and point == ranges[-1][1] + 1:
      ranges[-1][1] = point
    else:
      ranges.append([point, point])
  return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_MARKS = _mark_ranges()
# Scripts that are written without spaces: Thai and Lao, Burmese, Khmer, kana, and Han.
_UNSPACED = (
  "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
  "\U00020000-\U0003ffff"
)
# Words, and other characters one by one, also those of scripts without spaces. As one word, a sentence of Chinese would
# be split at its entities alone, so its tokens would show where they are.
WORDS = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|(?:[^\W{_UNSPACED}]|[{_MARKS}])+|[^\w\s][{_MARKS}]*")
# Words of any script, and underscores apart, so that the words of an identifier can be answers.
NAMED_WORDS = re.compile(rf"(?:[^\W_]|[{_MARKS}])+|[^\w\s][{_MARKS}]*|_")
