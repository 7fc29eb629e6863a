"""Runs that share a trunk: one state at a constant learning rate, from which each run decays on its own.

    FOLDER/trunk-w64-s0/checkpoints/   where the trunk is, and its states where runs branch off, which stay
    FOLDER/D2e6-w64-s0/                a run that went on from one of those

Until its decay begins, a run under the schedule `wsd` (warmup-stable-decay, arXiv:2404.06395; with the decay of
arXiv:2405.18392 `wsd_sqrt`) does the same whatever its horizon, given the same steps of warmup. So its state there is
that of a trunk, bit for bit, and runs of several horizons cost one trunk and their decays. The trunk is trained as far
as it is needed by the first run that needs it; meanwhile the others wait for the state of their own branch.
"""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

from gen.config import Run, from_dict, identity_fields
from gen.data.dataset import Dataset
from gen.errors import UserError
from gen.io import json_reading
from gen.io.locks import FolderLock, LockBusy
from gen.optimizers import schedule_params
from gen.sharding import processes
from gen.training import checkpoint_folder, loop, step
from gen.training.checkpoints import Checkpoints
from gen.training.hooks import NoHooks, RunHooks, RunStopped
from gen.training.journal import Journal
from gen.training.rows import RunResult
from gen.training.run_folder import field_differences
from gen.training.run_length import count_steps

PATIENCE = 0.2  # seconds between two looks at a trunk that somebody else trains


def train_branch(run: Run, workdir: str | Path, loaded: Dataset, hooks: RunHooks | None = None) -> RunResult:
  """Trains a run to its end and returns its result row, like `loop.train_run`, but from its trunk if it has one.

  Raises:
    UserError: as `loop.train_run`; also for a trunk of other runs.
    RunStopped: when `hooks.stop()` said so, after saving.
  """
  hooks = hooks or NoHooks()
  if not run.trunk:
    return loop.train_run(run, workdir, loaded, hooks)
  if processes.process_count() > 1:
    raise UserError(f"trunk {run.trunk!r} is trained by one process, not by several; leave trunk empty")
  trunk = SharedTrunk(Path(workdir).parent / run.trunk, loaded, hooks)
  return loop.train_run(run, workdir, loaded, hooks, trunk.begin)


def branch_step(run: Run) -> int:
  """Returns the steps of a completed run before its decay begins."""
  over = schedule_params(run.optimizer, count_steps(run))
  return int(over.steps - over.decay)


class SharedTrunk:
  """The trunk of several runs in its folder; any of the runs may train it."""

  def __init__(self, folder: Path, loaded: Dataset, hooks: RunHooks) -> None:
    """Sets the folder; does not access the disk."""
    self.folder, self._loaded, self._hooks = folder, loaded, hooks
    self._checkpoints = folder / "checkpoints"

  def begin(self, run: Run, state: step.TrainState) -> tuple[step.TrainState, dict[str, Any]] | None:
    """Returns the state from which a completed run goes on and its meta, after training the trunk if need be.

    That is the trunk's where the run branches off. A trunk that is beyond that and kept nothing there (the study grew)
    gives its last state before, or None: what is between, the run does itself.

    Raises:
      UserError: for a folder that holds the trunk of other runs.
      RunStopped: when the hooks said so, while the trunk was trained or waited for.
    """
    wanted = branch_step(run)
    while wanted not in checkpoint_folder.complete_steps(self._checkpoints):
      try:
        with FolderLock(self.folder):
          if max(checkpoint_folder.complete_steps(self._checkpoints), default=0) < wanted:
            self._extend(run, wanted)
          return self._restored(run, state, wanted)
      except LockBusy:
        if self._hooks.stop():
          raise RunStopped(f"stopped while another run trained {self.folder}") from None
        time.sleep(PATIENCE)
    return self._restored(run, state, wanted)

  def _extend(self, run: Run, wanted: int) -> None:
    own = dataclasses.replace(run, name=run.trunk, tensorboard=False)
    kept = {branch_step(dataclasses.replace(run, flops=flops)) for flops in run.branches} | {wanted}
    metas: list[dict[str, Any]] = []
    with (
      Journal(self.folder / "journal.jsonl") as journal,
      Checkpoints(self._checkpoints, keep=run.keep_checkpoints, keep_steps=kept) as checkpoints,
    ):
      for saved in checkpoints.steps():
        with contextlib.suppress(UserError):  # A restore goes back beyond a damaged step.
          metas.append(checkpoints.meta(saved))
      for meta in metas:
        self._require(run, meta)
      training = loop.TrainingRun(own, self._loaded, journal, checkpoints, _Told(self._hooks))
      training.advance(wanted, kept)

  def _restored(
    self, run: Run, state: step.TrainState, wanted: int
  ) -> tuple[step.TrainState, dict[str, Any]] | None:
    nearest = max(
      (saved for saved in checkpoint_folder.complete_steps(self._checkpoints) if saved <= wanted),
      default=None,
    )
    if nearest is None:
      return None
    with Checkpoints(self._checkpoints) as checkpoints:
      return checkpoints.restore(state, nearest, fall_back=True, accept=lambda meta: self._require(run, meta))

  def _require(self, run: Run, meta: dict[str, Any]) -> None:
    where = f"a checkpoint of {self.folder}"
    before = from_dict(Run, json_reading.require_field(meta, "config", dict, where))
    changes = list(field_differences(_shared(before), _shared(run)))
    if changes:
      named = ", ".join(f"{name}: {old} -> {new}" for name, old, new in changes)
      raise UserError(
        f"{self.folder} is the trunk of other runs ({named}); choose another --workdir or remove it"
      )


class _Told:
  """Hooks of a trunk, which distinguish its rows from those of the run that needs it."""

  def __init__(self, hooks: RunHooks) -> None:
    self._hooks = hooks
    self.stop = hooks.stop

  def progress(self, row: dict[str, Any]) -> None:
    self._hooks.progress(row | {"kind": "trunk"})


def _shared(run: Run) -> dict[str, Any]:
  """Returns what two completed runs of one trunk have in common."""
  values = identity_fields(run)
  for name in ("steps", "tokens", "flops"):
    values.pop(name)
  values["optimizer"].pop("decay")
  values["optimizer"]["warmup"] = schedule_params(run.optimizer, count_steps(run)).warmup
  return values
