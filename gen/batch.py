"""The type of a batch, the interface between data and models.

B rows, T positions of the sequence with the loss, S positions of an encoder's source.
"""

from typing import Any, NamedTuple


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

  inputs_bt: Any
  targets_bt: Any
  weights_bt: Any
  segments_bt: Any
  positions_bt: Any
  source_bs: Any = None
  source_segments_bs: Any = None
  source_positions_bs: Any = None
  token_types_bt: Any = None
  prefix_bt: Any = None
