"""A worker process of a sweep of fine-tunings; it speaks with its pool as `gen.scaling.workers.worker` does."""

import shutil
from pathlib import Path
from typing import cast

from gen.cli import environment
from gen.config import Data, Run
from gen.data import cache
from gen.scaling.workers import worker
from gen.scaling.workers.worker import WorkerHooks
from gen.training.run_log.rows import RowValues


def train_member(run: Run, folder: Path, hooks: WorkerHooks) -> RowValues | None:
  """Trains or evaluates one member of a sweep, and returns its row; None if it was saved and left on request."""
  from gen.finetuning import finetune, sweep_members
  from gen.finetuning.worth_of_labels import label_members
  from gen.training.hooks import RunStopped
  from gen.training.run_folders import run_folder

  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  member = sweep_members.read_member(folder)
  if member.kind != "finetune":
    return cast(RowValues, label_members.evaluate_untrained(member))
  try:
    result = finetune.finetune_model(member.settings, folder, hooks=hooks)
  except RunStopped:
    return None
  if not member.keep_model:
    shutil.rmtree(folder / run_folder.CHECKPOINTS, ignore_errors=True)
  # The pool passes the row on as it is; only the sweep reads it.
  return cast(RowValues, sweep_members.tuned_row(result))


if __name__ == "__main__":
  worker.run_worker(train_member)
