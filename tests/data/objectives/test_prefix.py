import numpy as np
import pytest
import scipy.stats

from gen.data.objectives import make_objective, prefix
from gen.errors import UserError
from tests.data.objectives import rows


def test_loss_is_borne_by_the_continuation_and_attention_may_go_both_ways_in_the_prefix():
  objective = make_objective("prefix", rows.SPECIALS, 40)
  tokens_bn, segments_bn = rows.packed(50, 41, seed=0, mean=15)
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  visible_bt = prefix.prefix_positions(batch)
  bearing = 0
  for row in range(50):
    for segment in np.unique(segments_bn[row, :40][segments_bn[row, :40] > 0]):
      (columns,) = np.nonzero(batch.segments_bt[row] == segment)
      weights = batch.weights_bt[row, columns]
      if weights.any():
        first = int(np.argmax(weights))
        bearing += 1
        # The last position of the prefix predicts the first token after it.
        np.testing.assert_array_equal(visible_bt[row, columns], np.arange(columns.size) <= first)
        np.testing.assert_array_equal(batch.prefix_bt[row, columns], np.arange(columns.size) <= first)
        whole = int((segments_bn[row] == segment).sum())
        assert weights[first:].sum() == whole - 1 - first
  assert bearing > 50
  assert batch.prefix_bt.dtype == np.int32 and not batch.prefix_bt[batch.segments_bt == 0].any()


def test_a_prefix_is_the_tokens_before_the_first_that_bears_loss_as_a_target():
  objective = make_objective("prefix", rows.SPECIALS, 12)
  tokens_bn = np.arange(4, 4 + 70 * 13, dtype=np.int32).reshape(70, 13) % 146 + 4
  batch = objective(tokens_bn, np.random.default_rng(3))
  for row in range(70):
    prefix, given = batch.inputs_bt[row][batch.prefix_bt[row] == 1], batch.weights_bt[row] > 0
    np.testing.assert_array_equal(np.concatenate((prefix, batch.targets_bt[row][given])), tokens_bn[row])


def test_cuts_are_uniform_over_the_places_between_two_tokens():
  batch = make_objective("prefix", rows.SPECIALS, 8)(rows.text((6000, 9)), np.random.default_rng(1))
  cuts = np.argmax(batch.weights_bt, axis=1) + 1
  counts = np.bincount(cuts, minlength=9)
  assert counts[0] == 0 and scipy.stats.chisquare(counts[1:]).pvalue > 1e-3


def test_an_encoder_decoder_reads_the_prefix_and_writes_the_rest():
  tokens_bn, segments_bn = rows.packed(30, 40, seed=1, mean=15)
  batch = make_objective("prefix", rows.SPECIALS, 40, family="encoder_decoder")(
    tokens_bn, np.random.default_rng(0), segments_bn
  )
  for row in range(30):
    for segment in np.unique(segments_bn[row][segments_bn[row] > 0]):
      given = batch.source_bs[row][batch.source_segments_bs[row] == segment]
      target = batch.targets_bt[row][batch.segments_bt[row] == segment]
      inputs = batch.inputs_bt[row][batch.segments_bt[row] == segment]
      whole = tokens_bn[row][segments_bn[row] == segment]
      np.testing.assert_array_equal(np.concatenate((given, target)), whole)
      assert given.size and (target.size or whole.size == 1)
      np.testing.assert_array_equal(inputs, np.concatenate(([rows.SPECIALS.pad], target))[: target.size])


def test_an_encoder_cannot_learn_it():
  with pytest.raises(UserError, match="is not for family 'encoder'"):
    make_objective("prefix", rows.SPECIALS, 8, family="encoder")
