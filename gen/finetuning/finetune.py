"""Fine-tunes a model on labelled examples, scores it, and sets it beside a baseline and its own prompted answers.

    settings.json      the settings, and hashes of the data and of the start
    journal.jsonl      training loss and development scores
    training/          checkpoints while it trains
    predictions.jsonl  every test example with its prediction, score and label
    config.json, checkpoints, tokenizer or huggingface     the model, as the folder of a run
    results.json       the scores, written last: with it, the fine-tuning is finished

Everything that a user can get wrong is checked before the first step.
"""

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen import versions
from gen.data.tasks import reading, splits
from gen.data.tasks.examples import TaskData
from gen.errors import UserError
from gen.evaluation.metrics import baselines
from gen.evaluation.metrics.score import Score, score_predictions
from gen.finetuning import frozen_base, prompted, tuned_folder, tuner, tuning_step
from gen.finetuning.reports import predictions_file, results, tuning_page
from gen.finetuning.reports.results import FinetuneResult
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_model import TaskModel, open_task_model
from gen.generation import loaded_model
from gen.io import checksums, json_reading, typed_json
from gen.io.locks import FolderLock
from gen.precision import quantized_array
from gen.precision.quantized_array import QuantizedArray, parameter_shape
from gen.training import start_source
from gen.training.hooks import NoHooks, RunHooks
from gen.training.run_log.journal import Journal

SETTINGS, TRAINING, JOURNAL = "settings.json", "training", "journal.jsonl"
LOCK_SECONDS = 10  # for another process to release the folder: a stopped one may still be saving
Report = Callable[[str], None]


def finetune_model(
  settings: FinetuneSettings,
  workdir: str | Path,
  *,
  data: TaskData | None = None,
  hooks: RunHooks | None = None,
  report: Report | None = None,
) -> FinetuneResult:
  """Fine-tunes a model to its end and returns its result; the same call resumes one that was stopped.

  Args:
    settings: what to do.
    workdir: its folder; a finished fine-tuning is not repeated.
    data: the examples; None reads `settings.data`.
    hooks: called with rows of progress, and asked whether to stop.
    report: called with a line for each stage.

  Raises:
    UserError: for settings, data or a model that cannot be, before anything is trained.
    gen.training.hooks.RunStopped: when a hook said so, after saving.
  """
  settings.check()
  workdir, report = Path(workdir), report or _silent
  with contextlib.ExitStack() as stack:
    stack.enter_context(FolderLock(workdir, wait_seconds=LOCK_SECONDS))
    finished = finished_result(workdir, settings, data)
    if finished is not None:
      report(f"the fine-tuning in {workdir} is finished already; this is its result")
      return finished
    data = read_data(settings, report) if data is None else data
    folder, step = start_source.split_step(settings.start_from)
    loaded = loaded_model.load_model(folder, step, report=report)
    # Settings, data and parameters: a resumed fine-tuning must be the same in all three.
    identity = {"settings": settings.identity(), "data": data.sha256, "model": _tree_hash(loaded.params)}
    rated = settings.with_rate(loaded.model.width)
    model = open_task_model(frozen_base.prepare_base(loaded, settings), rated, data)
    del loaded  # the float32 base, where the model has one of fewer bits
    finetuning = _Finetuning(settings, workdir, data, model, identity, report)
    _claim(workdir, settings, identity)
    journal = stack.enter_context(Journal(workdir / JOURNAL))
    return finetuning.run(journal, hooks or NoHooks())


def read_data(settings: FinetuneSettings, report: Report) -> TaskData:
  """Returns the examples that settings name.

  Raises:
    UserError: for data that cannot be read or trained on.
  """
  data = reading.load_task(
    settings.task,
    settings.data,
    columns=settings.columns,
    limit=settings.limit,
    development=settings.development_share,
    test=settings.test_share,
    tag_scheme=settings.tag_scheme,
    limit_seed=settings.seed,
    report=report,
  )
  for note in data.notes:
    report(note)
  return data


def finished_result(
  workdir: Path, settings: FinetuneSettings, data: TaskData | None = None
) -> FinetuneResult | None:
  """Returns the result in a folder, or None if its fine-tuning is not finished.

  Args:
    workdir: the folder.
    settings: that it must have.
    data: examples that it must have, where they are at hand; a file of examples is not read again.

  Raises:
    UserError: for the result of other settings or examples.
  """
  if not (workdir / results.NAME).is_file():
    return None
  result = results.read_result(workdir)
  if result.settings.identity() != settings.identity():
    raise UserError(
      f"{workdir} holds another fine-tuning ({_changed(result.settings, settings)}); choose another --workdir"
    )
  before = json_reading.read_json(workdir / SETTINGS) if (workdir / SETTINGS).is_file() else {}
  identity = before.get("identity")
  if data is not None and isinstance(identity, dict) and identity.get("data") != data.sha256:
    raise UserError(f"{workdir} holds a fine-tuning on other examples; choose another --workdir")
  return result


def _changed(before: FinetuneSettings, now: FinetuneSettings) -> str:
  old, new = typed_json.encode_record(before), typed_json.encode_record(now)
  return ", ".join(
    f"{name}: {old.get(name)} -> {new.get(name)}" for name in new if old.get(name) != new.get(name)
  )


def _claim(workdir: Path, settings: FinetuneSettings, identity: dict[str, str]) -> None:
  """Writes the settings into the folder, after checking that it holds no others."""
  path = workdir / SETTINGS
  values = {"settings": typed_json.encode_record(settings), "identity": identity}
  if path.is_file():
    before = json_reading.read_json(path)
    if before.get("identity") != identity:
      saved = typed_json.decode_record(FinetuneSettings, before.get("settings"), str(path))
      changed = _changed(saved, settings) or "its data or the model that it starts from have changed"
      raise UserError(f"{workdir} holds another fine-tuning ({changed}); choose another --workdir")
    return
  # No settings and yet a config: the folder is a run's, whose model the fine-tuned one would replace.
  if (workdir / "config.json").is_file():
    raise UserError(f"{workdir} holds a run or a model already; choose another --workdir")
  checksums.write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())


def _tree_hash(params: Any) -> str:
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(params):
    digest.update(np.ascontiguousarray(leaf).tobytes())
  # 64 bits, against accidents and not against forgery.
  return digest.hexdigest()[:16]


def _silent(line: str) -> None:
  del line


class _Finetuning:
  """One fine-tuning with all that it reads; making it checks every example."""

  def __init__(
    self,
    settings: FinetuneSettings,
    workdir: Path,
    data: TaskData,
    model: TaskModel,
    identity: dict[str, str],
    report: Report,
  ) -> None:
    """Encodes the examples, and plans the batches."""
    # The folder and the result keep the settings that were asked for; the model's have its learning rate.
    self.asked, settings = settings, model.settings
    self.settings, self.workdir, self.data, self.model, self.report = settings, workdir, data, model, report
    rows = model.form.rows(data.train, "training")
    self.development = data.development
    if model.form_name == "text" and settings.development_examples:
      self.development = tuple(splits.draw_examples(data.development, settings.development_examples))
    self.development_rows = model.form.rows(self.development, "development")
    # For its errors alone, which must come before the training and not after it.
    model.form.rows(data.test, "test")
    self.trained, self.frozen = model.split()
    self.programs = tuning_step.tuning_programs(
      model.model, model.head, settings.optimizer_config, model.adapters
    )
    self.by_loss = (settings.select or ("loss" if settings.task == "instruct" else "score")) == "loss"
    self.tuner = tuner.Tuner(
      self.programs,
      self.trained,
      self.frozen,
      rows,
      model.form.targets,
      settings,
      self._development_score,
      identity,
    )
    self.lengths = self.tuner.order.lengths

  def run(self, journal: Journal, hooks: RunHooks) -> FinetuneResult:
    """Trains, scores and writes everything."""
    self.report(self._plan())
    outcome = self.tuner.run(self.workdir / TRAINING, journal, hooks)
    trained, data = outcome.trained, self.data
    # The threshold of "no answer" is that of the best step.
    self.model.tune_threshold(self._predict(trained, self.development, "development"), self.development)
    predictions = self._predict(trained, data.test, "test")
    score = self._scored(predictions, data.test)
    beside, note = prompted.prompt_model(self.model.loaded, self.settings, data)
    result = FinetuneResult(
      self.asked, self.model.loaded.model.family, self.model.form_name, data.labels, _sizes(data), data.licence,
      _count(self.model.params), _count(self.trained), self.settings.optimizer_config.peak_learning_rate,
      outcome.step, outcome.steps, outcome.best_step, outcome.best, outcome.seconds,
      outcome.padded_tokens / outcome.tokens, score, baselines.score_baseline(data), beside, note,
      self.model.max_answer, self.model.threshold, versions.installed_versions(),
      self.tuner.state_bytes,
    )  # fmt: skip
    trained = self.model.in_data_units(trained)
    if self.model.adapters is not None:
      tuned_folder.write_adapters(self.workdir, self.model, trained, self.report)
    # Adapters are merged into float weights, since no reader of runs need know of adapters.
    merged = quantized_array.dequantize_tree(self.programs.complete(trained, self.frozen))
    tuned_folder.write_model(self.workdir, self.model, merged, outcome.best_step)
    predictions_file.write_predictions(self.workdir, self.settings.task, predictions, data.test)
    tuning_page.write_page(self.workdir, result, predictions, data.test)
    # Last but for the clean-up: a folder with this file is finished, whatever kills the process next.
    results.write_result(self.workdir, result)
    shutil.rmtree(self.workdir / TRAINING, ignore_errors=True)
    return result

  def _plan(self) -> str:
    settings, model, tuning = self.settings, self.model, self.tuner
    count, total = _count(self.trained), _count(model.params)
    shapes = ", ".join(map(str, self.lengths))
    return (
      f"{len(self.data.train):,} training, {len(self.data.development):,} development and {len(self.data.test):,} test "
      f"examples; {model.form_name} form, {settings.method}: {count:,} of {total:,} parameters are trained; up to "
      f"{tuning.steps:,} steps of {settings.batch} rows, padded to {shapes} tokens"
    )

  def _predict(self, trained: Any, examples: Sequence[Any], what: str) -> list[TaskPrediction]:
    return self.model.predict(self.programs, trained, self.frozen, self.lengths, examples, what)

  def _development_score(self, trained: Any) -> float:
    if self.by_loss:
      rows = self.development_rows
      # Negated: higher is better for the tuner.
      return -self.model.mean_loss(self.programs, trained, self.frozen, self.lengths, rows)
    predictions = self._predict(trained, self.development, "development")
    return self._scored(self.model.tune_threshold(predictions, self.development), self.development).value

  def _scored(self, predictions: Sequence[TaskPrediction], examples: Sequence[Any]) -> Score:
    values = [prediction.value for prediction in predictions]
    return score_predictions(self.settings.task, values, examples, labels=self.data.labels)


def _sizes(data: TaskData) -> dict[str, int]:
  return {name: len(getattr(data, name)) for name in ("train", "development", "test")}


def _count(tree: Any) -> int:
  leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  return sum(math.prod(parameter_shape(leaf)) for leaf in leaves)
