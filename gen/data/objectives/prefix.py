"""Prefix language model: reads the beginning of a document, predicts its continuation (arXiv:1910.10683, 3.2.1).

A decoder reads prefix and continuation as one text, with loss on the continuation only; `prefix_bt` marks the prefix,
which is visible to the whole document. An encoder-decoder reads the prefix as its source.
B rows, N raw tokens, T positions.
"""

import numpy as np

from gen.batch import Batch
from gen.data.objectives import causal, counter_rng
from gen.data.objectives.objective import (
  Objective,
  RowLengths,
  emit_tokens,
  segment_positions,
  segment_starts,
  translation_batch,
)
from gen.data.objectives.specials import NONE, Specials
from gen.errors import UserError

# A recurrent network reads from left to right only, and an encoder predicts no continuation.
FAMILIES = ("decoder", "encoder_decoder")
_CUT = 0  # stream of random numbers


def row_lengths(length: int, family: str = "decoder") -> RowLengths:
  """Returns the sizes of a row.

  Raises:
    UserError: for a family that cannot read a prefix.
  """
  if family not in FAMILIES:
    raise UserError(f"objective 'prefix' is not for family {family!r}; choose {' or '.join(FAMILIES)}")
  return causal.row_lengths(length) if family == "decoder" else RowLengths(length, length, length)


class Prefix(Objective):
  """Cuts each document at a uniformly random position, with at least one token on each side."""

  families = FAMILIES

  def __init__(self, specials: Specials, length: int, family: str = "decoder", start: int | None = None):
    super().__init__(specials, row_lengths(length, family))
    self.start = specials.pad if start is None else start
    self.causal = causal.Causal(specials, length) if family == "decoder" else None

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Cuts the documents of each row; a document of one token is all prefix."""
    continues_bn = (segments_bn > 0) & ~draw_prefixes(segments_bn, keys_b)
    if self.causal is not None:
      batch = self.causal.corrupt(tokens_bn, segments_bn, keys_b)
      # Position t predicts token t + 1, so the weight is that of the next token: the prefix's last position has loss.
      batch = batch._replace(weights_bt=batch.weights_bt * continues_bn[:, 1:])
      return batch._replace(prefix_bt=prefix_positions(batch).astype(np.int32))
    prefix_bn = (segments_bn > 0) & ~continues_bn
    pad = self.specials.pad
    source = emit_tokens(
      (NONE, np.where(prefix_bn, tokens_bn, NONE), NONE), segments_bn, self.lengths.source, pad
    )
    target = emit_tokens(
      (NONE, np.where(continues_bn, tokens_bn, NONE), NONE), segments_bn, self.lengths.target, pad
    )
    return translation_batch(*source, *target, self.start, pad)


def draw_prefixes(segments_bn: np.ndarray, keys_b: np.ndarray) -> np.ndarray:
  """Marks the tokens before a uniformly random cut in each document."""
  rows, columns = np.nonzero(segment_starts(segments_bn))
  ends = np.append(columns[1:], 0)
  sizes = np.where(np.append(rows[1:], -1) == rows, ends, segments_bn.shape[1]) - columns
  # From 1 to size - 1: one token at least to read, and one to predict.
  cuts = 1 + np.floor(counter_rng.random_uniform(keys_b[rows], _CUT, columns) * (sizes - 1)).astype(int)
  return segment_positions(segments_bn) < np.repeat(cuts, sizes).reshape(segments_bn.shape)


def prefix_positions(batch: Batch) -> np.ndarray:
  """Marks the prefix positions of a decoder's batch: no earlier position of their document has loss."""
  bears_bt = np.asarray(batch.weights_bt) > 0
  before_bt: np.ndarray = np.cumsum(bears_bt, axis=1) - bears_bt
  segments_bt = np.asarray(batch.segments_bt)
  # The count where the document begins: what earlier documents predict does not end this one's prefix.
  base_bt = np.maximum.accumulate(np.where(segment_starts(segments_bt), before_bt, 0), axis=1)
  return (before_bt == base_bt) & (segments_bt > 0)
