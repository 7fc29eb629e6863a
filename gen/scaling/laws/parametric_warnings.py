"""Warnings about the constants of a parametric law that its runs do not determine well."""

import math
from typing import TYPE_CHECKING

import numpy as np

from gen.scaling.laws import outliers
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.runs.runs_table import RunsTable

if TYPE_CHECKING:
  from gen.scaling.laws.parametric import ParametricFit


def fit_warnings(fitted: "ParametricFit", points: RunsTable, intervals: dict[str, list[float]]) -> list[str]:
  """Returns warnings for readers who want to quote the constants, one sentence each."""
  law, sentences = fitted.law, outliers.outlier_sentences(fitted.residuals, points.loss, points.names)
  x, y = np.log(points.params), np.log(points.tokens)
  correlation = float(np.corrcoef(x, y)[0, 1])
  # Along D = r N^s only one of the two exponents is identified; 0.98 leaves 4 % of the variance to tell them apart.
  if correlation > 0.98:
    sentences.append(
      f"ln N and ln D correlate by {correlation:.4f}: the effects of N and D are hard to tell apart"
    )
  # At one budget ln N + ln D is constant.
  if correlation < -0.995:
    sentences.append("all runs have nearly one budget: how the optimum moves with compute is extrapolated")
  # Twice the five constants.
  if len(points) < 10:
    sentences.append(
      f"{len(points)} runs for {5 if law.alpha != law.beta else 4} constants: almost none are left to check the law"
    )
  # Rounding of the sum grows with the number of runs.
  if fitted.gradient_norm > 1e-10 * max(1.0, len(points) / 1000):
    sentences.append(f"the gradient's norm is {fitted.gradient_norm:.2g}, above the goal of 1e-10")
  shares = np.median(found_shares(law, points), 0)
  for name, share in zip(("A / N^alpha", "B / D^beta", "E"), shares, strict=True):
    # A term this small could have almost any constants.
    if share < 1e-3:
      sentences.append(
        f"{name} is {share:.1e} of the loss: the runs do not show this term, so its constants mean nothing"
      )
  if min(law.alpha, law.beta) <= 0:
    sentences.append(
      "an exponent is not positive: loss does not fall with both N and D, so there is no optimum"
    )
  spread = np.log(points.flops / (points.params * points.tokens))
  # C / (N D) varies by more than a fifth, so one k would shift the optimum.
  if np.ptp(spread) > 0.2:
    sentences.append(
      f"FLOPs per parameter and token run from {math.exp(spread.min()):.2f} to {math.exp(spread.max()):.2f}: "
      + (
        f"no function of N, so optima are of C = k N D with k = {law.k:.2f}"
        if fitted.cost.is_constant
        else f"a, b and the optima follow C = k(N) N D; one k, {law.k:.2f}, would give a = {law.a:.3f}"
      )
    )
  # From 0.35 to 0.65, N* differs by a factor of 2 for each factor of 10 in C.
  if "a" in intervals and not np.ptp(intervals["a"]) < 0.3:
    low, high = intervals["a"]
    sentences.append(f"a is only known to lie in [{low:.2f}, {high:.2f}]: too wide to plan with")
  return sentences


def found_shares(law: ParametricLaw, points: RunsTable) -> np.ndarray:
  """Returns the shares of the three terms in each run's predicted loss, [N, 3]."""
  with np.errstate(all="ignore"):
    terms = [law.A * points.params**-law.alpha, law.B * points.tokens**-law.beta, np.full(len(points), law.E)]
    terms_n3 = np.stack(terms, 1)
    shares_n3 = terms_n3 / terms_n3.sum(1, keepdims=True)
  return np.nan_to_num(shares_n3)
