"""Counts of one stage: what enters and leaves, reasons, histograms, samples. Tallies of shards add up in any order."""

import math
from collections import Counter
from typing import Any

from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Kept
from gen.data.document import Document

SAMPLES = 20  # kept and dropped documents of each stage
EXCERPT = 400  # characters of a sample
_BINS = 40  # of a score in [0, 1]
_ODD = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1  # Python's integers do not wrap at 64 bits by themselves
Size = tuple[int, int, int]  # documents, bytes, tokens


class StageTally:
  """Counts of one stage.

  A sample is the documents with the smallest hashes of name and stage, so it is random and the same for any workers.
  """

  def __init__(self, name: str) -> None:
    """Starts at zero."""
    self.name = name
    self._salt = (words.text_hash(name) | 1) * _ODD & _MASK
    self.entered, self.left, self.changed = [0, 0, 0], [0, 0, 0], 0
    self.reasons: dict[str, list[int]] = {}
    self.counts: Counter[str] = Counter()
    self.scores: Counter[str] = Counter()
    self.lengths: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    self.sources: dict[str, list[int]] = {}
    self.kept: list[dict[str, Any]] = []
    self.dropped: list[dict[str, Any]] = []

  def add(
    self, before: Document, size: Size, source: str, key: int, verdict: Kept | Drop, after: Size
  ) -> None:
    """Counts one document.

    Args:
      before: as it entered.
      size: of it.
      source: its label.
      key: hash of its name.
      verdict: of the stage.
      after: size of the document that leaves, if one does.
    """
    _add(self.entered, size)
    by_source = self.sources.setdefault(source, [0] * 6)
    _add(by_source, size)
    self.lengths[0][_length_bin(size[1])] += 1
    if verdict.score is not None:
      self.scores[score_bin(verdict.score)] += 1
    draw = (key * self._salt) & _MASK
    if isinstance(verdict, Drop):
      _add(self.reasons.setdefault(verdict.reason, [0, 0, 0]), size)
      self._sample(self.dropped, draw, before, source, verdict.score, verdict.reason + _after(verdict.detail))
      return
    _add(self.left, after)
    for index, value in enumerate(after):
      by_source[3 + index] += value
    self.lengths[1][_length_bin(after[1])] += 1
    self.changed += verdict.document.text != before.text
    self.counts.update(verdict.counts)
    self._sample(self.kept, draw, verdict.document, source, verdict.score, "")

  def _sample(
    self, samples: list[dict[str, Any]], draw: int, document: Document, source: str, score: Any, why: str
  ) -> None:
    if len(samples) >= SAMPLES and draw >= samples[-1]["draw"]:
      return
    sample = {"draw": draw, "name": document.name, "source": source, "text": shorten_sample(document.text)}
    sample |= {"why": why} if why else {}
    sample |= {} if score is None else {"score": round(float(score), 6)}
    samples.append(sample)
    samples.sort(key=lambda item: (item["draw"], item["name"]))
    del samples[SAMPLES:]

  def as_dict(self) -> dict[str, Any]:
    """Returns the counts as JSON can hold them."""
    return {
      "name": self.name, "in": self.entered, "out": self.left, "changed": self.changed, "reasons": self.reasons,
      "counts": dict(self.counts), "scores": dict(self.scores),
      "lengths_in": dict(self.lengths[0]), "lengths_out": dict(self.lengths[1]),
      "sources": self.sources, "kept": self.kept, "dropped": self.dropped,
    }  # fmt: skip


def merge_tallies(tallies: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns the sum of tallies of one stage."""
  merged = StageTally(tallies[0]["name"]).as_dict()
  for tally in tallies:
    for name in ("in", "out"):
      _add(merged[name], tally[name])
    merged["changed"] += tally["changed"]
    for name in ("reasons", "sources"):
      for key, values in tally[name].items():
        _add(merged[name].setdefault(key, [0] * len(values)), values)
    for name in ("counts", "scores", "lengths_in", "lengths_out"):
      for key, value in tally[name].items():
        merged[name][key] = merged[name].get(key, 0) + value
    for name in ("kept", "dropped"):
      merged[name] = sorted(merged[name] + tally[name], key=lambda item: (item["draw"], item["name"]))[
        :SAMPLES
      ]
  return merged


def shorten_sample(text: str) -> str:
  """Returns the beginning of a text."""
  return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."


def score_bin(score: float) -> str:
  """Returns the lower end of a score's bin: fortieths up to 1, and powers of the fourth root of 2 above it.

  >>> score_bin(0.51), score_bin(1.0), score_bin(9.0)
  ('0.5', '1.0', '8.0')
  """
  if not math.isfinite(score):
    return "none"
  if score < 1:
    return str(math.floor(score * _BINS) / _BINS)
  return str(round(2 ** (math.floor(4 * math.log2(score)) / 4), 4))


def _length_bin(length: int) -> str:
  """Returns the power of 2 at or below a length in bytes."""
  return str(1 << max(length.bit_length() - 1, 0))


def _add(into: list[int], values: Any) -> None:
  for index, value in enumerate(values):
    into[index] += value


def _after(detail: str) -> str:
  return f": {detail}" if detail else ""
