"""A loaded model made ready for a task: its form, its head, what of it is trained, and its answers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.data.tasks.examples import EXAMPLES, DialogueExample, TaggedExample, TaskData, TextExample
from gen.errors import UserError
from gen.finetuning import trained_part
from gen.finetuning.adapters import lora
from gen.finetuning.adapters.lora import LoraConfig
from gen.finetuning.dialogues import chat
from gen.finetuning.dialogues.chat_form import ChatForm
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import forms
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.finetuning.task_forms.forms import HeadForm, TaskForm
from gen.finetuning.task_forms.number_form import NumberForm
from gen.finetuning.task_forms.span_form import SpanForm
from gen.finetuning.task_forms.text_form import TextForm
from gen.finetuning.tuning_step import TuningPrograms
from gen.generation.loaded_model import LoadedModel
from gen.models import heads
from gen.training import start_source


@dataclasses.dataclass
class TaskModel:
  """A model with the form and the head of a task.

  Attributes:
    loaded: the model before fine-tuning.
    model: its config in training, with dropout.
    head: its head; of kind none in the text form.
    form: how examples become rows.
    params: parameters with the new head.
    settings: of the fine-tuning.
  """

  loaded: LoadedModel
  model: Model
  head: HeadConfig
  form: TaskForm
  params: Any
  settings: FinetuneSettings

  @property
  def form_name(self) -> str:
    """Head or text."""
    return "text" if self.head.kind == "none" else "head"

  @property
  def max_answer(self) -> int:
    """Most tokens of an answer; 0 where there are classes."""
    return self.form.max_new if isinstance(self.form, (TextForm, ChatForm)) else self.settings.max_answer

  @property
  def threshold(self) -> float | None:
    """Of "no answer", see `gen.finetuning.task_forms.span_form`; None where every question has one."""
    return self.form.threshold if isinstance(self.form, SpanForm) else None

  @threshold.setter
  def threshold(self, value: float | None) -> None:
    if isinstance(self.form, SpanForm):
      self.form.threshold = value

  def split(self) -> tuple[Any, Any]:
    """Returns what is trained, and the frozen parameters."""
    settings = self.settings
    trained, frozen = trained_part.split_parameters(
      self.params, self.model, self.head, settings.method_name, settings.layers
    )
    if self.adapters is not None:
      # Stream 2 of the seed is the adapters'.
      key = jax.random.fold_in(jax.random.key(np.uint32(settings.seed)), 2)
      trained[trained_part.ADAPTERS] = lora.initialize_adapters(self.params, self.adapters, key)
    return trained, frozen

  @property
  def adapters(self) -> LoraConfig | None:
    """Which matrices have low-rank adapters; None for other methods."""
    settings = self.settings
    if settings.method_name != "lora":
      return None
    return LoraConfig(settings.rank, settings.alpha, settings.targets or LoraConfig.targets)

  def predict(
    self,
    programs: TuningPrograms,
    trained: Any,
    frozen: Any,
    lengths: Sequence[int],
    examples: Sequence[Any],
    what: str,
  ) -> list[TaskPrediction]:
    """Returns the answer to each example.

    Args:
      programs: the compiled functions.
      trained: what is trained, at some step.
      frozen: the other parameters.
      lengths: padded lengths of training.
      examples: of a part of the data.
      what: its name, in errors.
    """
    if isinstance(self.form, (TextForm, ChatForm)):
      return self.form.predict(programs.complete(trained, frozen), examples, what)
    form = cast(HeadForm, self.form)
    rows = form.rows(examples, what)
    logits: list[Any] = [None] * len(rows)
    for numbers, batch in forms.batches_of(rows, lengths, self.settings.batch, form.targets):
      found = np.asarray(programs.logits(trained, frozen, batch))
      for place, number in enumerate(numbers):
        # Rows of one target have one vector of logits, others one a token.
        logits[number] = found[place] if self.head.kind == "classify" else found[place, : rows[number].length]
    return form.predictions(rows, logits, examples)

  def mean_loss(
    self,
    programs: TuningPrograms,
    trained: Any,
    frozen: Any,
    lengths: Sequence[int],
    rows: Sequence[EncodedRow],
  ) -> float:
    """Returns the mean loss of rows, without dropout."""
    sums = np.zeros(2)
    for _, batch in forms.batches_of(rows, lengths, self.settings.batch, self.form.targets):
      # In float64, as in pre-training: float32 would lose digits over many batches.
      sums += np.array(programs.evaluate(trained, frozen, batch), np.float64)
    return float(sums[0] / max(sums[1], 1e-9))

  def in_data_units(self, trained: Any) -> Any:
    """Returns what was trained with a head of regression that gives numbers in the unit of the data."""
    if not isinstance(self.form, NumberForm):
      return trained
    params = trained[trained_part.PARAMETERS]
    head = params["head"] | {"output": self.form.fold(params["head"]["output"])}
    return trained | {trained_part.PARAMETERS: params | {"head": head}}

  def tune_threshold(
    self, predictions: Sequence[TaskPrediction], examples: Sequence[Any]
  ) -> list[TaskPrediction]:
    """Returns the predictions under the threshold of "no answer" that scores best on them, which is kept."""
    if not isinstance(self.form, SpanForm):
      return list(predictions)
    return self.form.choose_threshold(predictions, examples)


def open_task_model(loaded: LoadedModel, settings: FinetuneSettings, data: TaskData) -> TaskModel:
  """Returns a model with the form and the head of a task.

  Raises:
    UserError: for a task that the model or the data do not fit.
  """
  check_data(data, settings)
  if forms.is_regression(data):
    # An encoder-decoder's usual form of task classify is text.
    settings = dataclasses.replace(settings, form="head")
  if forms.choose_form(loaded, settings) == "text":
    return open_tuned(loaded, HeadConfig("none"), settings, data)
  head = forms.make_head(loaded, settings, data)
  # Stream 0 of the seed is the head's; stream 1 is dropout's.
  key = jax.random.fold_in(jax.random.key(np.uint32(settings.seed)), 0)
  model = open_tuned(loaded, head, settings, data)
  if isinstance(model.form, NumberForm):
    model.form.standardize(data.train)
  return dataclasses.replace(model, params=heads.attach_head(loaded.params, loaded.model, head, key))


def open_tuned(
  loaded: LoadedModel, head: HeadConfig, settings: FinetuneSettings, data: TaskData, folder: str | Path = ""
) -> TaskModel:
  """Returns a model whose parameters have the head already, with the form of its task.

  Args:
    loaded: the model.
    head: its head.
    settings: of the fine-tuning.
    data: its examples.
    folder: with the chat template of dialogues; empty is that of the start.
  """
  model = (
    loaded.model if loaded.model.recurrent else dataclasses.replace(loaded.model, dropout=settings.dropout)
  )
  if (settings.quantize_weights, settings.quantize_activations) != ("none", "none"):
    formats: dict[str, Any] = {
      name: getattr(settings, name) for name in ("quantize_weights", "quantize_activations")
    }
    model = dataclasses.replace(model, **formats)
    # The model that is saved, and asked for texts, is the one that was trained.
    loaded = loaded._replace(model=dataclasses.replace(loaded.model, **formats))
  if head.kind != "none":
    form = cast(TaskForm, forms.make_head_form(loaded, head, settings, data))
  elif settings.task == "instruct":
    folder = folder or start_source.split_step(settings.start_from)[0]
    form = ChatForm(loaded, chat.template_or_default(folder), settings)
  else:
    form = forms.make_text_form(loaded, settings, data)
  return TaskModel(loaded, model, head, form, loaded.params, settings)


def _check_regression(settings: FinetuneSettings) -> None:
  """Checks that settings are none of classes."""
  if settings.form == "text":
    raise UserError("form=text writes classes, and the labels are numbers; leave form out")
  if settings.class_weights != "none":
    raise UserError("class_weights needs classes, and the labels are numbers; leave it out")


def _check_examples(data: TaskData, part: str) -> None:
  """Checks what readers of files guarantee, and examples made in Python may lack."""
  kind, labels = EXAMPLES[data.task], set(data.labels)
  numbers = getattr(data.train[0], "label_value", None) is not None
  for number, example in enumerate(getattr(data, part), 1):
    where = f"{data.source}, {part} example {number:,}"
    if not isinstance(example, kind):
      raise UserError(f"{where} is a {type(example).__name__}; task {data.task} reads {kind.__name__}")
    if isinstance(example, DialogueExample) and all(each.role != "assistant" for each in example.messages):
      raise UserError(f"{where} has no message of the assistant, so there is nothing to learn; leave it out")
    if isinstance(example, TaggedExample) and len(example.tags) != len(example.tokens):
      raise UserError(
        f"{where} has {len(example.tokens)} tokens and {len(example.tags)} tags; give each token one tag"
      )
    if isinstance(example, TextExample) and numbers != (example.label_value is not None):
      raise UserError(
        f"{where} has {'no' if numbers else 'a'} number, unlike the first of train; give all of them one"
      )
    own = (
      example.tags if data.task == "tag" else () if data.task != "classify" or numbers else (example.label,)
    )
    unknown = [label for label in own if label not in labels]
    if unknown:
      raise UserError(
        f"{where} has the label {unknown[0]!r}, which is none of the data's labels; add it to them"
      )


def check_data(data: TaskData, settings: FinetuneSettings) -> None:
  """Checks that data can be trained on and scored.

  Raises:
    UserError: for data of another task, an empty part, or a single class.
  """
  if data.task != settings.task:
    raise UserError(f"the data of {data.source} are of task {data.task}, not {settings.task}")
  for name in ("train", "development", "test"):
    if not getattr(data, name):
      raise UserError(f"{data.source} has no {name} examples; give more data, or a file for that part")
    _check_examples(data, name)
  if settings.task not in ("classify", "tag"):
    return
  if forms.is_regression(data):
    _check_regression(settings)
    return
  if len(data.labels) < 2:
    raise UserError(
      f"{data.source} has a single label, {data.labels[0]!r}, so there is nothing to learn; check the column of labels"
    )
