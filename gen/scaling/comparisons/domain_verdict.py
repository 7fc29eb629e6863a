"""Which way of spending a budget models a domain best, and whether the seeds decide it.

The best arm from scratch meets the best adapted arm, both by their means. One side wins if it is better than every arm
of the other side, and the interval of each of these differences excludes 0. The winner was picked as the best of
several, so the level of its intervals is corrected for their number (Bonferroni), also in the sentence.
"""

from collections.abc import Mapping, Sequence

from gen.scaling.comparisons import domain_design
from gen.scaling.comparisons.domain_records import DomainArm, DomainVerdict
from gen.scaling.comparisons.paired import format_gap, paired_gap
from gen.scaling.report.tables import format_flops

UNDECIDED = "undecided"


def judge_budget(arms: Sequence[DomainArm], level: float) -> DomainVerdict | None:
  """Returns the verdict on one budget; None unless both sides have an arm.

  Args:
    arms: of one budget.
    level: of the intervals.
  """
  scratch = [arm for arm in arms if arm.arm in (domain_design.SCRATCH, domain_design.SCRATCH_OWN)]
  adapted = [arm for arm in arms if arm.arm.startswith(domain_design.ADAPTED)]
  if not scratch or not adapted:
    return None
  best, other = (min(side, key=lambda arm: arm.domain.mean) for side in (scratch, adapted))
  winner = UNDECIDED
  if _beats_all(best, adapted, level, len(scratch)):
    winner = domain_design.SCRATCH
  elif _beats_all(other, scratch, level, len(adapted)):
    winner = domain_design.ADAPTED
  leading = scratch if best.domain.mean < other.domain.mean else adapted
  gap = paired_gap(domain_bits(best), domain_bits(other), level, len(leading))
  budget = best.budget
  titles = [domain_design.arm_title(arm.arm) for arm in (best, other)]
  epochs = max(run.domain_epochs for run in best.runs)
  outcome = {
    domain_design.SCRATCH: "pre-training from scratch wins",
    domain_design.ADAPTED: "adapting the general model wins",
    UNDECIDED: "the seeds do not decide",
  }[winner]
  seeds = 0 if gap is None else gap.seeds
  sentence = (
    f"At {format_flops(budget)} FLOPs {outcome}: {titles[0]} has {best.domain.mean:.3f} bits per byte of the domain, "
    f"{titles[1]} {other.domain.mean:.3f}, a difference of {format_gap(gap)} over {seeds} "
    f"{'seed' if seeds == 1 else 'seeds'}; from scratch the domain's text is read {epochs:.2g} times."
  )
  return DomainVerdict(
    budget=budget, winner=winner, scratch=best.arm, adapted=other.arm, gap=gap, sentence=sentence
  )


def domain_bits(arm: DomainArm) -> Mapping[int, float]:
  """Returns bits per byte on the domain by seed."""
  return {run.seed: run.domain for run in arm.runs}


def _beats_all(arm: DomainArm, others: Sequence[DomainArm], level: float, picked_of: int) -> bool:
  gaps = [paired_gap(domain_bits(arm), domain_bits(other), level, picked_of) for other in others]
  return all(gap is not None and gap.below_zero for gap in gaps)


def summarize_verdicts(verdicts: Sequence[DomainVerdict]) -> str:
  """Returns one sentence on where pre-training from scratch wins."""
  if not verdicts:
    return "No budget has results of both ways, so nothing can be said."
  won = [verdict.budget for verdict in verdicts if verdict.winner == domain_design.SCRATCH]
  lost = [verdict.budget for verdict in verdicts if verdict.winner == domain_design.ADAPTED]
  open_ones = [verdict.budget for verdict in verdicts if verdict.winner == UNDECIDED]
  parts = [
    f"{words} at {_listed(budgets)} FLOPs"
    for words, budgets in (
      ("pre-training from scratch wins", won),
      ("adapting the general model wins", lost),
      ("the seeds do not decide", open_ones),
    )
    if budgets
  ]
  return f"For this domain {', '.join(parts)}."


def _listed(budgets: Sequence[float]) -> str:
  texts = [format_flops(budget) for budget in budgets]
  return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
