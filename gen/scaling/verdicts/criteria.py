"""Judges a sweep by criteria set before it ran: one reason per criterion, a sentence with value and limit.

A criterion is not met if its part of the analysis is missing.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from gen.config import Criteria
from gen.scaling.laws.approaches import NAMES, Fits, numbered_name
from gen.scaling.laws.isoflop import IsoflopValley
from gen.scaling.verdicts.held_out import HeldOutComparison, HeldOutPrediction, HeldOutSplit, LeftOutBudget

MAX_GRADIENT = 1e-10  # norm, for up to 1,000 runs: the rounding of the sum in float64
# Approach 1 is left out: it reads losses in the middle of runs, before their learning rates have decayed.
JUDGED = ("isoflop", "parametric")


@dataclasses.dataclass(frozen=True)
class Reason:
  """One criterion, and whether a sweep meets it.

  Attributes:
    name: of the criterion.
    passed: whether it is met.
    value: what was measured; None if nothing could be.
    limit: of the config: a number, or [low, high]; None if the criterion only informs.
    sentence: value and limit in words.
  """

  name: str
  passed: bool
  value: float | None
  limit: float | list[float] | None
  sentence: str


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Whether a sweep's curve is credible, and why."""

  credible: bool
  reasons: list[Reason]


def make_verdict(reasons: Sequence[Reason]) -> Verdict:
  """Returns the verdict: credible if every criterion is met."""
  return Verdict(all(reason.passed for reason in reasons), list(reasons))


def judge_sweep(
  fits: Fits,
  split: HeldOutSplit,
  limits: Criteria,
  *,
  held_out: HeldOutComparison | None,
  left_out_budgets: Sequence[LeftOutBudget],
  seed_noise: float | None,
) -> list[Reason]:
  """Returns the reasons for and against the credibility of a sweep.

  Args:
    fits: the fits of the approaches.
    split: fitted and held-out runs.
    limits: the criteria.
    held_out: predictions for the held-out budget against its own runs.
    left_out_budgets: exponents with each budget left out.
    seed_noise: sd of a run's loss over seeds, nats; None if unknown.
  """
  valleys = _valleys(fits, split, limits)
  return [
    _steps(split, limits),
    *valleys,
    _convergence(fits, len(split.fitted)),
    _overlap(fits),
    _gap(fits, limits),
    _band(fits, limits),
    *_held_out(held_out, limits),
    _leave_out(left_out_budgets, limits),
    _noise(seed_noise),
  ]


def unfitted_reason(sentence: str) -> list[Reason]:
  """Returns the single reason of a sweep to which nothing could be fitted."""
  return [_reason("fitted", False, None, None, f"Nothing could be fitted: {sentence}.")]


def _reason(
  name: str, passed: bool, value: float | None, limit: float | list[float] | None, sentence: str
) -> Reason:
  return Reason(
    name, bool(passed), value, limit, sentence
  )  # comparisons of numpy's numbers give its own booleans


def _steps(split: HeldOutSplit, limits: Criteria) -> Reason:
  count = len(split.short)
  sentence = f"Every run has at least {limits.min_steps} steps."
  if count:
    names = ", ".join(split.short)
    sentence = (
      f"Left out of the fits, because shorter than {limits.min_steps} steps: {names}; "
      "that rule was set before the sweep."
    )
  return _reason("min_steps", True, count, limits.min_steps, sentence)


def _valleys(fits: Fits, split: HeldOutSplit, limits: Criteria) -> list[Reason]:
  """Judges the worst fitted budget by its valley's minimum, sizes on each side, span and parabola."""
  budgets = len(split.fitted.group_flops())
  named = ("valleys", "points_each_side", "r_squared", "size_span")
  bounds = (budgets, limits.min_points_each_side, limits.min_r_squared, limits.min_size_span)
  if fits.isoflop is None:
    text = f"There are no valleys to judge: {fits.errors['isoflop']}."
    return [_reason(name, False, None, limit, text) for name, limit in zip(named, bounds, strict=True)]
  valleys = fits.isoflop.valleys
  inside = sum(valley.inside for valley in valleys)
  sides = min(valleys, key=lambda entry: entry.points_each_side)
  narrow = min(valleys, key=lambda entry: entry.span)
  values = (inside, sides.points_each_side, _worst_parabola(valleys).r_squared, narrow.span)
  sentences = (
    f"{inside} of {budgets} fitted budgets have a minimum between their sizes; all must.",
    f"The valley at {sides.budget:.3g} FLOPs has {_sizes(sides.points_each_side)} on the side of its minimum with "
    f"fewer sizes, the fewest; the criterion is at least {bounds[1]}.",
    _parabola(_worst_parabola(valleys), limits.min_r_squared),
    f"Sizes span a factor {narrow.span:.3g} at {narrow.budget:.3g} FLOPs, the smallest span; the criterion is at "
    f"least {bounds[3]:g}.",
  )
  return [
    _reason(name, value >= limit, value, limit, sentence)
    for name, value, limit, sentence in zip(named, values, bounds, sentences, strict=True)
  ]


def _sizes(count: int) -> str:
  return "1 size" if count == 1 else f"{count} sizes"


def _worst_parabola(valleys: Sequence[IsoflopValley]) -> IsoflopValley:
  return min(valleys, key=lambda valley: valley.r_squared if math.isfinite(valley.r_squared) else -math.inf)


def _parabola(worst: IsoflopValley, limit: float) -> str:
  if not math.isfinite(worst.r_squared):
    return (
      f"The valley at {worst.budget:.3g} FLOPs has {_sizes(len(worst.sizes))}, which a parabola fits exactly, so it "
      "has no R²."
    )
  return (
    f"The parabola at {worst.budget:.3g} FLOPs explains the least of its losses, R² {worst.r_squared:.3f}; the "
    f"criterion is at least {limit:g}."
  )


def _convergence(fits: Fits, runs: int) -> Reason:
  # The gradient is a sum over runs, and so is its rounding error.
  limit = MAX_GRADIENT * max(1.0, runs / 1000)
  fitted = fits.parametric
  if fitted is None:
    text = f"The parametric law could not be fitted: {fits.errors['parametric']}."
    return _reason("convergence", False, None, limit, text)
  norm = fitted.gradient_norm
  sound = min(fitted.law.alpha, fitted.law.beta) > 0
  sentence = (
    f"The parametric fit ended with a gradient of norm {norm:.2g}, limit {limit:.2g}; {fitted.starts_at_best} of "
    f"{fitted.starts} starts led there."
  )
  if not sound:
    sentence += " An exponent is not positive, so the law has no optimum."
  return _reason("convergence", norm <= limit and sound, norm, limit, sentence)


def _overlap(fits: Fits) -> Reason:
  pairs = {name: fitted.intervals["a"] for name, fitted in fits.items() if "a" in fitted.intervals}
  pairs = {name: pair for name, pair in pairs.items() if all(map(math.isfinite, pair))}
  missing = [numbered_name(name) for name in NAMES if name not in pairs]
  if missing:
    text = f"Three intervals of a cannot be compared: {' and '.join(missing)} gave none."
    return _reason("intervals_overlap", False, None, 0.0, text)
  # Above 0 only where two intervals do not touch.
  gaps = {
    (first, second): max(pairs[first][0], pairs[second][0]) - min(pairs[first][1], pairs[second][1])
    for first, second in itertools.combinations(pairs, 2)
  }
  worst = max(gaps, key=lambda names: gaps[names])
  value = max(0.0, gaps[worst])
  listed = ", ".join(f"{numbered_name(name)} [{low:.3f}, {high:.3f}]" for name, (low, high) in pairs.items())
  sentence = f"The intervals of a overlap: {listed}."
  if value:
    first, second = (numbered_name(name) for name in worst)
    sentence = f"The intervals of a of {first} and {second} lie {value:.3f} apart, limit 0: {listed}."
  return _reason("intervals_overlap", value == 0, value, 0.0, sentence)


def _gap(fits: Fits, limits: Criteria) -> Reason:
  limit = limits.max_exponent_gap
  if fits.isoflop is None or fits.parametric is None:
    missing = [numbered_name(name) for name in ("isoflop", "parametric") if name in fits.errors]
    text = f"Approaches 2 and 3 cannot be compared: {' and '.join(missing)} gave no law."
    return _reason("exponent_gap", False, None, limit, text)
  value = abs(fits.isoflop.a - fits.parametric.a)
  sentence = f"Approaches 2 and 3 differ by {value:.3f} in a, limit {limit:g}."
  return _reason("exponent_gap", value <= limit, value, limit, sentence)


def _band(fits: Fits, limits: Criteria) -> Reason:
  """Judges a of approaches 2 and 3, which read only final losses; the envelope's interval must overlap theirs."""
  band = [limits.min_exponent, limits.max_exponent]
  exponents = {name: getattr(fits, name).a for name in JUDGED if getattr(fits, name) is not None}
  if len(exponents) < len(JUDGED):
    missing = " and ".join(numbered_name(name) for name in JUDGED if name not in exponents)
    text = (
      f"The exponents of approaches 2 and 3 are to lie in [{band[0]:g}, {band[1]:g}]; {missing} gave none."
    )
    return _reason("exponent_band", False, None, band, text)
  worst = max(exponents, key=lambda name: abs(exponents[name] - sum(band) / 2))
  passed = all(band[0] <= a <= band[1] for a in exponents.values())
  where = "lies in" if passed else "lies outside"
  sentence = (
    f"The exponent a of approaches 2 and 3 that is farther from the middle, {exponents[worst]:.3f} by "
    f"{numbered_name(worst)}, {where} the sanity band [{band[0]:g}, {band[1]:g}]."
  )
  return _reason("exponent_band", passed, exponents[worst], band, sentence)


def _held_out(entry: HeldOutComparison | None, limits: Criteria) -> list[Reason]:
  bounds = {
    "held_out_loss": limits.max_held_out_loss_error,
    "held_out_size": limits.max_held_out_size_factor,
  }
  if entry is None or entry.valley is None:
    none = "no budget was held out of the fits, or its runs were too short"
    why = none if entry is None else entry.error
    sentence = f"No prediction was tested: {why}."
    return [_reason(name, False, None, limit, sentence) for name, limit in bounds.items()]
  return [
    _held_out_loss(entry.parametric, entry.valley, bounds["held_out_loss"]),
    _held_out_size(entry, entry.valley, bounds["held_out_size"]),
  ]


def _held_out_loss(guess: HeldOutPrediction | None, valley: IsoflopValley, limit: float) -> Reason:
  """Judges approach 3, the one that is a law of loss, by its mean log error over the held-out runs.

  The minimum of a parabola through a few held-out runs carries more noise than their mean, so a true law would miss
  it more often (docs/sweep.md).
  """
  if guess is None or guess.loss is None or guess.mean_loss_error is None:
    text = "The held-out loss was not predicted: approach 3 gave no law."
    return _reason("held_out_loss", False, None, limit, text)
  value = abs(guess.mean_loss_error)
  direction = "high" if guess.mean_loss_error > 0 else "low"
  sentence = (
    f"Approach 3 predicts the losses of the held-out runs {100 * value:.2f} % too {direction} on average, limit "
    f"{100 * limit:g} %; at their minimum {guess.loss:.4f}, measured {valley.vertex_loss:.4f}."
  )
  return _reason("held_out_loss", value <= limit, value, limit, sentence)


def _held_out_size(entry: HeldOutComparison, valley: IsoflopValley, limit: float) -> Reason:
  """Judges the worse of approaches 2 and 3."""
  guesses = {"isoflop": entry.isoflop, "parametric": entry.parametric}
  predicted = {name: guess for name, guess in guesses.items() if guess is not None}
  missing = [numbered_name(name) for name in JUDGED if name not in predicted]
  if missing or entry.error:
    why = entry.error or f"{' and '.join(missing)} gave no law"
    return _reason("held_out_size", False, None, limit, f"The held-out budget's N* cannot be judged: {why}.")
  # Too large and too small count alike.
  offs = {name: max(guess.N_factor, 1 / guess.N_factor) for name, guess in predicted.items()}
  worst = max(offs, key=lambda name: offs[name])
  value = offs[worst]
  sentence = (
    f"The held-out budget's N* is {valley.vertex_N:.3g}; of approaches 2 and 3, {numbered_name(worst)} "
    f"is farther off, predicting {predicted[worst].N:.3g}: by a factor {value:.2f}, limit {limit:g}."
  )
  return _reason("held_out_size", value <= limit, value, limit, sentence)


def _leave_out(entries: Sequence[LeftOutBudget], limits: Criteria) -> Reason:
  limit = limits.max_leave_out_shift
  shifts = {
    (name, entry.left_out): abs(shift)
    for entry in entries
    for name, shift in (("isoflop", entry.isoflop_shift), ("parametric", entry.parametric_shift))
    if shift is not None
  }
  complete = len(entries) >= 3 and {name for name, _ in shifts} == set(JUDGED)
  if not complete or not all(map(math.isfinite, shifts.values())):
    text = (
      "Budgets could not be left out in turn by approaches 2 and 3: it takes three budgets and both laws."
    )
    return _reason("leave_one_budget_out", False, None, limit, text)
  worst = max(shifts, key=lambda pair: shifts[pair])
  sentence = (
    f"Leaving out one budget moves a by at most {shifts[worst]:.3f} ({numbered_name(worst[0])} without {worst[1]:.3g} "
    f"FLOPs), limit {limit:g}."
  )
  return _reason("leave_one_budget_out", shifts[worst] <= limit, shifts[worst], limit, sentence)


def _noise(noise: float | None) -> Reason:
  if noise is None:
    sentence = "Seed noise is not known: no size of a fitted budget was trained with two seeds."
    return _reason("seed_noise", False, None, None, sentence)
  return _reason(
    "seed_noise", True, noise, None, f"One run's loss varies by {noise:.4f} nats (sd) over seeds."
  )
