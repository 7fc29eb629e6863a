"""The answers of a fine-tuned model to new inputs, from its folder."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
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

_FIELDS = {
  "classify": ("text", "second_text"), "tag": ("tokens",), "answer": ("question", "context"), "translate": ("source",),
  "summarize": ("source",),
}  # fmt: skip


def predict_inputs(folder: str | Path, inputs: Sequence[Any]) -> list[TaskPrediction]:
  """Returns the answer of a fine-tuned model to each input.

  Args:
    folder: of a finished fine-tuning.
    inputs: texts; words for tag, (text, text) for pairs, (question, context) for answer.

  Raises:
    UserError: for a folder without a finished fine-tuning, or an input that is none of its task.
  """
  folder = Path(folder)
  # A text is a sequence of letters, and an object one of its keys.
  if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, Iterable):
    raise UserError(f"inputs is {repr(inputs)[:60]}; give a list of inputs, also for a single one")
  inputs = list(inputs)
  if not inputs:
    raise UserError("there are no inputs to predict for; give at least one")
  result = results.read_result(folder)
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
  model = task_model.open_tuned(loaded, headed.head, settings, data, folder)
  model.threshold = result.threshold
  programs = tuning_step.tuning_programs(model.model, model.head, settings.optimizer_config, None)
  # Lengths are padded to multiples of 8 here: a single input should not be padded to the longest row of training.
  return model.predict(programs, {"params": headed.params}, {}, (8,), examples, "input")


def make_example(task: str, given: Any, labels: Sequence[str], number: int) -> Any:
  """Returns an example of a task without its answer.

  Args:
    task: of the example.
    given: its texts, or an object of them, as a line of predictions.jsonl has it.
    labels: of the task; one stands in the example where it needs one, and predictions do not read it.
    number: of the input, in errors.

  Raises:
    UserError: for an input of another form.
  """
  try:
    if task == "instruct":
      turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
      messages = tuple(Message(_text(turn["role"]), _text(turn["content"])) for turn in turns)
      if not messages:
        raise ValueError(given)
      return DialogueExample((*messages, Message("assistant", "")))
    fields = _named(task, given) if isinstance(given, Mapping) else _in_order(task, given)
    if task == "tag":
      return TaggedExample(fields["tokens"], (labels[0],) * len(fields["tokens"]))
    if task == "answer":
      return QuestionExample(fields["question"], fields["context"], (), ())
    if task == "classify":
      second = fields.get("second_text", "")
      return (
        TextExample(fields["text"], labels[0], second)
        if labels
        else TextExample(fields["text"], "", second, "", 0.0)
      )
    return PairExample(fields["source"], "")
  except (TypeError, ValueError, KeyError, IndexError):
    raise UserError(f"input {number:,} is {repr(given)[:60]}; task {task} reads {_READS[task]}") from None


def _in_order(task: str, given: Any) -> dict[str, Any]:
  """Returns the fields of an input that is a text, or several in their order."""
  names = _FIELDS[task]
  if task == "tag":
    return {"tokens": _words(given.split() if isinstance(given, str) else given)}
  texts = (given,) if isinstance(given, str) else tuple(given)
  least = len(names) - (task == "classify")
  if not least <= len(texts) <= len(names):
    raise ValueError(given)
  return dict(zip(names, map(_text, texts), strict=False))


def _named(task: str, given: Mapping[Any, Any]) -> dict[str, Any]:
  """Returns the fields of an input that names them."""
  names = _FIELDS[task]
  if not given.keys() <= set(names) or len(given) < len(names) - (task == "classify"):
    raise ValueError(given)
  # The first field of a classification is needed, the second may be absent: a KeyError, or none.
  return {name: (_words if name == "tokens" else _text)(given[name]) for name in (names[0], *given)}


def _words(value: Any) -> tuple[str, ...]:
  words = tuple(map(_text, value))
  if isinstance(value, str) or not words:
    raise TypeError(value)
  return words


def _text(value: Any) -> str:
  if not isinstance(value, str) or not value.strip():
    raise TypeError(value)
  return value
