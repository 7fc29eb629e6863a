import collections

import numpy as np
import scipy.stats

from gen.data.objectives import counter_rng, spans
from tests.data.objectives import rows


def test_every_composition_is_as_likely():
  groups = 6000
  keys_g, totals_g, parts_g = (
    counter_rng.row_keys(0, 0, np.arange(groups)),
    np.full(groups, 6),
    np.full(groups, 3),
  )
  parts = spans.random_compositions(totals_g, parts_g, keys_g, np.zeros(groups, int), 1).reshape(groups, 3)
  assert (parts.sum(1) == 6).all() and parts.min() == 1
  counts = collections.Counter(map(tuple, parts.tolist()))
  assert len(counts) == 10 and scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_ragged_compositions_add_up_group_by_group():
  rng = np.random.default_rng(0)
  totals_g = rng.integers(0, 30, 200)
  parts_g = np.where(totals_g > 0, 1 + rng.integers(0, 30, 200) % np.maximum(totals_g, 1), 0)
  keys_g = counter_rng.row_keys(0, 0, np.arange(200))
  parts = np.split(
    spans.random_compositions(totals_g, parts_g, keys_g, np.zeros(200, int), 1), np.cumsum(parts_g)[:-1]
  )
  for total, count, of_group in zip(totals_g, parts_g, parts, strict=True):
    assert len(of_group) == count and of_group.sum() == total and (of_group > 0).all()


def test_shares_are_exact_in_sum_within_one_of_proportion_and_unbiased():
  batch = 5000
  weights_r, rows_r = np.tile([5, 0, 2, 13], batch), np.repeat(np.arange(batch), 4)
  keys_b = counter_rng.row_keys(0, 0, np.arange(batch))
  shares_br = spans.share_out(np.full(batch, 7), weights_r, rows_r, keys_b, 2).reshape(batch, 4)
  assert (shares_br.sum(1) == 7).all()
  exact_r = 7 * np.array([5, 0, 2, 13]) / 20
  assert (np.abs(shares_br - exact_r) < 1).all()
  np.testing.assert_allclose(shares_br.mean(0), exact_r, atol=0.03)


def brute_force(noise, begins):
  """Returns (first, size) of spans, walking along a row."""
  found = []
  for column in np.flatnonzero(noise):
    if begins[column]:
      found.append([column, 0])
    found[-1][1] += 1
  return found


def test_spans_are_as_many_and_as_long_as_asked_for_apart_and_inside_a_document():
  tokens_bn, segments_bn = rows.packed(200, 128, seed=0, mean=60)
  runs = spans.find_token_runs(tokens_bn, segments_bn, rows.SPECIALS.corruptible_v)
  text_b = runs.open_bn.sum(1)
  noise_b, spans_b = text_b // 6, (text_b // 18)
  noise_b = np.where(spans_b > 0, noise_b, 0)
  noise_bn, begins_bn = spans.random_spans(runs, noise_b, spans_b, counter_rng.row_keys(1, 0, np.arange(200)))
  assert not (noise_bn & ~runs.open_bn).any() and not (begins_bn & ~noise_bn).any()
  for row in range(200):
    found = brute_force(noise_bn[row], begins_bn[row])
    assert len(found) == spans_b[row] and sum(size for _, size in found) == noise_b[row]
    for first, size in found:
      assert len(set(segments_bn[row, first : first + size])) == 1
      before = first - 1
      assert before < 0 or not noise_bn[row, before] or segments_bn[row, before] != segments_bn[row, first]


def test_noise_is_spread_evenly_over_a_long_text():
  runs = spans.find_token_runs(rows.text((4000, 100)), np.ones((4000, 100), int), rows.SPECIALS.corruptible_v)
  many = np.full(4000, 1)
  noise_bn, _ = spans.random_spans(runs, many * 15, many * 5, counter_rng.row_keys(2, 0, np.arange(4000)))
  share_n = noise_bn.mean(0)
  np.testing.assert_allclose(share_n[10:90], 0.15, atol=0.03)
  assert min(share_n[0], share_n[-1]) > 0.03
  assert (noise_bn.sum(1) == 15).all()


def test_a_suffix_is_noise_to_its_end():
  tokens_bn, segments_bn = rows.packed(50, 60, seed=3, mean=30)
  runs = spans.find_token_runs(tokens_bn, segments_bn, rows.SPECIALS.corruptible_v)
  noise_b = runs.open_bn.sum(1) // 4
  noise_bn, begins_bn = spans.suffix_spans(runs, noise_b, counter_rng.row_keys(0, 0, np.arange(50)))
  np.testing.assert_array_equal(noise_bn.sum(1), noise_b)
  for row in range(50):
    for first, size in brute_force(noise_bn[row], begins_bn[row]):
      end = first + size
      assert end == 60 or not runs.open_bn[row, end] or runs.begins_bn[row, end]
