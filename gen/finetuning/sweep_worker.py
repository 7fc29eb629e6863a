"""A worker process of a sweep of fine-tunings; it speaks with its pool as `gen.scaling.workers.worker` does."""

from pathlib import Path
from typing import cast

from gen.cli import environment
from gen.config import Data, Run
from gen.data import cache
from gen.scaling.workers import worker
from gen.scaling.workers.worker import WorkerHooks
from gen.training.run_log.rows import RowValues


def train_member(run: Run, folder: Path, hooks: WorkerHooks) -> RowValues | None:
  """Fine-tunes for one learning rate and seed, and returns its row; None if it was saved and left on request."""
  from gen.finetuning import finetune, sweeps
  from gen.training.hooks import RunStopped

  environment.compilation_cache(cache.cache_folder(Data()) / "compiled")
  rate, shared = run.optimizer.peak_learning_rate, sweeps.shared_settings(folder.parent)
  settings = sweeps.member_settings(shared, rate, run.seed, run.seed == shared.seed)
  try:
    result = finetune.finetune_model(settings, folder, hooks=hooks)
  except RunStopped:
    return None
  row = {
    "learning_rate": rate, "seed": run.seed, "development": result.development, "score": result.score.value,
    "metric": result.score.name, "best_step": result.best_step,
  }  # fmt: skip
  # The pool passes the row on as it is; only the sweep reads it.
  return cast(RowValues, row)


if __name__ == "__main__":
  worker.run_worker(train_member)
