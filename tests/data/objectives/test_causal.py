import numpy as np

from gen.data.objectives import make_objective
from tests.data.objectives import rows


def test_each_token_predicts_the_next_of_its_document_only():
  objective = make_objective("causal", rows.SPECIALS, 7)
  tokens_n = np.array([9, 1, 3, 5, 6, 1, 3, 8])
  batch = objective(tokens_n, np.random.default_rng(0), np.array([1, 1, 2, 2, 2, 2, 3, 3]))
  np.testing.assert_array_equal(batch.inputs_bt, [9, 1, 3, 5, 6, 1, 3])
  np.testing.assert_array_equal(batch.targets_bt, [1, 0, 5, 6, 1, 0, 8])
  np.testing.assert_array_equal(batch.weights_bt, [1, 0, 1, 1, 1, 0, 1])
  np.testing.assert_array_equal(batch.positions_bt, [0, 1, 0, 1, 2, 3, 0])


def test_without_segments_a_row_is_one_document_and_padding_bears_nothing():
  batch = make_objective("causal", rows.SPECIALS, 6)(np.array([3, 5, 6, 0]), np.random.default_rng(0))
  np.testing.assert_array_equal(batch.targets_bt, [5, 6, 0, 0, 0, 0])
  np.testing.assert_array_equal(batch.segments_bt, [1, 1, 1, 0, 0, 0])
  assert batch.weights_bt.sum() == 2
