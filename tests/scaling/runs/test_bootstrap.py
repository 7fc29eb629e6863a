"""Resamples and intervals, against scipy's and against what is known of a mean."""

import numpy as np
import pytest
from scipy import stats

from gen.errors import UserError
from gen.scaling.runs import bootstrap


@pytest.mark.parametrize("cluster", ["run", "budget", "seed"])
def test_a_resample_draws_whole_clusters_and_as_many_as_there_are(cluster, study):
  runs = study(sizes=3, seeds=4)
  clusters = bootstrap.cluster_labels(runs, cluster)
  counts_bn = bootstrap.resample_counts(clusters, 200, 1)
  kinds = {"run": 48, "budget": 4, "seed": 4}[cluster]
  assert clusters.max() + 1 == kinds and counts_bn.shape == (200, 48)
  for kind in range(kinds):
    assert (counts_bn[:, clusters == kind] == counts_bn[:, clusters == kind][:, :1]).all()
  assert (counts_bn.sum(1) == 48).all()
  assert counts_bn.mean(0) == pytest.approx(np.ones(48), abs=0.35)


def test_the_same_seed_draws_the_same_resamples_and_another_draws_others():
  first, again, other = (bootstrap.resample_counts(np.arange(9), 5, seed) for seed in (3, 3, 4))
  assert (first == again).all() and (first != other).any()


def test_each_cluster_is_left_out_once():
  counts_kn = bootstrap.leave_one_out(np.array([0, 0, 1, 2]))
  assert counts_kn.tolist() == [[0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]


def test_clusters_that_a_study_lacks_are_refused(study):
  with pytest.raises(UserError, match="all runs have one budget"):
    bootstrap.cluster_labels(study(budgets=(1e12,)), "budget")
  with pytest.raises(UserError, match="all runs have one seed"):
    bootstrap.cluster_labels(study(), "seed")
  with pytest.raises(UserError, match="--cluster=family"):
    bootstrap.cluster_labels(study(), "family")


def test_a_percentile_interval_is_the_draws_quantiles_and_passes_over_what_is_not_finite():
  draws = np.append(np.arange(101.0), [np.nan, np.inf])
  assert bootstrap.draw_interval(draws, 50, 0.9) == pytest.approx([5, 95])
  assert np.isnan(bootstrap.draw_interval(np.array([np.nan]), 0, 0.9)).all()


def test_corrected_intervals_meet_scipy_s():
  data = np.random.default_rng(0).exponential(size=40)
  resamples = np.random.default_rng(1).integers(0, 40, (20_000, 40))
  draws = data[resamples].mean(1)
  left_out = np.array([np.delete(data, i).mean() for i in range(40)])
  own = bootstrap.draw_interval(draws, data.mean(), 0.9, left_out)
  known = stats.bootstrap(
    (data,), np.mean, n_resamples=20_000, confidence_level=0.9, method="BCa", rng=np.random.default_rng(2)
  ).confidence_interval
  assert own == pytest.approx(list(known), rel=0.01)
  assert own[0] > bootstrap.draw_interval(draws, data.mean(), 0.9)[0]  # skewed data: both ends move up


def test_a_statistic_that_no_run_moves_has_a_corrected_interval_of_its_draws():
  draws = np.full(50, 2.0)
  assert bootstrap.draw_interval(draws, 2.0, 0.9, np.full(5, 2.0)) == [2.0, 2.0]
