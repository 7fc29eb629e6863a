"""The type in which data and models meet.

B rows, T positions of the sequence that bears the loss, S positions of an encoder's source.
"""

from typing import Any, NamedTuple


class Batch(NamedTuple):
  """Packed rows; numpy on the way in, jax inside a step.

  Segments number the documents of a row from 1; 0 is padding. No attention crosses a segment, which is one stretch of
  its row. Positions count its places from 0: models that know distances alone (T5's, ALiBi's) may read places instead.

  Attributes:
    inputs_bt: token ids that the model reads, int32.
    targets_bt: token ids that it should predict at each position, int32.
    weights_bt: 1 where the prediction bears loss, 0 elsewhere, float32.
    segments_bt: segment of each position, int32.
    positions_bt: position inside the segment, int32.
    source_bs: token ids that an encoder reads (encoder-decoder only), int32.
    source_segments_bs: their segments; a target attends to sources of its own segment.
    source_positions_bs: their positions.
    token_types_bt: BERT's sentence A or B (encoder only), int32.
    prefix_bt: 1 where a position belongs to the prefix of its segment, which all of the segment sees (decoder only),
      int32; None is no prefix anywhere, which compiles to causal attention alone.
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
