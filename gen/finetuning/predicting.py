"""The answers of a fine-tuned model to new inputs, from its folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.data.tasks.examples import (
  DialogueExample,
  Message,
  PairExample,
  QuestionExample,
  TaggedExample,
  TaskData,
  TextExample,
)
from gen.errors import UserError
from gen.finetuning import task_model, tuning_step
from gen.finetuning.reports import results
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.generation import loaded_model
from gen.training.run_folders import headed_checkpoint

_READS = {
  "classify": "a text, or two texts",
  "tag": "a list of words",
  "translate": "a text",
  "summarize": "a text",
  "answer": "a question and a context",
  "instruct": "a text, or messages with role and content",
}


def predict_inputs(folder: str | Path, inputs: Sequence[Any]) -> list[TaskPrediction]:
  """Returns the answer of a fine-tuned model to each input.

  Args:
    folder: of a finished fine-tuning.
    inputs: texts; words for tag, (text, text) for pairs, (question, context) for answer.

  Raises:
    UserError: for a folder without a finished fine-tuning, or an input that is none of its task.
  """
  folder = Path(folder)
  result = results.read_result(folder)
  if not inputs:
    raise UserError("there are no inputs to predict for; give at least one")
  settings = dataclasses.replace(result.settings, max_answer=result.max_answer)
  task, labels = settings.task, result.labels
  examples = tuple(make_example(task, each, labels, number) for number, each in enumerate(inputs, 1))
  data = TaskData(task, examples, examples, examples, labels, "inputs", "")
  loaded = loaded_model.load_model(folder)
  headed = headed_checkpoint.read_headed(folder)
  # Of a model with a task's head the checkpoint says nothing of a language-model head.
  loaded = loaded._replace(
    reading=loaded.reading._replace(head=headed.head.kind == "none"), params=headed.params
  )
  model = task_model.open_tuned(loaded, headed.head, settings, data)
  model.threshold = result.threshold
  programs = tuning_step.tuning_programs(model.model, model.head, settings.optimizer_config, None)
  # Lengths are padded to multiples of 8 here: a single input should not be padded to the longest row of training.
  return model.predict(programs, {"params": headed.params}, {}, (8,), examples, "input")


def make_example(task: str, given: Any, labels: Sequence[str], number: int) -> Any:
  """Returns an example of a task without its answer.

  Raises:
    UserError: for an input of another form.
  """
  try:
    if task == "classify":
      texts = (given,) if isinstance(given, str) else tuple(given)
      second = _text(texts[1]) if len(texts) > 1 else ""
      if not labels:
        return TextExample(_text(texts[0]), "", second, label_value=0.0)
      return TextExample(_text(texts[0]), labels[0], second)
    if task == "tag":
      words = tuple(map(_text, given.split() if isinstance(given, str) else given))
      # A class has to stand there; predictions do not read it.
      return TaggedExample(words, (labels[0],) * len(words))
    if task == "answer":
      question, context = given
      return QuestionExample(_text(question), _text(context), (), ())
    if task == "instruct":
      turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
      messages = tuple(Message(_text(turn["role"]), _text(turn["content"])) for turn in turns)
      return DialogueExample((*messages, Message("assistant", "")))
    return PairExample(_text(given), "")
  except (TypeError, ValueError, KeyError, IndexError):
    raise UserError(f"input {number:,} is {str(given)[:60]!r}; task {task} reads {_READS[task]}") from None


def _text(value: Any) -> str:
  if not isinstance(value, str) or not value:
    raise TypeError(value)
  return value
