"""Counts of one stage: what enters and leaves, reasons, histograms, samples. Tallies of shards add up in any order."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Kept
from gen.data.document import Document

# Kept and dropped documents of each stage; chosen: as many as a person reads before deciding on a threshold.
SAMPLES = 20
EXCERPT = 400  # characters of a sample
_BINS = 40  # of a score in [0, 1]: bins of 0.025, finer than any threshold of a rule
# 2^64 over the golden ratio, as in `gen.data.curation.rules.words`: odd, so that the product by it is a bijection.
_ODD = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1  # Python's integers do not wrap at 64 bits by themselves
Size = tuple[int, int, int]  # documents, bytes, tokens


class SampleRecord(TypedDict):
  """A document that a stage kept or dropped.

  Attributes:
    draw: hash by which it was drawn.
    name: of the document.
    source: its label.
    text: the beginning of it.
    why: reason for which it was dropped.
    score: of a stage that gives one.
  """

  draw: int
  name: str
  source: str
  text: str
  why: NotRequired[str]
  score: NotRequired[float]


# The tally of a stage as JSON; a call, because `in` is a keyword. Lists of three are documents, bytes and tokens, those
# of `sources` the three that entered and the three that left.
TallyRecord = TypedDict(
  "TallyRecord",
  {
    "name": str,
    "in": list[int],
    "out": list[int],
    "changed": int,
    "reasons": dict[str, list[int]],
    "counts": dict[str, int],
    "scores": dict[str, int],
    "lengths_in": dict[str, int],
    "lengths_out": dict[str, int],
    "sources": dict[str, list[int]],
    "kept": list[SampleRecord],
    "dropped": list[SampleRecord],
  },
)


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
    self.kept: list[SampleRecord] = []
    self.dropped: list[SampleRecord] = []

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
    _add(by_source, after, 3)
    self.lengths[1][_length_bin(after[1])] += 1
    self.changed += verdict.document.text != before.text
    self.counts.update(verdict.counts)
    self._sample(self.kept, draw, verdict.document, source, verdict.score, "")

  def _sample(
    self,
    samples: list[SampleRecord],
    draw: int,
    document: Document,
    source: str,
    score: float | None,
    why: str,
  ) -> None:
    if len(samples) >= SAMPLES and draw >= samples[-1]["draw"]:
      return
    sample = SampleRecord(draw=draw, name=document.name, source=source, text=shorten_sample(document.text))
    if why:
      sample["why"] = why
    if score is not None:
      sample["score"] = round(float(score), 6)
    samples[:] = _first_samples([*samples, sample])

  def as_dict(self) -> TallyRecord:
    """Returns the counts as JSON can hold them."""
    return {
      "name": self.name, "in": self.entered, "out": self.left, "changed": self.changed, "reasons": self.reasons,
      "counts": dict(self.counts), "scores": dict(self.scores),
      "lengths_in": dict(self.lengths[0]), "lengths_out": dict(self.lengths[1]),
      "sources": self.sources, "kept": self.kept, "dropped": self.dropped,
    }  # fmt: skip


def merge_tallies(tallies: Sequence[TallyRecord]) -> TallyRecord:
  """Returns the sum of tallies of one stage."""
  merged = StageTally(tallies[0]["name"]).as_dict()
  for tally in tallies:
    _add(merged["in"], tally["in"])
    _add(merged["out"], tally["out"])
    merged["changed"] += tally["changed"]
    for lists, added in ((merged["reasons"], tally["reasons"]), (merged["sources"], tally["sources"])):
      for key, values in added.items():
        _add(lists.setdefault(key, [0] * len(values)), values)
    _add_counts(merged["counts"], tally["counts"])
    _add_counts(merged["scores"], tally["scores"])
    _add_counts(merged["lengths_in"], tally["lengths_in"])
    _add_counts(merged["lengths_out"], tally["lengths_out"])
    merged["kept"] = _first_samples(merged["kept"] + tally["kept"])
    merged["dropped"] = _first_samples(merged["dropped"] + tally["dropped"])
  return merged


def _first_samples(samples: list[SampleRecord]) -> list[SampleRecord]:
  return sorted(samples, key=lambda item: (item["draw"], item["name"]))[:SAMPLES]


def _add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
  for key, value in counts.items():
    into[key] = into.get(key, 0) + value


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


def _add(into: list[int], values: Sequence[int], start: int = 0) -> None:
  for index, value in enumerate(values, start):
    into[index] += value


def _after(detail: str) -> str:
  return f": {detail}" if detail else ""
