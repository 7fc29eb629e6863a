"""The batch, the interface between data and models.

B rows, T positions of the sequence with the loss, S positions of an encoder's source.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:  # importing gen imports no jax
  from jax import Array

BatchArray: TypeAlias = "np.ndarray | Array"


class Batch(NamedTuple):
  """Packed rows; numpy arrays from the data pipeline, jax arrays inside a step.

  Segments number the documents of a row from 1; 0 is padding. A segment is contiguous, and attention never crosses
  segments. Positions count from 0 inside a segment. Models with relative positions only (T5, ALiBi) may use column
  indices instead.

  Attributes:
    inputs_bt: input token ids, int32.
    targets_bt: target token id of each position, int32.
    weights_bt: 1 where a position has loss, 0 elsewhere, float32.
    segments_bt: segment of each position, int32.
    positions_bt: position inside the segment, int32.
    source_bs: input token ids of the encoder (encoder-decoder only), int32.
    source_segments_bs: their segments; a target attends to sources of its own segment.
    source_positions_bs: their positions.
    token_types_bt: BERT's sentence A or B (encoder only), int32.
    prefix_bt: 1 in the prefix of a segment, which is visible to the whole segment (decoder only), int32; None means
      no prefix, which compiles to purely causal attention.
  """

  inputs_bt: BatchArray
  targets_bt: BatchArray
  weights_bt: BatchArray
  segments_bt: BatchArray
  positions_bt: BatchArray
  source_bs: "BatchArray | None" = None
  source_segments_bs: "BatchArray | None" = None
  source_positions_bs: "BatchArray | None" = None
  token_types_bt: "BatchArray | None" = None
  prefix_bt: "BatchArray | None" = None

  def map_arrays(self, function: Callable[[Any], Any]) -> "Batch":
    """Returns the batch with a function applied to each array that it has.

    >>> Batch(*(np.ones((2, 3)) for _ in range(5))).map_arrays(np.sum).inputs_bt.item()
    6.0
    """
    return Batch._make(None if array is None else function(array) for array in self)
