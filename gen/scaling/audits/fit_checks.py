"""The checks of an audit on the fits; each turns the facts of a study into findings.

Thresholds avoid false alarms: an effect must be large enough to matter and larger than noise explains. N parameters,
D tokens, C FLOPs, a the exponent of N* over C, r residuals in ln loss.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from gen.errors import UserError
from gen.scaling.audits import valley_checks
from gen.scaling.audits.findings import SKIP, Finding, StudyFacts, error_of, make_finding
from gen.scaling.laws import isoflop, outliers, parametric, parametric_warnings
from gen.scaling.laws.outliers import residual_scale
from gen.scaling.runs import bootstrap

# Norm, for up to 1,000 runs: the sum's rounding in float64, as `verdicts.criteria.MAX_GRADIENT`.
_GRADIENT = 1e-10
_SHIFT = 0.05  # in a; chosen: over two decades of C it changes N* by a quarter, which a plan would notice
_SINGLE = 0.04  # in a, that one run may move; chosen: just below what all of a budget may
_ERRORS = 2.5  # standard errors: a sound study exceeds them in one of 80 cases, if the error is normal
# That residuals of a sound study look so ordered; chosen: a law is never exact, so weak patterns are no alarm.
_CHANCE = 1e-5
# 95 % interval of a; chosen: wider ones hold both Kaplan et al.'s 0.73 and Hoffmann et al.'s 0.50.
_WIDEST = 0.3
# Relative error of the largest budget's losses, predicted from the others; chosen: noise excuses up to 5 %, where a
# curve is useless.
_AHEAD, _MAX_AHEAD = 0.015, 0.05


def check_convergence(facts: StudyFacts) -> Iterator[Finding]:
  """Checks that the fit is at an optimum inside the searched region."""
  law, limit = facts.law, _GRADIENT * max(1.0, len(facts.points) / 1000)
  yield make_finding(
    "convergence", not law.gradient_norm <= limit, law.gradient_norm, limit,
    f"the gradient's norm at the optimum is {law.gradient_norm:.1e}; {law.starts_at_best} of {law.starts} starts led "
    "there",
  )  # fmt: skip
  exponents = {"alpha": law.law.alpha, "beta": law.law.beta}
  # The paper's grid has exponents from 0 to 2 (appendix D.3); an optimum beyond it was not searched for.
  outside = {name: value for name, value in exponents.items() if not 0 < value < 2}
  shares = np.median(parametric_warnings.found_shares(law.law, facts.points), 0)
  gone = [
    # A term below a thousandth of the loss at the median run has no effect that the runs could show.
    name
    for name, share in zip(("A / N^alpha", "B / D^beta", "E"), shares, strict=True)
    if share < 1e-3
  ]
  sentence = "the exponents lie inside the grid of starts, and the runs show every term of the law"
  if outside or gone:
    sentence = "; ".join(
      [
        f"{name} = {value:.3g} is at or beyond the edge of the grid of starts, (0, 2)"
        for name, value in outside.items()
      ]
      + [f"{name} has vanished from the fitted law" for name in gone]
    )
  yield make_finding("start_grid", bool(outside or gone), exponents, [0, 2], sentence)


def check_identifiability(facts: StudyFacts) -> Iterator[Finding]:
  """Checks that the runs identify the constants separately."""
  x, y = np.log(facts.points.params), np.log(facts.points.tokens)
  correlation, count = float(np.corrcoef(x, y)[0, 1]), len(facts.points)
  sentence = f"ln N and ln D correlate by {correlation:.3f} over {count} runs"
  # Limits of the correlation: beyond .98 the runs lie near D ~ N, and beyond -.995 near one budget. Ten runs are two
  # for each constant.
  bad = not -0.995 <= correlation <= 0.98 or count < 10
  if correlation > 0.98:
    sentence += ": nearly all at one D / N, so the effects of N and D are hard to tell apart"
  elif correlation < -0.995:
    sentence += ": nearly one budget, so the runs do not show how the optimum moves with compute"
  elif count < 10:
    sentence += ": almost none are left to check a law of five constants"
  yield make_finding("identifiability", bad, correlation, [-0.995, 0.98], sentence)
  draws = facts.law.exponents(facts.law.draws_sp)
  low, high = facts.interval or bootstrap.draw_interval(draws, facts.law.a, facts.law.level)
  source = "" if facts.interval else f" from the audit's {len(draws):,} resamples"
  width = high - low
  yield make_finding(
    "precision",
    not width < _WIDEST,
    width,
    _WIDEST,
    f"the {100 * facts.law.level:g} % percentile interval of a is [{low:.3f}, {high:.3f}], {width:.3f} wide{source}",
  )
  rows = np.stack([facts.points.params, facts.points.tokens, facts.points.loss], 1)
  twice = count - len(np.unique(rows, axis=0))
  yield make_finding(
    "duplicates", twice > 0, twice, 0,
    f"{twice} runs repeat another's N, D and loss exactly: they add no evidence, and intervals are too narrow"
    if twice else "no run is repeated",
  )  # fmt: skip


def check_residuals(facts: StudyFacts) -> Iterator[Finding]:
  """Checks for outliers, for runs of high leverage, and for patterns in the residuals."""
  r = facts.law.residuals
  scale = residual_scale(r, 5)
  far = outliers.outlier_mask(r)
  worst = int(np.argmax(np.abs(r)))
  named = ", ".join(str(name) for name in facts.points.names[far][:5])
  yield make_finding(
    "outliers", bool(far.any()), float(np.abs(r[worst]) / scale), outliers.FAR_OUT,
    f"{far.sum()} runs lie more than {outliers.FAR_OUT:g} sd from the law: {named}" if far.any()
    else f"the run farthest from the law, {facts.points.names[worst]}, is {abs(r[worst]) / scale:.1f} sd from it",
  )  # fmt: skip
  yield _leverage(facts)
  yield _structure(facts, far)


def _leverage(facts: StudyFacts) -> Finding:
  left_out = facts.law.left_out_kp
  if left_out is None:
    return Finding(
      "leverage", SKIP, None, None, f"{len(facts.points)} runs are too many to leave out one at a time"
    )
  moved = np.abs(facts.law.exponents(left_out) - facts.law.a)
  worst, limit = int(np.nanargmax(moved)), max(_SINGLE, 2 * _spread(facts.law.draws_sp))
  return make_finding(
    "leverage", bool(moved[worst] > limit), float(moved[worst]), limit,
    f"without {facts.points.names[worst]} alone a moves by {moved[worst]:.3f}, more than without any other",
  )  # fmt: skip


def _structure(facts: StudyFacts, far: np.ndarray) -> Finding:
  """Tests residuals against a paraboloid in (ln N, ln D) and against a step at each budget."""
  near = ~far
  r, points = facts.law.residuals[near], facts.points.select(near)
  # Six constants of the paraboloid, and as many degrees of freedom to test it by.
  if len(r) < 12 or np.std(r) < 1e-5:
    return Finding(
      "residual_structure", SKIP, None, _CHANCE, "the residuals are too few or too small to show a pattern"
    )
  x, y = (_standard(np.log(values)) for values in (points.params, points.tokens))
  smooth = _chance(r, np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1))
  groups = points.groups()
  # A step at each budget: losses of different budgets may come from different code or data.
  means = np.bincount(groups, r) / np.bincount(groups)
  steps = _chance_of(r, r - means[groups], len(means))
  p_value, what = min((smooth, "bend with N and D"), (steps, "differ from budget to budget"))
  return make_finding(
    "residual_structure", p_value < _CHANCE, p_value, _CHANCE,
    f"residuals {what} as they would by chance in {p_value:.1e} of sound studies" if p_value < _CHANCE
    else f"no pattern in the residuals (p {p_value:.2g})",
  )  # fmt: skip


def check_agreement(facts: StudyFacts) -> Iterator[Finding]:
  """Checks that approaches 2 and 3 agree on the exponent, with all budgets and with each left out."""
  if facts.valleys is None:
    yield Finding(
      "agreement", SKIP, None, _SHIFT, "approach 2 cannot be fitted, so 2 and 3 cannot be compared"
    )
  else:
    gap = abs(facts.valleys.a - facts.law.a)
    error = math.hypot(_spread(facts.law.draws_sp), error_of(facts.valleys.draws_b4[:, 1]))
    limit = max(_SHIFT, _ERRORS * error)
    yield make_finding(
      "agreement", gap > limit, gap, limit,
      f"a is {facts.valleys.a:.3f} by IsoFLOP and {facts.law.a:.3f} by the parametric law, {gap:.3f} apart",
    )  # fmt: skip
  groups, budgets = facts.points.groups(), facts.points.group_flops()
  if len(budgets) < 3 or len(budgets) > 60:
    sentence = f"{len(budgets)} budgets: leaving out one at a time takes three to sixty"
    yield Finding("leave_one_budget_out", SKIP, None, _SHIFT, sentence)
    yield Finding("extrapolation", SKIP, None, _AHEAD, sentence)
    return
  yield from _without_budgets(facts, groups, budgets)


def _without_budgets(facts: StudyFacts, groups: np.ndarray, budgets: np.ndarray) -> Iterator[Finding]:
  laws = parametric.leave_out(facts.points, facts.law, groups)
  exponents = facts.law.exponents(np.stack([law.theta_p for law in laws]))
  shifts = {f"{flops:.3g}": abs(float(a) - facts.law.a) for flops, a in zip(budgets, exponents, strict=True)}
  if facts.valleys is not None:
    for flops, a in isoflop.leave_out(facts.valleys).items():
      key = f"{flops:.3g}"
      shifts[key] = max(shifts.get(key, 0.0), abs(a - facts.valleys.a))
  worst = max(shifts, key=lambda key: shifts[key])
  error = _spread(facts.law.draws_sp)
  if facts.valleys is not None:
    error = max(error, error_of(facts.valleys.draws_b4[:, 1]))
  limit = max(_SHIFT, _ERRORS * error)
  yield make_finding(
    "leave_one_budget_out", not shifts[worst] <= limit, shifts[worst], limit,
    f"leaving out the budget of {worst} FLOPs moves a by {shifts[worst]:.3f}, more than without any other",
  )  # fmt: skip
  last = groups == groups.max()
  top = facts.points.select(last)
  ahead = np.log(laws[-1].loss(top.params, top.tokens)) - np.log(top.loss)
  miss, noise = float(np.median(ahead)), residual_scale(facts.law.residuals, 5)
  # Noise excuses a larger error, but none beyond 5 %.
  limit = min(max(_AHEAD, 3 * noise), _MAX_AHEAD)
  yield make_finding(
    "extrapolation", not abs(miss) <= limit, miss, limit,
    f"the smaller budgets predict the losses of the largest, {budgets[-1]:.3g} FLOPs, {100 * miss:+.2f} % off",
  )  # fmt: skip


def check_conventions(facts: StudyFacts) -> Iterator[Finding]:
  """Checks whether the exponent depends on the conventions of N and C."""
  exponent_shifts = {
    f"N counted as {name}": _shift(facts, values) for name, values in facts.other_params.items()
  }
  shifts = {name: shift for name, shift in exponent_shifts.items() if shift is not None}
  k = facts.points.flops / (facts.points.params * facts.points.tokens)
  # 2 % in k is what rounding of FLOPs in a table makes; less is C = k N D.
  if np.ptp(np.log(k)) > 0.02:
    shifts["C as the file gives it, not as 6 N D,"] = _shift_of_flops(facts, k)
  if not shifts:
    yield Finding(
      "conventions", SKIP, None, _SHIFT, "C is k N D, and N has one convention: nothing to compare"
    )
    return
  worst = max(shifts, key=lambda name: abs(shifts[name]))
  yield make_finding(
    "conventions", abs(shifts[worst]) > _SHIFT, shifts[worst], _SHIFT,
    f"with {worst} a is {shifts[worst]:+.3f} off: state the convention of a law with it",
  )  # fmt: skip


def _shift_of_flops(facts: StudyFacts, k: np.ndarray) -> float:
  """Returns the exponent a over C = 6 N D if FLOPs per parameter and token fall as N^-kappa.

  Along C = k0 N^(1 - kappa) D the least loss is at N* ~ C^(beta / (alpha + beta (1 - kappa))).
  """
  kappa = -float(np.polyfit(np.log(facts.points.params), np.log(k), 1)[0])
  alpha, beta = facts.law.law.alpha, facts.law.law.beta
  return beta / (alpha + beta * (1 - kappa)) - facts.law.law.a


def _shift(facts: StudyFacts, params: np.ndarray) -> float | None:
  """Returns the change of a with another count of N: by IsoFLOP if there are valleys, else by the law."""
  recounted = dataclasses.replace(facts.points, params=params)
  try:
    if facts.valleys is not None:
      return isoflop.fit(recounted, bootstraps=0).a - facts.valleys.a
    return parametric.fit(recounted, bootstraps=0).a - facts.law.a
  except UserError:
    return None


def _chance(r: np.ndarray, design_nq: np.ndarray) -> float:
  """Returns the p value of an F test that the columns, which include a constant, explain only the mean of r."""
  solved, _, rank, _ = np.linalg.lstsq(design_nq, r, rcond=None)
  return _chance_of(r, r - design_nq @ solved, int(rank))


def _chance_of(r: np.ndarray, left: np.ndarray, rank: int) -> float:
  """Returns that p value from the number of constants and the residual sum of squares."""
  if len(r) <= rank + 1 or rank < 2:
    return 1.0
  total, rest = float(np.sum((r - r.mean()) ** 2)), float(left @ left)
  if rest <= 0:
    return 0.0
  # F = explained over unexplained variance, each by its degrees of freedom.
  ratio = max(total - rest, 0.0) / (rank - 1) / (rest / (len(r) - rank))
  return float(stats.f.sf(ratio, rank - 1, len(r) - rank))


def _standard(values: np.ndarray) -> np.ndarray:
  return (values - values.mean()) / max(float(np.std(values)), 1e-12)


def _spread(draws_sp: np.ndarray) -> float:
  """Returns the standard error of the parametric law's exponent a."""
  with np.errstate(all="ignore"):
    return error_of(draws_sp[:, 4] / (draws_sp[:, 3] + draws_sp[:, 4]))


CHECKS: tuple[Callable[[StudyFacts], Iterator[Finding]], ...] = (
  check_convergence,
  check_identifiability,
  check_residuals,
  valley_checks.check_valleys,
  check_agreement,
  check_conventions,
)
