"""A tokenizer with more ids than its model has rows: only texts with such an id raise an error."""

from collections.abc import Sequence

import numpy as np

from gen.errors import UserError
from gen.interop.tokenizers.base import PretrainedTokenizer


def limit_to_model(tokenizer: PretrainedTokenizer, vocab: int) -> None:
  """Makes a tokenizer raise UserError for texts with an id outside a model of `vocab` rows.

  Such files are common: facebook/bart-large-cnn has one id more than rows, and so has a model whose tokenizer got
  a [PAD] and whose matrix was not resized.
  """
  if tokenizer.vocab <= vocab:
    return
  encode_batch, encode_for_model = tokenizer.encode_batch, tokenizer.encode_for_model

  def checked(ids: np.ndarray) -> np.ndarray:
    check_ids(tokenizer, ids, vocab)
    return ids

  def batch(texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    return [checked(ids) for ids in encode_batch(texts, threads)]

  def for_model(text: str, pair: str | None = None) -> np.ndarray:
    return checked(encode_for_model(text, pair))

  tokenizer.encode_batch = batch  # type: ignore[method-assign]
  tokenizer.encode_for_model = for_model  # type: ignore[method-assign]


def check_ids(tokenizer: PretrainedTokenizer, ids: np.ndarray, vocab: int) -> None:
  """Checks that a model has a row for every id.

  Raises:
    UserError: with the first missing id.
  """
  for number in np.asarray(ids)[np.asarray(ids) >= vocab][:1].tolist():
    name = tokenizer.name(number) if number < tokenizer.vocab else ""
    raise UserError(
      f"the text contains {name!r}, which is id {number}, but the model has rows only for ids 0 to {vocab - 1};"
      " leave it out, or resize the model's embedding"
    )
