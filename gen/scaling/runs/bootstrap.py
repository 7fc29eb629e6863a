"""Resamples a study and returns percentile or bias-corrected accelerated (BCa) intervals.

Clusters are drawn with replacement: single runs, or all runs of a budget or seed where these share an error.
BCa: Efron 1987, "Better bootstrap confidence intervals". B resamples, N runs, K clusters.
"""

import statistics

import numpy as np

from gen.errors import UserError
from gen.scaling.runs.runs_table import RunsTable

CLUSTERS = ("run", "budget", "seed")
METHODS = ("percentile", "bca")
_NORMAL = statistics.NormalDist()  # scipy's takes longer to import than all resamples of a study


def cluster_labels(points: RunsTable, cluster: str) -> np.ndarray:
  """Returns the number of each run's cluster, from 0.

  Raises:
    UserError: for a kind of cluster that the study does not have, or has only one of.
  """
  if cluster == "run":
    return np.arange(len(points))
  if cluster == "budget":
    labels = points.groups()
  elif cluster == "seed":
    if not np.all(np.isfinite(points.seed)):
      raise UserError("some runs have no seed, so seeds cannot be resampled; add a column seed")
    labels = np.unique(points.seed, return_inverse=True)[1]
  else:
    raise UserError(f"--cluster={cluster}: resampling is over {', '.join(CLUSTERS)}")
  if labels.max() < 1:
    raise UserError(f"all runs have one {cluster}, so {cluster}s cannot be resampled; use --cluster=run")
  return labels


def resample_counts(clusters: np.ndarray, resamples: int, seed: int) -> np.ndarray:
  """Returns how often each resample draws each run, [B, N]."""
  kinds = int(clusters.max()) + 1
  random = np.random.default_rng(seed)
  # Counts of clusters drawn with replacement; each run counts as often as its cluster was drawn.
  drawn_bk = random.multinomial(kinds, np.full(kinds, 1 / kinds), size=resamples)
  return drawn_bk[:, clusters].astype(np.float64)


def leave_one_out(clusters: np.ndarray) -> np.ndarray:
  """Returns counts that leave out each cluster in turn, [K, N]."""
  return (np.arange(int(clusters.max()) + 1)[:, None] != clusters).astype(np.float64)


def draw_interval(
  draws: np.ndarray, estimate: float, level: float, left_out: np.ndarray | None = None
) -> list[float]:
  """Returns the interval [low, high] that contains the share `level` of the draws.

  Args:
    draws: one value of the quantity for each resample; values that are not finite are ignored.
    estimate: the value from all runs.
    level: coverage between 0 and 1, such as .95.
    left_out: the estimates with each cluster left out, for BCa; None gives a percentile interval.
  """
  draws = draws[np.isfinite(draws)]
  if not len(draws):
    return [float("nan"), float("nan")]
  tails = np.array([(1 - level) / 2, (1 + level) / 2])
  if left_out is not None:
    tails = _corrected(tails, draws, estimate, left_out[np.isfinite(left_out)])
  low, high = np.quantile(draws, tails)
  return [float(low), float(high)]


def _corrected(tails: np.ndarray, draws: np.ndarray, estimate: float, left_out: np.ndarray) -> np.ndarray:
  """Returns the tail probabilities corrected for bias (z0) and acceleration."""
  # Ties count half, so that draws which all equal the estimate have no bias.
  below = np.mean(draws < estimate) + 0.5 * np.mean(draws == estimate)
  # Half a draw from either end: beyond it the empirical distribution says nothing.
  half = 0.5 / len(draws)
  bias = _NORMAL.inv_cdf(min(max(float(below), half), 1 - half))
  off = left_out.mean() - left_out if len(left_out) else np.zeros(1)
  off = off / (np.abs(off).max() or 1.0)  # the acceleration has no unit, and cubes of large values overflow
  spread = np.sum(off**2) ** 1.5
  # Efron 1987, by the jackknife: a sixth of the skewness of the leave-one-out estimates.
  acceleration = np.sum(off**3) / (6 * spread) if spread > 0 else 0.0
  normal = bias + np.array([_NORMAL.inv_cdf(float(tail)) for tail in tails])
  # Where the correction breaks down (a denominator of nothing), the tail stays where bias alone puts it.
  scale = np.maximum(1 - acceleration * normal, 0.1)
  corrected = [_NORMAL.cdf(float(quantile)) for quantile in bias + normal / scale]
  return np.clip(corrected, half, 1 - half)
