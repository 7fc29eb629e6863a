"""Draws of the parametric law: resamples the runs and refits the law from its optimum, all lanes at once.

For very many runs the draws come from the bootstrap's limit, a normal with the sandwich covariance (Huber 1967, "The
behavior of maximum likelihood estimates under nonstandard conditions"). S draws, P parameters, K clusters.
"""

import numpy as np

from gen.scaling.laws.solvers import huber_solver, newton
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable

_MAX_RESAMPLED = 20_000  # runs; for more, intervals come from the bootstrap's normal limit
_MIN_ROBUST = 1e-4  # a narrower delta is reached from wider ones in each resample
_ROUNDING = 1e-20  # objective per run where residuals in log loss are about 1e-10
_RESAMPLE_START = 1e-2  # first delta of a resample: ten times the paper's, where most residuals are quadratic


def draw_laws(
  points: RunsTable,
  problem: huber_solver.HuberProblem,
  bottom: newton.NewtonResult,
  delta: float,
  options: tuple[int, int, str, str],
) -> tuple[np.ndarray, np.ndarray | None, str, list[str]]:
  """Returns (draws, estimates with each cluster left out, method, warnings)."""
  bootstraps, seed, method, cluster = options
  if not bootstraps:
    return np.zeros((0, 5)), None, "none", []
  # Runs of one seed or budget may share their errors, so they are drawn together if asked for.
  clusters = bootstrap.cluster_labels(points, cluster)
  if len(points) > _MAX_RESAMPLED:
    draws_sp = _normal_limit(problem, bottom, delta, clusters, bootstraps, seed)
    how = f"normal limit of the bootstrap over {cluster}s (sandwich covariance), {bootstraps} draws"
    return draws_sp, None, how, [f"{len(points)} runs: intervals are the {how}"]
  counts_sn = bootstrap.resample_counts(clusters, bootstraps, seed)
  drawn = refit_draws(problem, counts_sn, bottom.theta, delta)
  warnings = []
  # Losses without noise leave residuals of rounding alone, at which no step improves the objective.
  converged = np.mean(drawn.done_s | (drawn.value_s <= _ROUNDING * counts_sn.sum(1)))
  if converged < 0.95:
    share = 100 * (1 - converged)
    warnings.append(
      f"{share:.0f} % of the resamples did not converge: the runs hardly identify the law, and the "
      "intervals are rough"
    )
  left_out_kp = (
    refit_draws(problem, bootstrap.leave_one_out(clusters), bottom.theta, delta).theta_sp
    if method == "bca"
    else None
  )
  return drawn.theta_sp, left_out_kp, f"{method} bootstrap over {cluster}s, {bootstraps} resamples", warnings


def refit_draws(
  problem: huber_solver.HuberProblem, counts_sn: np.ndarray, theta: np.ndarray, delta: float
) -> huber_solver.HuberSolution:
  """Fits the law to each row of run counts, starting from the law of all runs.

  The first delta stays narrow, because a wide one would let a diverged run dominate the fit.

  Args:
    problem: the runs.
    counts_sn: how often each lane counts each run.
    theta: the law of all runs.
    delta: of the Huber function.
  """
  wide = _RESAMPLE_START if delta < _MIN_ROBUST else delta
  # 1e-8: a draw's own scatter is far wider than what a tighter tolerance would change.
  return huber_solver.minimise_huber(
    problem, counts_sn, np.tile(theta, (len(counts_sn), 1)), delta, wide, 1e-8
  )


def _normal_limit(
  problem: huber_solver.HuberProblem,
  bottom: newton.NewtonResult,
  delta: float,
  clusters: np.ndarray,
  draws: int,
  seed: int,
) -> np.ndarray:
  """Returns draws from the bootstrap's limit for many runs: a normal with the sandwich covariance."""
  model, moves_pp = bottom.model, problem.moves_pp
  size = np.abs(model.residual)
  # Least absolute deviations have no curvature but at zero residuals. Its expectation is the density of the
  # residuals there, estimated with a kernel whose width falls as n^-1/5 (Silverman's rule).
  near = max(
    delta, 1.5 * float(np.median(size)) * len(size) ** -0.2
  )  # a density's bandwidth, where delta is tiny
  slope = np.clip(model.residual, -delta, delta)
  inner = (size <= near) * min(1.0, delta / near) - slope
  bread_pp = (model.jacobian_np * inner[:, None]).T @ model.jacobian_np
  bread_pp = (
    moves_pp.T @ (bread_pp + newton.weighted_curvature(model, slope, problem.x, problem.y)) @ moves_pp
  )
  scores_np = model.jacobian_np * slope[:, None]
  # Scores are summed within clusters first: the meat of the sandwich is that of clusters.
  sums_kp = np.stack([np.bincount(clusters, column) for column in scores_np.T], 1) @ moves_pp
  random = np.random.default_rng(seed)
  # Pseudo-inverse: with alpha = beta the fifth direction does not move, so its row is zero.
  inverse_pp = np.linalg.pinv(bread_pp, rcond=1e-14, hermitian=True)
  spread_pp = inverse_pp @ (sums_kp.T @ sums_kp) @ inverse_pp
  return bottom.theta + random.multivariate_normal(np.zeros(5), spread_pp, draws, method="eigh") @ moves_pp.T
