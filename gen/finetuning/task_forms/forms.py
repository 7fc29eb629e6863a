"""The form in which a model of a family does a task: a head on its hidden states, or text.

                encoder            decoder, rnn                    encoder-decoder
classify        head               head, or text on request        text, or head on request
  with numbers  head               head                            head
tag             head               head, or text on request        text
answer          head (spans)       text                            text
translate       -                  text                            text
summarize       -                  text                            text
instruct        -                  chat                            -
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from gen.batch import Batch
from gen.config.heads import HeadConfig, published_head
from gen.data.tasks.examples import TaskData
from gen.errors import UserError
from gen.finetuning import length_batches
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import classify_form, encoded_rows
from gen.finetuning.task_forms.classify_form import ClassifyForm, TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.finetuning.task_forms.number_form import OUTPUT, NumberForm
from gen.finetuning.task_forms.span_form import SpanForm
from gen.finetuning.task_forms.tag_form import TagForm
from gen.finetuning.task_forms.text_form import TextForm
from gen.generation.loaded_model import LoadedModel

_HEAD_KINDS = {"classify": "classify", "tag": "tag", "answer": "span"}
# (family, task) -> forms, the usual one first.
_FORMS: dict[str, dict[str, tuple[str, ...]]] = {
  "encoder": {"classify": ("head",), "tag": ("head",), "answer": ("head",)},
  "decoder": {
    "classify": ("head", "text"), "tag": ("head", "text"), "answer": ("text",), "translate": ("text",),
    "summarize": ("text",), "instruct": ("text",),
  },
  "encoder_decoder": {
    "classify": ("text", "head"), "tag": ("text",), "answer": ("text",), "translate": ("text",), "summarize": ("text",),
  },
}  # fmt: skip


class TaskForm(Protocol):
  """How examples become rows."""

  head: HeadConfig
  targets: int

  def rows(self, examples: Sequence[Any], what: str) -> list[EncodedRow]:
    """Returns the rows of examples; `what` names the part of the data in errors."""
    ...


class HeadForm(TaskForm, Protocol):
  """A form whose predictions come from a head's logits."""

  def predictions(
    self, rows: Sequence[EncodedRow], logits: Sequence[np.ndarray], examples: Sequence[Any]
  ) -> list[TaskPrediction]:
    """Returns the answer to each example."""
    ...


def choose_form(loaded: LoadedModel, settings: FinetuneSettings) -> str:
  """Returns head or text.

  Raises:
    UserError: for a task that the family cannot do, or a form that it has not.
  """
  family = loaded.model.family
  table = _FORMS.get("decoder" if loaded.model.recurrent else loaded.model.role, {})
  known = table.get(settings.task)
  if ":" in family or known is None:
    able = [name for name, forms in _FORMS.items() if settings.task in forms]
    pairs = family == "encoder_decoder" and settings.task == "instruct"
    raise UserError(
      f"a model of family {family} cannot be fine-tuned to {settings.task}; start from a model of family "
      f"{' or '.join(able)}"
      + (", or give prompts and answers as pairs of texts to task translate" if pairs else "")
    )
  if settings.form and settings.form not in known:
    raise UserError(
      f"form={settings.form} is none of a model of family {family} for task {settings.task}; "
      f"choose {' or '.join(known)}"
    )
  form = settings.form or known[0]
  if settings.prompt and form != "text":
    raise UserError("prompt is a template of form=text; leave it out, or choose that form")
  if form == "text" and not loaded.reading.head:
    raise UserError(
      f"{loaded.where} has no language-model head, which form=text needs; choose another start"
      + (", or form=head" if "head" in known else "")
    )
  if form == "text" and settings.class_weights != "none":
    raise UserError("class_weights needs form=head; leave it out, or choose that form")
  return form


def is_regression(data: TaskData) -> bool:
  """Returns whether the texts of a task have numbers in the place of classes."""
  return data.task == "classify" and bool(data.train) and data.train[0].label_value is not None


def make_head(loaded: LoadedModel, settings: FinetuneSettings, data: TaskData) -> HeadConfig:
  """Returns the head of the head form, as published models of the family have it."""
  kind = _HEAD_KINDS[settings.task]
  if is_regression(data):
    return published_head(loaded.model, kind, (OUTPUT,), settings.dropout, "regression")
  labels = () if kind == "span" else data.labels
  return published_head(loaded.model, kind, labels, settings.dropout)


def make_head_form(
  loaded: LoadedModel, head: HeadConfig, settings: FinetuneSettings, data: TaskData
) -> HeadForm:
  """Returns the form of a head, with the weights of classes that settings ask for."""
  if head.kind == "span":
    parts = (*data.train, *data.development, *data.test)
    return cast(HeadForm, SpanForm(loaded, head, settings, any(not example.answers for example in parts)))
  if head.problem == "regression":
    return cast(HeadForm, NumberForm(loaded, head, settings))
  weights: list[float] = []
  if settings.class_weights == "balanced":
    counts = np.zeros(len(data.labels))
    number = {label: index for index, label in enumerate(data.labels)}
    for example in data.train:
      for label in (example.label,) if head.kind == "classify" else example.tags:
        counts[number[label]] += 1
    weights = classify_form.balanced_weights(counts.tolist())
  kind: Callable[..., Any] = ClassifyForm if head.kind == "classify" else TagForm
  return cast(HeadForm, kind(loaded, head, settings, weights))


def make_text_form(loaded: LoadedModel, settings: FinetuneSettings, data: TaskData) -> TextForm:
  """Returns the text form."""
  return TextForm(loaded, settings, data.train, data.labels)


def batches_of(
  rows: Sequence[EncodedRow], lengths: Sequence[int], batch: int, targets: int
) -> list[tuple[list[int], Batch]]:
  """Returns all rows as batches of similar lengths, each with the numbers of its rows.

  Args:
    rows: of a part of the data.
    lengths: padded lengths of training, ascending, which are compiled already.
    batch: rows of a batch.
    targets: targets of a row, 0 for one a token.
  """
  longest = max(row.length for row in rows)
  if longest > lengths[-1]:
    lengths = (*lengths, length_batches.round_up(longest))
  shapes = encoded_rows.padded_shapes(rows, lengths, targets)
  order = sorted(range(len(rows)), key=lambda number: rows[number].length)
  batches = []
  for begin in range(0, len(order), batch):
    part = order[begin : begin + batch]
    bucket = int(np.searchsorted(lengths, rows[part[-1]].length))
    batches.append((part, encoded_rows.stack_rows([rows[n] for n in part], batch, shapes[bucket])))
  return batches
