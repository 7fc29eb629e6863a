"""Tokenizers of Hugging Face checkpoints as training uses them: with an id for each special token of an objective.

The ids of the files stay. Documents lie between bos and eos, so these two must differ, and padding from both. GPT-2 has
one token for the three, and other tokenizers lack some. What is missing gets ids after those of the files, in this
order:

    files' ids | pad eos bos (where missing) | mask, sentinel 0 ... sentinel 99 (where missing)
    `------------ text_vocab --------------'
    `-------------------------------- vocab -------------------------------------------------'
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gen.data.tokenizers import tokenizer as own
from gen.data.tokenizers.tokenizer import SENTINELS, Tokenizer
from gen.interop.tokenizers import load_tokenizer
from gen.interop.tokenizers.base import PretrainedTokenizer


class CompletedTokenizer(Tokenizer):
  """A tokenizer from files, completed by the special ids that it lacks.

  Attributes:
    base: the tokenizer of the files.
    added: names of the ids after those of the files.
  """

  def __init__(self, base: PretrainedTokenizer) -> None:
    """Finds the id of each role, and gives new ids to those that have none of their own."""
    self.base, self.kind = base, base.kind
    self.added: list[str] = []
    self.eos = self._first_of((base.eos, base.sep), (), "</s>")
    self.bos = self._first_of((base.bos, base.cls), (self.eos,), "<s>")
    self.pad = self._first_of((base.pad,), (self.eos, self.bos), "<pad>")
    self.unk = self.pad if base.unk is None else base.unk
    self.cls = self.bos if base.cls is None else base.cls
    self.sep = self.eos if base.sep is None else base.sep
    self.text_vocab = base.vocab + len(self.added)
    self.mask = self._first_of((base.mask,), (), "<mask>")
    self._sentinels = _sentinels_of(base) or [
      self._first_of((), (), f"<extra_id_{index}>") for index in range(SENTINELS)
    ]
    self.vocab = base.vocab + len(self.added)
    self._pieces = [base.piece(number) for number in range(base.vocab)] + [b""] * len(self.added)
    self.byte_lengths = np.concatenate([base.byte_lengths, np.zeros(len(self.added), np.int32)])
    self.hash = hashlib.sha256(f"completed {base.hash}".encode()).hexdigest()[:16]

  def _first_of(self, candidates: Iterable[int | None], taken: Sequence[int], name: str) -> int:
    """Returns the first id that there is and that is not taken, else a new one."""
    for number in candidates:
      if number is not None and number not in taken:
        return number
    self.added.append(name)
    return self.base.vocab + len(self.added) - 1

  @property
  def text_range(self) -> tuple[int, int]:
    """The ids of the files."""
    return 0, self.base.vocab

  def sentinel(self, index: int) -> int:
    """Returns the id that marks the index-th span of a text."""
    if not 0 <= index < SENTINELS:
      raise ValueError(f"sentinel {index} does not exist; there are {SENTINELS}")
    return self._sentinels[index]

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, without special ones."""
    return self.base.encode_batch(texts, threads)

  def decode(self, ids: Iterable[int], keep_special: bool = False) -> str:
    """Returns the text of ids, with special ids dropped or as their names."""
    numbers = np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids).ravel()
    if not keep_special:
      return self.base.decode(numbers[numbers < self.base.vocab])
    cuts = np.flatnonzero(np.diff(numbers >= self.base.vocab)) + 1
    return "".join(
      "".join(map(self.name, part.tolist()))
      if part.size and part[0] >= self.base.vocab
      else self.base.decode(part, keep_special=True)
      for part in np.split(numbers, cuts)
    )

  def is_special(self, number: int) -> bool:
    """Returns whether an id is special, without text."""
    return number >= self.base.vocab or self.base.is_special(number)

  def name(self, number: int) -> str:
    """Returns the displayed form of an id."""
    return self.added[number - self.base.vocab] if number >= self.base.vocab else self.base.name(number)

  def save(self, folder: str | Path) -> None:
    """Writes the files that it was read from, so that `gen.data.tokenizers.tokenizer.load_tokenizer` reads them."""
    self.base.save(Path(folder) / own.PRETRAINED)

  def _model(self) -> bytes:
    return self.base._model()


def _sentinels_of(base: PretrainedTokenizer) -> list[int]:
  """Returns the ids of T5's sentinels if the tokenizer has all of them, else none."""
  names = {base.name(number): number for number in range(base.vocab) if base.is_special(number)}
  pieces = [names.get(f"<extra_id_{index}>") for index in range(SENTINELS)]
  return [number for number in pieces if number is not None] if None not in pieces else []


def load_for_training(folder: str) -> CompletedTokenizer:
  """Returns the tokenizer of a folder, or of a tokenizer.json, with all special ids.

  Raises:
    UserError: if there is none that can be read.
  """
  path = Path(folder)
  return CompletedTokenizer(load_tokenizer(path.parent if path.is_file() else path))
