"""The generation constraints of a checkpoint, as a filter of logits that depends on the text so far.

The order is as in transformers: repetition penalty, repeated n-grams, bad words, minimum length, suppressed ids; a
forced id comes last. B rows, H ids of text so far, V vocab, W windows or words, L ids of a word.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.generation.decoding import sampling
from gen.interop.generation_config import Constraints

EMPTY = -1  # id of columns before a row's text begins
# Matches any id, and differs from EMPTY, which matches no word.
_ANY = -2


class TokenHistory(NamedTuple):
  """The text so far.

  Attributes:
    ids_bh: EMPTY before a row's text begins; undefined from `end` on.
    end: number of valid columns, int32.
  """

  ids_bh: Array
  end: Array


def reads_text(rules: Constraints) -> bool:
  """Returns whether the rules depend on the text, not only on the number of new tokens."""
  # Words of one id are forbidden everywhere, so they need no text.
  longer = any(len(word) > 1 for word in rules.bad_words)
  depends = rules.min_length or rules.no_repeat or rules.repetition_penalty != 1
  return longer or bool(depends) or rules.forced_second is not None


@dataclasses.dataclass(frozen=True)
class ConstraintFilter:
  """The rules for a vocabulary in which some ids end a text.

  Attributes:
    rules: the constraints.
    stops_v: whether an id ends a text, bool [V].
  """

  rules: Constraints
  stops_v: np.ndarray

  def __call__(self, logits_bv: Array, text: TokenHistory | None, number: Array) -> Array:
    """Returns the logits, with -inf for forbidden ids.

    Args:
      logits_bv: of the next token; log-probabilities in beam search.
      text: so far; None only if no rule reads it.
      number: new tokens so far, int32.
    """
    rules, vocab = self.rules, logits_bv.shape[-1]
    if text is not None and reads_text(rules):
      logits_bv = self._by_text(logits_bv, text)
    alone = (word[0] for word in rules.bad_words if len(word) == 1)
    never_v = jnp.asarray(_marks(vocab, (*rules.suppressed, *alone)))
    never_v |= _marks(vocab, rules.suppressed_first) & (number == 0)
    never_v |= self.stops_v & (number < rules.min_new)
    logits_bv = jnp.where(never_v, sampling.EXCLUDED, logits_bv)
    return logits_bv if text is None or rules.forced_second is None else self._forced(logits_bv, text)

  def _forced(self, logits_bv: Array, text: TokenHistory) -> Array:
    """Leaves texts of one token a single id, with probability 1, as transformers' ForcedBOSTokenLogitsProcessor."""
    there_bh = (jnp.arange(text.ids_bh.shape[1]) < text.end) & (text.ids_bh >= 0)
    forced_v = jnp.where(jnp.arange(logits_bv.shape[-1]) == self.rules.forced_second, 0.0, sampling.EXCLUDED)
    return jnp.where(there_bh.sum(1, keepdims=True) == 1, forced_v, logits_bv)

  def _by_text(self, logits_bv: Array, text: TokenHistory) -> Array:
    rules, vocab = self.rules, logits_bv.shape[-1]
    there_bh = (jnp.arange(text.ids_bh.shape[1]) < text.end) & (text.ids_bh >= 0)
    ids_bh = jnp.where(there_bh, text.ids_bh, EMPTY)
    if rules.repetition_penalty != 1:
      seen_bv = _scattered(ids_bh, there_bh, vocab)
      logits_bv = sampling.repetition_penalty(logits_bv, seen_bv, rules.repetition_penalty)
    if rules.no_repeat:
      logits_bv = jnp.where(_repeats(ids_bh, text.end, rules.no_repeat, vocab), sampling.EXCLUDED, logits_bv)
    longer = tuple(word for word in rules.bad_words if len(word) > 1)
    if longer:
      logits_bv = jnp.where(_completed(ids_bh, text.end, longer, vocab), sampling.EXCLUDED, logits_bv)
    early_b1 = there_bh.sum(1, keepdims=True) < rules.min_length
    return jnp.where(early_b1 & self.stops_v, sampling.EXCLUDED, logits_bv)


def _marks(vocab: int, ids: tuple[int, ...]) -> np.ndarray:
  return np.isin(np.arange(vocab), ids)


def _scattered(ids_bn: Array, marks_bn: Array, vocab: int) -> Array:
  """Returns which ids are marked in each row, [B, V]."""
  rows_b1 = jnp.arange(ids_bn.shape[0])[:, None]
  places_bn = jnp.where(marks_bn, ids_bn, vocab)  # out of range, so dropped
  return jnp.zeros((ids_bn.shape[0], vocab), bool).at[rows_b1, places_bn].set(True, mode="drop")


def _last(ids_bh: Array, end: Array, count: int) -> Array:
  """Returns the last ids of each row, EMPTY if it has fewer, [B, count]."""
  # Padded on the left first, so that a slice of `count` ids exists for short texts as well.
  padded = jnp.pad(ids_bh, ((0, 0), (count, 0)), constant_values=EMPTY)
  return jax.lax.dynamic_slice_in_dim(padded, end, count, axis=1)


def _repeats(ids_bh: Array, end: Array, size: int, vocab: int) -> Array:
  """Returns which ids would repeat an n-gram of the row, [B, V]."""
  before = size - 1
  windows = ids_bh.shape[1] - before
  if windows < 1:
    return jnp.zeros((ids_bh.shape[0], vocab), bool)
  # For each window of n - 1 ids, the id that followed it; where the window equals the text's end, that id is excluded.
  next_bw = ids_bh[:, before:]
  match_bw = next_bw >= 0
  last_bn: Any = _last(ids_bh, end, before) if before else None
  for start in range(before):
    here_bw = ids_bh[:, start : start + windows]
    match_bw &= (here_bw >= 0) & (here_bw == last_bn[:, start : start + 1])
  return _scattered(next_bw, match_bw, vocab)


def _completed(ids_bh: Array, end: Array, words: tuple[tuple[int, ...], ...], vocab: int) -> Array:
  """Returns which ids would complete a word, [B, V]."""
  longest = max(map(len, words)) - 1
  # Shorter words are padded on the left by a wildcard, so that all words are compared in one operation.
  begun_wl = np.array([(_ANY,) * (longest - len(word) + 1) + word[:-1] for word in words], np.int32)
  last_bl = _last(ids_bh, end, longest)
  match_bw = ((last_bl[:, None] == begun_wl) | (begun_wl == _ANY)).all(-1)
  ends_bw = jnp.broadcast_to(jnp.array([word[-1] for word in words], jnp.int32), match_bw.shape)
  return _scattered(ends_bw, match_bw, vocab)
