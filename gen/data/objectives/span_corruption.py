"""Span corruption: spans of a text become sentinels, and the target holds the spans (T5, arXiv:1910.10683, 3.1.4).

    text    Thank you for inviting me to your party last week .
    source  Thank you <0> me to your party <1> week . <eos>
    target  <0> for inviting <1> last <eos>

Of n tokens m = round(rate n) are noise, in k = round(m / mean) spans: n - m + k + 1 source and m + k + 1 target
positions. Each document of a row starts again at sentinel 0, and its target ends in eos. A row of several documents
therefore has a few spans fewer, so that both shapes hold. If a row consists of documents of about three tokens, those
at its end that do not fit completely are dropped.
B rows, N raw tokens, S source positions, T target positions.
"""

import numpy as np

from gen.batch import Batch
from gen.data.objectives import spans
from gen.data.objectives.objective import (
  Emission,
  Objective,
  RowLengths,
  complete_documents,
  emit_tokens,
  segment_starts,
  translation_batch,
)
from gen.data.objectives.specials import NONE, Specials
from gen.errors import UserError

NO_LIMIT = 2**30  # spans: no bound
NoiseCounts = tuple[np.ndarray, np.ndarray]


def noise_counts(
  raw: np.ndarray | int, rate: np.ndarray | float, mean: np.ndarray | float, max_spans: int = NO_LIMIT
) -> NoiseCounts:
  """Returns (noise tokens, spans) of texts of `raw` tokens, by T5's rule; elementwise.

  An infinite mean gives a single span; `max_spans` merges spans into longer ones.
  """
  raw = np.asarray(raw)
  # At least one noise token and at least one that stays, as in T5's random_spans_noise_mask.
  noise = np.minimum(np.maximum(np.rint(raw * rate), 1), np.maximum(raw - 1, 0))
  count = np.minimum(np.maximum(np.rint(noise / mean), 1), max_spans)
  return noise.astype(int), np.minimum(count, np.minimum(noise, raw - noise)).astype(int)


def row_lengths(
  length: int, rate: float = 0.15, mean_span: float = 3.0, max_spans: int = NO_LIMIT, extra: int = 0
) -> RowLengths:
  """Returns the raw tokens that fill an encoder input of `length`, and their target positions.

  Args:
    length: source positions.
    rate: noise tokens as a fraction of the raw tokens.
    mean_span: noise tokens per span.
    max_spans: maximum number of spans.
    extra: source positions reserved for other ids.

  Raises:
    UserError: for invalid parameters, or a length too small for one span.

  >>> row_lengths(512)
  RowLengths(raw=568, source=512, target=114)
  """
  if not 0 < rate < 1 or mean_span < 1:
    raise UserError(
      f"span corruption needs a rate in (0, 1) and a mean span of at least 1, not {rate} and {mean_span}"
    )
  # All candidates at once: the rounding of both counts has no closed inverse.
  # The source keeps about (1 - rate) of the raw tokens, so no more than that many can fit.
  raw = np.arange(2, int((length + 2) / (1 - rate)) + 3)
  noise, count = noise_counts(raw, rate, mean_span, max_spans)
  fits = np.flatnonzero(raw - noise + count + 1 + extra <= length)
  if not fits.size:
    raise UserError(f"a length of {length} is too small for span corruption; use at least {3 + extra}")
  # The most raw tokens: a row with fewer would leave padding in every source. T5 packs 568 into 512 at 15 %.
  best = fits[-1]
  return RowLengths(int(raw[best]), length, int(noise[best] + count[best] + 1))


class SpanCorruption(Objective):
  """T5's objective; the decoder starts each document with `start`, by default pad as in T5.

  Raises:
    UserError: if a row needs more spans than there are sentinels, unless `merge` allows longer spans instead.
  """

  families = ("encoder_decoder",)

  def __init__(
    self,
    specials: Specials,
    length: int,
    # T5's defaults (arXiv:1910.10683, section 3.3.4).
    rate: float = 0.15,
    mean_span: float = 3.0,
    start: int | None = None,
    merge: bool = False,
  ):
    specials.require("span_corruption", "eos", "sentinels")
    num_sentinels = len(specials.sentinels)
    super().__init__(specials, row_lengths(length, rate, mean_span, num_sentinels if merge else NO_LIMIT))
    needed = int(noise_counts(self.lengths.raw, rate, mean_span)[1])
    if needed > num_sentinels and not merge:
      raise UserError(
        f"span corruption of length {length} needs {needed} spans, but the tokenizer has {num_sentinels} sentinels;"
        " use shorter rows or a longer mean span, or set merge"
      )
    self.rate, self.mean_span = rate, mean_span
    self.start = specials.pad if start is None else start

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Replaces spans by sentinels."""
    runs = spans.find_token_runs(tokens_bn, segments_bn, self.specials.corruptible_v)
    counts = noise_counts((segments_bn > 0).sum(1), self.rate, self.mean_span, len(self.specials.sentinels))
    # A row cut inside a document still ends in eos, so that source and target have the form of complete ones.
    eos_b = lacks_eos(tokens_bn, segments_bn, self.specials.eos)
    noise_b, spans_b = fit_counts(counts, (segments_bn > 0).sum(1) + eos_b, runs.documents_b, self.lengths)
    places = spans.random_spans(runs, noise_b, spans_b, keys_b)
    return spell_out(tokens_bn, segments_bn, places, self.specials, self.lengths, self.start)


def lacks_eos(tokens_bn: np.ndarray, segments_bn: np.ndarray, eos: int) -> np.ndarray:
  """Returns which rows end inside a document, so that eos must be added."""
  last_b = np.maximum((segments_bn > 0).sum(1) - 1, 0)
  rows_b = np.arange(len(tokens_bn))
  return (segments_bn[rows_b, last_b] > 0) & (tokens_bn[rows_b, last_b] != eos)


def count_documents(segments_bn: np.ndarray) -> np.ndarray:
  """Returns the number of documents in each row."""
  return (segment_starts(segments_bn) & (segments_bn > 0)).sum(1)


def fit_counts(
  counts: NoiseCounts, whole_b: np.ndarray, documents_b: np.ndarray, lengths: RowLengths
) -> NoiseCounts:
  """Returns noise and spans that fit both shapes.

  Args:
    counts: desired noise tokens and spans.
    whole_b: source positions without any noise.
    documents_b: documents of each row, each of which may need an eos in the target.
    lengths: the shapes.
  """
  noise_b, spans_b = counts
  over_source_b = np.maximum(whole_b - noise_b + spans_b - lengths.source, 0)
  over_target_b = np.maximum(noise_b + spans_b + np.minimum(documents_b, spans_b) - lengths.target, 0)
  # One span fewer saves a position on both sides; one more noise token moves one from source to target.
  fewer_b = (over_source_b + over_target_b + 1) // 2
  more_b = np.clip(0, over_source_b - fewer_b, fewer_b - over_target_b)
  # One span stays where there was one, or the row would have no loss.
  spans_b = np.maximum(spans_b - fewer_b, np.minimum(spans_b, 1))
  return np.maximum(noise_b + more_b, spans_b), spans_b


def spell_out(
  tokens_bn: np.ndarray,
  segments_bn: np.ndarray,
  places: spans.SpanPositions,
  specials: Specials,
  lengths: RowLengths,
  start: int,
  modes_b: np.ndarray | None = None,
) -> Batch:
  """Returns the batch of rows with known noise; `modes_b` is the first source id of each document."""
  noise_bn, begins_bn = places
  pad, eos = specials.pad, specials.eos
  before_bn = np.cumsum(begins_bn, axis=1)
  first_bn = segment_starts(segments_bn)
  # Spans are numbered from 1 in each document: less the number of those before the document's first token.
  index_bn = before_bn - np.maximum.accumulate(np.where(first_bn, before_bn - begins_bn, 0), axis=1)
  # Index 0 is no sentinel, as spans count from 1.
  sentinels = np.array((NONE, *specials.sentinels), np.int32)
  sentinel_bn = sentinels[np.where(begins_bn, index_bn, 0)]
  kept_bn = np.where(noise_bn | (segments_bn == 0), NONE, tokens_bn)
  mode_bn = NONE if modes_b is None else np.where(first_bn & (segments_bn > 0), modes_b[:, None], NONE)
  last_bn = _last(segments_bn > 0) & lacks_eos(tokens_bn, segments_bn, eos)[:, None]
  # Before, at and after each raw token; NONE writes nothing.
  source: Emission = (mode_bn, np.where(begins_bn, sentinel_bn, kept_bn), np.where(last_bn, eos, NONE))
  end_bn = np.where(_last_noise(noise_bn, segments_bn), eos, NONE)
  target: Emission = (sentinel_bn, np.where(noise_bn, tokens_bn, NONE), end_bn)
  fits_bn = complete_documents(source, segments_bn, lengths.source) & complete_documents(
    target, segments_bn, lengths.target
  )
  if not fits_bn.all():
    source, target = (tuple(np.where(fits_bn, part, NONE) for part in side) for side in (source, target))
  written = (
    emit_tokens(source, segments_bn, lengths.source, pad),
    emit_tokens(target, segments_bn, lengths.target, pad),
  )
  return translation_batch(*written[0], *written[1], start, pad)


def _last(filled_bn: np.ndarray) -> np.ndarray:
  """Marks the last filled position of each row."""
  last_bn = filled_bn.copy()
  last_bn[:, :-1] &= ~filled_bn[:, 1:]
  return last_bn


def _last_noise(noise_bn: np.ndarray, segments_bn: np.ndarray) -> np.ndarray:
  """Marks the last noise token of each document."""
  rows, columns = np.nonzero(noise_bn)
  segments = segments_bn[rows, columns]
  is_last = np.ones(rows.size, bool)
  is_last[:-1] = (rows[1:] != rows[:-1]) | (segments[1:] != segments[:-1])
  last_bn = np.zeros(noise_bn.shape, bool)
  last_bn[rows[is_last], columns[is_last]] = True
  return last_bn
