"""Fine-tuning in the public API: `gen.finetune` and `gen.predict`."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gen.errors import UserError

if TYPE_CHECKING:  # Imported where they are used, since they import jax.
  from gen.data.tasks.examples import TaskData
  from gen.finetuning.reports.results import FinetuneResult
  from gen.training.hooks import RunHooks


def finetune(
  start_from: str | Path,
  data: "str | Path | TaskData",
  task: str,
  workdir: str | Path,
  *,
  hooks: "RunHooks | None" = None,
  report: Callable[[str], None] | None = None,
  **settings: Any,
) -> "FinetuneResult":
  """Fine-tunes a model on labelled examples, scores it, and returns the result; the same call resumes.

  Args:
    start_from: folder of a run, or of a checkpoint in the Hugging Face format.
    data: a file, a folder, a named set, or examples in Python.
    task: classify, tag, translate, summarize, answer or instruct.
    workdir: folder of the fine-tuned model, which `load` and `predict` open.
    hooks: called with rows of progress, and asked whether to stop.
    report: called with a line for each stage; None is silent.
    **settings: fields of `gen.finetuning.settings.FinetuneSettings`, such as method="lora", epochs=3, batch=32.

  Raises:
    UserError: for settings, data or a model that cannot be, before anything is trained.
    gen.training.hooks.RunStopped: when a hook said so, after saving.
  """
  from gen.data.tasks.examples import TaskData
  from gen.finetuning import finetune as finetuning
  from gen.finetuning.settings import FinetuneSettings

  known = {field.name for field in dataclasses.fields(FinetuneSettings)}
  for name in settings:
    if name not in known:
      raise UserError(f"there is no setting {name!r} of a fine-tuning; there are {', '.join(sorted(known))}")
  examples = data if isinstance(data, TaskData) else None
  if examples is None and not isinstance(data, (str, Path)):
    raise UserError(f"data is a {type(data).__name__}; give a file, the name of a set, or a TaskData")
  for name, folder in (("start_from", start_from), ("workdir", workdir)):
    if not isinstance(folder, (str, Path)):
      raise UserError(f"{name} is {repr(folder)[:60]}; give a folder")
  source = str(data) if examples is None else examples.source
  # A list of names, and numbers of numpy, mean what they hold; results are written as JSON.
  settings = {
    name: tuple(value)
    if isinstance(value, list)
    else value.item()
    if isinstance(value, np.generic)
    else value
    for name, value in settings.items()
  }
  chosen = FinetuneSettings(task=task, start_from=str(start_from), data=source, **settings)
  return finetuning.finetune_model(chosen, workdir, data=examples, hooks=hooks, report=report)


def predict(folder: str | Path, inputs: Sequence[Any]) -> list[Any]:
  """Returns the answers of a fine-tuned model: classes, numbers, tuples of tags, or texts.

  Args:
    folder: the workdir of `finetune`.
    inputs: texts; lists of words to tag; (text, text) for pairs; (question, context) for answers.

  Raises:
    UserError: for a folder without a finished fine-tuning, or an input that is none of its task.
  """
  from gen.finetuning import predicting

  return [answer.value for answer in predicting.predict_inputs(folder, inputs)]
