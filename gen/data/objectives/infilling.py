"""Text infilling: spans become one mask each, and the target is the whole text (BART, arXiv:1910.13461).

Span lengths are Poisson; a span of length 0 inserts a mask without removing text. 30 % of the text is masked.
B rows, N raw tokens = S source positions = T target positions, J candidates for spans.
"""

import math

import numpy as np

from gen.batch import Batch
from gen.data.objectives import counter_rng, spans
from gen.data.objectives.objective import Objective, RowLengths, emit_tokens, translation_batch
from gen.data.objectives.sentence_permutation import SentencePermutation
from gen.data.objectives.specials import NONE, Specials
from gen.errors import UserError

_LENGTHS, _INSERTS = 30, 31  # streams of random numbers


def row_lengths(length: int) -> RowLengths:
  """Returns the sizes of a row; the source is shorter than the text, and padded."""
  return RowLengths(length, length, length)


class Infilling(Objective):
  """BART's objective; with `sentence_end_v` sentences are permuted first, as BART's pretraining does.

  Args:
    specials: the tokenizer's ids.
    length: raw tokens of a row.
    rate: masked tokens as a fraction of the text tokens.
    mean_span: mean of the Poisson lengths, tokens.
    start: first decoder input of each document; default eos, as in BART.
    sentence_end_v: for each id, whether a piece of text ends a sentence.
    word_start_v: for each id, whether it begins a word.
  """

  families = ("encoder_decoder",)

  def __init__(
    self,
    specials: Specials,
    length: int,
    rate: float = 0.3,  # of the text; 30 % and Poisson's mean 3 are arXiv:1910.13461, sections 5.1 and 2.2
    mean_span: float = 3.0,
    start: int | None = None,
    sentence_end_v: np.ndarray | None = None,
    word_start_v: np.ndarray | None = None,
  ):
    super().__init__(specials, row_lengths(length))
    specials.require("infilling", "mask", "eos")
    if not 0 < rate < 1 or not 0 < mean_span <= 100:
      raise UserError(
        f"infilling needs a rate in (0, 1) and a mean span in (0, 100], not {rate} and {mean_span}"
      )
    self.rate, self.mean_span = rate, mean_span
    # BART's decoder starts with </s> (decoder_start_token_id 2 in its config).
    self.start = specials.eos if start is None else start
    self.cumulative = poisson_cumulative(mean_span)
    self.permutation = None
    if sentence_end_v is not None:
      self.permutation = SentencePermutation(specials, length, sentence_end_v, word_start_v)

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Masks spans of the source; the target is the text."""
    pad, mask = self.specials.pad, self.specials.mask
    targets_bt = np.where(segments_bn > 0, tokens_bn, pad)
    if self.permutation is not None:
      # After the targets were taken: they hold the sentences in their order.
      tokens_bn = self.permutation.permuted(tokens_bn, segments_bn, keys_b)
    runs = spans.find_token_runs(tokens_bn, segments_bn, self.specials.corruptible_v)
    (noise_bn, begins_bn), empty_b = self._places(runs, keys_b)
    kept_bn = ~noise_bn & (segments_bn > 0)
    # Empty spans lengthen the source, which must stay within its row.
    room_b = self.lengths.source - kept_bn.sum(1) - begins_bn.sum(1)
    inserts_bn = counter_rng.choose_exactly(
      kept_bn & runs.open_bn, np.clip(empty_b, 0, room_b), keys_b, _INSERTS
    )
    here_bn = np.where(begins_bn, mask, np.where(kept_bn, tokens_bn, NONE))
    before_bn = np.where(inserts_bn, mask, NONE)
    source = emit_tokens((before_bn, here_bn, NONE), segments_bn, self.lengths.source, pad)
    return translation_batch(*source, targets_bt, segments_bn, self.start, pad)

  def _places(self, runs: spans.TokenRuns, keys_b: np.ndarray) -> tuple[spans.SpanPositions, np.ndarray]:
    """Returns the masked spans, and the number of empty spans of each row.

    Spans are placed in a row as if it were one text, and cut where a document ends.
    """
    text_b = runs.open_bn.sum(1)
    spans_bj = self.draw(np.rint(self.rate * text_b).astype(int), keys_b)
    hides_bj = spans_bj > 0
    # -1 stands for "no candidate" and 0 for an empty span, which hides nothing but still inserts a mask.
    spans_b, kept_b = hides_bj.sum(1), text_b - np.maximum(spans_bj, 0).sum(1)
    least_b = (kept_b >= spans_b - 1).astype(int)  # one token between two spans, if there are enough
    gaps = spans.gaps_between(kept_b, spans_b, least_b, keys_b, np.zeros_like(kept_b))
    noise, begins = spans.interleave_spans(gaps, spans_bj[hides_bj], spans_b)
    # A span that crosses into the next document is two spans there, each with a mask of its own.
    begins |= noise & runs.begins_bn[runs.open_bn]
    return spans.span_flags(runs, noise, begins), (spans_bj == 0).sum(1)

  def draw(self, hidden_b: np.ndarray, keys_b: np.ndarray) -> np.ndarray:
    """Returns Poisson lengths that sum to `hidden_b`, the last one cut to fit; -1 after it."""
    expected = hidden_b.max(initial=0) / self.mean_span
    # 10 standard deviations more than expected: too few in one of 10^20 rows.
    count = math.ceil(expected + 10 * math.sqrt(expected) + 20)
    drawn_bj = np.searchsorted(
      self.cumulative, counter_rng.random_uniform(keys_b[:, None], _LENGTHS, np.arange(count)), "right"
    )
    before_bj = np.cumsum(drawn_bj, axis=1) - drawn_bj
    left_bj = hidden_b[:, None] - before_bj
    return np.where(left_bj > 0, np.minimum(drawn_bj, left_bj), -1)


def poisson_cumulative(mean: float) -> np.ndarray:
  """Returns the cumulative probabilities of 0, 1, 2, ... for inverting them."""
  # 12 standard deviations beyond the mean: what is cut off is far below float64's resolution.
  counts = range(int(mean + 12 * math.sqrt(mean) + 20))
  logs = [count * math.log(mean) - mean - math.lgamma(count + 1) for count in counts]
  return np.cumsum(np.exp(logs))
