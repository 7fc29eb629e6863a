"""Takes a folder for a run: a new one, one in which it resumes, or one whose run is extended to another length.

A run can be extended as far as its steps do not depend on its length: under the schedule `constant` always, under `wsd`
before the decay begins, and only with as many steps of warmup. Then the longer run has the same bits as one that was
that long from the start. Any other change is another run, in a folder of its own, which can start from this one's
parameters (`start_from`).
"""

import contextlib
from pathlib import Path

from gen.config import STABLE, Run, config_hash, identity_fields
from gen.config.identity import config_section
from gen.data.dataset import Dataset
from gen.errors import UserError
from gen.io.locks import FolderLock
from gen.optimizers import schedule_params
from gen.training.checkpointing import checkpoint_folder
from gen.training.run_folders import lineage, run_folder
from gen.training.run_folders.run_folder import CHECKPOINTS, TOKENIZER, AnotherRun
from gen.training.run_folders.run_length import count_steps
from gen.training.run_log.rows import RowValues

LOCK_SECONDS = 10  # for another process to release the folder: a stopped run may still be saving
_LENGTH = ("steps", "tokens", "flops")  # fields of which one sets a run's length


def take_folder(
  workdir: Path, run: Run, loaded: Dataset, open_files: contextlib.ExitStack
) -> RowValues | None:
  """Locks the folder until `open_files` closes and writes the run's config; returns the run's result if it has one.

  Raises:
    UserError: for a folder that holds another run, is in use, or cannot be written.
  """
  # The lock comes first: of two processes that start at once, the second must see what the first has written.
  open_files.enter_context(FolderLock(workdir, wait_seconds=LOCK_SECONDS))
  try:
    run_folder.claim_folder(workdir, run)
  except AnotherRun as another:
    _extend(workdir, another)
    run_folder.claim_folder(workdir, run)
  finished = run_folder.stored_result(workdir, run, loaded.corpus.sha256)
  if finished is None:
    try:
      loaded.tokenizer.save(workdir / TOKENIZER)
    except OSError as error:
      path = workdir / TOKENIZER
      raise UserError(f"cannot write {path}: {error.strerror}; choose another --workdir") from error
  return finished


def check_claim(workdir: Path, run: Run) -> None:
  """Checks that a run may take a folder, before anything is built; its vocabulary need not be derived.

  Raises:
    UserError: for a folder that holds another run and cannot be extended to this one.
  """
  try:
    run_folder.check_folder(workdir, run)
  except AnotherRun as another:
    require_extendable(workdir, another)


def _extend(workdir: Path, another: AnotherRun) -> None:
  require_extendable(workdir, another)
  before, run = another.before, another.run
  lineage.record_extension(
    workdir, config_hash(before), count_steps(before), config_hash(run), _latest_step(workdir)
  )


def require_extendable(workdir: Path, another: AnotherRun) -> None:
  """Checks that a folder's run is the same one, up to its latest checkpoint, at the length now asked for.

  Raises:
    AnotherRun: if more than the length differs.
    UserError: if the run's steps depend on its length, with what to do instead.
  """
  before, run, done = another.before, another.run, _latest_step(workdir)
  # A branch of a trunk has its length from the study; and a folder without a checkpoint has nothing to extend.
  if not _differ_in_length(before, run) or before.trunk or run.trunk or not done:
    raise another
  if run.data.mixture_schedule:
    raise UserError(
      f"{workdir} holds this run with another length; its data.mixture_schedule depends on the length: train on in"
      f" another --workdir with --config.start_from={workdir}"
    )
  old, new = count_steps(before), count_steps(run)
  schedule = run.optimizer.schedule
  begun = f"{workdir} holds this run with {old:,} steps, at step {done:,}"
  instead = f"train on in another --workdir with --config.start_from={workdir}"
  # linear and cosine reach their end at the last step, so every rate depends on the length.
  if schedule != "constant" and schedule not in STABLE:
    raise UserError(
      f"{begun}; its schedule {schedule} depends on the length, so a run of {new:,} steps is another one: {instead}"
    )
  if done > new:
    raise UserError(f"{begun}, which is beyond the {new:,} steps asked for; choose another --workdir")
  ends = [schedule_params(each.optimizer, steps) for each, steps in ((before, old), (run, new))]
  # In steps: a share of 5 % of a longer run is a longer warmup, whose steps would differ from those done.
  if ends[0].warmup != ends[1].warmup:
    raise UserError(
      f"{begun}; its warmup of {ends[0].warmup:.0f} steps would become one of {ends[1].warmup:.0f}: keep it with "
      f"--config.optimizer.warmup={ends[0].warmup / new:.6g}, or {instead}"
    )
  # From there on the two runs have different rates.
  decays = min(round(each.steps - each.decay) for each in ends)
  if schedule in STABLE and done > decays:
    earlier = [step for step in checkpoint_folder.complete_steps(workdir / CHECKPOINTS) if step <= decays]
    named = f"{instead}:{earlier[-1]}" if earlier else instead
    raise UserError(f"{begun}, where its learning rate decays from step {decays:,} on: {named}")


def _latest_step(workdir: Path) -> int:
  return max(checkpoint_folder.complete_steps(workdir / CHECKPOINTS), default=0)


def _differ_in_length(before: Run, run: Run) -> bool:
  """Returns whether two runs differ in nothing but their length, and the shares of it that warm up and decay."""
  return _without_length(before) == _without_length(run)


def _without_length(run: Run) -> dict[str, object]:
  values = identity_fields(run)
  for name in _LENGTH:
    values.pop(name)
  optimizer = config_section(values, "optimizer")
  # Compared in steps by `require_extendable`, where the lengths are known.
  optimizer.pop("warmup")
  if run.optimizer.schedule in STABLE:
    optimizer.pop("decay")
  return values
