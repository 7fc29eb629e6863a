"""Stages that keep documents by a score: between two limits, or the best share of all."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen.data.curation.passes import shards
from gen.data.curation.passes.plan import Store
from gen.data.curation.rules import classifier
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document

Scorer = Callable[[Sequence[str]], Sequence[float]]  # of texts; called in the main process
# Texts of one call; chosen: enough for a full matrix product, few enough that a batch of long texts fits into memory.
BATCH = 64


class ScoreLimits(NamedTuple):
  """Which scores stay.

  Attributes:
    low: minimum.
    high: maximum.
    keep: share of documents that stay at most.
    largest_first: whether a high score is better.
    what: the score in words, for reasons.
  """

  low: float
  high: float
  keep: float = 1.0
  largest_first: bool = True
  what: str = "score"


class ModelLimits(NamedTuple):
  """A trained classifier and which of its scores stay."""

  path: Path
  limits: ScoreLimits


def check_model(document: Document, parameters: ModelLimits) -> Verdict:
  """Keeps a document whose score under a classifier is within the limits."""
  return _judge(document, classifier.load_classifier(parameters.path).score(document.text), parameters.limits)


def _judge(document: Document, score: float, limits: ScoreLimits) -> Verdict:
  if not limits.low <= score <= limits.high:
    side = "low" if score < limits.low else "high"
    return Drop(f"{limits.what} too {side}", f"{score:.3f}", score)
  return Kept(document, score)


class ScoreStage:
  """A stage that needs all scores, or whose scores a model gives that only the main process holds."""

  def __init__(
    self, name: str, limits: ScoreLimits, model: Path | None = None, scorer: Scorer | None = None
  ) -> None:
    """Stores where scores come from: a classifier, or a function that the main process calls."""
    self.name, self.limits, self.model, self._scorer = name, limits, model, scorer

  def __getstate__(self) -> dict[str, object]:
    """Returns what workers need; the function stays in the main process."""
    return vars(self) | {"_scorer": None}

  def features(self, row: shards.Row) -> np.ndarray:
    """Returns the score, or NaN for one that the main process computes."""
    if self.model is None:
      return np.array([np.nan])
    return np.array([classifier.load_classifier(self.model).score(row.text)])

  def decide(self, store: Store) -> None:
    """Writes for each document its score, or -1 - score if it goes."""
    if self._scorer is not None:
      self._compute(store)
    part = "features.npy" if self._scorer is None else "scores.npy"
    parts = [shards.load_array(store.folder, index, part) for index in range(store.shards)]
    scores = np.concatenate([np.zeros(0), *parts])
    inside = (scores >= self.limits.low) & (scores <= self.limits.high)
    # 1e-9: 0.29 * 100 is 28.999999999999996 in binary, and 29 documents are meant.
    allowed = int(np.floor(self.limits.keep * len(scores) + 1e-9))
    order = np.argsort(
      np.where(inside, -scores if self.limits.largest_first else scores, np.inf), kind="stable"
    )
    stays = np.zeros(len(scores), bool)
    stays[order[:allowed]] = True
    # One number carries both: scores are at least 0, so a negative one marks a document that goes.
    decision = store.open_decision(len(scores), np.float64)
    decision[:] = np.where(stays & inside, scores, -1 - scores)

  def apply(self, document: Document, decision: np.ndarray, name_of: Callable[[int], str]) -> Verdict:
    """Keeps or drops a document by its decision."""
    value = float(decision[0])
    if value >= 0:
      return Kept(document, value)
    verdict = _judge(document, -1 - value, self.limits)
    if isinstance(verdict, Drop):
      return verdict
    return Drop(
      f"{self.limits.what} not among the best {self.limits.keep:.0%}", f"{-1 - value:.3f}", -1 - value
    )

  def _compute(self, store: Store) -> None:
    """Writes the scores of each shard that has none yet."""
    for index in range(store.shards):
      # Kept by shard, because a language model's scores are costly and a curation may be interrupted.
      path = shards.shard_path(store.folder, index, "scores.npy")
      if not path.exists():
        scores = [score for batch in _batches(store, index) for score in self._scores(batch)]
        shards.write_file(path, shards.encode_array(np.array(scores, np.float64)))
      store.say(f"{self.name}: {index + 1} of {store.shards} parts")

  def _scores(self, texts: list[str]) -> Sequence[float]:
    assert self._scorer is not None
    # What cannot be scored has the worst score, not an undefined one.
    return [float(np.nan_to_num(max(score, 0.0), nan=1e30, posinf=1e30)) for score in self._scorer(texts)]


def _batches(store: Store, index: int) -> Iterator[list[str]]:
  batch: list[str] = []
  for row in shards.read_rows(store.folder, index):
    batch.append(row.text)
    if len(batch) == BATCH:
      yield batch
      batch = []
  if batch:
    yield batch
