"""Runs that share a trunk: training at a constant learning rate, from which each run branches off to decay.

    FOLDER/trunk-w64-s0/checkpoints/   the latest state of the trunk, and its states where runs branch off
    FOLDER/D2e6-w64-s0/                a run that branched off from one of these

Before its decay begins, a run with the schedule `wsd` (warmup-stable-decay, arXiv:2404.06395) or `wsd_sqrt`
(arXiv:2405.18392) computes the same for every length, given the same steps of warmup. So its state there equals the
trunk's bit for bit, and runs of several lengths cost one trunk and their decays. The first run that needs the trunk
trains it as far as needed; other runs wait for the state at their own branch.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

from gen.config import Run, from_dict, identity_fields
from gen.config.identity import config_section
from gen.data.dataset import Dataset
from gen.errors import UserError
from gen.io import json_reading
from gen.io.locks import FolderLock, LockBusy
from gen.optimizers import schedule_params
from gen.sharding import processes
from gen.training import loop, step
from gen.training.checkpointing import checkpoint_folder
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.hooks import NoHooks, RunHooks, RunStopped
from gen.training.run_folders.run_folder import field_differences
from gen.training.run_folders.run_length import count_steps
from gen.training.run_log.journal import Journal
from gen.training.run_log.rows import RowValues, RunResult

# Between two checks whether another process has trained the trunk far enough; chosen: short beside a trunk, rare beside
# a core.
POLL_SECONDS = 0.2


def train_branch(run: Run, workdir: str | Path, loaded: Dataset, hooks: RunHooks | None = None) -> RunResult:
  """Trains a run to its end and returns its result row, like `loop.train_run`, but from its trunk if it has one.

  Args:
    run: what to train.
    workdir: its folder; the trunk's folder is beside it.
    loaded: corpus, tokenizer and tokens.
    hooks: callbacks that observe the run and may stop it.

  Raises:
    UserError: as `loop.train_run`; also for a trunk of other runs.
    RunStopped: after saving, if `hooks.stop()` returned true.
  """
  hooks = hooks or NoHooks()
  if not run.trunk:
    return loop.train_run(run, workdir, loaded, hooks)
  # Which process waits for the lock, and which for the others, would have to be agreed on at each poll.
  if processes.process_count() > 1:
    raise UserError(
      f"trunk is {run.trunk!r}, but a run of several processes cannot train a trunk; leave trunk empty"
    )
  trunk = SharedTrunk(Path(workdir).parent / run.trunk, loaded, hooks)
  return loop.train_run(run, workdir, loaded, hooks, trunk.begin)


def branch_step(run: Run) -> int:
  """Returns the steps of a completed run before its decay begins."""
  schedule = schedule_params(run.optimizer, count_steps(run))
  # Of the schedule itself, whose rounding of fractions to steps must be the one that the run will follow.
  return int(schedule.steps - schedule.decay)


class SharedTrunk:
  """The trunk of several runs in its folder; any of the runs may train it."""

  def __init__(self, folder: Path, loaded: Dataset, hooks: RunHooks) -> None:
    """Sets the folder; does not access the disk."""
    self.folder, self._loaded, self._hooks = folder, loaded, hooks
    self._checkpoints = folder / "checkpoints"

  def begin(self, run: Run, state: step.TrainState) -> tuple[step.TrainState, CheckpointMeta] | None:
    """Returns the state and meta from which a completed run continues, after training the trunk if necessary.

    That is the trunk's state where the run branches off. If the trunk is further and has no checkpoint there, because
    the study grew later, it is the last state before, or None. The run then trains the steps between by itself.

    Args:
      run: the completed run.
      state: its initial state, the template of the restored one.

    Raises:
      UserError: for a folder that holds the trunk of other runs.
      RunStopped: if the hooks ask for it while the trunk is trained or waited for.
    """
    branch = branch_step(run)
    while branch not in checkpoint_folder.complete_steps(self._checkpoints):
      try:
        # Checked again under the lock: another run may have trained it since the check above.
        with FolderLock(self.folder):
          if max(checkpoint_folder.complete_steps(self._checkpoints), default=0) < branch:
            self._extend(run, branch)
          return self._restored(run, state, branch)
      # The other run may be killed while it trains the trunk: its lock is then free, and this run goes on from its
      # checkpoint.
      except LockBusy:
        if self._hooks.stop():
          raise RunStopped(f"stopped while another run trained {self.folder}") from None
        time.sleep(POLL_SECONDS)
    # A complete step never changes, so it is read without the lock.
    return self._restored(run, state, branch)

  def _extend(self, run: Run, branch: int) -> None:
    """Trains the trunk up to a step, and retains the states of all its branches."""
    # Mirrors and traces are the runs' own; a trunk is part of several runs.
    trunk = dataclasses.replace(run, name=run.trunk, tensorboard=False, wandb=False, profile="")
    # All branches that the study plans, so that later runs find their states although only the last few are kept.
    branches = {branch_step(dataclasses.replace(run, flops=flops)) for flops in run.branches} | {branch}
    metas: list[CheckpointMeta] = []
    with (
      Journal(self.folder / "journal.jsonl") as journal,
      Checkpoints(self._checkpoints, keep=run.keep_checkpoints, keep_steps=branches) as checkpoints,
    ):
      for saved in checkpoints.steps():
        with contextlib.suppress(UserError):  # damaged: the restore falls back to the step before
          metas.append(checkpoints.meta(saved))
      for meta in metas:
        self._require(run, meta)
      training = loop.TrainingRun(trunk, self._loaded, journal, checkpoints, _TrunkHooks(self._hooks))
      training.advance(branch, branches)

  def _restored(
    self, run: Run, state: step.TrainState, branch: int
  ) -> tuple[step.TrainState, CheckpointMeta] | None:
    # Another run may have trained the trunk beyond this branch, where no state was kept for it.
    nearest = max(
      (saved for saved in checkpoint_folder.complete_steps(self._checkpoints) if saved <= branch),
      default=None,
    )
    if nearest is None:
      return None
    with Checkpoints(self._checkpoints) as checkpoints:
      return checkpoints.restore(state, nearest, fall_back=True, accept=lambda meta: self._require(run, meta))

  def _require(self, run: Run, meta: CheckpointMeta) -> None:
    owner = f"a checkpoint of {self.folder}"
    before = from_dict(Run, json_reading.require_field(meta, "config", dict, owner))
    changes = list(field_differences(_shared(before), _shared(run)))
    if changes:
      differences = ", ".join(f"{name}: {old} -> {new}" for name, old, new in changes)
      raise UserError(
        f"{self.folder} is the trunk of other runs ({differences}); choose another --workdir, or remove it"
      )


class _TrunkHooks:
  """Hooks of a trunk, which label its rows as kind=trunk for the hooks of the run that needs it."""

  def __init__(self, hooks: RunHooks) -> None:
    self._hooks = hooks
    self.stop = hooks.stop

  def progress(self, row: RowValues) -> None:
    self._hooks.progress(row | {"kind": "trunk"})


def _shared(run: Run) -> dict[str, object]:
  """Returns the fields that are equal in all completed runs of one trunk."""
  values = identity_fields(run)
  for name in ("steps", "tokens", "flops"):
    values.pop(name)
  optimizer = config_section(values, "optimizer")
  # The share of the decay differs with the length; the warmup is compared in steps, since it is what the trunk trains.
  optimizer.pop("decay")
  optimizer["warmup"] = schedule_params(run.optimizer, count_steps(run)).warmup
  return values
