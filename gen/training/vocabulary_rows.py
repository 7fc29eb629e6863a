"""Which row of one model's vocabulary holds the token of a row of another's, where their tokenizers differ.

Special tokens correspond by what they are for (padding, end of text, ...) and then by name; all others by their text.
"""

from collections import defaultdict

import numpy as np

from gen.data.tokenizers.tokenizer import Tokenizer

ROLES = ("pad", "eos", "unk", "bos", "cls", "sep", "mask")
NEW = -1  # a row without a counterpart


def match_rows(tokenizer: Tokenizer, rows: int, source: Tokenizer | None, source_rows: int) -> np.ndarray:
  """Returns for each row of a model the row of the source with the same token, or `NEW`.

  Args:
    tokenizer: of the model.
    rows: of the model, which may be more than its tokenizer has ids.
    source: the source's tokenizer; None if it is the same one.
    source_rows: of the source's model.
  """
  if source is None or source.hash == tokenizer.hash:
    same_v = np.arange(rows)
    return np.where(same_v < source_rows, same_v, NEW)
  matches_v = np.full(rows, NEW)
  places: dict[bytes, list[int]] = defaultdict(list)  # ids of a key, in rising order
  for number in range(min(source.vocab, source_rows)):
    places[_key(source, number)].append(number)
  seen: dict[bytes, int] = defaultdict(int)
  for number in range(min(tokenizer.vocab, rows)):
    key = _key(tokenizer, number)
    if rows_of_key := places.get(key):
      # A text may have several ids, such as a letter and its byte; they correspond in their order.
      matches_v[number] = rows_of_key[min(seen[key], len(rows_of_key) - 1)]
      seen[key] += 1
  return _match_roles(matches_v, tokenizer, source, source_rows)


def _match_roles(
  matches_v: np.ndarray, tokenizer: Tokenizer, source: Tokenizer, source_rows: int
) -> np.ndarray:
  """Returns the matches with those of special tokens by role; the first role of an id decides."""
  # Later assignments win, so the roles are taken from the last to the first.
  for role in reversed(ROLES):
    mine, its = getattr(tokenizer, role), getattr(source, role)
    if mine is not None and its is not None and mine < len(matches_v) and its < source_rows:
      matches_v[mine] = its
  return matches_v


def _key(tokenizer: Tokenizer, number: int) -> bytes:
  if tokenizer.is_special(number):
    # The zero byte: no text piece begins with this prefix, so special tokens never match text.
    return b"\0special " + tokenizer.name(number).encode()
  return b"text " + tokenizer.piece(number)
