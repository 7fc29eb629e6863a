"""Splits English text into sentences by rules: for first sentences and for sections of abstracts."""

import re

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_ABBREVIATED = re.compile(
  r"(?:\b(?:e\.g|i\.e|cf|vs|al|Dr|Mr|Mrs|Ms|St|No|Fig|approx|ca|b|d|born|Jr|Sr)|\b[A-Z])\.$"
)


def split_sentences(text: str) -> list[str]:
  """Returns the sentences of a text; common abbreviations and initials end none.

  >>> split_sentences("J. S. Bach wrote it, e.g. the Mass. It is long.")
  ['J. S. Bach wrote it, e.g. the Mass.', 'It is long.']
  """
  text = " ".join(text.split())
  sentences, start = [], 0
  for end in _END.finditer(text):
    if not _ABBREVIATED.search(text[max(0, end.start() - 12) : end.start()]):
      sentences.append(text[start : end.end()].strip())
      start = end.end()
  return [*sentences, text[start:]] if text[start:] else sentences


def first_sentence(text: str) -> str:
  """Returns the first sentence of a text.

  >>> first_sentence("It rains. It pours.")
  'It rains.'
  """
  return next(iter(split_sentences(text[:20_000])), "")
