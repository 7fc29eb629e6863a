"""Minimises Huber losses of L(N, D) = E + A/N^alpha + B/D^beta for many starts or resamples at once, in float64.

The objective is the one of Hoffmann et al. 2022 (arXiv:2203.15556, appendix D.3), the sum over runs i of

  c_i Huber_delta(logsumexp(a - alpha x_i, b - beta y_i, e) - l_i)

with x, y and l the logarithms of N, D and the loss, x and y centred by the caller, e = ln E, and c_i whole numbers
(how often a resample drew run i). Parameters are ordered theta = (a, b, e, alpha, beta). S lanes (starts or
resamples), N points, P = 5 parameters, M = 6 monomials (1, x, y, x^2, x y, y^2).

Each lane goes from a wide Huber function, nearly least squares, to the wanted delta through ever narrower ones
(Madsen and Nielsen 1993, "A finite smoothing algorithm for linear l1 estimation"): from the optimum at one delta the
tangent of the path predicts that at the next, and a few damped Newton steps correct it. The Hessian of a step is a
blend of the exact one and of reweighted least squares; failure shifts the blend, success shifts it back. So deltas
of 1e-8, which is least absolute deviations, cost no more than twice 1e-3.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.io import compiler_options
from gen.scaling.laws.solvers import descents

BATCH_SIZE = 64  # solved side by side: their working set stays in a core's cache
NAMES = ("ln A", "ln B", "ln E", "alpha", "beta")
# Columns are directions in which theta moves.
FREE = np.eye(5)
TIED = np.diag([1.0, 1.0, 1.0, 1.0, 0.0])  # alpha = beta: one step moves both
TIED[4, 3] = 1.0
_WIDEST = 0.1  # first delta, in log loss: most residuals of a sane study are inside
# Ratio of successive deltas: half a decade, so delta 1e-8 takes 14 of them.
_NARROWING = 10.0**-0.5
_LEVEL_TOLERANCE = 1e-5  # predicted relative decrease at which a delta above the last is left
_INNER_TOLERANCE = 1e-4  # the same over delta^2, what one run inside the quadratic zone can weigh
# Bounds of one move in each parameter. The terms are exponentials of the parameters, so a full Newton step
# from a far start may be too long by hundreds.
_LONGEST_STEP = 5.0
_NEAR = 1e-3  # promised relative decrease below which the curvature of the model counts
# Bound of one prediction in each parameter, far below a step's: no test of the objective follows it.
_LONGEST_PREDICTION = 0.3
# Levenberg-Marquardt damping, relative to the Hessian's diagonal. Near the minimum of 1e-9 a step is
# Newton's; at the maximum it moves nothing, and the lane has ended.
_MIN_DAMPING = 1e-9
# A step is then shorter than float64 resolves beside parameters of order 1 to 10.
_MAX_DAMPING = 1e10
# Of XLA: half the time to compile and two thirds of the time to run of what it does by itself. jaxlib 0.12 has the
# second no more.
_QUICK = ({"xla_backend_optimization_level": 1}, {"xla_cpu_use_fusion_emitters": False})


class HuberProblem(NamedTuple):
  """The data that all lanes share: centred logarithms, and the directions in which parameters may move."""

  x: np.ndarray
  y: np.ndarray
  l: np.ndarray
  moves_pp: np.ndarray


@dataclasses.dataclass(frozen=True)
class HuberSolution:
  """The final state of each lane."""

  theta_sp: np.ndarray
  value_s: np.ndarray
  done_s: np.ndarray  # converged to the tolerance
  steps_s: np.ndarray


class _State(NamedTuple):
  theta: Array
  value: Array
  gradient: Array
  hessian_pp: Array
  outward: Array  # derivative of the gradient by delta
  damping: Array
  delta: Array
  steps: Array
  done: Array


def minimise_huber(
  problem: HuberProblem,
  counts_sn: np.ndarray,
  starts_sp: np.ndarray,
  delta: float,
  first_delta: float = _WIDEST,
  tolerance: float = 1e-10,
  max_steps: int = 150,
) -> HuberSolution:
  """Minimises from every start, each with its own counts of the runs.

  Args:
    problem: the runs, as centred logarithms.
    counts_sn: how often each lane counts each run; a single row applies to all lanes.
    starts_sp: the initial parameters of each lane.
    delta: delta of the Huber function, in log loss; infinity is least squares.
    first_delta: the first delta of the sequence of narrower ones.
    tolerance: predicted relative decrease of the objective at which a lane has converged.
    max_steps: maximum number of steps; a lane that needs more stops where it is.
  """
  lanes, points = len(starts_sp), len(problem.x)
  width = _lanes(lanes, points)
  padding = _padded(points) - points
  delta, first_delta = min(delta, 1e6), min(first_delta, 1e6)  # so wide that it is least squares
  shared = [np.pad(np.asarray(v, np.float64), (0, padding)) for v in problem[:3]]
  counts_sn = np.pad(np.asarray(counts_sn, np.float64), ((0, 0), (0, padding)))
  parts: list[tuple[Array, ...]] = []
  # Float64: a sum of Huber losses at delta 1e-8 is about 1e-9, below what float32 can resolve. On the CPU,
  # because TPUs emulate float64 and a study must give the same constants on every machine.
  with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
    for begin in range(0, lanes, width):
      # The last batch repeats its last lane, so that every batch has one shape and one compiled program.
      rows = np.minimum(np.arange(begin, begin + width), lanes - 1)
      lane_counts_sn = counts_sn[rows] if len(counts_sn) > 1 else np.repeat(counts_sn, width, 0)
      parts.append(
        _compiled_descent()(
          np.asarray(starts_sp, np.float64)[rows],
          lane_counts_sn,
          *shared,
          problem.moves_pp,
          np.float64(delta),
          np.float64(max(delta, first_delta)),
          np.float64(tolerance),
          np.int32(max_steps),
        )
      )
      if begin:  # Calls return before they are done; the one under way overlaps with the count of the last.
        jax.block_until_ready(parts[-2])
        descents.count_descents(width)
    theta_sp, value_s, done_s, steps_s = (
      np.concatenate([np.asarray(part[i]) for part in parts])[:lanes] for i in range(4)
    )
  descents.count_descents(lanes - (len(parts) - 1) * width)
  return HuberSolution(theta_sp, np.where(np.isfinite(value_s), value_s, np.inf), done_s, steps_s)


def _lanes(lanes: int, points: int) -> int:
  """Returns how many lanes are solved in one batch: fewer if each has many runs."""
  # 2 million residuals of a batch are 16 MB of float64 an array. Up to 4,096 runs a full batch fits a core's cache
  # anyway.
  return int(max(1, min(BATCH_SIZE, lanes, 2_000_000 // max(points, 1)))) if points > 4096 else BATCH_SIZE


def _padded(points: int) -> int:
  """Returns a padded length that many studies share, so that they reuse one compiled program."""
  # Padding runs have count 0. Above 4,096 runs a program of its own costs less than the padding.
  return -(-points // 64) * 64 if points <= 4096 else points


@functools.cache
def _compiled_descent() -> Callable[..., tuple[Array, Array, Array, Array]]:
  """Returns `_descend` with those options of `_QUICK` that this release of XLA has."""
  options: dict[str, Any] = {}
  for option in _QUICK:
    options |= option if compiler_options.are_supported(**option) else {}
  return jax.jit(_descend, compiler_options=options)


def _descend(
  starts_sp: Array,
  counts_sn: Array,
  x: Array,
  y: Array,
  l: Array,
  moves_pp: Array,
  delta: Array,
  first_delta: Array,
  tolerance: Array,
  max_steps: Array,
) -> tuple[Array, Array, Array, Array]:
  monomials_nm = jnp.stack([jnp.ones_like(x), x, y, x * x, x * y, y * y], 1)
  step = jax.vmap(
    lambda state, counts: _step(state, counts, x, y, l, monomials_nm, moves_pp, delta, tolerance)
  )
  states = _State(
    theta=starts_sp,
    value=jnp.full(len(starts_sp), jnp.inf),
    gradient=jnp.zeros_like(starts_sp),
    hessian_pp=jnp.tile(jnp.eye(5), (len(starts_sp), 1, 1)),
    outward=jnp.zeros_like(starts_sp),
    # A tenth of the diagonal: starts are far, and undamped steps from there fail.
    damping=jnp.full(len(starts_sp), 0.1),
    delta=jnp.full(len(starts_sp), first_delta),
    steps=jnp.zeros(len(starts_sp), jnp.int32),
    done=jnp.zeros(len(starts_sp), bool),
  )
  states = jax.lax.while_loop(
    lambda states: jnp.any(~states.done & (states.steps < max_steps)),
    lambda states: step(states, counts_sn),
    states,
  )
  # A lane that ended at strong damping has stopped moving, not converged: 1e-2 is nearly Newton's step.
  return states.theta, states.value, states.done & (states.damping <= 1e-2), states.steps


def _step(
  state: _State,
  counts: Array,
  x: Array,
  y: Array,
  l: Array,
  monomials_nm: Array,
  moves_pp: Array,
  delta: Array,
  tolerance: Array,
) -> _State:
  """Takes one step: to a lower value at this delta, or from its optimum along the path to the next delta."""
  newton, drift = _solve(state.hessian_pp, jnp.stack([state.gradient, state.outward], 1), state.damping).T
  promised = -jnp.dot(state.gradient, newton)
  # At the last delta the wanted tolerance holds. Before it, the optimum only has to be near enough for the
  # tangent to predict the next one.
  last = state.delta <= delta
  settled = (
    jnp.isfinite(state.value)
    & (state.damping <= 1e-2)
    & (promised <= jnp.where(last, tolerance, _LEVEL_TOLERANCE) * state.value)
    & (promised <= _INNER_TOLERANCE * state.delta**2)
  ) | (state.damping > _MAX_DAMPING)
  narrower = settled & ~last
  next_delta = jnp.where(narrower, jnp.maximum(state.delta * _NARROWING, delta), state.delta)
  predicted = newton + drift * (next_delta - state.delta)
  move = jnp.where(narrower, _shorten(predicted, _LONGEST_PREDICTION), _shorten(newton, _LONGEST_STEP))
  theta = state.theta + moves_pp @ move
  # After failures the Hessian moves towards that of reweighted least squares, which is positive definite.
  blend = jnp.minimum(1.0, 0.3 * state.damping)
  near = promised <= _NEAR * state.value
  value, gradient, hessian_pp, outward = _evaluate(
    theta, blend, near, next_delta, counts, x, y, l, monomials_nm
  )
  # A predicted point is accepted without a test: objective values at two deltas cannot be compared.
  accepted = ((value < state.value) | narrower) & jnp.isfinite(value)
  # Down by five after a success and up by five after a failure, as is usual for Levenberg-Marquardt.
  damping = jnp.where(
    accepted, jnp.maximum(0.2 * state.damping, _MIN_DAMPING), jnp.minimum(5 * state.damping, 1e12)
  )
  moved = _State(
    theta,
    value,
    moves_pp.T @ gradient,
    moves_pp.T @ hessian_pp @ moves_pp,
    moves_pp.T @ outward,
    # From a predicted point a step is nearly Newton's.
    jnp.where(narrower, 1e-3, damping),
    next_delta,
    state.steps + 1,
    settled & last,
  )
  stayed = state._replace(
    damping=damping, delta=next_delta, steps=state.steps + 1, done=state.done | (settled & last)
  )
  taken = accepted & ~(settled & last)
  chosen = jax.tree.map(lambda new, old: jnp.where(taken, new, old), moved, stayed)
  return jax.tree.map(lambda new, old: jnp.where(state.done, old, new), chosen, state)


def _shorten(move: Array, longest: float) -> Array:
  return jnp.clip(move, -longest, longest)


def _evaluate(
  theta: Array,
  blend: Array,
  near: Array,
  delta: Array,
  counts: Array,
  x: Array,
  y: Array,
  l: Array,
  monomials_nm: Array,
) -> tuple[Array, Array, Array, Array]:
  """Returns the objective, its gradient, a Hessian, and the gradient's derivative by delta.

  The Hessian is exact at blend 0 and reweighted least squares at 1. Sums over points are one product with the
  monomials: all derivatives are shares of the three terms times monomials.
  """
  a, b, e, alpha, beta = theta
  u = jnp.exp(jnp.clip(a - e - alpha * x, -300.0, 300.0))  # the terms of N and of D over E
  v = jnp.exp(jnp.clip(b - e - beta * y, -300.0, 300.0))
  # Relative to E, so that the logsumexp needs no maximum: u and v are clipped to e^300 above.
  total = 1 + u + v
  pe = 1 / total
  pa, pb = u * pe, v * pe
  residual = e + jnp.log(total) - l
  size = jnp.abs(residual)
  inner = size <= delta
  value = jnp.sum(counts * jnp.where(inner, 0.5 * residual**2, delta * (size - 0.5 * delta)))
  slope = jnp.clip(residual, -delta, delta)
  # Reweighted least squares (Huber 1981): delta / |r| outside the quadratic zone. 1e-300 is against 0 / 0 inside it.
  weight = jnp.where(inner, 1.0, delta / jnp.maximum(size, 1e-300))
  curved = jnp.where(near, 1 - blend, 0.0)
  # Weight of the outer products of first derivatives. The term with `slope` completes the second derivative
  # of logsumexp, diag(p) - p p', of which `curved * sa` below is the diagonal part.
  k = counts * (blend * weight + (1 - blend) * inner - curved * slope)
  s = counts * slope
  o = counts * jnp.where(inner, 0.0, jnp.sign(residual))
  rows_qn = jnp.stack(
    [weight * pa for weight in (s, o)]
    + [weight * pb for weight in (s, o)]
    + [weight * pe for weight in (s, o)]
    + [k * p * q for p, q in itertools.combinations_with_replacement((pa, pb, pe), 2)]
  )
  sums_qm = rows_qn @ monomials_nm
  sa, oa, sb, ob, se, oe, aa, ab, ae, bb, be, ee = sums_qm
  aa, bb, ee = aa + curved * sa, bb + curved * sb, ee + curved * se
  gradient = jnp.stack([sa[0], sb[0], se[0], -sa[1], -sb[2]])
  outward = jnp.stack([oa[0], ob[0], oe[0], -oa[1], -ob[2]])
  hessian_pp = jnp.stack(
    [
      jnp.stack([aa[0], ab[0], ae[0], -aa[1], -ab[2]]),
      jnp.stack([ab[0], bb[0], be[0], -ab[1], -bb[2]]),
      jnp.stack([ae[0], be[0], ee[0], -ae[1], -be[2]]),
      jnp.stack([-aa[1], -ab[1], -ae[1], aa[3], ab[4]]),
      jnp.stack([-ab[2], -bb[2], -be[2], ab[4], bb[5]]),
    ]
  )
  return value, gradient, hessian_pp, outward


def _solve(hessian_pp: Array, slopes_pr: Array, damping: Array) -> Array:
  """Returns damped Newton steps down R slopes, directions of descent also where the Hessian is indefinite.

  Gauss-Jordan elimination without pivoting; a pivot that is not positive is replaced by the diagonal's size (Gill
  and Murray's modified Cholesky). A loop, because five unrolled rounds take longer to compile than to run.
  """
  size = len(hessian_pp)
  diagonal = jnp.abs(jnp.diagonal(hessian_pp))
  # 1e-30: a column of zeros, of a term that no run shows, still has a positive pivot.
  scales = diagonal * (1 + damping) + 1e-30
  damped_pp = hessian_pp + jnp.diag(damping * diagonal)

  def eliminate(j: Array, rest_pq: Array) -> Array:
    here = jnp.arange(size) == j
    row = jnp.where(here, 1.0, 0.0) @ rest_pq
    column = jnp.where(here, 0.0, rest_pq[:, :size] @ here.astype(rest_pq.dtype))
    pivot, scale = rest_pq[j, j], scales[j]
    # 1e-14 is about 50 roundings of float64: a smaller pivot is noise of the elimination.
    row = row / jnp.where(pivot > 1e-14 * scale, pivot, scale)
    return jnp.where(here[:, None], row, rest_pq - column[:, None] * row)

  solved_pq = jax.lax.fori_loop(0, size, eliminate, jnp.concatenate([damped_pp, -slopes_pr], 1))
  return solved_pq[:, size:]
