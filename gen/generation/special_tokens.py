"""Special tokens in prompts, such as the turn marks <|user|> and <|assistant|> of a chat model.

By default a prompt is encoded as text, so that user text cannot inject special tokens. `allow_special` lists the
allowed ones; all others are encoded as text.
"""

import re
from collections.abc import Sequence

import numpy as np

from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.generation.loaded_model import LoadedModel
from gen.interop.tokenizers import JsonTokenizer

SHOWN = 12  # tokens listed in an error


def allow_special(restored: LoadedModel, names: Sequence[str] | bool) -> LoadedModel:
  """Returns a model whose prompts may contain special tokens by name.

  Args:
    restored: from `loaded_model.load_model`.
    names: of the allowed tokens; True allows all of the tokenizer's, False or an empty sequence none.

  Raises:
    UserError: for a name that the tokenizer does not have.
  """
  tokenizer = restored.tokenizer
  if isinstance(names, bool):
    marks = _special(tokenizer) if names else {}
  else:
    marks = {name: _id(tokenizer, name) for name in dict.fromkeys(names)}
  return restored._replace(reading=restored.reading._replace(special=tuple(marks.items())))


def encode_with_special(tokenizer: Tokenizer, text: str, marks: tuple[tuple[str, int], ...]) -> np.ndarray:
  """Returns the ids of a text in which the names of allowed tokens are encoded as those tokens, int32."""
  there = [(name, number) for name, number in marks if name in text]
  if not there:
    return tokenizer.encode(text)
  allowed = {name for name, _ in marks}
  # The library would recognize all special tokens of the text, also those that are not allowed.
  if isinstance(tokenizer, JsonTokenizer) and not any(
    name in text for name in _special(tokenizer) if name not in allowed
  ):
    return tokenizer.encode_marked(text)  # uses the library's rules for spaces around them
  numbers = dict(there)
  # <|user|> before <|user: an alternative of a pattern wins by its place.
  longest_first = sorted(numbers, key=len, reverse=True)
  pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
  tokens = [
    np.array([numbers[piece]], np.int32) if piece_number % 2 else tokenizer.encode(piece)
    for piece_number, piece in enumerate(pieces)
    if piece
  ]
  return np.concatenate(tokens)


def _special(tokenizer: Tokenizer) -> dict[str, int]:
  numbers = [number for number in range(tokenizer.vocab) if tokenizer.is_special(number)]
  return {name: number for number in numbers if (name := tokenizer.name(number))}


def _id(tokenizer: Tokenizer, name: str) -> int:
  special = _special(tokenizer)
  if name in special:
    return special[name]
  for number in range(tokenizer.vocab):
    if name and tokenizer.name(number) == name:
      return number
  listed = ", ".join(list(special)[:SHOWN]) + (", ..." if len(special) > SHOWN else "")
  raise UserError(f"the tokenizer has no special token {name[:60]!r}; it has {listed or 'none'}")
