"""Held-out text that models with different tokenizers are compared on: the same bytes for all of them."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.io import cores

_SEED = 20_231_105  # of the order in which documents are taken
MIN_WORDS = 8  # of a line that is looked for elsewhere; shorter lines are headings and phrases


class HeldOutText(NamedTuple):
  """Documents that no run is trained on.

  Attributes:
    name: of the text, as in tables.
    documents: their texts.
    bytes: UTF-8 bytes of all of them.
    sha256: of the documents.
  """

  name: str
  documents: tuple[str, ...]
  bytes: int
  sha256: str


def draw_held_out(name: str, texts: Sequence[str], max_bytes: int) -> HeldOutText:
  """Returns documents in a fixed random order up to a size; the last one is cut there.

  Args:
    name: of the text.
    texts: such as the validation side of a corpus.
    max_bytes: of UTF-8.

  Raises:
    UserError: if there is no text.
  """
  documents, total = [], 0
  for index in np.random.default_rng(_SEED).permutation(len(texts)).tolist():
    content = texts[index].encode()[: max_bytes - total]
    text = content.decode(errors="ignore")  # a character that the cut divides
    if text.strip():
      documents.append(text)
      total += len(text.encode())
    if total >= max_bytes - 3:
      break
  if not documents:
    raise UserError(f"{name} has no held-out text; use more text, or raise data.validation_fraction")
  digest = hashlib.sha256("\0".join(documents).encode()).hexdigest()
  return HeldOutText(name, tuple(documents), total, digest)


def repeated_share(text: HeldOutText, others: Iterable[str]) -> float:
  """Returns the share of held-out characters whose lines also stand in other documents.

  Only lines of `MIN_WORDS` words or more count, compared without regard to white space.

  Args:
    text: held-out text.
    others: documents, such as those that a run is trained on.
  """
  lines = [line for document in text.documents for line in _long_lines(document)]
  total = sum(map(len, lines))
  wanted = set(lines)
  met: set[str] = set()
  for document in others:
    met.update(line for line in _long_lines(document) if line in wanted)
  return sum(len(line) for line in lines if line in met) / total if total else 0.0


def _long_lines(document: str) -> list[str]:
  words = (line.split() for line in document.splitlines())
  return [" ".join(line) for line in words if len(line) >= MIN_WORDS]


def bytes_per_token(text: HeldOutText, tokenizer: Tokenizer) -> float:
  """Returns the bytes of text that one token stands for, the cost of a vocabulary on that text."""
  ids = tokenizer.encode_batch(list(text.documents), cores.available_cores())
  return text.bytes / max(1, sum(map(len, ids)))
