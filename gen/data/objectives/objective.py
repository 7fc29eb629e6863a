"""The base class of objectives: a pure function of (tokens, rng) that makes rows of fixed shapes.

B rows, N raw tokens of a row, T target positions, S source positions.
"""

import abc
from typing import ClassVar, NamedTuple

import numpy as np

from gen.batch import Batch
from gen.data.objectives import counter_rng
from gen.data.objectives.specials import Specials
from gen.errors import UserError

Emission = tuple[np.ndarray | int, ...]  # ids before, at and after each raw token


class RowLengths(NamedTuple):
  """Sizes of one row: raw tokens, and source and target positions; source is 0 without an encoder."""

  raw: int
  source: int
  target: int


class Objective(abc.ABC):
  """Converts raw tokens into a model's inputs and targets.

  A row may hold several documents, separated by segment ids. Spans never cross documents, and source and target
  positions inherit the segment of their raw token.

  Attributes:
    families: model families that can be trained with it.
    lengths: raw tokens, source positions and target positions per row.
    copies: number of fixed corruptions of a row: epoch e uses number e mod copies; 0 draws a new one each epoch.
  """

  families: ClassVar[tuple[str, ...]]
  copies: int = 0

  def __init__(self, specials: Specials, lengths: RowLengths):
    self.specials = specials
    self.lengths = lengths

  def keys(self, seed: int, epoch: int | np.ndarray, rows: int | np.ndarray) -> np.ndarray:
    """Returns the random keys of rows, to be passed as `rng`; a static objective ignores the epoch."""
    # A function of seed, epoch and row alone, so a resumed run and another number of devices give the same batches.
    return counter_rng.row_keys(seed, np.asarray(epoch) % self.copies if self.copies else epoch, rows)

  def __call__(
    self,
    tokens: np.ndarray,
    rng: np.random.Generator | np.ndarray,
    segments: np.ndarray | None = None,
  ) -> Batch:
    """Makes a batch; all leading axes of `tokens` (none, rows, or steps and rows) are preserved.

    Args:
      tokens: raw token ids, at most `lengths.raw` a row; fewer are padded.
      rng: a generator, which draws one number per row, or the rows' `keys`.
      segments: the document of each token, from 1; 0 is padding, which ends a row. None means one document per
        row.

    Raises:
      UserError: for a row that is too long, or an id outside the vocabulary.
    """
    tokens = np.asarray(tokens)
    rows = tokens.shape[:-1]
    tokens_bn = self._checked(tokens.reshape(-1, tokens.shape[-1]))
    if segments is None:
      # One document in each row; padding is no part of it.
      segments_bn = (tokens_bn != self.specials.pad).astype(np.int32)
    else:
      segments_bn = pad_right(np.asarray(segments).reshape(-1, tokens.shape[-1]), self.lengths.raw, 0)
    keys_b = counter_rng.derive_keys(rng, rows).reshape(-1)
    batch = self.corrupt(tokens_bn, segments_bn, keys_b)
    return batch.map_arrays(lambda array: array.reshape(*rows, array.shape[-1]))

  @abc.abstractmethod
  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Makes a batch of rows of exactly `lengths.raw` int32 tokens."""

  def _checked(self, tokens_bn: np.ndarray) -> np.ndarray:
    if tokens_bn.shape[1] > self.lengths.raw:
      raise UserError(
        f"a row has {tokens_bn.shape[1]} raw tokens, but the objective reads {self.lengths.raw}; cut the row"
      )
    if tokens_bn.size and not (tokens_bn.min() >= 0 and tokens_bn.max() < self.specials.vocab):
      raise UserError(
        f"a token id is outside the vocabulary of {self.specials.vocab}; use the tokenizer that made the ids"
      )
    return pad_right(tokens_bn, self.lengths.raw, self.specials.pad)


def pad_right(ids_bn: np.ndarray, length: int, fill: int) -> np.ndarray:
  """Returns rows of `length`, int32, padded on the right."""
  if ids_bn.shape[1] == length:
    return ids_bn.astype(np.int32, copy=False)
  wide_bn = np.full((ids_bn.shape[0], length), fill, np.int32)
  wide_bn[:, : ids_bn.shape[1]] = ids_bn
  return wide_bn


def segment_starts(segments_bn: np.ndarray) -> np.ndarray:
  """Marks the first position of each segment, and of padding."""
  starts_bn = np.ones(segments_bn.shape, bool)
  np.not_equal(segments_bn[:, 1:], segments_bn[:, :-1], out=starts_bn[:, 1:])
  return starts_bn


def segment_positions(segments_bn: np.ndarray) -> np.ndarray:
  """Returns positions, counted from 0 inside each segment; 0 in padding."""
  index_n = np.arange(segments_bn.shape[1], dtype=np.int32)
  # A running maximum of the starts gives each position the start of its own segment.
  begins_bn = np.maximum.accumulate(np.where(segment_starts(segments_bn), index_n, 0), axis=1)
  return np.where(segments_bn > 0, index_n - begins_bn, 0).astype(np.int32)


def shift_right(targets_bt: np.ndarray, segments_bt: np.ndarray, start: int, pad: int) -> np.ndarray:
  """Returns decoder inputs: targets shifted right, with `start` where a segment begins."""
  inputs_bt = np.full_like(targets_bt, start)
  # The last token of the document before would otherwise be the first input of the next one.
  inputs_bt[:, 1:] = np.where(segment_starts(segments_bt)[:, 1:], start, targets_bt[:, :-1])
  return np.where(segments_bt > 0, inputs_bt, pad)


def translation_batch(
  source_bs: np.ndarray,
  source_segments_bs: np.ndarray,
  targets_bt: np.ndarray,
  segments_bt: np.ndarray,
  start: int,
  pad: int,
) -> Batch:
  """Returns an encoder-decoder's batch in which every target has weight 1."""
  return Batch(
    inputs_bt=shift_right(targets_bt, segments_bt, start, pad),
    targets_bt=targets_bt,
    weights_bt=(segments_bt > 0).astype(np.float32),
    segments_bt=segments_bt,
    positions_bt=segment_positions(segments_bt),
    source_bs=source_bs,
    source_segments_bs=source_segments_bs,
    source_positions_bs=segment_positions(source_segments_bs),
  )


def complete_documents(parts: Emission, segments_bn: np.ndarray, length: int) -> np.ndarray:
  """Marks the tokens of a row before the first document that `emit_tokens` could not write completely."""
  counts_bn = np.zeros(segments_bn.shape, int)
  for part in parts:
    counts_bn += np.greater_equal(part, 0)
  ends_bn = np.cumsum(counts_bn, axis=1)
  over_bn = ends_bn > length
  rows_b, columns_b = np.arange(len(over_bn)), np.argmax(over_bn, axis=1)
  if not over_bn.any():
    return np.ones(over_bn.shape, bool)
  # Back to where that document begins: half a document would have targets without their context.
  begins_b = columns_b - segment_positions(segments_bn)[rows_b, columns_b]
  limits_b = np.where(over_bn.any(1), begins_b, over_bn.shape[1])
  return np.arange(over_bn.shape[1]) < limits_b[:, None]


def emit_tokens(
  parts: Emission, segments_bn: np.ndarray, length: int, pad: int
) -> tuple[np.ndarray, np.ndarray]:
  """Writes up to three ids for each raw token (before, at and after it) without gaps; negative ids are skipped.

  Returns:
    The ids and their segments in rows of `length`.
  """
  batch, raw = segments_bn.shape
  # Three slots a token: a sentinel before it, the token, and an end mark after it.
  ids_bnc = np.empty((batch, raw, 3), np.int32)
  for slot, part in enumerate(parts):
    ids_bnc[:, :, slot] = part
  # Flat indices count row, token and slot in reading order, so what is written keeps its order.
  written = np.flatnonzero(ids_bnc >= 0)
  rows, tokens = written // (3 * raw), written // 3
  counts_b = np.bincount(rows, minlength=batch)
  # Written past its row, an id would silently land in the next one, as the indices below are flat.
  assert counts_b.max(initial=0) <= length, "an objective wrote more than its shape holds"
  flat = rows * length + np.arange(written.size) - (np.cumsum(counts_b) - counts_b)[rows]
  out_bt, out_segments_bt = np.full((batch, length), pad, np.int32), np.zeros((batch, length), np.int32)
  out_bt.reshape(-1)[flat] = ids_bnc.reshape(-1)[written]
  out_segments_bt.reshape(-1)[flat] = segments_bn.reshape(-1)[tokens]
  return out_bt, out_segments_bt
