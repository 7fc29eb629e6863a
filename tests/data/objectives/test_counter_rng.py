import numpy as np
import scipy.stats

from gen.data.objectives import counter_rng


def test_uniform_draws_are_uniform_and_streams_are_independent():
  keys_b = counter_rng.row_keys(3, 0, np.arange(200))[:, None]
  first, second = (counter_rng.random_uniform(keys_b, stream, np.arange(500)) for stream in (0, 1))
  assert first.min() >= 0 and first.max() < 1
  assert scipy.stats.kstest(first.ravel(), "uniform").pvalue > 1e-3
  for a, b in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


def test_seed_epoch_and_row_each_change_the_key_and_broadcast():
  keys = {int(counter_rng.row_keys(s, e, r)[0]) for s in (-1, 0, 1) for e in range(5) for r in (0, 1, 10**12)}
  assert len(keys) == 45
  many = counter_rng.row_keys(7, np.array([0, 0, 2]), np.array([4, 5, 4]))
  assert [int(key) for key in many] == [
    int(counter_rng.row_keys(7, e, r)[0]) for e, r in ((0, 4), (0, 5), (2, 4))
  ]


def test_choosing_takes_exactly_the_count_from_the_candidates_each_as_likely():
  candidates_bn = np.tile(np.array([1, 1, 0, 1, 1, 1, 0], bool), (4000, 1))
  chosen_bn = counter_rng.choose_exactly(
    candidates_bn, np.full(4000, 2), counter_rng.row_keys(0, 0, np.arange(4000)), 5
  )
  assert (chosen_bn.sum(1) == 2).all() and not chosen_bn[:, [2, 6]].any()
  pairs = np.unique(chosen_bn, axis=0, return_counts=True)[1]
  assert len(pairs) == 10 and scipy.stats.chisquare(pairs).pvalue > 1e-3


def test_choosing_more_than_there_are_takes_all_and_none_takes_none():
  candidates_bn = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
  chosen_bn = counter_rng.choose_exactly(
    candidates_bn, np.array([9, 2, 0]), np.arange(3).astype(np.uint64), 0
  )
  np.testing.assert_array_equal(chosen_bn, [[1, 0, 1], [0, 0, 0], [0, 0, 0]])
