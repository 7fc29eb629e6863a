"""A function reaches each array of a batch, and no array that the batch lacks."""

import numpy as np

from gen.batch import Batch


def test_a_function_is_applied_to_the_arrays_that_a_batch_has():
  arrays = [np.full((2, 3), number) for number in range(5)]
  batch = Batch(*arrays, prefix_bt=np.full((2, 3), 7))
  halves = batch.map_arrays(lambda array: array[:1] * 2)
  assert [array[0, 0] for array in halves[:5]] == [0, 2, 4, 6, 8] and halves.prefix_bt.tolist() == [[14] * 3]
  assert halves.source_bs is None and halves.token_types_bt is None
