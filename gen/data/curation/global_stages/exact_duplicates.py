"""Exact duplicates: documents, paragraphs or lines whose words were seen before; the first copies stay.

Units are compared by 64 bits of BLAKE2b; two of ten million different ones collide with a probability of 3e-6. The
decision reads the hashes of one part of their range at a time, so its memory is bounded.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from gen.config.curation import Copies
from gen.data.curation.passes import shards
from gen.data.curation.passes.plan import Store
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document

MAX_SORTED = 1 << 22  # hashes that are sorted at a time: 32 bytes each, so 128 MiB
# In groups, so that `split` keeps the separators and the pieces join to the text again.
_SEPARATORS = {"paragraphs": re.compile(r"(\n\s*\n)"), "lines": re.compile(r"(\n)")}


class ExactDuplicates:
  """One of the stages documents, paragraphs and lines."""

  def __init__(self, name: str, parameters: Copies) -> None:
    """Stores the unit, which is the stage's name, and how many copies stay."""
    self.name, self.parameters = name, parameters

  def features(self, row: shards.Row) -> np.ndarray:
    """Returns the hash of each unit that is long enough."""
    return np.array([unit_hash for _, unit_hash in self._units(row.text) if unit_hash is not None], np.uint64)

  def decide(self, store: Store) -> None:
    """Marks each unit of which enough copies came before: 1 + the position of the first."""
    mark_copies(store, self.parameters.copies)

  def apply(self, document: Document, decision: np.ndarray, name_of: Callable[[int], str]) -> Verdict:
    """Drops a marked document, or removes marked units of one."""
    if not decision.any():
      return document
    if self.name == "documents":
      return Drop("the same words as another document", name_of(int(decision[0]) - 1))
    kept, removed, at = [], 0, 0
    for piece, unit_hash in self._units(document.text):
      if unit_hash is not None:
        at += 1
        if decision[at - 1]:
          removed += 1
          continue
      kept.append(piece)
    text = _without_gaps("".join(kept))
    if len(text.split()) < self.parameters.min_left:
      return Drop(f"little left without repeated {self.name}", f"{removed:,} removed")
    return Kept(Document(document.name, text), counts={f"{self.name} removed": removed})

  def _units(self, text: str) -> Iterator[tuple[str, int | None]]:
    """Yields (piece, hash) of pieces that join to the text; the hash is None for those that always stay."""
    if self.name == "documents":
      # One space between words, so copies that differ in their line breaks alone are equal.
      yield text, words.text_hash(" ".join(text.split()))
      return
    pieces = _SEPARATORS[self.name].split(text)
    for at in range(0, len(pieces), 2):
      tokens = pieces[at].split()
      piece = "".join(pieces[at : at + 2])
      long_enough = tokens and len(tokens) >= self.parameters.min_words
      yield piece, words.text_hash(" ".join(tokens)) if long_enough else None


def _without_gaps(text: str) -> str:
  """Returns a text without the blank lines that removed units leave."""
  return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def mark_copies(store: Store, copies: int, max_sorted: int = MAX_SORTED) -> None:
  """Writes for each feature 0, or 1 + the position of its first copy if enough copies came before.

  Args:
    store: shards whose features are hashes.
    copies: that stay.
    max_sorted: hashes in memory at a time; the rest of the bound is one bit in the hash's range.
  """
  offsets = store.offsets()
  total = int(offsets[-1])
  decision = store.open_decision(total, np.int64)
  parts = max(1, -(-total // max_sorted))
  # + 1, because the parts must cover the range; the last one is then shorter and clipped to 2^64 - 1.
  width = (1 << 64) // parts + 1
  for part in range(parts):
    hashes, positions = _select_part(store, offsets, part * width, min((part + 1) * width, 1 << 64) - 1)
    # Stable, and positions ascend: the first of equal hashes is the first copy in the corpus, whichever shard has it.
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, bool)
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    # The number of equal hashes before each one.
    rank = np.arange(len(ordered)) - starts[group] if len(ordered) else np.zeros(0, np.int64)
    extra = rank >= copies
    decision[positions[order[extra]]] = positions[order[starts[group[extra]]]] + 1
    store.say(f"duplicates: {part + 1} of {parts} parts of {total:,} hashes")


def _select_part(store: Store, offsets: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the hashes between two values, both included, and their positions, which ascend."""
  hashes, positions = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
  for index in range(store.shards):
    values = store.features(index)
    inside = np.flatnonzero((values >= np.uint64(low)) & (values <= np.uint64(high)))
    hashes.append(np.asarray(values[inside], np.uint64))
    positions.append(inside + offsets[index])
  return np.concatenate(hashes), np.concatenate(positions)
