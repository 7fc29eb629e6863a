r"""Finds the optimum of the parametric objective from the paper's grid of 4,500 starts.

    every start at delta .1        every start at the stated delta        refits to halves of the runs
                     \                           |                          /
                      the distinct places where they end, each at the stated delta
                                                 |
                      the lowest, from resamples of the runs and without E: optima next to them
                                                 |
                      the lowest few, to the bottom, with all runs

Hoffmann et al. 2022 (arXiv:2203.15556), appendix D.3, defines the grid. A wide Huber function is nearly least squares:
its basins are wide, but a diverged run shifts them. A narrow one ignores that run, but is not smooth, so descents end
early. Halves of the runs often lack the diverged run. No single route works for every study, so the lowest end wins.
Objective and letters as in `huber_solver`.
"""

import copy
import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws.solvers import huber_solver, newton

_COARSE, _FINE = 0.1, 1e-3  # deltas between which the first descents stay
_COARSE_STEPS, _FINE_STEPS = 30, 20  # of all 4,500 starts, most of which end in no good place
_SECOND_STEPS, _SECOND_STARTS = 60, 512  # of the lowest that had not converged by then
_SEARCHED = 512  # runs that the search for the valley looks at; the optimum is of all runs
_ROUNDS = 3  # of resampling round the lowest
_FINALISTS = 4  # distinct candidates that are taken to the bottom in float64
_FINALIST_GAP = 1e-3  # relative, over the lowest: farther candidates are not taken to the bottom
_LARGE = 5_000  # runs, of which one finalist goes straight to the bottom, in few steps
_SAME = 1e-6  # relative difference of values that are one optimum
_NO_E = -40.0  # ln E, relative to the mean log loss, where E has vanished


class SearchResult(NamedTuple):
  """The optimum, the number of starts, and the number of starts that lead to it."""

  bottom: newton.NewtonResult
  starts: int
  at_best: int


class _Ends(NamedTuple):
  """The ends of descents, and the indices of the grid's starts that led to each."""

  theta_sp: np.ndarray
  values: np.ndarray
  starts: list[np.ndarray]


def search_optimum(problem: huber_solver.HuberProblem, delta: float, tied: bool) -> SearchResult:
  """Descends from the grid, and from the ends of those descents, to the lowest optimum.

  A start counts as leading to the optimum if one of its own descents, at the coarse or the fine delta, ends there.
  Candidates from subsets of the runs count for no start.

  Raises:
    UserError: if no start leads to a finite objective.
  """
  # A command fits one table several times, with other intervals; copies, because callers may write into them.
  key = tuple(np.ascontiguousarray(array, np.float64).tobytes() for array in problem)
  return copy.deepcopy(_search(*key, float(delta), bool(tied)))


@functools.lru_cache(maxsize=1)
def _search(x: bytes, y: bytes, l: bytes, moves_pp: bytes, delta: float, tied: bool) -> SearchResult:
  moves = np.frombuffer(moves_pp).reshape(5, 5)
  problem = huber_solver.HuberProblem(np.frombuffer(x), np.frombuffer(y), np.frombuffer(l), moves)
  few = _thinned(problem)
  starts_sp = start_grid(float(np.mean(problem.l)), tied)
  coarse = max(delta, _COARSE)
  fine = min(max(delta, _FINE), _COARSE)
  ends = _from_grid(few, starts_sp, coarse, delta, _COARSE_STEPS)
  if fine < coarse:
    ends = _joined(ends, _from_grid(few, starts_sp, fine, delta, _FINE_STEPS))
  if not np.isfinite(ends.values).any():
    raise UserError("no start led to a finite objective; check the units of params, tokens and loss")
  candidates = _joined(ends, _from_halves(few, _lowest(ends, 4), coarse, delta))
  candidates = _joined(candidates, _nearby(few, candidates, delta))
  finalists_sp = candidates.theta_sp[_finalists(candidates)]
  if few is not problem:
    finalists_sp = _with_all_runs(problem, finalists_sp, delta)
  best = _bottom(problem, finalists_sp, delta)
  # A descent led to the best if its value at the stated delta, on the runs of the search, is the best's.
  level = (
    best.value
    if few is problem
    else newton.huber_value(newton.evaluate_model(best.theta, *few[:3]).residual, delta)
  )
  # 1e-20 a run is the objective where residuals are rounding, which no relative tolerance covers.
  reached = np.flatnonzero(ends.values <= level * (1 + _SAME) + 1e-20 * len(few.x))
  led = np.unique(np.concatenate([np.zeros(0, np.int64), *(ends.starts[i] for i in reached)]))
  return SearchResult(best, len(starts_sp), len(led))


def start_grid(mean_log_loss: float, tied: bool) -> np.ndarray:
  """Returns the paper's starts, scaled to N, D and loss of the study, so every unit gives the same search."""
  # Appendix D.3: alpha and beta in 0, 0.5 .. 2; a and b in 0, 5 .. 25; e in -1, -0.5 .. 1.
  exponents = np.arange(0, 2.5, 0.5)
  heights = np.arange(0, 30, 5.0)
  pairs = [(p, p) for p in exponents] if tied else list(itertools.product(exponents, exponents))
  starts_sp = np.array(
    [
      (a, b, e, *pair)
      for a, b, e, pair in itertools.product(heights, heights, np.arange(-1, 1.5, 0.5), pairs)
    ]
  )
  # The paper's grid is for N and D themselves. Here x and y are centred, so the heights move to a typical
  # run of the paper: 1e9 parameters on 2e10 tokens.
  starts_sp[:, 0] -= starts_sp[:, 3] * math.log(1e9)
  starts_sp[:, 1] -= starts_sp[:, 4] * math.log(2e10)
  # The grid's ln E spans -1 to 1, which suits losses of about e nats.
  starts_sp[:, :3] += mean_log_loss - 1.0
  return starts_sp


def _thinned(problem: huber_solver.HuberProblem) -> huber_solver.HuberProblem:
  """Returns the problem with at most `_SEARCHED` runs, spread evenly over size and data."""
  if len(problem.x) <= _SEARCHED:
    return problem
  # Sorted by size, then data, then loss: the choice does not depend on the order of the rows.
  order = np.lexsort((problem.l, problem.y, problem.x))
  some = order[np.linspace(0, len(order) - 1, _SEARCHED).astype(int)]
  return huber_solver.HuberProblem(problem.x[some], problem.y[some], problem.l[some], problem.moves_pp)


def _from_grid(
  problem: huber_solver.HuberProblem, starts_sp: np.ndarray, first: float, delta: float, steps: int
) -> _Ends:
  """Descends from all starts at the first delta, and from the lowest distinct places to the stated one."""
  ends_sp, values = _descend(problem, starts_sp, first, steps)
  indices, firsts = _places(ends_sp, values)
  down = huber_solver.minimise_huber(problem, np.ones((1, len(problem.x))), ends_sp[firsts], delta, first)
  members = [np.flatnonzero(indices == number) for number in range(len(firsts))]
  return _Ends(down.theta_sp, down.value_s, members)


def _descend(
  problem: huber_solver.HuberProblem, starts_sp: np.ndarray, delta: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
  """Descends from all starts for a while, then from the most promising of the unfinished."""
  # A tolerance of 1e-6: these ends are only sorted, and the best are descended again.
  ones_1n = np.ones((1, len(problem.x)))
  first = huber_solver.minimise_huber(problem, ones_1n, starts_sp, delta, delta, 1e-6, steps)
  ends_sp, values = first.theta_sp.copy(), first.value_s.copy()
  slow = np.flatnonzero(~first.done_s)
  slow = slow[np.argsort(values[slow], kind="stable")][:_SECOND_STARTS]
  if len(slow):
    second = huber_solver.minimise_huber(problem, ones_1n, ends_sp[slow], delta, delta, 1e-6, _SECOND_STEPS)
    ends_sp[slow], values[slow] = second.theta_sp, second.value_s
  return ends_sp, values


def _from_halves(
  problem: huber_solver.HuberProblem, starts_sp: np.ndarray, first: float, delta: float
) -> _Ends:
  """Fits halves of the runs nearly by least squares, then all runs from where those fits end."""
  # Fixed seeds: the search is part of the estimate, which must not vary between calls.
  count, random = len(problem.x), np.random.default_rng(0)
  # Six runs at least, one more than the law has constants.
  half = min(count, max(count // 2, 6))
  chosen_sn = random.permuted(np.tile(np.arange(count) < half, (huber_solver.BATCH_SIZE, 1)), axis=1)
  lanes_sp = starts_sp[np.arange(huber_solver.BATCH_SIZE) % len(starts_sp)]
  # Ten times the stated delta: from the end of a half the optimum of all runs is near.
  halves = huber_solver.minimise_huber(problem, chosen_sn, lanes_sp, first, first, 1e-6, _SECOND_STEPS)
  ends = huber_solver.minimise_huber(
    problem, np.ones((1, count)), halves.theta_sp, delta, max(delta, min(_COARSE, 10 * delta))
  )
  return _orphans(ends)


def _nearby(problem: huber_solver.HuberProblem, candidates: _Ends, delta: float) -> _Ends:
  """Searches for lower optima near the lowest, from fits to resamples of the runs and from laws without E."""
  count, random = len(problem.x), np.random.default_rng(1)
  ones_1n, first = np.ones((1, count)), min(max(delta, _FINE), _COARSE)
  chosen = candidates
  for _ in range(_ROUNDS):
    # Eight places, each resampled eight times: one batch.
    lowest, starts_sp = float(chosen.values.min()), _lowest(chosen, 8)
    lanes_sp = starts_sp[np.arange(huber_solver.BATCH_SIZE) % len(starts_sp)]
    counts_sn = random.multinomial(count, np.full(count, 1 / count), size=huber_solver.BATCH_SIZE)
    moved = huber_solver.minimise_huber(problem, counts_sn, lanes_sp, delta, first, 1e-6, _SECOND_STEPS)
    moved.theta_sp[: len(starts_sp)] = starts_sp
    # The optimum may lie at E = 0, that is at ln E = -inf, which no descent reaches in finite steps.
    moved.theta_sp[: len(starts_sp), 2] = float(np.mean(problem.l)) + _NO_E
    chosen = _joined(
      chosen, _orphans(huber_solver.minimise_huber(problem, ones_1n, moved.theta_sp, delta, delta, 1e-12))
    )
    # A gain below 1e-10 is rounding, and further rounds would find no more.
    if not chosen.values.min() < lowest * (1 - 1e-10):
      break
  return chosen


def _joined(first: _Ends, second: _Ends) -> _Ends:
  return _Ends(
    np.concatenate([first.theta_sp, second.theta_sp]),
    np.concatenate([first.values, second.values]),
    first.starts + second.starts,
  )


def _orphans(ends: huber_solver.HuberSolution) -> _Ends:
  """Returns ends without a start of the grid."""
  return _Ends(ends.theta_sp, ends.value_s, [np.zeros(0, np.int64)] * len(ends.value_s))


def _lowest(ends: _Ends, count: int) -> np.ndarray:
  """Returns the lowest distinct ends."""
  order = np.argsort(ends.values, kind="stable")
  order = order[np.isfinite(ends.values[order])]
  distinct = np.unique(np.round(ends.theta_sp[order], 2), axis=0, return_index=True)[1]
  return ends.theta_sp[order[np.sort(distinct)[:count]]]


def _places(ends_sp: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Groups ends that agree; returns (group of each end, first end of each of the lowest groups)."""
  order = np.argsort(values, kind="stable")
  # Ends that agree to two decimals in each parameter are one basin.
  rounded_sp = np.round(np.clip(ends_sp, -1e6, 1e6), 2)
  _, first, indices = np.unique(rounded_sp[order], axis=0, return_index=True, return_inverse=True)
  rank = np.argsort(np.argsort(first))  # by the value of their lowest end
  places = np.empty(len(values), np.int64)
  places[order] = rank[indices.ravel()]
  return places, order[np.sort(first)[: huber_solver.BATCH_SIZE]]


def _finalists(ends: _Ends) -> np.ndarray:
  """Returns the lowest of the distinct ends that are nearly as low as the lowest."""
  near = ends.values <= np.min(ends.values) * (1 + _FINALIST_GAP) + 1e-20
  order = np.flatnonzero(near)[np.argsort(ends.values[near], kind="stable")]
  distinct = np.unique(np.round(ends.theta_sp[order], 2), axis=0, return_index=True)[1]
  return order[np.sort(distinct)[:_FINALISTS]]


def _with_all_runs(problem: huber_solver.HuberProblem, candidates_sp: np.ndarray, delta: float) -> np.ndarray:
  """Returns the ends of the candidates' descents with all runs, the lowest first."""
  first = max(delta, min(_COARSE, 10 * delta))
  ends = huber_solver.minimise_huber(problem, np.ones((1, len(problem.x))), candidates_sp, delta, first)
  finalists = np.argsort(ends.value_s, kind="stable")[: _FINALISTS if len(problem.x) <= _LARGE else 1]
  return ends.theta_sp[finalists]


def _bottom(
  problem: huber_solver.HuberProblem, finalists_sp: np.ndarray, delta: float
) -> newton.NewtonResult:
  """Descends from each finalist at the stated delta, and from the lowest end also through wider deltas."""
  step = newton.newton_steps if len(problem.x) > _LARGE else newton.descend_at
  ends = [step(theta, *problem[:3], delta, problem.moves_pp) for theta in finalists_sp]
  best = min(ends, key=lambda end: end.value)
  if len(problem.x) > _LARGE:
    return best
  around = newton.descend_from(best.theta, *problem[:3], delta, problem.moves_pp)
  # The same bottom to rounding: the one whose gradient is smaller.
  if abs(best.value - around.value) <= 1e-12 * best.value:
    return min(best, around, key=lambda end: float(np.linalg.norm(end.gradient)))
  return min(best, around, key=lambda end: end.value)
