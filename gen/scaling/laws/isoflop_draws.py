"""Draws of the power laws through IsoFLOP valleys: their variation if the study were repeated.

Resampling runs would lose sizes, and three of five sizes give another parabola or none. So a draw keeps every budget
and size, and adds normal noise of sd sigma / sqrt(seeds) to each mean loss. sigma is estimated jointly from repeated
seeds and from the residuals of the valleys. With few degrees of freedom sigma is uncertain, so each draw has its own
sigma (chi-squared), which gives intervals of Student's t. B draws, G budgets, M sizes.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.laws import valley_minimum
from gen.scaling.laws.loss_law import law
from gen.scaling.laws.loss_trend import LossTrend
from gen.scaling.laws.valley_minimum import BudgetLosses, ValleyMinimum
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable


class DrawOptions(NamedTuple):
  """Options of the draws."""

  method: str
  bootstraps: int
  seed: int
  cluster: str


class RunNoise(NamedTuple):
  """The sd of one run's loss (nats), its degrees of freedom, and the source of the estimate."""

  sd: float
  freedom: int
  source: str


class LawDraws(NamedTuple):
  """(ln k_N, a, ln k_D, b) and L*(C) of each draw, and the method."""

  rows_b4: np.ndarray
  trends: LossTrend | None
  how: str
  warnings: list[str]


def draw_laws(
  points: RunsTable, budgets: list[BudgetLosses], minima: list[ValleyMinimum], options: DrawOptions
) -> LawDraws:
  """Returns draws of the laws through the given budgets.

  Raises:
    UserError: for a kind of cluster that the study does not have.
  """
  if options.cluster not in bootstrap.CLUSTERS:
    raise UserError(f"--cluster={options.cluster}: resampling is over {', '.join(bootstrap.CLUSTERS)}")
  if not options.bootstraps:
    return LawDraws(np.zeros((0, 4)), None, "none", [])
  random = np.random.default_rng(options.seed)
  if options.cluster == "budget":
    return _over_budgets(budgets, minima, options, random)
  if options.cluster == "seed":
    return _over_seeds(points, budgets, options)
  noise = measure_noise(budgets, options.method)
  if not noise.freedom:
    return _over_lines(budgets, minima, options, random)
  return _over_noise(budgets, noise, options, random)


def measure_noise(budgets: list[BudgetLosses], method: str) -> RunNoise:
  """Estimates the noise of one run from seeds and from the residuals of the valleys, by the method of moments.

  A parabola's residuals include its misfit, which belongs in the intervals. A spline has no residuals, so third
  differences around the lowest size replace them.
  """
  squares = weight = 0.0
  repeats = left_over = 0
  for budget in budgets:
    # Deviations from the mean of a size's seeds lose one degree of freedom a size.
    within = budget.run_loss - budget.loss[budget.size_of_run]
    squares, weight = squares + float(np.sum(within**2)), weight + len(within) - len(budget.loss)
    repeats += len(within) - len(budget.loss)
    # Three sizes lie on their parabola exactly and say nothing about noise.
    if len(budget.log_n) < 4:
      continue
    if method == "parabola":
      rest = valley_minimum.parabola_residuals(budget.log_n, budget.loss)
      # E[residual^2] = sigma^2 (1 - leverage) / seeds: the sum of squares over this weight is unbiased.
      weight += float(np.sum((1 - valley_minimum.parabola_leverage(budget.log_n)) / budget.count))
      left_over += len(rest) - 3
    else:
      rows_km = valley_minimum.third_differences(budget.log_n, int(np.argmin(budget.loss)))
      rest = rows_km @ budget.loss
      # The variance of a row's result: its squared weights times those of the means.
      weight += float(np.sum(rows_km**2 @ (1 / budget.count)))
      left_over += len(rest)
    squares += float(np.sum(rest**2))
  kinds = [f"{repeats} repeated seeds"] * (repeats > 0) + [f"{left_over} residuals"] * (left_over > 0)
  sd = math.sqrt(squares / weight) if weight > 0 else math.nan
  return RunNoise(sd, repeats + left_over, " and ".join(kinds))


def draw_lines(
  flops: np.ndarray, log_n_bg: np.ndarray, log_d_bg: np.ndarray, weights_bg: np.ndarray | None = None
) -> np.ndarray:
  """Returns (ln k_N, a, ln k_D, b) of each draw, NaN minima left out."""
  known_bg = np.isfinite(log_n_bg) & np.isfinite(log_d_bg)
  weights_bg = known_bg * (1.0 if weights_bg is None else weights_bg)
  # Centred at the middle of ln C: height and slope of the line are then nearly uncorrelated, and no digits are lost.
  log_c = np.log(flops)
  middle = log_c.mean()
  rows = []
  for heights_bg in (log_n_bg, log_d_bg):
    slope, height = law.fit_line(
      np.broadcast_to(log_c - middle, heights_bg.shape), np.where(known_bg, heights_bg, 0.0), weights_bg
    )
    rows += [height - slope * middle, slope]
  return np.stack(rows, 1)


def _over_noise(
  budgets: list[BudgetLosses], noise: RunNoise, options: DrawOptions, random: np.random.Generator
) -> LawDraws:
  # The unknown sigma is drawn too: a normal over the root of a chi-squared is Student's t.
  scale = noise.sd * np.sqrt(noise.freedom / random.chisquare(noise.freedom, options.bootstraps))
  lows = []
  for budget in budgets:
    errors_bm = random.standard_normal((options.bootstraps, len(budget.loss))) / np.sqrt(budget.count)
    # Above 0, because Akima's spline takes logarithms; a loss that noise brings to 0 is no loss at all.
    noisy_bm = np.maximum(budget.loss + scale[:, None] * errors_bm, 1e-9)
    lows.append(valley_minimum.find_minimum(budget, options.method, noisy_bm))
  rows_b4, trends, lost = _through(budgets, lows)
  warnings = []
  if noise.freedom < 5:
    warnings.append(f"noise is measured by {noise.source} alone: the intervals are wide for it")
  # 2 %: fewer lost draws move the ends of a 95 % interval by less than the draws' own scatter.
  if lost > 0.02:
    warnings.append(
      f"in {100 * lost:.0f} % of the draws a budget has no minimum: noise is as large as the valleys"
    )
  how = f"{options.bootstraps} draws of noise of {noise.sd:.3g} nats, measured by {noise.source}"
  return LawDraws(rows_b4, trends, how, warnings)


def _through(
  budgets: list[BudgetLosses], lows: list[ValleyMinimum], weights_bg: np.ndarray | None = None
) -> tuple[np.ndarray, LossTrend | None, float]:
  log_n_bg = np.stack([low.log_n for low in lows], 1)
  log_d_bg = np.stack([budget.log_d(low.log_n) for budget, low in zip(budgets, lows, strict=True)], 1)
  loss_bg = np.stack([low.loss for low in lows], 1)
  rows_b4 = draw_lines(
    np.array([used_budget.flops for used_budget in budgets]), log_n_bg, log_d_bg, weights_bg
  )
  # The trend of L*(C) needs every budget, unlike a line, which leaves missing minima out.
  complete = np.all(np.isfinite(log_n_bg), 1)
  trends = (
    LossTrend.through([used_budget.flops for used_budget in budgets], loss_bg[complete])
    if complete.any()
    else None
  )
  return rows_b4, trends, float(np.mean(~complete))


def _over_lines(
  budgets: list[BudgetLosses], minima: list[ValleyMinimum], options: DrawOptions, random: np.random.Generator
) -> LawDraws:
  """Draws from the scatter of the minima about the power law, if three sizes and one seed leave no residuals."""
  # A line takes two degrees of freedom from the scatter of the minima.
  freedom = len(budgets) - 2
  if freedom < 1:
    warning = (
      "two budgets of three sizes and one seed leave nothing to measure noise by, so there are no intervals"
    )
    return LawDraws(np.zeros((0, 4)), None, "none", [warning])
  log_c = np.log([used_budget.flops for used_budget in budgets])
  log_n = np.array([low.log_n[0] for low in minima])
  slope, height = law.fit_line(log_c, log_n)
  sd = math.sqrt(float(np.sum((log_n - height - slope * log_c) ** 2)) / freedom)
  # As in `_over_noise`: sigma is drawn with the noise, which gives Student's t.
  scale = sd * np.sqrt(freedom / random.chisquare(freedom, options.bootstraps))
  log_n_bg = log_n + scale[:, None] * random.standard_normal((options.bootstraps, len(budgets)))
  log_d_bg = np.stack([budget.log_d(log_n_bg[:, g]) for g, budget in enumerate(budgets)], 1)
  rows_b4 = draw_lines(np.exp(log_c), log_n_bg, log_d_bg)
  warning = (
    "three sizes and one seed a budget leave nothing to measure noise by: intervals are from how the "
    f"{len(budgets)} minima scatter about the power law"
  )
  return LawDraws(
    rows_b4, None, f"{options.bootstraps} draws of the minima's scatter about the law", [warning]
  )


def _over_budgets(
  budgets: list[BudgetLosses], minima: list[ValleyMinimum], options: DrawOptions, random: np.random.Generator
) -> LawDraws:
  if len(budgets) < 3:
    raise UserError(f"{len(budgets)} budgets cannot be resampled; use --cluster=run")
  chances = np.full(len(budgets), 1 / len(budgets))
  counts_bg = random.multinomial(len(budgets), chances, options.bootstraps).astype(np.float64)
  # Minima do not change when budgets are resampled; only their weights in the line do.
  lows = [ValleyMinimum(*(np.broadcast_to(part, options.bootstraps) for part in low)) for low in minima]
  # No trend: a resample lacks a third of the budgets on average, and three constants need all of few.
  rows_b4, _, _ = _through(budgets, lows, counts_bg)
  return LawDraws(rows_b4, None, f"bootstrap over budgets, {options.bootstraps} resamples", [])


def _over_seeds(points: RunsTable, budgets: list[BudgetLosses], options: DrawOptions) -> LawDraws:
  counts_bn = bootstrap.resample_counts(
    bootstrap.cluster_labels(points, "seed"), options.bootstraps, options.seed
  )
  lows = [_resampled(budget, counts_bn[:, budget.runs], options.method) for budget in budgets]
  rows_b4, trends, lost = _through(budgets, lows)
  warnings = (
    [f"{100 * lost:.0f} % of the resamples of seeds leave some budget without a valley"] if lost else []
  )
  return LawDraws(rows_b4, trends, f"bootstrap over seeds, {options.bootstraps} resamples", warnings)


def _resampled(budget: BudgetLosses, counts_br: np.ndarray, method: str) -> ValleyMinimum:
  """Returns the minima for counts of the budget's runs; draws that lack the same sizes are solved together."""
  # 1 where a run is of a size: a product with it sums over the runs of each size, for all draws at once.
  member_rm = (budget.size_of_run[:, None] == np.arange(len(budget.log_n))).astype(np.float64)
  total_bm = counts_br @ member_rm
  sums_bm = (counts_br * budget.run_loss) @ member_rm
  out = [np.full(len(counts_br), np.nan) for _ in range(3)] + [np.zeros(len(counts_br), bool)]
  # Draws that lack the same sizes have the same x, and `find_minimum` solves them in one call.
  kinds, kind = np.unique(total_bm > 0, axis=0, return_inverse=True)
  for i, present in enumerate(kinds):
    rows = np.flatnonzero(kind.ravel() == i)
    if present.sum() < 3:
      continue
    loss_bm = sums_bm[rows][:, present] / total_bm[rows][:, present]
    # `loss` of a part is a placeholder: the draws' own losses are given beside it.
    part = dataclasses.replace(
      budget,
      params=budget.params[present],
      log_n=budget.log_n[present],
      loss=loss_bm[0],
      count=budget.count[present],
      tokens=budget.tokens[present],
    )
    for array, some in zip(out, valley_minimum.find_minimum(part, method, loss_bm), strict=True):
      array[rows] = some
  return ValleyMinimum(*out)
