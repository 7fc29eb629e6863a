"""What a curation is worth at one budget, and how often its text may be read before repetition costs as much."""

import math
from collections.abc import Sequence

from gen.scaling.comparisons.compute_worth import ComputeRatio, format_ratio
from gen.scaling.comparisons.curation_records import BudgetVerdict, RepeatedArm, StageArm, StageRecord
from gen.scaling.comparisons.paired import PairedGap, format_gap
from gen.scaling.report.tables import format_flops


def judge_curation(
  final: StageArm, repeated: Sequence[RepeatedArm], raw: StageRecord, last: StageRecord
) -> BudgetVerdict:
  """Returns the verdict on one budget.

  Args:
    final: runs on the final text.
    repeated: runs on parts of it, at the same budget.
    raw: the raw text.
    last: the final text.
  """
  costly = [arm.epochs for arm in repeated if arm.cost is not None and arm.cost.above_zero]
  gain = 0.0 if final.over_raw is None else -final.over_raw.mean
  even = break_even(gain, repeated, final.epochs)
  share = None
  if even is not None:
    # The bytes that the budget's tokens stand for, over the epochs that still pay.
    share = min(1.0, final.tokens / even * (last.bytes / last.train_tokens) / raw.bytes)
  first = min(costly, default=None)
  return BudgetVerdict(
    budget=final.budget, gain=final.over_raw, worth=final.worth, first_cost=first, break_even=even, min_share=share,
    sentence=_sentence(final, first, even, share, [arm.epochs for arm in repeated]),
  )  # fmt: skip


def break_even(gain: float, repeated: Sequence[RepeatedArm], whole_epochs: float = 1.0) -> float | None:
  """Returns the epochs at which repetition costs as much as the curation gained; None if no run costs as much.

  The cost is a straight line in ln epochs between runs, from 0 at the epochs of the runs on the whole text.

  Args:
    gain: bits per byte that the curation gained.
    repeated: runs at one budget.
    whole_epochs: how often the runs on the whole text read it; below 1 they read a part of it once.
  """
  if gain <= 0:
    return None
  before, cost_before = math.log(max(1.0, whole_epochs)), 0.0
  for arm in sorted(repeated, key=lambda arm: arm.epochs):
    if arm.cost is None:
      continue
    here, cost = math.log(arm.epochs), arm.cost.mean
    if cost >= gain > cost_before:
      return math.exp(before + (gain - cost_before) / (cost - cost_before) * (here - before))
    before, cost_before = here, cost
  return None


def _sentence(
  final: StageArm, first: float | None, even: float | None, share: float | None, tried: Sequence[float]
) -> str:
  """Returns the verdict in words."""
  effect = _effect(final.over_raw)
  text = (
    f"At {format_flops(final.budget)} FLOPs the curation {effect}: {format_gap(final.over_raw)} bits per byte"
    f"{_worth(final.worth)}."
  )
  if not tried:
    return text
  costs = (
    f"Repetition costs from {first:g} epochs on"
    if first
    else f"No repetition up to {max(tried):g} epochs costs"
  )
  text = f"{text} {costs} with an interval above 0"
  if even is not None and share is not None:
    return (
      f"{text}, and as much as the curation gained at {even:.3g}: keep at least {share:.2%} of the raw bytes."
    )
  gained = final.over_raw is not None and final.over_raw.mean < 0
  return f"{text}{', and never as much as the curation gained' if gained else ''}."


def _effect(gain: PairedGap | None) -> str:
  if gain is not None and gain.below_zero:
    return "lowers the loss"
  return (
    "raises the loss"
    if gain is not None and gain.above_zero
    else "changes the loss by less than the scatter over seeds"
  )


def _worth(ratio: ComputeRatio | None) -> str:
  if ratio is None:
    return ""
  beyond = ", beyond the losses that raw text reached" if ratio.beyond else ""
  return f", for which raw text needs {format_ratio(ratio)} times the FLOPs{beyond}"
