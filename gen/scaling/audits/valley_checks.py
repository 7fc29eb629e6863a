"""Checks of an audit on the valleys of loss at equal FLOPs: minima, their positions, their symmetry.

N parameters, C FLOPs; a valley's half width is half the logarithm of its largest over its smallest N.
"""

import math
from collections.abc import Iterator

import numpy as np

from gen.scaling.audits.findings import SKIP, Finding, StudyFacts, make_finding
from gen.scaling.laws import isoflop, valley_minimum
from gen.scaling.laws.isoflop import IsoflopValley
from gen.scaling.laws.loss_law.law import bounded_log
from gen.scaling.laws.outliers import residual_scale
from gen.scaling.runs.runs_table import RunsTable

# Of half a valley's width in ln N; chosen: beyond it the shorter arm is a fifth of the valley's width.
_OFF_CENTRE = 0.6
# Cubic part over the depth of a valley at its end; chosen: the two arms then differ by a factor of three.
_BENT = 0.5
_MIN_SPAN = 4.0  # largest over smallest size, as in `Criteria.min_size_span`
# Chosen: in the median budget noise then has less than half the scatter of the valley itself.
_MIN_R_SQUARED = 0.7
_SIZES, _SHARED, _APART = 3, 0.6, 1.3  # runs of a budget, share of runs in such, factor between neighbours


def check_valleys(facts: StudyFacts) -> Iterator[Finding]:
  """Checks that every budget has a minimum, near the middle of its sizes and symmetric."""
  sizes = [len(budget.log_n) for budget in valley_minimum.split_budgets(facts.points)]
  if not facts.designed or sum(size >= 3 for size in sizes) < 2:
    sentence = "the runs do not form budgets of at least three sizes, so there are no valleys"
    for name in ("edge_minima", "off_centre", "asymmetry", "valley_shape", "size_span"):
      yield Finding(name, SKIP, None, None, sentence)
    return
  valleys = isoflop.find_valleys(facts.points)
  edge = [valley.budget for valley in valleys if not valley.inside]
  missing = sum(size >= 3 for size in sizes) - len(valleys)
  budgets = ", ".join(f"{flops:.3g}" for flops in edge)
  sentence = f"all {len(valleys)} valleys have their minimum between their sizes"
  if edge or missing:
    sentence = (
      f"{len(edge) + missing} of {len(valleys) + missing} budgets have no minimum between their sizes"
    )
    sentence += f" ({budgets} FLOPs)" if edge else ""
  yield make_finding("edge_minima", bool(edge or missing), len(edge) + missing, 0, sentence)
  inside = [valley for valley in valleys if valley.inside]
  if not inside:
    return
  yield _centre(inside)
  yield _symmetry(facts, inside)
  known = [valley.r_squared for valley in valleys if math.isfinite(valley.r_squared)]
  middle = float(np.median(known)) if known else math.nan
  yield make_finding(
    "valley_shape", bool(middle < _MIN_R_SQUARED), middle, _MIN_R_SQUARED,
    f"parabolas explain {100 * middle:.0f} % of the scatter of the losses in the middle budget",
  )  # fmt: skip
  narrow = min(valleys, key=lambda valley: valley.span)
  yield make_finding(
    "size_span", narrow.span < _MIN_SPAN, narrow.span, _MIN_SPAN,
    f"sizes span a factor {narrow.span:.3g} at {narrow.budget:.3g} FLOPs, the smallest span; below {_MIN_SPAN:g} a "
    "valley is "
    "hard to see",
  )  # fmt: skip


def is_isoflop_design(points: RunsTable) -> bool:
  """Returns whether a study has budgets: nominal ones, or most runs in well separated groups of equal FLOPs."""
  if np.all(np.isfinite(points.budget)):
    return True
  groups, flops = points.groups(), np.sort(points.group_flops())
  if len(flops) < 2:
    return True
  shared = np.mean(np.bincount(groups)[groups] >= _SIZES)
  return bool(shared >= _SHARED and np.median(flops[1:] / flops[:-1]) >= _APART)


def _centre(inside: list[IsoflopValley]) -> Finding:
  offsets = np.array([_offset(valley) for valley in inside])
  halves = np.array([0.5 * math.log(valley.span) for valley in inside])
  log_c = np.log([valley.budget for valley in inside])
  relative = np.abs(offsets) / halves
  off = relative > _OFF_CENTRE
  drift = float(np.polyfit(log_c, offsets, 1)[0]) if len(inside) >= 3 else 0.0
  drifts = abs(drift) * np.ptp(log_c) > np.mean(halves)
  bad = bool(off.sum() > max(1, len(inside) // 3) or drifts)
  sentence = (
    f"the minima lie at most {100 * relative.max():.0f} % of half the width off the middle of their sizes"
  )
  if drifts:
    sentence += f", and move by {drift:+.2f} ln N per ln C within them, which bends a"
  return make_finding("off_centre", bad, float(relative.max()), _OFF_CENTRE, sentence)


def _offset(valley: IsoflopValley) -> float:
  # -745 is ln of the smallest float64.
  return max(bounded_log(valley.vertex_N), -745.0) - 0.5 * math.log(valley.sizes[0] * valley.sizes[-1])


def _symmetry(facts: StudyFacts, inside: list[IsoflopValley]) -> Finding:
  """Judges the cubic part of loss in ln N about each minimum, all budgets pooled."""
  bends, errors = [], []
  for budget in valley_minimum.split_budgets(facts.points):
    valley = next((candidate for candidate in inside if candidate.budget == budget.flops), None)
    if valley is None or len(budget.log_n) < 5:
      continue
    half = 0.5 * math.log(valley.span)
    x = (budget.log_n - budget.log_n.mean()) / half
    powers_m4 = np.stack([x**i for i in range(4)], 1)
    solved = np.linalg.lstsq(powers_m4, budget.loss, rcond=None)[0]
    left = budget.loss - powers_m4 @ solved
    freedom = max(len(x) - 4, 1)
    noise = max(
      math.sqrt(float(left @ left) / freedom),
      residual_scale(facts.law.residuals, 5) * float(budget.loss.mean()),
    )
    # A valley that opens downwards has no depth; 1e-12 makes the quotient large instead of undefined.
    depth = max(valley.curvature * half**2, 1e-12)
    bends.append(solved[3] / depth)
    errors.append(noise * math.sqrt(np.linalg.inv(powers_m4.T @ powers_m4)[3, 3]) / depth)
  if not bends:
    return Finding("asymmetry", SKIP, None, _BENT, "no budget has the five sizes that an asymmetry takes")
  weights = 1 / np.square(errors)
  mean, error = float(np.average(bends, weights=weights)), float(weights.sum() ** -0.5)
  # Four standard errors: several checks run on each study, and noise must not alarm any of them.
  bad = abs(mean) > _BENT and abs(mean) > 4 * error
  side = "large" if mean > 0 else "small"
  sentence = f"the cubic part of the valleys is {mean:+.2f} of their depth (standard error {error:.2f})"
  return make_finding(
    "asymmetry", bad, mean, _BENT, sentence + (f": they are steeper for {side} models" if bad else "")
  )
