r"""Texts and pairs of texts as the ids that a model reads, with the special tokens of its training.

encoder            <cls> text <sep>          <cls> text <sep> second <sep>, or what its tokenizer puts between
decoder, rnn       <s> text                  <s> text \n second
encoder-decoder    source: <s> text </s>     the same in both stacks, as BART classifies
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.generation.decoding import decoders
from gen.generation.loaded_model import LoadedModel
from gen.interop.tokenizers import PretrainedTokenizer

# BERT's number of positions (arXiv:1810.04805, section A.2), which most tasks of classification are cut to.
DEFAULT_LENGTH = 512  # of a row, where the model has no window or a longer one
Ids = list[int]


class InputFrame(NamedTuple):
  """The special ids around one text, and between two.

  Attributes:
    before: first ids.
    between: after the first of two texts.
    after: last ids.
    second_type: token type of the second text.
  """

  before: tuple[int, ...]
  between: tuple[int, ...]
  after: tuple[int, ...]
  second_type: int = 0

  def room(self, length: int, pair: bool = False) -> int:
    """Returns the number of tokens of text in a row of `length` tokens."""
    return length - len(self.before) - len(self.after) - (len(self.between) if pair else 0)

  def join(self, first: Sequence[int], second: Sequence[int] | None = None) -> tuple[Ids, Ids]:
    """Returns the ids of one text or two, and their token types."""
    ids = [*self.before, *first]
    if second is None:
      ids += self.after
      return ids, [0] * len(ids)
    ids += self.between
    types = [0] * len(ids)
    ids += [*second, *self.after]
    return ids, types + [self.second_type] * (len(ids) - len(types))


def input_frame(loaded: LoadedModel) -> InputFrame:
  """Returns the special ids of a model's texts, as its tokenizer or its training places them."""
  model, tokenizer, how = loaded.model, loaded.tokenizer, loaded.reading
  second = 1 if model.token_types > 1 else 0
  before = tuple(i for i in how.before if i is not None)
  after = tuple(i for i in how.after if i is not None)
  if model.role != "encoder":
    return InputFrame(before, tuple(tokenizer.encode("\n").tolist()), after, 0)
  if isinstance(tokenizer, PretrainedTokenizer):
    # The tokenizer's own pair is taken apart: between two texts BERT has one mark and RoBERTa two.
    probe = tokenizer.encode("a").tolist()
    pair = tokenizer.encode_for_model("a", "a").tolist()
    begin, end = len(before) + len(probe), len(pair) - len(after) - len(probe)
    return InputFrame(before, tuple(pair[begin:end]), after, second)
  # A vocabulary without a separator has an end mark, which no text holds either.
  mark = tokenizer.sep if tokenizer.sep < model.vocab else tokenizer.eos
  return InputFrame(before, (mark,), after, second)


def row_length(loaded: LoadedModel, asked: int) -> int:
  """Returns the most tokens of a row.

  Args:
    loaded: the model.
    asked: the user's number; 0 is the model's window, at most 512.

  Raises:
    UserError: for more than the model has positions.
  """
  window = decoders.window_length(loaded.model)
  if asked and window and asked > window:
    raise UserError(
      f"max_length is {asked}, but {loaded.where} has positions for {window} tokens; take at most those"
    )
  return asked or min(window or DEFAULT_LENGTH, DEFAULT_LENGTH)


def suggest_longer(loaded: LoadedModel, length: int) -> str:
  """Returns what an error suggests where rows are too short: longer rows, or a model that has positions for them.

  Args:
    loaded: the model.
    length: most tokens of a row.
  """
  window = decoders.window_length(loaded.model)
  if window and length >= window:
    return f"a model with positions for more than {window} tokens"
  return f"a larger max_length, at most {window}" if window else "a larger max_length"


def encode_texts(loaded: LoadedModel, texts: Sequence[str], what: str) -> list[np.ndarray]:
  """Returns the ids of each text.

  Args:
    loaded: the model.
    texts: the texts.
    what: what they are, in errors, as "text".

  Raises:
    UserError: with the number of the example, for a text that the tokenizer cannot encode, or ids without a row.
  """
  try:
    every = loaded.tokenizer.encode_batch(texts)
  except UserError:
    # One by one after a failure only, to name the text; a batch is encoded in parallel.
    for number, text in enumerate(texts, 1):
      try:
        loaded.tokenizer.encode(text)
      except UserError as error:
        raise UserError(f"{what} {number:,}: {error}") from None
    raise
  for number, ids in enumerate(every, 1):
    if ids.size and int(ids.max()) >= loaded.model.vocab:
      raise UserError(
        f"{what} {number:,} has id {int(ids.max())}, but {loaded.where} has rows only for {loaded.model.vocab} ids; "
        "use the model's own tokenizer"
      )
  return every


def cut_windows(length: int, room: int, stride: int) -> list[tuple[int, int]]:
  """Returns the (begin, end) of windows of at most `room` tokens that overlap by `stride` tokens.

  >>> cut_windows(10, 4, 1), cut_windows(3, 4, 1)
  ([(0, 4), (3, 7), (6, 10)], [(0, 3)])
  """
  windows, begin = [], 0
  while True:
    end = min(length, begin + room)
    windows.append((begin, end))
    if end == length:
      return windows
    begin = end - stride


def require_room(room: int, length: int, texts: int = 1) -> None:
  """Checks that a row holds a token of each text.

  Args:
    room: tokens of text that a row holds.
    length: all its tokens.
    texts: 2 for pairs.

  Raises:
    UserError: for a row of special tokens alone.
  """
  if room < texts:
    raise UserError(
      f"a row of {length} tokens has no room for text beside the special tokens; choose a larger max_length"
    )


def require_stride(room: int, stride: int) -> None:
  """Checks that windows advance.

  Raises:
    UserError: for windows that are no longer than what they share.
  """
  if room <= stride:
    raise UserError(
      f"windows hold {max(room, 0)} tokens of text and share {stride}; choose a smaller stride, or a larger max_length"
    )


def require_fits(lengths: Sequence[int], room: int, what: str, longer: str, windows: bool = True) -> None:
  """Checks that no text is longer than a row.

  Args:
    lengths: tokens of each text.
    room: tokens of text that a row holds.
    what: what the texts are, as "training text".
    longer: what `suggest_longer` returns.
    windows: whether windows are a way out.

  Raises:
    UserError: with the number of longer texts and the first of them.
  """
  long = [number for number, length in enumerate(lengths, 1) if length > room]
  if long:
    ways = "long=windows or long=truncate" if windows else "long=truncate"
    raise UserError(
      f"{len(long):,} of {len(lengths):,} {what}s are longer than the {room} tokens that a row holds (number "
      f"{long[0]:,} has {lengths[long[0] - 1]:,}); choose {ways}, or {longer}"
    )
