"""The allowed range of each numeric field: one table for runs, and one for the fields of sweeps."""

import math
from typing import NamedTuple

# No run has more FLOPs; the largest published one, Llama 3's 405B, has 3.8e25 (arXiv:2407.21783).
LARGEST = 1e30
LARGEST_SIZE = 2**31 - 1  # XLA's sizes and counters are int32


class Range(NamedTuple):
  """The allowed numbers of a field; an end is allowed unless it is open.

  Attributes:
    low: minimum.
    high: maximum.
    open_low: whether the minimum itself is not allowed.
    open_high: whether the maximum itself is not allowed.
  """

  low: float
  high: float
  open_low: bool = False
  open_high: bool = False

  def holds(self, value: object) -> bool:
    """Returns whether a value is a finite number in the range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
      return False
    low = value > self.low if self.open_low else value >= self.low
    return low and (value < self.high if self.open_high else value <= self.high)

  def says(self, value: object = None) -> str:
    """Returns the range in words, as the end of "it must be ...", for a value that is outside.

    >>> Range(0, 1, open_high=True).says(), Range(1, 9).says(12), Range(0, 9, open_low=True).says(0)
    ('in [0, 1)', 'at most 9', 'greater than 0')
    """
    if (self.low, self.high) == (0, 1):
      ends = {(False, False): "in [0, 1]", (False, True): "in [0, 1)", (True, True): "between 0 and 1"}
      return ends.get((self.open_low, self.open_high), "in (0, 1]")
    if isinstance(value, (int, float)) and value > self.high:
      return f"at most {self.high:,}"
    return f"greater than {self.low:g}" if self.open_low else f"{self.low:g} or more"


SIZE, SIZE_OR_NONE = Range(1, LARGEST_SIZE), Range(0, LARGEST_SIZE)
POSITIVE, NOT_NEGATIVE = Range(0, LARGEST, open_low=True), Range(0, LARGEST)
# Factors of activations, losses and updates: squares and sums stay within float32, whose largest number is 3.4e38.
LARGEST_FACTOR = 1e6
POSITIVE_FACTOR = Range(0, LARGEST_FACTOR, open_low=True)
FACTOR = Range(0, LARGEST_FACTOR)
FRACTION, SHARE = Range(0, 1, open_high=True), Range(0, 1)
# Exponents of the rule of the learning rate, of which those in use lie between -1 and 1. Ten is far beyond, and catches
# a slip of the hand.
EXPONENT = Range(-10, 10)

RUN: dict[str, Range] = {
  "seed": Range(0, 2**32 - 1),
  "steps": SIZE_OR_NONE,
  "tokens": NOT_NEGATIVE,
  "flops": NOT_NEGATIVE,
  "steps_per_dispatch": Range(1, 65_536),  # batches of one dispatch are in memory together
  "log_every": SIZE_OR_NONE,
  "evaluate_every": SIZE_OR_NONE,
  "checkpoint_every": SIZE_OR_NONE,
  "callback_every": SIZE_OR_NONE,
  "checkpoint_seconds": NOT_NEGATIVE,
  "keep_checkpoints": SIZE,
  "model.vocab": SIZE_OR_NONE,
  "model.width": SIZE,
  "model.depth": SIZE,
  "model.decoder_depth": SIZE_OR_NONE,
  "model.decoder_heads": SIZE_OR_NONE,
  "model.decoder_feed_forward": SIZE_OR_NONE,
  "model.head_width": SIZE,
  "model.heads": SIZE_OR_NONE,
  "model.key_value_heads": SIZE_OR_NONE,
  "model.feed_forward": SIZE_OR_NONE,
  "model.context": SIZE_OR_NONE,
  "model.norm_epsilon": POSITIVE_FACTOR,
  "model.relative_buckets": SIZE,
  "model.relative_distance": SIZE,
  "model.rotary_base": POSITIVE,
  "model.rotary_width": SIZE_OR_NONE,
  "model.rotary_factor": POSITIVE,
  "model.rotary_context": SIZE_OR_NONE,
  "model.rotary_low": POSITIVE,
  "model.rotary_high": POSITIVE,
  "model.window": SIZE_OR_NONE,
  "model.global_every": SIZE_OR_NONE,
  "model.window_rotary_base": NOT_NEGATIVE,
  "model.attention_scale": FACTOR,
  "model.token_types": SIZE_OR_NONE,
  "model.position_offset": SIZE_OR_NONE,
  "model.embedding_scale": POSITIVE_FACTOR,
  "model.logits_scale": POSITIVE_FACTOR,
  "model.logits_soft_cap": FACTOR,
  "model.dropout": FRACTION,
  "model.initializer_scale": POSITIVE_FACTOR,
  "model.loss_chunk": SIZE_OR_NONE,
  "model.quantize_group": SIZE_OR_NONE,
  "data.validation_fraction": FRACTION,
  "data.mixture_temperature": NOT_NEGATIVE,
  "data.unique_tokens": Range(0, 2**63 - 1),
  "data.vocab": SIZE,
  "data.length": SIZE,
  "data.batch": SIZE,
  "data.validation_tokens": SIZE,
  "data.max_bytes": NOT_NEGATIVE,
  "optimizer.peak_learning_rate": POSITIVE,
  "optimizer.warmup": FRACTION,
  "optimizer.decay": SHARE,
  "optimizer.final": SHARE,
  "optimizer.beta1": FRACTION,
  "optimizer.beta2": FRACTION,
  "optimizer.epsilon": POSITIVE_FACTOR,
  "optimizer.momentum": FRACTION,
  "optimizer.weight_decay": FACTOR,
  "optimizer.clip": NOT_NEGATIVE,
  "optimizer.microbatches": SIZE,
  "optimizer.z_loss": FACTOR,
  "optimizer.label_smoothing": FRACTION,
  "optimizer.max_skipped_steps": SIZE_OR_NONE,
}

# Resamples and workers are bounded at what one machine can hold: 10^6 draws of five constants, and more processes than
# any node has cores.
SWEEP: dict[str, Range] = {
  "min_steps": SIZE_OR_NONE,
  "max_steps": SIZE_OR_NONE,
  "held_out": NOT_NEGATIVE,
  "rate_width": POSITIVE,
  "rate_width_power": EXPONENT,
  "rate_steps": POSITIVE,
  "rate_steps_power": EXPONENT,
  "rate_batch_power": EXPONENT,
  "bootstraps": Range(0, 1_000_000),
  "workers": Range(0, 4096),
  "criteria.min_points_each_side": NOT_NEGATIVE,
  "criteria.min_r_squared": NOT_NEGATIVE,
  "criteria.min_size_span": NOT_NEGATIVE,
  "criteria.max_exponent_gap": NOT_NEGATIVE,
  "criteria.max_held_out_loss_error": NOT_NEGATIVE,
  "criteria.max_held_out_size_factor": NOT_NEGATIVE,
  "criteria.max_leave_out_shift": NOT_NEGATIVE,
  "criteria.min_exponent": NOT_NEGATIVE,
  "criteria.max_exponent": NOT_NEGATIVE,
  "criteria.min_steps": NOT_NEGATIVE,
  "criteria.confidence": Range(0, 1, open_low=True, open_high=True),
}

EPOCHS = Range(1, 1000, open_low=True)  # of text that is repeated

# Below 1,000 bytes a held-out text has a dozen sentences, and its bits per byte say nothing.
COMPARISON: dict[str, Range] = {
  "held_out_bytes": Range(1000, LARGEST_SIZE),
  "max_overlap": SHARE,
  "confidence": Range(0, 1, open_low=True, open_high=True),
}

DOMAIN: dict[str, Range] = {
  **COMPARISON,
  "domain_share": Range(0, 1, open_low=True, open_high=True),
  "adaptation_rate": POSITIVE,
  "task_examples": SIZE,
  "task_seeds": SIZE_OR_NONE,
}

# Chosen bounds of near_duplicates: within them the pairs stay few enough to be compared, and the signatures small.
# Seeds are uint32, as elsewhere.
CURATION: dict[str, Range] = {
  "max_bytes": NOT_NEGATIVE,
  "language.min_score": SHARE,
  "gopher_quality.min_words": SIZE_OR_NONE,
  "gopher_quality.max_words": SIZE,
  "gopher_quality.min_mean_word": NOT_NEGATIVE,
  "gopher_quality.max_mean_word": POSITIVE,
  "gopher_quality.max_symbols": NOT_NEGATIVE,
  "gopher_quality.max_bullets": SHARE,
  "gopher_quality.max_ellipses": SHARE,
  "gopher_quality.min_alphabetic": SHARE,
  "gopher_quality.min_stop_words": SIZE_OR_NONE,
  "gopher_repetition.lines": SHARE,
  "gopher_repetition.paragraphs": SHARE,
  "gopher_repetition.line_characters": SHARE,
  "gopher_repetition.paragraph_characters": SHARE,
  "gopher_repetition.top_ngrams": SHARE,
  "gopher_repetition.ngrams": SHARE,
  "c4.min_words": SIZE_OR_NONE,
  "c4.min_sentences": SIZE_OR_NONE,
  "fineweb.min_punctuated": SHARE,
  "fineweb.max_repeated": SHARE,
  "fineweb.max_short": SHARE,
  "fineweb.short_line": SIZE_OR_NONE,
  "documents.copies": SIZE,
  "documents.min_words": SIZE_OR_NONE,
  "documents.min_left": SIZE_OR_NONE,
  "paragraphs.copies": SIZE,
  "paragraphs.min_words": SIZE_OR_NONE,
  "paragraphs.min_left": SIZE_OR_NONE,
  "lines.copies": SIZE,
  "lines.min_words": SIZE_OR_NONE,
  "lines.min_left": SIZE_OR_NONE,
  "near_duplicates.threshold": Range(0.1, 1),
  "near_duplicates.ngram": Range(1, 100),
  "near_duplicates.permutations": Range(16, 1024),
  "near_duplicates.max_miss": Range(0, 1, open_low=True, open_high=True),
  "near_duplicates.seed": Range(0, 2**32 - 1),
  "harmful.min_severity": NOT_NEGATIVE,
  "harmful.max_score": NOT_NEGATIVE,
  "harmful.min_terms": SIZE,
  "harmful_model.max_score": SHARE,
  "quality.min_score": SHARE,
  "quality.keep": Range(0, 1, open_low=True),
  "perplexity.min_bits": NOT_NEGATIVE,
  "perplexity.max_bits": NOT_NEGATIVE,
  "perplexity.keep": Range(0, 1, open_low=True),
  "contamination.ngram": Range(1, 100),
  "contamination.min_ngram": Range(1, 100),
  "contamination.max_shared": SIZE_OR_NONE,
  "budget.bytes": NOT_NEGATIVE,
  "budget.tokens": NOT_NEGATIVE,
  "budget.seed": Range(0, 2**32 - 1),
}
