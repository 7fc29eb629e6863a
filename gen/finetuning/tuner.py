"""The loop of a fine-tuning: steps, evaluations on the development part, early stopping, checkpoints, the best step.

A checkpoint is everything that the loop needs: what is trained, the optimizer's state, the step, the random key, and in
its meta the best score so far and the evaluations since. Batches are a function of (seed, step). So a fine-tuning that
was stopped or killed ends with the same bits as one that was not.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax

from gen.errors import UserError
from gen.finetuning import length_batches
from gen.finetuning.reports.tuning_rows import NoteRow, TuningScoreRow, TuningTrainRow
from gen.finetuning.reports.tuning_time import TuningTime
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import encoded_rows
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.finetuning.tuning_step import TuningPrograms
from gen.io import json_reading
from gen.optimizers import learning_rate, schedule_params
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.hooks import RunHooks, RunStopped
from gen.training.run_log.journal import Journal
from gen.training.run_log.rows import RowValues
from gen.training.step import count_skipped

ROWS_PER_RUN = 50  # journal rows of the training loss; chosen: enough for a curve
# Steps whose gradient is not finite, after which training ends, as in `Optimizer.max_skipped_steps`.
MAX_SKIPPED = 20
BEST = "cost"  # number of a checkpoint's meta by which the best one is kept: the lowest


@dataclasses.dataclass
class TuningProgress:
  """What a checkpoint's meta holds beside the state.

  Attributes:
    best: the best score so far, higher is better; None before the first evaluation.
    best_step: step of it.
    waited: evaluations since.
    seconds: inside steps.
    loss: sum of the training loss since the last row.
    weight: its weight.
  """

  best: float | None = None
  best_step: int = 0
  waited: int = 0
  seconds: float = 0.0
  loss: float = 0.0
  weight: float = 0.0


@dataclasses.dataclass(frozen=True)
class TuningOutcome:
  """A fine-tuning after its last step.

  Attributes:
    trained: what was trained, at the best step.
    step: steps done.
    steps: steps planned.
    best: the best score on the development part.
    best_step: the step that it was reached at.
    seconds: inside steps.
    padded_tokens: tokens of an epoch with padding.
    tokens: tokens of an epoch without.
  """

  trained: Any
  step: int
  steps: int
  best: float
  best_step: int
  seconds: float
  padded_tokens: int
  tokens: int


class Tuner:
  """A fine-tuning in progress."""

  def __init__(
    self,
    programs: TuningPrograms,
    trained: Any,
    frozen: Any,
    rows: Sequence[EncodedRow],
    targets: int,
    settings: FinetuneSettings,
    evaluate: Callable[[Any], float],
    identity: dict[str, str],
  ) -> None:
    """Plans the batches.

    Args:
      programs: the compiled functions.
      trained: what is trained, before the first step.
      frozen: the other parameters.
      rows: training rows.
      targets: targets of a row, 0 for one a token.
      settings: batch, epochs, schedule, patience and seed.
      evaluate: from what is trained to a score on the development part, higher is better.
      identity: hashes that a checkpoint must agree with.
    """
    self._programs, self._frozen, self._rows, self._settings = programs, frozen, rows, settings
    self._evaluate, self._identity = evaluate, identity
    # A few examples fill no batch; padding rows would be computed in vain.
    self._batch_rows = min(settings.batch, -(-len(rows) // settings.microbatches) * settings.microbatches)
    self.order = length_batches.LengthBatches(
      [row.length for row in rows], self._batch_rows, settings.seed, settings.max_shapes
    )
    self._shapes = encoded_rows.padded_shapes(rows, self.order.lengths, targets)
    self.steps = settings.planned_steps(self.order.steps_per_epoch)
    self._every = settings.evaluation_steps(self.order.steps_per_epoch)
    self._schedule = schedule_params(settings.optimizer_config, self.steps)
    self._log_every = max(1, self.steps // ROWS_PER_RUN)
    self._progress = TuningProgress()
    self._time = TuningTime(self.order, self.steps, self._every)
    self._state = programs.initialize(trained, settings.seed)

  @property
  def state_bytes(self) -> int:
    """Bytes of the arrays between steps: what is trained, its moments, and the frozen parameters."""
    trees = (self._state.params, self._state.opt_state, self._frozen)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trees))

  def run(self, workdir: Path, journal: Journal, hooks: RunHooks) -> TuningOutcome:
    """Trains to the last step or until the score no longer rises, and returns the best step.

    Args:
      workdir: folder of the checkpoints, in which it resumes.
      journal: receives a row for each part of the training, and for each evaluation.
      hooks: observe it and may stop it.

    Raises:
      UserError: for a checkpoint of another fine-tuning, or too many gradients that are not finite.
      RunStopped: after saving, if the hooks ask for it.
    """
    with Checkpoints(
      workdir, keep=1, keep_best=BEST, report=lambda line: hooks.progress(cast(RowValues, _note(line)))
    ) as checkpoints:
      self._restore(checkpoints, journal, hooks)
      done, saved = int(self._state.step), time.monotonic()
      pending: list[Any] = []
      self._time.restart()
      while done < self.steps and not self._is_over():
        batch, bucket = self._batch(done)
        compiles = self._time.compiles(bucket)
        if compiles:
          self._add(pending)
        begun = time.perf_counter()
        self._state, sums = self._programs.train(self._state, self._frozen, batch, self._schedule)
        pending.append(sums)
        if compiles:
          # Awaited, so that its time can be left out of the estimate.
          self._add(pending)
        self._time.count_step(bucket, time.perf_counter() - begun)
        done += 1
        ends_row = done % self._log_every == 0 or done == self.steps
        evaluates = done % self._every == 0 or done == self.steps
        # Reading a sum waits for its step, so sums are read where a row or a save needs them.
        due = time.monotonic() - saved >= self._settings.checkpoint_seconds
        # At most eight steps wait, so that dispatches do not run ahead of the host without bound.
        if ends_row or evaluates or due or len(pending) >= 8:
          self._add(pending)
        self._progress.seconds += time.perf_counter() - begun
        if ends_row:
          self._log(done, journal, hooks)
        if evaluates:
          self._score(done, journal, hooks)
        stop = hooks.stop()
        if evaluates or due or stop:
          self._add(pending)
          self._save(checkpoints, done, journal, evaluates)
          saved = time.monotonic()
        if stop and done < self.steps and not self._is_over():
          checkpoints.wait()
          raise RunStopped(f"stopped after step {done:,} of {self.steps:,}; saved in {workdir}")
      checkpoints.wait()
      return self._outcome(checkpoints, done)

  def _is_over(self) -> bool:
    patience = self._settings.patience
    return bool(patience) and self._progress.waited >= patience

  def _batch(self, step: int) -> tuple[Any, int]:
    numbers, bucket = self.order.at(step)
    rows = [self._rows[number] for number in numbers]
    return encoded_rows.stack_rows(rows, self._batch_rows, self._shapes[bucket]), bucket

  def _add(self, pending: list[Any]) -> None:
    for sums in pending:
      self._progress.loss += float(sums.loss)
      self._progress.weight += float(sums.weight)
    pending.clear()

  def _log(self, done: int, journal: Journal, hooks: RunHooks) -> None:
    progress, settings = self._progress, self._settings
    skipped = int(self._state.skipped)
    self._time.end_row()
    left = self._time.left(done)
    row: TuningTrainRow = {
      "kind": "train", "step": done, "steps": self.steps, "epoch": done / self.order.steps_per_epoch,
      "loss": progress.loss / progress.weight if progress.weight else math.nan,
      "learning_rate": float(learning_rate(settings.optimizer_config.schedule, done - 1, self._schedule)),
      "skipped": count_skipped(self._state),
    }  # fmt: skip
    progress.loss = progress.weight = 0.0
    journal.append(row)
    hooks.progress(cast(RowValues, {**row, **left._asdict()}))
    if skipped > MAX_SKIPPED:
      raise UserError(
        f"the gradient of {skipped} steps was not finite by step {done:,}; lower the learning rate "
        f"({settings.optimizer_config.peak_learning_rate:g})"
      )

  def _score(self, done: int, journal: Journal, hooks: RunHooks) -> None:
    begun = time.monotonic()
    score, progress = self._evaluate(self._state.params), self._progress
    self._time.count_evaluation(time.monotonic() - begun)
    # A score that is not finite is no score: no later one would be above NaN.
    if math.isfinite(score) and (progress.best is None or score > progress.best):
      # A tie does not count as better: the earlier step stays, which has fit the training text less.
      progress.best, progress.best_step, progress.waited = score, done, 0
    else:
      progress.waited += 1
    row: TuningScoreRow = {
      "kind": "evaluation",
      "step": done,
      "score": score,
      "best": math.nan if progress.best is None else progress.best,
      "best_step": progress.best_step,
    }
    journal.append(row)
    hooks.progress(cast(RowValues, row))

  def _save(self, checkpoints: Checkpoints, done: int, journal: Journal, evaluated: bool) -> None:
    progress = self._progress
    meta: dict[str, object] = {
      "identity": self._identity,
      "progress": dataclasses.asdict(progress),
      "journal": journal.mark(),
    }
    if evaluated and progress.best_step == done and progress.best is not None:
      # Negated, because `Checkpoints` keeps the step with the lowest number.
      meta[BEST] = -progress.best
    checkpoints.save(done, self._state, meta)

  def _restore(self, checkpoints: Checkpoints, journal: Journal, hooks: RunHooks) -> None:
    if checkpoints.latest() is None:
      # No checkpoint, so nothing of an earlier attempt counts: its rows are written again.
      journal.rewind(0)
      return

    def accept(meta: CheckpointMeta) -> None:
      if dict(meta).get("identity") != self._identity:
        raise UserError(
          f"{checkpoints.folder} holds a fine-tuning of other settings, data or parameters; choose another --workdir"
        )

    self._state, meta = checkpoints.restore(self._state, fall_back=True, accept=accept)
    values = json_reading.require_field(
      meta, "progress", dict, f"the meta of a checkpoint in {checkpoints.folder}"
    )
    self._progress = TuningProgress(**values)
    journal.rewind(int(self._state.step))
    hooks.progress({"kind": "resume", "step": int(self._state.step)})

  def _outcome(self, checkpoints: Checkpoints, done: int) -> TuningOutcome:
    """Returns the best step, read back from its checkpoint where it is not the last."""
    progress, trained = self._progress, self._state.params
    if progress.best is None:
      raise UserError(
        f"no evaluation up to step {done:,} gave a finite score; lower the learning rate "
        f"({self._settings.optimizer_config.peak_learning_rate:g})"
      )
    # Early stopping and overfitting end later than the best step.
    if progress.best_step != done:
      trained = checkpoints.restore_parameters(trained, progress.best_step)
    tokens = sum(row.length for row in self._rows)
    return TuningOutcome(
      trained,
      done,
      self.steps,
      progress.best,
      progress.best_step,
      progress.seconds,
      self.order.padded_tokens,
      tokens,
    )


def _note(line: str) -> NoteRow:
  return {"kind": "note", "text": line}
