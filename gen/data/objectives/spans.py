"""Positions of corrupted spans: exact counts, random positions, never across a document's boundary.

A run is a maximal sequence of corruptible tokens of one document. B rows, N raw tokens, R runs of all rows in reading
order, K spans, G groups in which a total is divided (runs or rows).
"""

from typing import NamedTuple

import numpy as np

from gen.data.objectives import counter_rng
from gen.data.objectives.objective import segment_starts

_SPANS, _NOISE, _SLACK, _LENGTHS, _GAPS = range(10, 15)  # streams of random numbers


class TokenRuns(NamedTuple):
  """The runs of corruptible tokens of a batch.

  Attributes:
    open_bn: whether a token may be corrupted.
    begins_bn: whether it is the first of its run.
    rows_r: the row of each run.
    columns_r: the first column of each run.
    sizes_r: tokens of each run.
    documents_b: number of documents of each row that have a run.
  """

  open_bn: np.ndarray
  begins_bn: np.ndarray
  rows_r: np.ndarray
  columns_r: np.ndarray
  sizes_r: np.ndarray
  documents_b: np.ndarray


class SpanPositions(NamedTuple):
  """Which tokens are noise, and which of these begin a span."""

  noise_bn: np.ndarray
  begins_bn: np.ndarray


def find_token_runs(tokens_bn: np.ndarray, segments_bn: np.ndarray, corruptible_v: np.ndarray) -> TokenRuns:
  """Returns the runs of corruptible tokens."""
  open_bn = corruptible_v[tokens_bn] & (segments_bn > 0)
  begins_bn = open_bn & segment_starts(segments_bn)
  # A special token inside a document ends a run as well: no span may hide it or stretch over it.
  begins_bn[:, 1:] |= open_bn[:, 1:] & ~open_bn[:, :-1]
  rows_r, columns_r = np.nonzero(begins_bn)
  sizes_r = np.bincount(np.cumsum(begins_bn[open_bn]) - 1, minlength=rows_r.size)
  segments_r = segments_bn[rows_r, columns_r]
  new_r = np.ones(rows_r.size, bool)
  new_r[1:] = (rows_r[1:] != rows_r[:-1]) | (segments_r[1:] != segments_r[:-1])
  documents_b = np.bincount(rows_r[new_r], minlength=len(tokens_bn))
  return TokenRuns(open_bn, begins_bn, rows_r, columns_r, sizes_r, documents_b)


def share_out(
  totals_b: np.ndarray, weights_r: np.ndarray, rows_r: np.ndarray, keys_b: np.ndarray, stream: int
) -> np.ndarray:
  """Divides each row's total over its runs in proportion to integer weights.

  The sums are exact, and each share is its exact proportion rounded down or up, without bias (systematic sampling).
  """
  sums_b = sum_by_row(weights_r, rows_r, totals_b.size)
  # One random offset for all runs of a row: shares are then rounded up and down without a bias, and sum exactly.
  offsets_b = (counter_rng.random_uniform(keys_b, stream, np.zeros(1, int)) * sums_b).astype(int)
  ends_r = np.cumsum(weights_r) - (np.cumsum(sums_b) - sums_b)[rows_r]
  totals_r, offsets_r, sums_r = totals_b[rows_r], offsets_b[rows_r], np.maximum(sums_b[rows_r], 1)
  return (ends_r * totals_r + offsets_r) // sums_r - ((ends_r - weights_r) * totals_r + offsets_r) // sums_r


def sum_by_row(values_r: np.ndarray, rows_r: np.ndarray, batch: int) -> np.ndarray:
  """Returns each row's sum."""
  return np.bincount(rows_r, values_r, minlength=batch).astype(int)


def random_compositions(
  totals_g: np.ndarray, parts_g: np.ndarray, keys_g: np.ndarray, counters_g: np.ndarray, stream: int
) -> np.ndarray:
  """Divides each total into `parts_g` parts of at least 1, uniformly over all ways; returns all parts in order.

  `counters_g` is the first random counter of each group; a group uses as many counters as its total.
  """
  # The widths of the sort's key: 22 bits of group, 24 random ones and 18 of the item are 64.
  if totals_g.size >= 2**22 or totals_g.max(initial=0) >= 2**18:
    raise ValueError("more than 2^22 runs in a call, or 2^18 tokens in a row: corrupt fewer rows at a time")
  first_g = np.cumsum(totals_g) - totals_g
  group = np.repeat(np.arange(totals_g.size), totals_g)
  item = np.arange(group.size) - first_g[group]
  # One sort for all groups: group, then 24 random bits, then the item, so that all keys differ.
  random = counter_rng.random_bits(keys_g[group], stream, counters_g[group] + item) >> np.uint64(40)
  random[first_g[totals_g > 0]] = 0  # a part always begins with the first item
  order = (group.astype(np.uint64) << np.uint64(42)) | (random << np.uint64(18)) | item.astype(np.uint64)
  chosen_g = parts_g > 0
  limits_g = np.zeros(totals_g.size, np.uint64)
  limits_g[chosen_g] = np.sort(order)[(first_g + parts_g - 1)[chosen_g]]
  # The first item and the parts - 1 lowest of the others: a uniform subset of cuts is a uniform composition.
  cuts = np.flatnonzero(order <= limits_g[group])
  return np.diff(cuts, append=group.size)


def interleave_spans(
  gaps: np.ndarray, lengths: np.ndarray, spans_g: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Concatenates gap, span, gap, ..., span, gap of each group; returns (is noise, begins a span) for each token."""
  group = np.arange(spans_g.size)
  pieces = np.empty(gaps.size + lengths.size, int)
  span_pieces = 2 * np.arange(lengths.size) + np.repeat(group, spans_g) + 1
  pieces[2 * np.arange(gaps.size) - np.repeat(group, spans_g + 1)] = gaps
  pieces[span_pieces] = lengths
  is_span = np.zeros(pieces.size, bool)
  is_span[span_pieces] = True
  noise = np.repeat(is_span, pieces)
  begins = np.zeros(noise.size, bool)
  begins[(np.cumsum(pieces) - pieces)[span_pieces]] = True
  return noise, begins


def gaps_between(
  kept_g: np.ndarray, spans_g: np.ndarray, least_g: np.ndarray, keys_g: np.ndarray, counters_g: np.ndarray
) -> np.ndarray:
  """Divides unmasked tokens into the gaps before, between (each at least `least_g`) and after the spans of a group."""
  # Compositions have parts of at least 1, and gaps may be 0. So each gap that may be empty is drawn one longer, and the
  # lines below take these ones away again.
  totals_g = kept_g + 2 + (1 - least_g) * np.maximum(spans_g - 1, 0)
  gaps = random_compositions(totals_g, spans_g + 1, keys_g, counters_g, _GAPS)
  last_g = np.cumsum(spans_g + 1) - 1
  gaps -= np.repeat(1 - least_g, spans_g + 1)
  gaps[last_g] -= least_g
  gaps[last_g - spans_g] -= np.where(spans_g > 0, least_g, 1)
  return gaps


def span_flags(runs: TokenRuns, noise: np.ndarray, begins: np.ndarray) -> SpanPositions:
  """Returns the flags of corruptible tokens, in reading order, as rows [B, N]."""
  noise_bn, begins_bn = np.zeros(runs.open_bn.shape, bool), np.zeros(runs.open_bn.shape, bool)
  noise_bn[runs.open_bn], begins_bn[runs.open_bn] = noise, begins
  return SpanPositions(noise_bn, begins_bn)


def random_spans(
  runs: TokenRuns, noise_b: np.ndarray, spans_b: np.ndarray, keys_b: np.ndarray
) -> SpanPositions:
  """Places `spans_b` spans with `noise_b` tokens in total in each row; spans of a run are at least one token apart.

  A run gets spans in proportion to its possible positions of a span of mean length. If the runs are too short for
  the noise, there are more and shorter spans, or less noise.
  """
  rows_r, sizes_r, batch = runs.rows_r, runs.sizes_r, noise_b.size
  # A document shorter than a span of mean length has no position for one, and gets no span unless all are that short.
  mean_b = -(-noise_b // np.maximum(spans_b, 1))
  places_r = np.maximum(sizes_r - mean_b[rows_r] + 1, 0)
  places_r = np.where(sum_by_row(places_r, rows_r, batch)[rows_r] > 0, places_r, sizes_r)
  # n tokens hold at most (n + 1) / 2 spans that are one token apart.
  spans_r = np.minimum(share_out(spans_b, places_r, rows_r, keys_b, _SPANS), (sizes_r + 1) // 2)
  spread_r = np.maximum(spans_r, 1)
  short_b = (noise_b > sum_by_row(_room(spans_r, sizes_r), rows_r, batch)) & (
    noise_b >= sum_by_row(spread_r, rows_r, batch)
  )
  spans_r = np.where(short_b[rows_r], spread_r, spans_r)
  room_r = _room(spans_r, sizes_r)
  noise_b = np.minimum(noise_b, sum_by_row(room_r, rows_r, batch))
  # By spans and not by tokens, so that spans have the mean length in every run; what does not fit goes to other runs.
  noise_r = np.minimum(share_out(noise_b, spans_r, rows_r, keys_b, _NOISE), room_r)
  missing_b = noise_b - sum_by_row(noise_r, rows_r, batch)
  if missing_b.any():
    noise_r += share_out(missing_b, room_r - noise_r, rows_r, keys_b, _SLACK)
  keys_r, counters_r = keys_b[rows_r], 3 * runs.columns_r  # a run of n tokens draws at most n + 2 numbers
  lengths = random_compositions(noise_r, spans_r, keys_r, counters_r, _LENGTHS)
  gaps = gaps_between(sizes_r - noise_r, spans_r, np.ones_like(spans_r), keys_r, counters_r)
  return span_flags(runs, *interleave_spans(gaps, lengths, spans_r))


def _room(spans_r: np.ndarray, sizes_r: np.ndarray) -> np.ndarray:
  """Returns the maximum number of noise tokens of `spans_r` spans in each run."""
  return np.where(spans_r > 0, sizes_r - spans_r + 1, 0)


def suffix_spans(runs: TokenRuns, noise_b: np.ndarray, keys_b: np.ndarray) -> SpanPositions:
  """Makes the ends of runs noise, `noise_b` tokens of each row in total."""
  noise_r = share_out(noise_b, runs.sizes_r, runs.rows_r, keys_b, _NOISE)
  # The place of each corruptible token in its run.
  item = np.arange(runs.sizes_r.sum()) - np.repeat(np.cumsum(runs.sizes_r) - runs.sizes_r, runs.sizes_r)
  starts = np.repeat(runs.sizes_r - noise_r, runs.sizes_r)
  return span_flags(runs, item >= starts, item == starts)
