"""Examples as rows of token ids, and rows as batches.

B rows, T positions of the row with the loss, S positions of an encoder's source, K targets of a complete row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.batch import Batch
from gen.finetuning import length_batches


class EncodedRow(NamedTuple):
  """One row of model input; an example may have several, its windows.

  Attributes:
    owner: index of the example.
    inputs: ids of the text, or of an encoder-decoder's target.
    targets: one per id, or those of the complete row: a class, a number of regression (a float), or the first and the
      last token of an answer.
    weights: of the loss of each target.
    types: BERT's sentence A or B of each id; empty for none.
    source: ids of an encoder-decoder's source.
    prefix: number of first ids with bidirectional attention (decoder).
    segments: number of the text of each id, from 1, in a row of several; empty for one text.
  """

  owner: int
  inputs: Sequence[int]
  targets: Sequence[float]
  weights: Sequence[float]
  types: Sequence[int] = ()
  source: Sequence[int] = ()
  prefix: int = 0
  segments: Sequence[int] = ()

  @property
  def length(self) -> int:
    """Tokens by which rows are sorted: of a source and a target those of the longer one."""
    return max(len(self.source), len(self.inputs))


class PaddedShape(NamedTuple):
  """The shape of a batch's rows.

  Attributes:
    length: T.
    source: S, or 0.
    targets: K, or 0 if each position has a target.
    types: whether rows have token types.
    prefix: whether rows have a prefix.
  """

  length: int
  source: int = 0
  targets: int = 0
  types: bool = False
  prefix: bool = False


def padded_shapes(rows: Sequence[EncodedRow], lengths: Sequence[int], targets: int) -> list[PaddedShape]:
  """Returns the shape of the rows of each padded length.

  Args:
    rows: all rows.
    lengths: the padded lengths, ascending.
    targets: K, or 0 if each position has a target.
  """
  types, prefix = any(row.types for row in rows), any(row.prefix for row in rows)
  if not any(row.source for row in rows):
    return [PaddedShape(length, 0, targets, types, prefix) for length in lengths]
  # What is left over of a length joins a longer one, which must hold it.
  target, source, shapes = 0, 0, []
  for below, length in zip((0, *lengths), lengths, strict=False):
    here = [row for row in rows if below < row.length <= length]
    # Running maxima: a batch of longer rows may hold those that were left over of shorter ones.
    target = max(target, *(len(row.inputs) for row in here), 0)
    source = max(source, *(len(row.source) for row in here), 0)
    shapes.append(PaddedShape(length_batches.round_up(target), length_batches.round_up(source), targets))
  return shapes


def stack_rows(rows: Sequence[EncodedRow], batch: int, shape: PaddedShape) -> Batch:
  """Returns the batch of some rows, filled up to `batch` rows by padding without loss."""
  size = shape.targets or shape.length
  inputs_bt, segments_bt, positions_bt = np.zeros((3, batch, shape.length), np.int32)
  types_bt = np.zeros((batch, shape.length), np.int32) if shape.types else None
  prefix_bt = np.zeros((batch, shape.length), np.int32) if shape.prefix else None
  is_number = isinstance(rows[0].targets[0], float)
  targets_bk = np.zeros((batch, size), np.float32 if is_number else np.int32)
  weights_bk = np.zeros((batch, size), np.float32)
  positions_bt[:] = np.arange(shape.length)
  for b, row in enumerate(rows):
    tokens = len(row.inputs)
    # Padding keeps segment 0, which attention and losses skip.
    inputs_bt[b, :tokens], segments_bt[b, :tokens] = row.inputs, row.segments or 1
    targets_bk[b, : len(row.targets)], weights_bk[b, : len(row.targets)] = row.targets, row.weights
    if row.segments:
      positions_bt[b, :tokens] = _positions(np.asarray(row.segments))
    if types_bt is not None and row.types:
      types_bt[b, :tokens] = row.types
    if prefix_bt is not None:
      prefix_bt[b, : row.prefix] = 1
  ids_bs = parts_bs = places_bs = None
  if shape.source:
    ids_bs, parts_bs, places_bs = _stacked_source(rows, batch, shape.source)
  return Batch(
    inputs_bt,
    targets_bk,
    weights_bk,
    segments_bt,
    positions_bt,
    ids_bs,
    parts_bs,
    places_bs,
    types_bt,
    prefix_bt,
  )


def _positions(segments_t: np.ndarray) -> np.ndarray:
  """Returns the position of each token inside its segment."""
  starts_t = np.concatenate([[True], segments_t[1:] != segments_t[:-1]])
  places_t = np.arange(len(segments_t))
  return places_t - np.maximum.accumulate(np.where(starts_t, places_t, 0))


def _stacked_source(
  rows: Sequence[EncodedRow], batch: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  source_bs, segments_bs = np.zeros((2, batch, length), np.int32)
  for b, row in enumerate(rows):
    source_bs[b, : len(row.source)], segments_bs[b, : len(row.source)] = row.source, 1
  return source_bs, segments_bs, np.broadcast_to(np.arange(length, dtype=np.int32), source_bs.shape)
