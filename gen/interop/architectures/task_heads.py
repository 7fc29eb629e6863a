"""Classes of the Hugging Face format with a head for a task: their tensors, and their labels in config.json.

A model of such a class has no language-model head. Its names of tensors are those of a model inside a larger one, and
the head's, which begin with one of `NAMES`.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.interop.architectures.tensor_rows import TensorRows, dense_rows
from gen.io import json_reading

NAMES = ("classifier.", "classification_head.", "qa_outputs.", "score.")
_PROBLEMS = {
  "single": "single_label_classification",
  "multi_label": "multi_label_classification",
  "regression": "regression",
}
_POOLINGS = {"cls": "first", "mean": "mean"}
_HEAD_FIELDS = ("id2label", "label2id", "num_labels", "problem_type", "classifier_dropout")
_MAX_LABELS = 1 << 20  # more than any classifier has


class TaskClass(NamedTuple):
  """One class of an architecture.

  Attributes:
    head: its head, with a single label for any number.
    output: name of the dense layer of the logits.
    rows: the tensors of the head.
    dropout: fields of config.json with the head's dropout, the first that is there.
    default_dropout: without any of them.
    chooses_pooling: whether config.json says how texts are pooled, by its first token or the mean.
  """

  head: HeadConfig
  output: str
  rows: TensorRows
  dropout: tuple[str, ...] = ("classifier_dropout",)
  default_dropout: float = 0.1
  chooses_pooling: bool = False


def _class_of(
  head: HeadConfig, output: str, dense: str = "", dropout: tuple[str, ...] = ("classifier_dropout",)
) -> TaskClass:
  rows = (dense_rows(dense, "head/dense") if dense else ()) + dense_rows(output, "head/output")
  return TaskClass(head, output, rows, dropout, head.dropout)


_LABEL = ("one",)
_SPAN = HeadConfig("span", dropout=0.0)
_TAG = HeadConfig("tag", _LABEL)


def encoder_classes(name: str, hidden: str) -> dict[str, TaskClass]:
  """Returns the classes of BERT, or of RoBERTa, by their names.

  Args:
    name: of the family, which the names of its classes begin with.
    hidden: `HeadConfig.hidden` of its classifier of texts.
  """
  dropout = ("classifier_dropout", "hidden_dropout_prob")
  of_text = HeadConfig("classify", _LABEL, "first", 0.1, hidden)
  output, dense = ("classifier.out_proj", "classifier.dense") if hidden == "dense" else ("classifier", "")
  return {
    f"{name}ForSequenceClassification": _class_of(of_text, output, dense, dropout),
    f"{name}ForTokenClassification": _class_of(_TAG, "classifier", dropout=dropout),
    f"{name}ForQuestionAnswering": _class_of(_SPAN, "qa_outputs", dropout=()),
  }


def modernbert_classes() -> dict[str, TaskClass]:
  """Returns the classes of ModernBERT, by their names; its layer before the logits is in the table of the model."""
  kinds = {"SequenceClassification": ("classify", _LABEL), "TokenClassification": ("tag", _LABEL)}
  return {
    f"ModernBertFor{name}": _class_of(
      HeadConfig(kind, labels, "first", 0.0, "transform"), "classifier"
    )._replace(chooses_pooling=kind == "classify")
    for name, (kind, labels) in (kinds | {"QuestionAnswering": ("span", ())}).items()
  }


def decoder_classes(name: str, kinds: str, tag_output: str = "score") -> dict[str, TaskClass]:
  """Returns the classes of a decoder, by their names.

  Args:
    name: of the family, which the names of its classes begin with.
    kinds: kinds of heads that transformers has for it, of classify, tag and span.
    tag_output: name of the dense layer of its classifier of tokens.
  """
  of_text = HeadConfig("classify", _LABEL, "last", 0.0, bias=False)
  classes = {
    "classify": (f"{name}ForSequenceClassification", _class_of(of_text, "score", dropout=())),
    "tag": (f"{name}ForTokenClassification", _class_of(_TAG, tag_output)),
    "span": (f"{name}ForQuestionAnswering", _class_of(_SPAN, "qa_outputs", dropout=())),
  }
  return dict(classes[kind] for kind in kinds.split())


def bart_classes() -> dict[str, TaskClass]:
  """Returns BART's classifier of texts."""
  head = HeadConfig("classify", _LABEL, "last", 0.0, "dense")
  output = _class_of(head, "classification_head.out_proj", "classification_head.dense")
  return {"BartForSequenceClassification": output}


def matches_head(task: TaskClass, head: HeadConfig) -> bool:
  """Returns whether a class computes what a head computes."""
  if task.chooses_pooling and head.pooling in _POOLINGS.values():
    task = task._replace(head=dataclasses.replace(task.head, pooling=head.pooling))
  fields = ("kind", "hidden", "bias") + (("pooling",) if head.kind == "classify" else ())
  return all(getattr(task.head, field) == getattr(head, field) for field in fields)


def read_head(task: TaskClass, hf: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> HeadConfig:
  """Returns the head of a checkpoint.

  Args:
    task: its class.
    hf: config.json, completed.
    shapes: of the tensors by their names in the tables.

  Raises:
    UserError: for labels that do not fit the tensors, or values of a wrong type.
  """
  shape = shapes.get(f"{task.output}.weight")
  if shape is None or len(shape) != 2:
    raise UserError(
      f"the tensor {task.output}.weight is missing or no matrix; the class in config.json has one"
    )
  outputs = shape[0]
  if not 0 < outputs <= _MAX_LABELS:
    raise UserError(f"{task.output}.weight has {outputs:,} outputs; a head has 1 to {_MAX_LABELS:,}")
  if task.head.kind == "span" and outputs != 2:
    raise UserError(f"{task.output}.weight has {outputs} outputs; a span has 2, its first and last token")
  labels = () if task.head.kind == "span" else read_labels(hf, outputs)
  known = {name: ours for ours, name in _PROBLEMS.items()}
  problem = hf.get("problem_type")
  if problem is None:
    problem = _PROBLEMS["regression" if outputs == 1 and task.head.kind == "classify" else "single"]
  if not isinstance(problem, str) or problem not in known:
    raise UserError(f"config.json: problem_type {str(problem)[:40]!r} is not one of {', '.join(known)}")
  found = next((hf[field] for field in task.dropout if hf.get(field) is not None), task.default_dropout)
  dropout = json_reading.require_kind(found, float, "config.json: the dropout of the classifier")
  head, pooling = task.head, task.head.pooling
  if task.chooses_pooling:
    named = hf.get("classifier_pooling", "cls")
    if not isinstance(named, str) or named not in _POOLINGS:
      raise UserError(
        f"config.json: classifier_pooling {str(named)[:40]!r} is not one of {', '.join(_POOLINGS)}"
      )
    pooling = _POOLINGS[named]
  return HeadConfig(head.kind, labels, pooling, float(dropout), head.hidden, head.bias, known[problem])


def read_labels(hf: Mapping[str, object], outputs: int) -> tuple[str, ...]:
  """Returns the names of the outputs: of id2label, or LABEL_0, LABEL_1, ... as transformers names them.

  Raises:
    UserError: for an id2label that does not name each output once.
  """
  if hf.get("id2label") is None:
    return tuple(f"LABEL_{number}" for number in range(outputs))
  given = json_reading.require_kind(hf["id2label"], dict, "config.json: id2label")
  names = {}
  for key, name in given.items():
    number = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1
    names[number] = json_reading.require_kind(name, str, f"config.json: id2label {key[:20]!r}")
  if sorted(names) != list(range(outputs)):
    raise UserError(
      f"config.json: id2label names {len(given):,} outputs, but the head has {outputs:,}; it must name 0 to "
      f"{outputs - 1}"
    )
  return tuple(names[number] for number in range(outputs))


def with_head(hf: Mapping[str, object], kind: str, task: TaskClass, head: HeadConfig) -> dict[str, object]:
  """Returns a config.json with the fields of a head; the inverse of `read_head`.

  Args:
    hf: config.json of the model, perhaps with another head.
    kind: name of the class.
    task: the class.
    head: its head.
  """
  values: dict[str, object] = {key: value for key, value in hf.items() if key not in _HEAD_FIELDS}
  values["architectures"] = [kind]
  if task.dropout:
    values[task.dropout[0]] = head.dropout
  if head.kind == "span":
    return values
  values["id2label"] = {str(number): label for number, label in enumerate(head.labels)}
  values["label2id"] = {label: number for number, label in enumerate(head.labels)}
  if head.kind == "classify":
    values["problem_type"] = _PROBLEMS[head.problem]
  if task.chooses_pooling:
    values["classifier_pooling"] = next(name for name, ours in _POOLINGS.items() if ours == head.pooling)
  return values
