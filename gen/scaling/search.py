"""From the paper's grid of 4,500 starts to the optimum of the parametric objective.

    every start, coarsely (delta .1, thinned runs) -> the distinct places where they end -> each of those, at the
    wanted delta -> the lowest few, to the bottom, with all runs

Hoffmann et al. 2022 (arXiv:2203.15556), appendix D.3, names the grid. A wide Huber function is nearly least squares,
whose valleys are wide; most starts meet there. Objective and letters as in `solver`.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling import polish, solver

_COARSE = 0.1  # delta of the first descents
_FIRST_STEPS, _SECOND_STEPS, _SECOND_STARTS = 40, 60, 512
_SEARCHED = 512  # runs that the search for the valley looks at; the optimum is of all runs
_FINALISTS = 3
_LARGE = 5_000  # runs, of which one finalist goes straight to the bottom, in few steps
_SAME = 1e-6  # relative difference of values that are one optimum


class Found(NamedTuple):
  """The optimum, from how many starts, and how many of them end there."""

  bottom: polish.Bottom
  starts: int
  at_best: int


def run(problem: solver.Problem, delta: float, tied: bool) -> Found:
  """Descends from the grid to the lowest optimum that it leads to.

  A start counts as at the best if the place where its coarse descent ended leads there.

  Raises:
    UserError: if no start leads to a finite objective.
  """
  few = _thinned(problem)
  starts_sp = grid(float(np.mean(problem.l)), tied)
  ends_sp, values = _descend_coarsely(few, starts_sp, max(delta, _COARSE))
  place, firsts = _places(ends_sp, values)
  down = solver.minimise(few, np.ones((1, len(few.x))), ends_sp[firsts], delta)
  if not np.isfinite(down.value_s).any():
    raise UserError("no start led to a finite objective; check the units of params, tokens and loss")
  chosen = _finalists(down)
  candidates_sp = down.theta_sp[chosen]
  if few is not problem:
    candidates_sp, kept = _with_all_runs(problem, candidates_sp, delta)
    chosen = chosen[kept]
  bottoms = [_bottom(problem, theta, delta) for theta in candidates_sp]
  best = min(bottoms, key=lambda one: one.value)
  same = best.value * (1 + _SAME) + 1e-20 * len(problem.x)
  led = [lane for lane, one in zip(chosen, bottoms, strict=True) if one.value <= same]
  # Lanes that ended at one value as one that was taken to the bottom would have come down there, too.
  apart_sl = np.abs(down.value_s[:, None] - down.value_s[led])
  reached = np.flatnonzero((apart_sl <= _SAME * down.value_s[led] + 1e-20 * len(few.x)).any(1))
  return Found(best, len(starts_sp), int(np.isin(place, reached).sum()))


def grid(mean_log_loss: float, tied: bool) -> np.ndarray:
  """Returns the paper's starts, as if N, D and loss had the size of the paper's: any unit gives the same search."""
  exponents = np.arange(0, 2.5, 0.5)
  heights = np.arange(0, 30, 5.0)
  pairs = [(p, p) for p in exponents] if tied else list(itertools.product(exponents, exponents))
  starts_sp = np.array(
    [
      (a, b, e, *pair)
      for a, b, e, pair in itertools.product(heights, heights, np.arange(-1, 1.5, 0.5), pairs)
    ]
  )
  starts_sp[:, 0] -= starts_sp[:, 3] * math.log(1e9)
  starts_sp[:, 1] -= starts_sp[:, 4] * math.log(2e10)
  starts_sp[:, :3] += mean_log_loss - 1.0
  return starts_sp


def _thinned(problem: solver.Problem) -> solver.Problem:
  """Returns the problem with at most `_SEARCHED` of its runs, evenly through their order of size and data."""
  if len(problem.x) <= _SEARCHED:
    return problem
  order = np.lexsort((problem.l, problem.y, problem.x))
  some = order[np.linspace(0, len(order) - 1, _SEARCHED).astype(int)]
  return solver.Problem(problem.x[some], problem.y[some], problem.l[some], problem.moves_pp)


def _descend_coarsely(
  problem: solver.Problem, starts_sp: np.ndarray, delta: float
) -> tuple[np.ndarray, np.ndarray]:
  """Descends from all starts for a while, then from the most promising of the unfinished."""
  ones_1n = np.ones((1, len(problem.x)))
  first = solver.minimise(problem, ones_1n, starts_sp, delta, delta, 1e-6, _FIRST_STEPS)
  ends_sp, values = first.theta_sp.copy(), first.value_s.copy()
  slow = np.flatnonzero(~first.done_s)
  slow = slow[np.argsort(values[slow], kind="stable")][:_SECOND_STARTS]
  if len(slow):
    second = solver.minimise(problem, ones_1n, ends_sp[slow], delta, delta, 1e-6, _SECOND_STEPS)
    ends_sp[slow], values[slow] = second.theta_sp, second.value_s
  return ends_sp, values


def _places(ends_sp: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Groups ends that agree; returns (place of each, first end of each of the lowest places)."""
  order = np.argsort(values, kind="stable")
  rounded_sp = np.round(np.clip(ends_sp, -1e6, 1e6), 2)
  _, first, place = np.unique(rounded_sp[order], axis=0, return_index=True, return_inverse=True)
  rank = np.argsort(np.argsort(first))  # by the value of their lowest end
  places = np.empty(len(values), np.int64)
  places[order] = rank[place.ravel()]
  return places, order[np.sort(first)[: solver.LANES]]


def _finalists(down: solver.Solution) -> np.ndarray:
  """Returns the lowest of the distinct ends."""
  order = np.argsort(down.value_s, kind="stable")
  order = order[np.isfinite(down.value_s[order])]
  distinct = np.unique(np.round(down.theta_sp[order], 2), axis=0, return_index=True)[1]
  return order[np.sort(distinct)[:_FINALISTS]]


def _with_all_runs(
  problem: solver.Problem, candidates_sp: np.ndarray, delta: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns where the candidates end with all runs, the lowest first, and which they were."""
  first = max(delta, min(_COARSE, 10 * delta))
  ends = solver.minimise(problem, np.ones((1, len(problem.x))), candidates_sp, delta, first)
  kept = np.argsort(ends.value_s, kind="stable")[: _FINALISTS if len(problem.x) <= _LARGE else 1]
  return ends.theta_sp[kept], kept


def _bottom(problem: solver.Problem, theta: np.ndarray, delta: float) -> polish.Bottom:
  """Goes to the bottom from where it is and through wider deltas; returns the lower."""
  straight = polish.newton(theta, *problem[:3], delta, problem.moves_pp)
  if len(problem.x) > _LARGE:
    return straight
  around = polish.descend(theta, *problem[:3], delta, problem.moves_pp)
  # The same bottom to rounding: the one whose gradient is smaller.
  if abs(straight.value - around.value) <= 1e-12 * straight.value:
    return min(straight, around, key=lambda one: float(np.linalg.norm(one.gradient)))
  return min(straight, around, key=lambda one: one.value)
