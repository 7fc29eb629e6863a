"""Bootstrap intervals of scores: examples, or whole documents, drawn with replacement.

Percentile intervals (Efron and Tibshirani 1993); for translation this is Koehn 2004's resampling. Scores are functions
of how often each example counts, so one draw serves every metric, and two systems can share it. B resamples, N
examples, K clusters, S sums of an example.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 1_000  # as sacrebleu's paired bootstrap; the ends at 95 % are then the 25th draws
# The convention of papers on tasks; scaling laws have 90 % here (`Criteria.confidence`).
LEVEL = 0.95
# 32 MiB of float64, whatever the number of examples.
_MAX_COUNTS = 1 << 22  # numbers of one block of resamples


class Evaluator(NamedTuple):
  """The metrics of fixed predictions as functions of how often each example counts.

  Attributes:
    main: name of the task's main metric.
    evaluate: counts [B, N] -> values [B] by name.
    signature: settings that identify how the metrics are computed.
  """

  main: str
  evaluate: Callable[[np.ndarray], dict[str, np.ndarray]]
  signature: str = ""


class Interval(NamedTuple):
  """An estimate with the ends of its interval."""

  value: float
  low: float
  high: float


def evaluate_sums(
  sums_ns: np.ndarray, finish: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
  """Returns the evaluation of metrics that depend on sums over examples alone.

  Args:
    sums_ns: the sums of each example.
    finish: sums [B, S] -> values [B] by name.
  """
  return lambda counts_bn: finish(counts_bn @ sums_ns)


def cluster_examples(documents: Sequence[str]) -> np.ndarray:
  """Returns the cluster of each example: its document, or the example itself where it has none.

  >>> cluster_examples(["a", "", "a", ""])
  array([0, 1, 0, 2])
  """
  if len(set(documents)) < 2:  # one document for all says nothing about their variation
    return np.arange(len(documents))
  number: dict[object, int] = {}
  return np.array([number.setdefault(name or index, len(number)) for index, name in enumerate(documents)])


def draw_counts(clusters: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
  """Yields blocks [b, N] of how often each resample draws each example; b adds up to the resamples."""
  kinds = int(clusters.max()) + 1
  random = np.random.default_rng(seed)
  block = max(1, _MAX_COUNTS // len(clusters))
  for start in range(0, resamples, block):
    # How often each cluster is drawn: the same distribution as drawing with replacement, without indices.
    drawn_bk = random.multinomial(kinds, np.full(kinds, 1 / kinds), size=min(block, resamples - start))
    # Each example counts as often as its cluster. Sentences of a document are not independent, and drawing them one by
    # one would give intervals that are too narrow.
    yield drawn_bk[:, clusters].astype(np.float64)


def evaluate_once(evaluator: Evaluator, examples: int) -> dict[str, float]:
  """Returns every metric on all examples."""
  values = evaluator.evaluate(np.ones((1, examples)))
  return {name: float(array[0]) for name, array in values.items()}


def draw_values(
  evaluator: Evaluator, clusters: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
  """Returns the values [B] of every metric."""
  blocks = [evaluator.evaluate(counts_bn) for counts_bn in draw_counts(clusters, seed, resamples)]
  return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def find_interval(value: float, draws_b: np.ndarray, level: float = LEVEL) -> Interval:
  """Returns the percentile interval of draws; draws that are not finite are left out."""
  finite = draws_b[np.isfinite(draws_b)]
  if not len(finite):
    return Interval(value, float("nan"), float("nan"))
  low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
  return Interval(value, float(low), float(high))


def divide_or_zero(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  """Returns the quotient, and 0 where the denominator is 0.

  >>> divide_or_zero(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
  array([0.5, 0. ])
  """
  return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator != 0)
