import numpy as np
import pytest
import scipy.stats

from gen.data.objectives import counter_rng, make_objective, masked
from gen.errors import UserError
from tests.data.objectives import rows

S = rows.SPECIALS


def test_seventy_seven_of_512_are_chosen():
  batch = make_objective("masked", S, 512)(rows.text((40, 512)), np.random.default_rng(0))
  assert (batch.weights_bt.sum(1) == 77).all()


def test_seventy_seven_of_512_are_chosen_with_cls_and_sep_among_them_as_bert_counts():
  tokens_bn = rows.text((20, 512))
  tokens_bn[:, 0], tokens_bn[:, [200, 511]] = S.cls, S.sep
  batch = make_objective("masked", S, 512)(tokens_bn, np.random.default_rng(0))
  assert (batch.weights_bt.sum(1) == 77).all() and not batch.weights_bt[:, [0, 200, 511]].any()


def test_targets_are_the_text_and_only_chosen_places_change():
  tokens_bn, segments_bn = rows.packed(40, 64, seed=0)
  batch = make_objective("masked", S, 64)(tokens_bn, np.random.default_rng(0), segments_bn)
  chosen = batch.weights_bt > 0
  np.testing.assert_array_equal(batch.targets_bt, tokens_bn)
  np.testing.assert_array_equal(batch.inputs_bt[~chosen], tokens_bn[~chosen])
  real_b = (segments_bn > 0).sum(1)
  text_b = ((tokens_bn >= 4) & (tokens_bn < 150)).sum(1)
  expected_b = np.minimum(np.maximum(np.round(0.15 * real_b), 1), text_b)
  np.testing.assert_array_equal(chosen.sum(1), expected_b)


def test_pad_bos_eos_cls_sep_mask_and_sentinels_are_never_chosen():
  rng = np.random.default_rng(0)
  tokens_bn = rng.choice([0, 1, 2, 3, 5, 6, 150, 151, 152, 160, 259], (300, 32)).astype(np.int32)
  batch = make_objective("masked", S, 32, rate=0.9)(tokens_bn, rng, np.ones_like(tokens_bn))
  assert set(tokens_bn[batch.weights_bt > 0]) == {2, 5, 6}


def test_eighty_ten_ten_and_random_pieces_uniform_over_the_text():
  tokens_bn = np.full((1500, 128), 4, np.int32)
  batch = make_objective("masked", S, 128)(tokens_bn, np.random.default_rng(3))
  seen = batch.inputs_bt[batch.weights_bt > 0]
  counts = np.bincount(seen, minlength=260)
  n = seen.size
  assert scipy.stats.binomtest(int(counts[S.mask]), n, 0.8).pvalue > 1e-3
  random = counts[5:150]
  assert scipy.stats.binomtest(int(random.sum()), n, 0.1 * 145 / 146).pvalue > 1e-3
  assert scipy.stats.chisquare(random).pvalue > 1e-3
  assert counts.sum() == counts[S.mask] + counts[4:150].sum()


def test_every_place_is_chosen_as_often():
  batch = make_objective("masked", S, 20)(rows.text((8000, 20)), np.random.default_rng(4))
  assert scipy.stats.chisquare(batch.weights_bt.sum(0)).pvalue > 1e-3


def test_static_masks_are_the_same_each_epoch_and_dynamic_ones_another():
  tokens_bn = rows.text((6, 100))
  static, dynamic = make_objective("masked_static", S, 100), make_objective("masked", S, 100)
  four = make_objective("masked", S, 100, copies=4)

  def inputs(objective, seed, epoch):
    return objective(tokens_bn, objective.keys(seed, epoch, np.arange(6))).inputs_bt

  np.testing.assert_array_equal(inputs(static, 1, 0), inputs(static, 1, 7))
  assert (inputs(static, 1, 0) != inputs(static, 2, 0)).any(1).all()
  np.testing.assert_array_equal(inputs(dynamic, 1, 3), inputs(dynamic, 1, 3))
  assert (inputs(dynamic, 1, 3) != inputs(dynamic, 1, 4)).any(1).all()
  np.testing.assert_array_equal(inputs(four, 1, 1), inputs(four, 1, 5))
  assert (inputs(four, 1, 1) != inputs(four, 1, 2)).any(1).all()


def words(candidates, begins):
  """Returns lists of columns, one word each."""
  found = []
  for column, candidate in enumerate(candidates):
    if candidate and (begins[column] or not column or not candidates[column - 1]):
      found.append([])
    if candidate:
      found[-1].append(column)
  return found


def test_whole_words_are_those_of_the_greedy_rule_word_by_word():
  rng = np.random.default_rng(5)
  candidates_bn, begins_bn = rng.random((60, 50)) < 0.9, rng.random((60, 50)) < 0.3
  counts_b, keys_b = rng.integers(0, 12, 60), counter_rng.row_keys(0, 0, np.arange(60))
  chosen_bn = masked.choose_whole_words(candidates_bn, begins_bn, counts_b, keys_b)
  for row in range(60):
    found = words(candidates_bn[row], begins_bn[row])
    order = sorted(
      found, key=lambda word: counter_rng.random_bits(keys_b[row : row + 1], 0, np.array(word[:1]))[0]
    )
    taken = []
    for word in order:
      taken += word if len(taken) + len(word) <= counts_b[row] else []
    np.testing.assert_array_equal(np.flatnonzero(chosen_bn[row]), sorted(taken))


def test_whole_word_masking_never_splits_a_word_and_nearly_reaches_its_count():
  objective = make_objective("masked_whole_word", S, 128, word_start_v=rows.WORD_START_V)
  tokens_bn, segments_bn = rows.packed(50, 128, seed=6, mean=50)
  batch = objective(tokens_bn, np.random.default_rng(0), segments_bn)
  for row in range(50):
    text = S.corruptible_v[tokens_bn[row]] & (segments_bn[row] > 0)
    begins = rows.WORD_START_V[tokens_bn[row]] | np.append(True, np.diff(segments_bn[row]) != 0)
    for word in words(text, begins):
      assert len(set(batch.weights_bt[row, word])) == 1
  full_b = (segments_bn > 0).all(1)
  assert batch.weights_bt[full_b].sum(1).max() <= 19 and batch.weights_bt[full_b].sum(1).mean() > 18.5


@pytest.mark.parametrize(
  ("parameters", "message"),
  [
    ({"rate": 1.5}, "rate 1.5"),
    ({"mask_share": 0.9, "random_share": 0.2}, "not fractions that sum"),
    ({"word_start_v": np.ones(3, bool)}, "3 ids"),
  ],
)
def test_impossible_parameters_are_refused(parameters, message):
  with pytest.raises(UserError, match=message):
    make_objective("masked", S, 16, **parameters)
