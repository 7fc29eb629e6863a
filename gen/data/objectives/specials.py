"""The token ids that objectives insert, and those that they never corrupt."""

import dataclasses
import functools
from typing import Any

import numpy as np

from gen.errors import UserError

NONE = -1  # an id that the tokenizer does not have


@dataclasses.dataclass(frozen=True)
class Specials:
  """Ids of special tokens; `NONE` for those that the tokenizer does not have.

  Attributes:
    vocab: number of all ids.
    text_begin: first id of text.
    text_end: one past the last id of text; random replacements are drawn from this range.
    sentinels: ids that mark corrupted spans, in the order of their use.
  """

  vocab: int
  text_begin: int
  text_end: int
  pad: int = 0
  eos: int = NONE
  bos: int = NONE
  cls: int = NONE
  sep: int = NONE
  mask: int = NONE
  sentinels: tuple[int, ...] = ()

  @classmethod
  def of(cls, tokenizer: Any) -> "Specials":
    """Returns the ids of a `gen.data.tokenizers.tokenizer.Tokenizer`."""
    begin, end = tokenizer.text_range
    return cls(
      vocab=tokenizer.vocab,
      text_begin=begin,
      text_end=end,
      pad=tokenizer.pad,
      eos=tokenizer.eos,
      bos=tokenizer.bos,
      cls=tokenizer.cls,
      sep=tokenizer.sep,
      mask=tokenizer.mask,
      sentinels=tuple(tokenizer.sentinel(index) for index in range(100)),  # as many as T5 has
    )

  @functools.cached_property
  def corruptible_v(self) -> np.ndarray:
    """Whether each id may be corrupted: only text and unknown pieces may."""
    corruptible_v = np.ones(self.vocab, bool)
    specials = (self.pad, self.eos, self.bos, self.cls, self.sep, self.mask, *self.sentinels)
    # An index of -1 would mark the last id of the vocabulary.
    corruptible_v[[token for token in specials if token != NONE]] = False
    return corruptible_v

  def require(self, objective: str, *names: str) -> None:
    """Raises UserError if the tokenizer does not have an id that an objective needs."""
    for name in names:
      if getattr(self, name) in (NONE, ()):
        raise UserError(
          f"objective {objective!r} needs a tokenizer with {name}; choose another data.tokenizer"
        )
