import collections

import numpy as np
import pytest
import scipy.stats

from gen.data.objectives import make_objective
from gen.errors import UserError
from tests.data.objectives import rows

S = rows.SPECIALS


def permute(tokens, segments=None, seed=0, **parameters):
  tokens = np.asarray(tokens)
  objective = make_objective(
    "sentence_permutation", S, tokens.shape[-1], sentence_end_v=rows.SENTENCE_END_V, **parameters
  )
  return objective(tokens, np.random.default_rng(seed), segments)


def test_three_sentences_take_all_six_orders_as_often():
  batch = permute(np.tile([3, 20, 7, 30, 31, 7, 40, 8, 8, 1], (6000, 1)))
  counts = collections.Counter(map(tuple, batch.source_bs.tolist()))
  first, second, third = (20, 7), (30, 31, 7), (40, 8, 8)
  orders = [(first, second, third), (first, third, second), (second, first, third)]
  orders += [(second, third, first), (third, first, second), (third, second, first)]
  assert set(counts) == {(3, *sum(order, ()), 1) for order in orders}
  assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_sentences_stay_in_their_document_and_specials_in_their_places():
  tokens_bn, segments_bn = rows.packed(60, 80, seed=0, mean=30)
  tokens_bn = np.where((tokens_bn >= 9) & (tokens_bn < 40), 7, tokens_bn)
  batch = permute(tokens_bn, segments_bn)
  np.testing.assert_array_equal(batch.targets_bt, tokens_bn)
  np.testing.assert_array_equal(batch.source_segments_bs, segments_bn)
  special_bn = ~S.corruptible_v[tokens_bn]
  np.testing.assert_array_equal(batch.source_bs[special_bn], tokens_bn[special_bn])
  for row in range(60):
    for segment in range(1, segments_bn[row].max() + 1):
      inside = segments_bn[row] == segment
      np.testing.assert_array_equal(np.sort(batch.source_bs[row, inside]), np.sort(tokens_bn[row, inside]))
  assert (batch.source_bs != tokens_bn).any(1).mean() > 0.6


def test_a_full_stop_inside_a_word_ends_no_sentence():
  tokens_bn = np.tile([22, 7, 24, 25, 7, 23], (50, 1))  # 24 begins no word: "3.14"
  kinds = {tuple(row) for row in permute(tokens_bn, word_start_v=rows.WORD_START_V).source_bs.tolist()}
  assert kinds == {(22, 7, 24, 25, 7, 23), (23, 22, 7, 24, 25, 7)}


def test_a_table_of_another_size_is_refused():
  with pytest.raises(UserError, match="sentence ends has 5 ids"):
    make_objective("sentence_permutation", S, 8, sentence_end_v=np.ones(5, bool))
