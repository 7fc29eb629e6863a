"""UL2's mixture of denoisers (arXiv:2205.05131): each row is corrupted in one of several ways, named by its mode.

R, regular: short spans, 15 %. X, extreme: long spans or 50 %. S, sequential: the end of a document. The mode's token
begins each document's source. All rows have one shape: raw tokens fill the source of the denoiser that shortens the
least, and the target is long enough for the denoiser with the most target tokens. B rows, N raw tokens, D denoisers.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.batch import Batch
from gen.data.objectives import counter_rng, span_corruption, spans
from gen.data.objectives.objective import Objective, RowLengths
from gen.data.objectives.specials import Specials
from gen.errors import UserError

MODES = "RSX"
_DENOISER = 40  # stream of random numbers


class Denoiser(NamedTuple):
  """One denoiser: its mode (R, S or X), noise fraction, tokens per span, and relative frequency."""

  mode: str
  rate: float
  mean_span: float
  weight: float = 1.0


DENOISERS = (  # the paper's seven, table 1
  Denoiser("R", 0.15, 3),
  Denoiser("R", 0.15, 8),
  Denoiser("S", 0.25, math.inf),
  Denoiser("X", 0.5, 3),
  Denoiser("X", 0.5, 8),
  Denoiser("X", 0.15, 64),
  Denoiser("X", 0.5, 64),
)


# 97: of T5's 100 sentinels three stand for the modes R, S and X.
def row_lengths(length: int, denoisers: Sequence[Denoiser] = DENOISERS, max_spans: int = 97) -> RowLengths:
  """Returns the sizes of a row for an encoder input of `length` with at most `max_spans` spans."""
  if not denoisers or any(d.mode not in MODES or d.weight < 0 for d in denoisers):
    raise UserError(f"UL2 needs denoisers with modes {', '.join(MODES)} and weights of at least 0")
  # One shape for all rows costs padding: rows of heavier denoisers leave a part of their source empty. A shape for each
  # denoiser would compile a step for each.
  raw = min(
    span_corruption.row_lengths(length, d.rate, d.mean_span, max_spans, extra=1).raw for d in denoisers
  )
  counts = [span_corruption.noise_counts(raw, d.rate, d.mean_span, max_spans) for d in denoisers]
  # + 1: the eos of the target.
  return RowLengths(raw, length, max(int(noise + count) + 1 for noise, count in counts))


class Mixture(Objective):
  """Draws a denoiser for each row; spans are longer than their mean if sentinels would run out.

  Args:
    specials: the tokenizer's ids.
    length: source positions of a row.
    modes: ids of R, S and X; default the last three sentinels.
    denoisers: the mixture.
    start: first decoder input of each document; default pad.
  """

  families = ("encoder_decoder",)

  def __init__(
    self,
    specials: Specials,
    length: int,
    modes: tuple[int, int, int] | None = None,
    denoisers: Sequence[Denoiser] = DENOISERS,
    start: int | None = None,
  ):
    specials.require("ul2", "eos", "sentinels")
    # A tokenizer need not have mode tokens of its own; T5's last sentinels are rarely used.
    self.modes = specials.sentinels[-3:] if modes is None else modes
    sentinels = tuple(token for token in specials.sentinels if token not in self.modes)
    if len(self.modes) != 3 or not sentinels:
      raise UserError("UL2 needs three mode tokens in addition to the sentinels of its spans")
    super().__init__(specials, row_lengths(length, denoisers, len(sentinels)))
    self.spelling = dataclasses.replace(specials, sentinels=sentinels)
    self.start = specials.pad if start is None else start
    self.denoisers = tuple(denoisers)
    weights_d = np.array([d.weight for d in denoisers], float)
    # Weights are relative frequencies; equal ones draw each of the seven equally often.
    self.cumulative_d = np.cumsum(weights_d) / weights_d.sum()
    self.rate_d = np.array([d.rate for d in denoisers])
    self.mean_d = np.array([d.mean_span for d in denoisers], float)
    self.mode_d = np.array([self.modes[MODES.index(d.mode)] for d in denoisers], np.int32)
    self.sequential_d = np.array([d.mode == "S" for d in denoisers])

  def choose(self, keys_b: np.ndarray) -> np.ndarray:
    """Returns the index of each row's denoiser."""
    drawn_b = np.searchsorted(
      self.cumulative_d, counter_rng.random_uniform(keys_b, _DENOISER, np.zeros(1, int)), "right"
    )
    # The cumulative sum may end a rounding below 1, and a draw above it would have no denoiser.
    return np.minimum(drawn_b, len(self.denoisers) - 1)

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Corrupts all rows at once, each with the counts of its denoiser."""
    denoiser_b = self.choose(keys_b)
    runs = spans.find_token_runs(tokens_bn, segments_bn, self.specials.corruptible_v)
    real_b = (segments_bn > 0).sum(1)
    counts = span_corruption.noise_counts(
      real_b, self.rate_d[denoiser_b], self.mean_d[denoiser_b], len(self.spelling.sentinels)
    )
    eos_b = span_corruption.lacks_eos(tokens_bn, segments_bn, self.specials.eos)
    modes_b = span_corruption.count_documents(segments_bn)
    fitted = span_corruption.fit_counts(counts, real_b + eos_b + modes_b, runs.documents_b, self.lengths)
    places = spans.random_spans(runs, *fitted, keys_b)
    ends = spans.suffix_spans(runs, counts[0], keys_b)
    sequential_b1 = self.sequential_d[denoiser_b][:, None]
    # Both kinds are made for all rows, and each row takes its own: no loop over rows.
    places = spans.SpanPositions(*(np.where(sequential_b1, s, p) for s, p in zip(ends, places, strict=True)))
    return span_corruption.spell_out(
      tokens_bn,
      segments_bn,
      places,
      self.spelling,
      self.lengths,
      self.start,
      self.mode_d[denoiser_b],
    )
