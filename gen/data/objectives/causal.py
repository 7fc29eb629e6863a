"""Next-token prediction: every token from those before it in its document (GPT). B rows, N raw tokens, T = N - 1."""

import numpy as np

from gen.batch import Batch
from gen.data.objectives.objective import Objective, RowLengths, segment_positions
from gen.data.objectives.specials import Specials


def row_lengths(length: int) -> RowLengths:
  """Returns the sizes of a row: one raw token more than positions, for the last target."""
  return RowLengths(length + 1, 0, length)


class Causal(Objective):
  """Predicts the next token; the last token of a document has no target."""

  families = ("decoder", "rnn", "lstm", "gru")

  def __init__(self, specials: Specials, length: int):
    super().__init__(specials, row_lengths(length))

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Shifts by one; uses no random numbers."""
    del keys_b
    # The row's last raw token is a target only.
    segments_bt = np.ascontiguousarray(segments_bn[:, :-1])
    # Across a boundary the next token is of another document, which nothing before it predicts.
    bears_bt = (segments_bt > 0) & (segments_bt == segments_bn[:, 1:])
    return Batch(
      inputs_bt=np.where(segments_bt > 0, tokens_bn[:, :-1], self.specials.pad).astype(np.int32),
      targets_bt=np.where(bears_bt, tokens_bn[:, 1:], self.specials.pad).astype(np.int32),
      weights_bt=bears_bt.astype(np.float32),
      segments_bt=segments_bt,
      positions_bt=segment_positions(segments_bt),
    )
