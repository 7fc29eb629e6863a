"""Sweeps whose sizes are trunks and whose budgets are branches, and the cost of such a sweep.

A trunk is one size, learning rate and seed at a constant rate after warmup; each budget is a branch of it that decays
(warmup-stable-decay, arXiv:2404.06395; used for scaling studies in arXiv:2405.18392). `gen.training.trunks` trains
them. Charged FLOPs are the cost of a point trained alone, trunk and decay, the C of every law. Spent FLOPs were
computed.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from gen.config import STABLE, Run, Sweep
from gen.errors import UserError
from gen.training.run_log.rows import RowValues


def check_trunks(sweep: Sweep) -> None:
  """Checks that the runs of a sweep can share trunks.

  Raises:
    UserError: with one sentence, at the first reason why not.
  """
  if not sweep.trunks:
    return
  optimizer = sweep.optimizer
  if optimizer.schedule not in STABLE:
    raise UserError(
      f"with config.trunks, runs share their steps until they decay, but optimizer.schedule {optimizer.schedule} "
      f"decays all the way; set it to {' or '.join(STABLE)}"
    )
  if not 0 < optimizer.decay < 1 or optimizer.warmup + optimizer.decay >= 1:
    raise UserError(
      f"optimizer.warmup {optimizer.warmup:g} and optimizer.decay {optimizer.decay:g} leave no steps for "
      "config.trunks to share; both must be fractions of the steps that sum to less than 1, decay above 0"
    )
  if len(set(sweep.batches)) > 1:
    raise UserError(
      f"config.batches holds {sweep.batches}, but the branches of one trunk share its batch; give one batch, or set "
      "config.trunks to False"
    )
  widths = [width for row in (*sweep.widths, sweep.held_out_widths) for width in row]
  if len(set(widths)) == len(widths):
    raise UserError(
      "config.trunks is set, but no width is in config.widths of two budgets, so no trunk has two branches; repeat "
      "widths, or set config.trunks to False"
    )


def join_trunk(
  run: Run, name: str, flops_per_step: float, flops: Sequence[float], branches: Sequence[float]
) -> None:
  """Makes a run a branch of a trunk.

  Args:
    run: gets the trunk's steps of warmup, which are the fraction optimizer.warmup of its shortest budget.
    name: of the trunk.
    flops_per_step: of the run.
    flops: of all budgets of the run's size, ascending.
    branches: those of them that have a run of this seed.
  """
  run.trunk, run.branches = name, tuple(branches)
  warmup = round(run.optimizer.warmup * round(flops[0] / flops_per_step))
  run.optimizer.warmup = warmup / max(1, round(run.flops / flops_per_step))


def own_share(run: Run) -> float:
  """Returns the share of a run's FLOPs that it computes itself: its decay, and the trunk if it is the longest."""
  return run.optimizer.decay if run.trunk and run.flops < max(run.branches, default=0.0) else 1.0


@dataclasses.dataclass(frozen=True)
class StudyCompute:
  """The cost of a study's runs.

  Attributes:
    charged_flops: as if each run had trained alone.
    spent_flops: done, with each trunk counted once.
    trunk_flops: of the trunks.
    trunks: how many there are.
    saving: charged over spent.
  """

  charged_flops: float
  spent_flops: float
  trunk_flops: float
  trunks: int
  saving: float


def study_compute(rows: Iterable[RowValues]) -> StudyCompute:
  """Returns the cost of the runs in result rows.

  >>> trunk = {"trunk": "trunk-w8-s0"}
  >>> study_compute([{"flops": 5.0, "flops_spent": 1.0} | trunk, {"flops": 10.0, "flops_spent": 2.0} | trunk])
  StudyCompute(charged_flops=15.0, spent_flops=11.0, trunk_flops=8.0, trunks=1, saving=1.3636363636363635)
  """
  charged = spent = 0.0
  trunks: dict[str, float] = {}
  for row in rows:
    own = row.get("flops_spent", row["flops"])
    charged, spent = charged + row["flops"], spent + own
    if name := row.get("trunk"):
      trunks[name] = max(trunks.get(name, 0.0), row["flops"] - own)
  shared = sum(trunks.values())
  saving = charged / (spent + shared) if spent + shared else 1.0
  return StudyCompute(charged, spent + shared, shared, len(trunks), saving)


def step_seconds(rows: Iterable[RowValues]) -> float:
  """Returns the seconds inside training steps of all result rows, each trunk counted once."""
  total, trunks = 0.0, dict[str, float]()
  for row in rows:
    own = row.get("seconds_spent", row["seconds"])
    total += own
    if name := row.get("trunk"):
      trunks[name] = max(trunks.get(name, 0.0), row["seconds"] - own)
  return total + sum(trunks.values())
