"""Which corpus each row of a run comes from: a pure function of (seed, row), in O(1) for any row.

K corpora, P rows of a period. A run is cut into segments in which the weights are constant. A segment begins where the
schedule changes the weights, and where a corpus reaches its most epochs and its weight goes to the others. Within a
segment each period holds the same number of rows of each corpus, in an order drawn for that period. So the rows of a
corpus before any row are known without making the rows between, and are within two of its share.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.errors import UserError

# Bounds both the memory of an order and the smallest share: one row in 65,536.
MAX_PERIOD = 1 << 16
_SALT = 0x6D6978  # parts this order from the orders of rows, which use the same seed


class MixtureText(NamedTuple):
  """What a plan needs to know of a corpus.

  Attributes:
    name: of the corpus.
    rows: rows of its training text, which are one epoch.
    max_rows: most rows that the run may read of it; None is no limit.
  """

  name: str
  rows: int
  max_rows: int | None = None


class MixtureSegment(NamedTuple):
  """A part of a run with constant weights.

  Attributes:
    start: its first row.
    counts_k: rows of each corpus in one period.
    before_k: rows of each corpus before `start`.
  """

  start: int
  counts_k: np.ndarray
  before_k: np.ndarray


class MixtureLimit(NamedTuple):
  """A corpus that reaches its most epochs.

  Attributes:
    name: of the corpus.
    row: first row of the run after its last one.
    others: corpora that its weight goes to.
  """

  name: str
  row: int
  others: tuple[str, ...]


class MixturePlan:
  """The corpus of each row of a run, and the number of that row within its corpus.

  Attributes:
    rows: rows of the run.
    limits: corpora that reach their most epochs within the run.
  """

  def __init__(
    self,
    texts: Sequence[MixtureText],
    phases: Sequence[tuple[int, Sequence[float]]],
    rows: int,
    seed: int,
  ) -> None:
    """Finds the segments of a run.

    Args:
      texts: its K corpora.
      phases: (first row, K weights) where weights begin to hold, ascending; the first row is 0.
      rows: of the run. Any later row can be asked for too, and is as if the last segment went on.
      seed: of the order of the corpora.

    Raises:
      UserError: if the corpora with weight cannot fill the run within their most epochs, or a weight is too small.
    """
    self.rows, self._texts, self._seed = rows, list(texts), seed % 2**64
    self.limits: list[MixtureLimit] = []
    self._segments: list[MixtureSegment] = []
    # 4: a dispatch spans a period or two, in one or two segments; an order takes 16 bytes a row of its period.
    self._order = functools.lru_cache(maxsize=4)(self._drawn)
    begins = [min(begin, rows) for begin, _ in phases]
    for (begin, end), (_, weights) in zip(zip(begins, [*begins[1:], rows], strict=True), phases, strict=True):
      self._add_phase(begin, end, np.array(weights, float))
    self._starts = np.array([segment.start for segment in self._segments])

  def locate(self, rows_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corpus of each row, and how many rows of that corpus come before it.

    Args:
      rows_n: numbers of rows, counted from the run's first.
    """
    corpora_n, numbers_n = np.empty(len(rows_n), int), np.empty(len(rows_n), int)
    segments_n = np.searchsorted(self._starts, rows_n, side="right") - 1
    for index in np.unique(segments_n).tolist():
      segment = self._segments[index]
      periods_n, places_n = np.divmod(rows_n - segment.start, int(segment.counts_k.sum()))
      for period in np.unique(periods_n[segments_n == index]).tolist():
        here_n = (segments_n == index) & (periods_n == period)
        corpora_p, ranks_p = self._order(index, period)
        corpora_n[here_n] = found_n = corpora_p[places_n[here_n]]
        done_k = segment.before_k + period * segment.counts_k
        numbers_n[here_n] = done_k[found_n] + ranks_p[places_n[here_n]]
    return corpora_n, numbers_n

  def counts(self, row: int) -> np.ndarray:
    """Returns the rows of each corpus before a row of the run."""
    index = max(int(np.searchsorted(self._starts, row, side="right")) - 1, 0)
    return self._counts(index, row)

  def _counts(self, index: int, row: int) -> np.ndarray:
    segment = self._segments[index]
    periods, rest = divmod(row - segment.start, int(segment.counts_k.sum()))
    counts_k = segment.before_k + periods * segment.counts_k
    if rest:
      counts_k = counts_k + np.bincount(self._order(index, periods)[0][:rest], minlength=len(self._texts))
    return counts_k

  def _drawn(self, index: int, period: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corpus of each row of a period, and its rank among the period's rows of that corpus."""
    segment = self._segments[index]
    counts = segment.counts_k.tolist()
    rng = np.random.default_rng((self._seed, _SALT, segment.start, period))
    # Row j of n lies in the j-th n-th of the period, at a random place: even shares of any part, in no fixed pattern.
    places = [(np.arange(count) + rng.random(count)) / max(count, 1) for count in counts]
    order_p = np.argsort(np.concatenate(places), kind="stable")
    corpora_p = np.repeat(np.arange(len(counts)), counts)[order_p]
    return corpora_p, np.concatenate([np.arange(count) for count in counts])[order_p]

  def _add_phase(self, begin: int, end: int, weights_k: np.ndarray) -> None:
    """Adds the segments of a phase: one, and one more for each corpus that reaches its most epochs in it."""
    before_k = (
      self._counts(len(self._segments) - 1, begin) if self._segments else np.zeros(len(self._texts), int)
    )
    while True:
      open_k = np.array(
        [
          text.max_rows is None or used < text.max_rows
          for text, used in zip(self._texts, before_k, strict=True)
        ]
      )
      left_k = np.where(open_k, weights_k, 0.0)
      if not left_k.any():
        if begin >= end:
          return  # the run ends exactly where its text does
        raise self._unfilled(begin, weights_k)
      self._segments.append(MixtureSegment(begin, self._round(left_k), before_k))
      full = self._first_full(begin, end)
      if full is None:
        return
      row, name = full
      others = tuple(
        text.name
        for text, weight, used in zip(self._texts, left_k, open_k, strict=True)
        if used and weight and text.name != name
      )
      self.limits.append(MixtureLimit(name, row, others))
      before_k, begin = self._counts(len(self._segments) - 1, row), row

  def _first_full(self, begin: int, end: int) -> tuple[int, str] | None:
    """Returns the row after the last one of the corpus that first reaches its limit in the latest segment."""
    index, segment = len(self._segments) - 1, self._segments[-1]
    period_rows, found = int(segment.counts_k.sum()), []
    for k, text in enumerate(self._texts):
      count = int(segment.counts_k[k])
      if text.max_rows is None or not count:
        continue
      # The place of its last row: counts of a period are constant, so only one period has to be drawn.
      period, rank = divmod(text.max_rows - int(segment.before_k[k]) - 1, count)
      if begin + period * period_rows >= end:
        continue
      corpora_p, ranks_p = self._order(index, period)
      place = int(np.flatnonzero((corpora_p == k) & (ranks_p == rank))[0])
      row = begin + period * period_rows + place + 1
      if row < end:
        found.append((row, text.name))
    # The first of them alone: from its row on the weights change, and so do the rows at which the others are full.
    return min(found, default=None)

  def _round(self, weights_k: np.ndarray) -> np.ndarray:
    """Returns the rows of each corpus in a period, whose length is chosen so that they are nearest to the weights."""
    shares_k = weights_k / weights_k.sum()
    # Down to half of it only: a shorter period has a multiple in this range, with the same errors.
    periods_p = np.arange(MAX_PERIOD, MAX_PERIOD // 2, -1)
    exact_pk = periods_p[:, None] * shares_k
    # Rounded, so that equal periods tie despite their last digits, and argmin takes the longest, which comes first.
    errors_p = np.abs(exact_pk - np.rint(exact_pk)).max(1).round(6)
    exact_k = exact_pk[int(np.argmin(errors_p))]
    # Largest remainders: whole rows first, and what is missing goes to the corpora with the largest fractions.
    counts_k = np.floor(exact_k + 1e-6).astype(int)
    missing = round(exact_k.sum()) - int(counts_k.sum())
    counts_k[np.argsort(counts_k - exact_k, kind="stable")[:missing]] += 1
    small = np.flatnonzero((weights_k > 0) & (counts_k == 0))
    if len(small):
      raise UserError(
        f"data.mixture: the share of {self._texts[int(small[0])].name} is {shares_k[small[0]]:.2g}, less than one row"
        f" in {MAX_PERIOD:,}; give it more, or 0"
      )
    return counts_k

  def _unfilled(self, begin: int, weights_k: np.ndarray) -> UserError:
    names = ", ".join(text.name for text, weight in zip(self._texts, weights_k, strict=True) if weight)
    return UserError(
      f"data.mixture cannot fill the run: the most epochs of {names} end after {begin:,} of its {self.rows:,} rows;"
      " allow more epochs, give more text, or shorten the run"
    )
