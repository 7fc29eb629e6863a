"""Sweeps whose sizes are trunks and whose budgets are their branches, and what such a study costs.

A trunk is one size, learning rate and seed at a constant rate after warmup; each budget is a branch of it that decays
(warmup-stable-decay, arXiv:2404.06395; read as a scaling study in arXiv:2405.18392). `gen.training.trunks` trains them.
Charged is what a point costs if it is trained alone, trunk and decay: the C of every law. Spent is what was computed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gen.config import STABLE, Run, Sweep
from gen.errors import UserError


def check_trunks(sweep: Sweep) -> None:
  """Checks that the runs of a study with trunks can share them.

  Raises:
    UserError: with one sentence, at the first reason why not.
  """
  if not sweep.trunks:
    return
  optimizer = sweep.optimizer
  if optimizer.schedule not in STABLE:
    raise UserError(
      f"config.trunks shares runs until they decay, but optimizer.schedule {optimizer.schedule} decays all the way; "
      f"set it to {' or '.join(STABLE)}"
    )
  if not 0 < optimizer.decay < 1 or optimizer.warmup + optimizer.decay >= 1:
    raise UserError(
      f"optimizer.warmup {optimizer.warmup:g} and optimizer.decay {optimizer.decay:g} leave nothing between them for "
      "config.trunks to share; both must be fractions of the steps that sum to less than 1, decay above 0"
    )
  if len(set(sweep.batches)) > 1:
    raise UserError(
      f"config.batches holds {sweep.batches}, but the branches of one trunk share its batch; give one number, or set "
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
  """Returns what share of a run's FLOPs falls to it: all without a trunk, else its decay; the longest has the trunk."""
  return run.optimizer.decay if run.trunk and run.flops < max(run.branches, default=0.0) else 1.0


def study_compute(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns what the runs of result rows cost: FLOPs charged and spent, those of trunks among them, and their ratio.

  >>> trunk = {"trunk": "trunk-w8-s0"}
  >>> study_compute([{"flops": 5.0, "flops_spent": 1.0} | trunk, {"flops": 10.0, "flops_spent": 2.0} | trunk])
  {'charged_flops': 15.0, 'spent_flops': 11.0, 'trunk_flops': 8.0, 'trunks': 1, 'saving': 1.3636363636363635}
  """
  charged = spent = 0.0
  trunks: dict[str, float] = {}
  for row in rows:
    own = row.get("flops_spent", row["flops"])
    charged, spent = charged + row["flops"], spent + own
    if name := row.get("trunk"):
      trunks[name] = max(trunks.get(name, 0.0), row["flops"] - own)
  shared = sum(trunks.values())
  return {
    "charged_flops": charged,
    "spent_flops": spent + shared,
    "trunk_flops": shared,
    "trunks": len(trunks),
    "saving": charged / (spent + shared) if spent + shared else 1.0,
  }


def step_seconds(rows: Iterable[Mapping[str, Any]]) -> float:
  """Returns the seconds inside training steps behind result rows, each trunk's once."""
  total, trunks = 0.0, dict[str, float]()
  for row in rows:
    own = row.get("seconds_spent", row["seconds"])
    total += own
    if name := row.get("trunk"):
      trunks[name] = max(trunks.get(name, 0.0), row["seconds"] - own)
  return total + sum(trunks.values())
