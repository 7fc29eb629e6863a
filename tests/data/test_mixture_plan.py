"""Which corpus a row is of: its share, its order, its limits, each a pure function of seed and row."""

import itertools
import math

import numpy as np
import pytest

from gen.data.mixture_plan import MixturePlan, MixtureText
from gen.errors import UserError

NO_LIMITS = [MixtureText("a", 100), MixtureText("b", 37), MixtureText("c", 11)]
WEIGHTS = (0.61, 0.33, 0.06)


def corpora_of(plan, rows):
  return plan.locate(np.arange(rows))[0]


@pytest.mark.parametrize("seed", [0, 7, -1, 2**64 + 5])
@pytest.mark.parametrize("rows", [50, 3000, 200_000])
def test_shares_lie_within_three_standard_errors(seed, rows):
  plan = MixturePlan(NO_LIMITS, [(0, WEIGHTS)], rows, seed)
  counts = np.bincount(corpora_of(plan, rows), minlength=3)
  for count, weight in zip(counts, WEIGHTS, strict=True):
    assert abs(count / rows - weight) <= 3 * math.sqrt(weight * (1 - weight) / rows)
    assert abs(count - rows * weight) <= 2  # far less than of independent draws


def test_neighbouring_rows_are_in_no_fixed_pattern():
  corpora = corpora_of(MixturePlan(NO_LIMITS, [(0, (1, 1, 0))], 6000, 3), 6000)
  pairs = np.bincount(2 * corpora[:-1] + corpora[1:], minlength=4) / 5999
  assert (pairs > 0.08).all()  # each corpus follows each, itself too
  other = corpora_of(MixturePlan(NO_LIMITS, [(0, (1, 1, 0))], 6000, 4), 6000)
  assert 0.3 < (corpora == other).mean() < 0.7


@pytest.mark.parametrize("weights", list(itertools.permutations((5e-5, 0.3, 2.0))))
def test_numbers_of_a_corpus_count_its_rows_one_by_one(weights):
  plan = MixturePlan(NO_LIMITS, [(0, weights), (500, (0, 0, 1)), (70_000, weights[::-1])], 150_000, 9)
  corpora, numbers = plan.locate(np.arange(160_000))  # beyond the end as well, as batches are made ahead
  for k in range(3):
    assert np.array_equal(numbers[corpora == k], np.arange((corpora == k).sum()))
  for row in (0, 1, 499, 500, 69_999, 70_001, 150_000, 159_999):
    assert plan.counts(row).tolist() == np.bincount(corpora[:row], minlength=3).tolist()


def test_any_row_is_found_without_those_before_it():
  plan = MixturePlan(NO_LIMITS, [(0, WEIGHTS)], 10**12, 5)
  rows = np.array([10**12 - 1, 3, 5 * 10**11])
  corpora, numbers = plan.locate(rows)
  for row, corpus, number in zip(rows, corpora, numbers, strict=True):
    assert plan.counts(int(row))[corpus] == number
    assert abs(number - row * WEIGHTS[corpus]) <= 2


def test_a_schedule_changes_the_shares_where_it_says():
  plan = MixturePlan(NO_LIMITS, [(0, (0.5, 0.5, 0)), (800, (0.1, 0.2, 0.7))], 1000, 1)
  corpora = corpora_of(plan, 1000)
  early, late = np.bincount(corpora[:800], minlength=3), np.bincount(corpora[800:], minlength=3)
  assert np.abs(early - [400, 400, 0]).max() <= 2 and np.abs(late - [20, 40, 140]).max() <= 2


def test_a_corpus_at_its_limit_gives_its_weight_to_the_others_in_proportion():
  texts = [MixtureText("a", 100), MixtureText("b", 100), MixtureText("c", 20, max_rows=50)]
  plan = MixturePlan(texts, [(0, (0.6, 0.2, 0.2))], 1000, 2)
  corpora = corpora_of(plan, 1000)
  (limit,) = plan.limits
  assert (limit.name, limit.others) == ("c", ("a", "b")) and corpora[limit.row - 1] == 2
  assert abs(limit.row - 250) <= 10 and (corpora == 2).sum() == 50 and not (corpora[limit.row :] == 2).any()
  assert abs((corpora[limit.row :] == 0).mean() - 0.75) < 0.005


def test_limits_do_not_depend_on_the_length_of_the_run():
  texts = [MixtureText("a", 100), MixtureText("b", 30, max_rows=60)]
  short, long = (MixturePlan(texts, [(0, (0.5, 0.5))], rows, 6) for rows in (300, 5000))
  assert np.array_equal(corpora_of(short, 300), corpora_of(long, 300))


def test_a_run_that_cannot_be_filled_is_refused_and_one_that_fits_exactly_is_not():
  texts = [MixtureText("a", 10, max_rows=20), MixtureText("b", 10, max_rows=30), MixtureText("c", 9)]
  plan = MixturePlan(texts, [(0, (0.9, 0.1, 0))], 50, 0)
  assert np.bincount(corpora_of(plan, 50)).tolist() == [20, 30]
  with pytest.raises(
    UserError, match=r"cannot fill the run: the most epochs of a, b end after 50 of its 51 rows"
  ):
    MixturePlan(texts, [(0, (0.9, 0.1, 0))], 51, 0)


def test_a_share_too_small_for_a_period_is_refused():
  with pytest.raises(UserError, match="the share of b is 1e-06, less than one row in"):
    MixturePlan(NO_LIMITS[:2], [(0, (1, 1e-6))], 50, 0)
