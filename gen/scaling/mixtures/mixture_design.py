"""The runs that a law of mixtures is fitted to: points of the simplex of K weights.

A simplex-centroid design (Scheffe 1963) of corners, midpoints of edges and centre, with random interior points as
RegMix draws them (arXiv:2407.01492).
"""

import itertools

import numpy as np

UNITS = 1000  # weights are multiples of 1 / UNITS, so that the names of runs hold them


def design_weights(corpora: int, interior: int, seed: int) -> list[tuple[float, ...]]:
  """Returns the weights of each run, without repetition: corners, midpoints of edges, centre, interior points.

  Args:
    corpora: K, at least 2.
    interior: number of random interior points.
    seed: of these points.

  >>> design_weights(2, 0, 0)
  [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]
  """
  corners = [np.eye(corpora)[k] for k in range(corpora)]
  edges = [(corners[i] + corners[j]) / 2 for i, j in itertools.combinations(range(corpora), 2)]
  centre = [np.full(corpora, 1 / corpora)]
  drawn = np.random.default_rng(seed).dirichlet(np.ones(corpora), 4 * interior)
  points = list(map(round_weights, (*corners, *edges, *centre)))
  wanted = len(set(points)) + interior
  points += [point for point in map(round_weights, drawn) if min(point) > 0]
  return list(dict.fromkeys(points))[:wanted]


def round_weights(weights: np.ndarray) -> tuple[float, ...]:
  """Returns weights as multiples of 1 / UNITS whose sum is 1, by largest remainders."""
  exact_k = np.asarray(weights, float) / np.sum(weights) * UNITS
  # 1e-9: a product that is whole but for rounding counts as whole.
  counts_k = np.floor(exact_k + 1e-9).astype(int)
  counts_k[np.argsort(counts_k - exact_k, kind="stable")[: UNITS - counts_k.sum()]] += 1
  return tuple((counts_k / UNITS).tolist())
