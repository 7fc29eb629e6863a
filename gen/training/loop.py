"""Trains one run from its config to its result row: resumes if possible, stops on request, writes a journal.

1. A run whose result is in its journal is not trained again. 2. A run with a checkpoint continues from it. 3. Any other
run starts from its seed, or from its trunk (`trunks`).

The final numbers are the same to the bit, because batches are a function of (seed, step) and all state is restored.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from absl import logging

from gen import counts, versions
from gen.batch import Batch
from gen.config import Run, config_hash, mixture, to_dict, validation
from gen.data.batches import ValidationBatches
from gen.data.dataset import Dataset
from gen.errors import UserError
from gen.io import json_reading, typed_json
from gen.optimizers import schedule_params
from gen.sharding import chip_peaks, layouts, processes
from gen.training import (
  compiled_step,
  compute_dtype,
  evaluate,
  memory_check,
  own_functions,
  run_text,
  start_source,
  starting,
  state_sharding,
  step,
)
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.checkpointing.quantized_checkpoints import require_trainable
from gen.training.hooks import NoHooks, RunHooks, RunStopped
from gen.training.profiler import StepProfiler
from gen.training.run_folders.folder_claim import take_folder
from gen.training.run_folders.run_folder import CHECKPOINTS, JOURNAL
from gen.training.run_folders.run_length import complete_run, count_steps, flops_per_row, row_length
from gen.training.run_log import rows
from gen.training.run_log.journal import Journal, JournalSink, read_journal, require_rows
from gen.training.run_log.row_mirrors import RowMirrors

ROWS_PER_RUN = 50  # journal rows of a run where log_every is 0
# Attributes that are saved with each checkpoint: seconds inside steps, the last mean loss, sums since the last row.
_SUMS = ("seconds", "loss_tokens", "train_loss", "nll", "weight", "since", "since_seconds")
_INHERITED = ("inherited_steps", "inherited_seconds")  # what a trunk had done before the run began

# (completed run, its initial state) -> a later state of the same run and the meta saved with it, or None.
StartFrom = Callable[[Run, step.TrainState], tuple[step.TrainState, CheckpointMeta] | None]


def train_run(
  run: Run,
  workdir: str | Path,
  loaded: Dataset,
  hooks: RunHooks | None = None,
  begin: StartFrom | None = None,
) -> rows.RunResult:
  """Trains a run to its end in `workdir` and returns its result row.

  Args:
    run: what to train.
    workdir: its folder.
    loaded: corpus, tokenizer and tokens.
    hooks: callbacks that observe the run and may stop it.
    begin: called if the folder has no checkpoint; may return a later state to start from, see `trunks.train_branch`.

  Raises:
    UserError: for an invalid config, too little memory, another run in the folder, or too many skipped steps.
    RunStopped: after saving, if `hooks.stop()` returned true.
  """
  validation.check_run(run)
  workdir = Path(workdir)
  run = start_source.with_start(complete_run(compute_dtype.with_dtype(run, workdir), loaded), workdir)
  memory_check.check_fits_in_memory(run.model, run.optimizer)
  with contextlib.ExitStack() as open_files:
    finished = processes.from_first(lambda: take_folder(workdir, run, loaded, open_files))
    if finished is not None:
      return typed_json.decode_record(rows.RunResult, finished, f"the result in {workdir / JOURNAL}")
    journal = None
    if processes.is_first():
      journal = open_files.enter_context(Journal(workdir / JOURNAL))
    checkpoints = Checkpoints(workdir / CHECKPOINTS, keep=run.keep_checkpoints)
    open_files.enter_context(checkpoints)
    training = TrainingRun(run, loaded, journal, checkpoints, hooks or NoHooks(), begin)
    return training.to_the_end()


class TrainingRun:
  """A run in progress: its state, sums since the last journal row, and clocks."""

  def __init__(
    self,
    run: Run,
    loaded: Dataset,
    journal: Journal | None,
    checkpoints: Checkpoints,
    hooks: RunHooks,
    begin: StartFrom | None = None,
  ) -> None:
    """Prepares a completed run, and restores or initializes its state; the journal is None except in process 0."""
    self.run, self.loaded, self.hooks = run, loaded, hooks
    self.own = own_functions.OwnFunctions(run, self._save_now)
    self.journal, self.checkpoints = journal, checkpoints
    self.hash, self.steps = config_hash(run), count_steps(run)
    folder = None if journal is None else journal.path.parent
    self.profiler, self.mirrors = StepProfiler(run.profile, folder, self.steps), RowMirrors(run, folder)
    self.sinks: list[JournalSink] = [] if journal is None else [journal, self.mirrors]
    layout = layouts.layout_of_run(run)
    self.undivided = [] if layout is None else state_sharding.undivided_dimensions(run.model, layout)
    self.programs = compiled_step.step_programs(run.model, run.optimizer, layout)
    self.shardings = self.programs.shardings
    self.text = run_text.RunText(run, loaded)
    self.schedule = schedule_params(run.optimizer, self.steps)
    self.local_rows = None if self.shardings is None else self.shardings.local_rows(run.data.batch)
    self.row, self.devices = row_length(run), jax.device_count() if run.mesh else 1
    self.flops_per_token = flops_per_row(run) / self.row.tokens
    self.tokens_per_step = run.data.batch * self.row.tokens
    self.log_every = run.log_every or max(1, self.steps // ROWS_PER_RUN)
    self.seconds, self.loss_tokens, self.train_loss = 0.0, 0.0, float("nan")
    self.nll, self.weight, self.since, self.since_seconds = 0.0, 0.0, 0, 0.0
    self.inherited_steps, self.inherited_seconds = 0, 0.0
    self.gradient_norm, self.started = float("nan"), time.time()
    self.state = self._start(begin)

  def _start(self, begin: StartFrom | None) -> step.TrainState:
    """Returns the state to continue from, and rewinds the journal to it."""
    # uint32: seeds up to 2^32 - 1 do not fit into jax's default int32.
    state = self.programs.initialize(np.uint32(self.run.seed))
    state = state._replace(recurrent_state=self._initial_recurrent_state(state))
    latest = self.checkpoints.latest()
    if latest is None:
      self._rewind(-1)
      start = rows.StartRow(
        **self._stamp(), config=to_dict(self.run), versions=versions.installed_versions(),
        undivided=self.undivided, uncounted=counts.uncounted_modules(self.run.model) or None, **self._data(),
        **self.text.described(),
      )  # fmt: skip
      self._write(start)
      if self.run.start_from:
        return self._start_from_source(state)
      later = begin(self.run, state) if begin is not None else None
      return state if later is None else self._branch(*later)
    state, meta = self.checkpoints.restore(state, fall_back=True, accept=self._require)
    self._adopt(meta)
    lost = processes.from_first(lambda: self._rejoin(meta, int(state.step)))
    mesh, layout = self.run.mesh, self.run.layout
    row = rows.ResumeRow(**self._stamp(), step=int(state.step), mesh=mesh, layout=layout, lost_rows=lost)
    self._write(row)
    return state

  def _start_from_source(self, drawn: step.TrainState) -> step.TrainState:
    """Begins with a checkpoint's parameters; saves them, so that the run no longer needs their source."""
    self.state, source, notes = starting.start_state(self.run, drawn, self.loaded.tokenizer)
    row = rows.SourceRow(
      **self._stamp(), source=str(source.folder), step=source.step, sha256=source.checksum, notes=notes
    )
    self._write(row)
    self._write_evaluation(0)
    self._save(0)
    return self.state

  def _rejoin(self, meta: CheckpointMeta, done: int) -> int | None:
    """Rewinds the journal to a checkpoint, after checking that it holds the rows of the time of saving.

    If the journal was deleted, a new one is begun; returns the number of lost rows then, and otherwise None.
    """
    mark, owner = meta.get("journal"), f"checkpoint {self.checkpoints.folder} of step {done}"
    if self.journal is None or not isinstance(mark, dict):
      return None
    if not read_journal(self.journal.path):
      lost: int = json_reading.require_field(mark, "rows", int, f"{owner}: journal")
      logging.warning("%s is missing; its %d rows up to step %d are lost", self.journal.path, lost, done)
      return lost
    require_rows(self.journal.path, mark, owner)
    self._rewind(done)
    return None

  def _branch(self, state: step.TrainState, meta: CheckpointMeta) -> step.TrainState:
    """Continues from a state of a trunk."""
    self._require(meta)
    self._adopt(meta)
    self.inherited_steps, self.inherited_seconds = int(state.step), self.seconds
    self._write(rows.BranchRow(**self._stamp(), trunk=self.run.trunk, **self._progress(int(state.step))))
    return state

  def _require(self, meta: CheckpointMeta) -> None:
    require_trainable(meta, self.loaded.tokenizer.hash, self.checkpoints.folder)
    if meta.get("corpus_sha256") != self.loaded.corpus.sha256:
      raise UserError(
        f"{self.checkpoints.folder} was trained on another corpus; use the same data.corpus, or another --workdir"
      )

  def _adopt(self, meta: CheckpointMeta) -> None:
    owner = f"the meta of a checkpoint in {self.checkpoints.folder}"
    sums = json_reading.require_field(meta, "sums", dict, owner)
    for name in _SUMS:
      setattr(self, name, json_reading.require_field(sums, name, float, f"{owner}: sums"))
    for name in _INHERITED:  # A checkpoint may be older than these entries.
      setattr(self, name, sums.get(name, 0))

  def _initial_recurrent_state(self, state: step.TrainState) -> Any:
    zeros = step.with_recurrent_state(state, self.run.model, self.run.data.batch).recurrent_state
    return zeros if self.shardings is None else jax.device_put(zeros, self.shardings.recurrent_state)

  def _rewind(self, done: int) -> None:
    if self.journal is not None:
      # Only the last evaluation comes after the checkpoint of its step, so a resumed run repeats it.
      self.journal.rewind(done, evaluation=min(done, self.steps - 1))

  def _data(self) -> rows.RunData:
    return {
      "corpus": mixture.mixture_text(self.run.data.mixture) or self.run.data.corpus,
      "corpus_sha256": self.loaded.corpus.sha256,
      "tokenizer": self.loaded.tokenizer.hash,
      "devices": [str(d) for d in jax.devices()],
    }

  def to_the_end(self) -> rows.RunResult:
    """Trains to the end of the run and returns its result row."""
    with self.mirrors, self.profiler:
      return self._result(self.advance(self.steps))

  def advance(self, until: int, keep_steps: Collection[int] = ()) -> int:
    """Trains up to a step and returns it; at each of `keep_steps` a checkpoint is saved and a journal row ends.

    Raises:
      RunStopped: after saving, if the hooks ask for it.
    """
    done, saved = int(self.state.step), time.monotonic()
    batches = self._stack(done)
    # A dispatch of zero steps compiles the program, so that the clock below measures steps only.
    self.state, _ = self.programs.train(self.state, batches, 0, self.schedule)
    while done < until:
      # Dispatches end where something must be read or saved; the program takes the count as an argument.
      count = min(step for step in (*keep_steps, until, self._next_stop(done)) if step > done) - done
      self.profiler.before(done)
      begun = time.perf_counter()
      self.state, sums = self.programs.train(self.state, batches, count, self.schedule)
      done += count
      # jax has not finished the steps yet: the host makes the next batches meanwhile. `_add` waits for the results.
      if done < until:
        batches = self._stack(done)
      self._add(sums, count, begun)
      self.profiler.after(done)
      if done % self.log_every == 0 or done == until or done in keep_steps or self.own.are_due(done):
        self._log(done)
      if self.run.evaluate_every and done % self.run.evaluate_every == 0 and done < self.steps:
        self._write_evaluation(done)
      stop, due = self._decisions(done, saved)
      if stop or done in keep_steps or (done < until and due):
        self._save(done)
        saved = time.monotonic()
      if stop and done < until:
        self.checkpoints.wait()
        raise RunStopped(f"stopped after step {done} of {self.steps}; saved in {self.checkpoints.folder}")
    return done

  def _stack(self, done: int) -> Batch:
    """Returns the batches of the next dispatch."""
    batches = self.text.batches.stack(done, self.run.steps_per_dispatch, self.local_rows)
    local, shardings = self.local_rows, self.shardings
    return batches if shardings is None else shardings.stack(batches, local, self.run.data.batch)

  def _next_stop(self, done: int) -> int:
    """Returns the step at which the next dispatch ends: at the next row, evaluation or save, or after K steps."""
    ends = [done + self.run.steps_per_dispatch, self.steps, *(e for e in self.profiler.ends if e > done)]
    for every in (self.log_every, self.run.evaluate_every, self.run.checkpoint_every, self.own.every):
      if every:
        ends.append((done // every + 1) * every)
    return min(ends)

  def _decisions(self, done: int, saved: float) -> tuple[bool, bool]:
    """Returns whether to stop and whether to save, equal in all processes."""
    # A save is collective, so all decide alike: to stop if any process was asked to, to save by process 0's clock.
    votes = processes.exchange_values([self.hooks.stop(), self._is_due(done, saved)])
    return any(stop for stop, _ in votes), votes[0][1]

  def _is_due(self, done: int, saved: float) -> bool:
    if self.run.checkpoint_every:
      return done % self.run.checkpoint_every == 0
    return time.monotonic() - saved >= self.run.checkpoint_seconds

  def _add(self, sums: step.StepSums, count: int, begun: float) -> None:
    nll, weight, self.gradient_norm = float(sums.nll), float(sums.weight), float(sums.gradient_norm)
    # Taken after the floats above: converting them waits for the steps.
    elapsed = time.perf_counter() - begun
    self.seconds, self.since_seconds = self.seconds + elapsed, self.since_seconds + elapsed
    self.nll, self.weight, self.since = self.nll + nll, self.weight + weight, self.since + count
    self.loss_tokens += weight

  def _progress(self, done: int) -> rows.RunProgress:
    tokens = done * self.tokens_per_step
    return {"step": done, "tokens": tokens, "flops": tokens * self.flops_per_token}

  def _stamp(self) -> rows.RowStamp:
    return {"time": time.time(), "run": self.hash, "name": self.run.name}

  def _log(self, done: int) -> None:
    # Read once for each row and not for each step, because reading waits for the device.
    skipped = int(self.state.skipped)
    # Over seconds inside steps alone: evaluation, saving and compiling do not slow training in this figure.
    rate = self.since * self.tokens_per_step / max(self.since_seconds, 1e-9)
    self.train_loss = self.nll / self.weight if self.weight else float("nan")
    row = rows.TrainRow(
      **self._stamp(),
      **self._progress(done),
      loss=self.train_loss,
      # Steps count from 0, so the last of `done` steps has number done - 1.
      learning_rate=float(step.learning_rate(self.run.optimizer.schedule, done - 1, self.schedule)),
      gradient_norm=self.gradient_norm,
      tokens_per_second=rate,
      gflops=rate * self.flops_per_token / 1e9,
      mfu=chip_peaks.share_of_peak(rate * self.flops_per_token, self.run.model.dtype, self.devices),
      skipped=step.count_skipped(self.state),
      steps=self.steps,
      loss_scale=None if self.state.loss_scale is None else float(self.state.loss_scale.scale),
    )
    self._write(row)
    self.nll, self.weight, self.since, self.since_seconds = 0.0, 0.0, 0, 0.0
    if skipped > self.run.optimizer.max_skipped_steps:
      latest, folder = self.checkpoints.latest(), self.checkpoints.folder
      saved = f"the last checkpoint is step {latest} in {folder}" if latest else "none is saved"
      raise UserError(
        f"the gradient of {skipped} steps was not finite by step {done}; {saved}; lower the learning rate"
      )
    self.own.call(row, self.state.params)

  def _save(self, done: int) -> None:
    sums = {name: getattr(self, name) for name in (*_SUMS, *_INHERITED)}
    meta: CheckpointMeta = {"config": to_dict(self.run), "run": self.hash, "sums": sums, **self._data()}
    if self.journal is not None:
      meta["journal"] = self.journal.mark()
    self.checkpoints.save(done, self.state, {**meta, "data": {"seed": self.run.seed, "step": done}})

  def _save_now(self) -> None:
    if self.checkpoints.latest() != (done := int(self.state.step)):
      self._save(done)

  def _write_evaluation(self, done: int) -> rows.EvaluationRow:
    evaluation, corpora = self.text.evaluate(self._evaluate)
    row = rows.EvaluationRow(
      **self._stamp(), **self._progress(done), loss=evaluation.loss, bits_per_byte=evaluation.bits_per_byte,
      metrics=self.own.measure(self.state.params, self.text.validation.batches, self.shardings), corpora=corpora,
    )  # fmt: skip
    self._write(row)
    return row

  def _evaluate(self, text_rows: ValidationBatches) -> evaluate.Evaluation:
    params, programs = self.state.params, self.programs
    batches = text_rows.batches if self.shardings is None else map(self.shardings.batch, text_rows.batches)
    # Validation rows are a text of their own: they start without a state, not from that of the training rows.
    initial = self._initial_recurrent_state(self.state)
    if initial is None:
      return evaluate.evaluate_loss(programs.evaluate, params, batches, text_rows.bytes)
    return evaluate.evaluate_recurrent(programs.evaluate_carried, params, batches, text_rows.bytes, initial)

  def _write(self, row: rows.JournalRow) -> None:
    values = cast(rows.RowValues, typed_json.encode_record(row))
    for sink in self.sinks:
      sink.append(values)
    self.hooks.progress(values)

  def _result(self, done: int) -> rows.RunResult:
    run, model, progress = self.run, self.run.model, self._progress(done)
    # Saved before the evaluation, so that a kill during it costs no training step.
    self._save_now()
    evaluation = self._write_evaluation(done)
    groups, rate = counts.count_parameters(model), progress["flops"] / max(self.seconds, 1e-9)
    # The result is written only after the last checkpoint is complete, so a journal with a result has its parameters.
    self.checkpoints.wait()
    result = rows.RunResult(
      **self._stamp(), family=model.family, objective=run.data.objective, width=model.width, depth=model.depth,
      budget=run.flops or None, seed=run.seed, batch=run.data.batch, length=run.data.length, steps=self.steps,
      learning_rate=run.optimizer.peak_learning_rate, params=counts.count_matrices(model),
      params_total=groups.total, params_by_group=groups.by_group(), tokens=progress["tokens"],
      positions=done * run.data.batch * (self.row.target + self.row.source), loss_tokens=self.loss_tokens,
      flops=progress["flops"], flops_spent=progress["flops"] - self._progress(self.inherited_steps)["flops"],
      trunk=run.trunk or None, flops_6nd=counts.six_n_flops(model) * progress["tokens"],
      flops_per_token=self.flops_per_token, loss=evaluation.loss, bits_per_byte=evaluation.bits_per_byte,
      train_loss=self.train_loss, skipped=step.count_skipped(self.state), epochs=self.text.batches.epoch(self.steps),
      seconds=self.seconds, seconds_spent=self.seconds - self.inherited_seconds,
      wall_seconds=time.time() - self.started, tokens_per_second=progress["tokens"] / max(self.seconds, 1e-9),
      gflops=rate / 1e9, mfu=chip_peaks.share_of_peak(rate, model.dtype, self.devices),
      corpus_sha256=self.loaded.corpus.sha256, tokenizer=self.loaded.tokenizer.hash,
      config=json.loads(json.dumps(to_dict(run))),  # tuples become lists, as in the journal
      corpora=self.text.results(done, evaluation.corpora),
    )  # fmt: skip
    self._write(result)
    return result
