"""Scores that need no model: the most frequent label, the source as target, the first sentence."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.data.tasks.examples import TaggedExample, TaskData
from gen.data.tasks.sentences import first_sentence
from gen.errors import UserError
from gen.evaluation.metrics.score import Score, score_predictions

USUAL = {
  "classify": "majority",
  "tag": "majority",
  "translate": "copy",
  "summarize": "first_sentence",
  "answer": "first_sentence",
  "instruct": "copy",
}
_BASELINES = {
  "classify": ("majority",),
  "tag": ("majority",),
  "translate": ("copy", "first_sentence"),
  "summarize": ("first_sentence", "copy"),
  "answer": ("first_sentence", "no_answer"),
  "instruct": ("copy", "first_sentence"),
}


def score_baseline(data: TaskData, name: str = "", part: str = "test") -> Score:
  """Returns the score of a baseline.

  Args:
    data: of a task.
    name: majority (classify, tag), copy or first_sentence (translate, summarize, instruct), no_answer or
      first_sentence (answer); empty takes the task's usual baseline.
    part: of the data that is scored: development or test.

  Raises:
    UserError: for a baseline that the task does not have.
  """
  examples = getattr(data, part)
  return score_predictions(data.task, predict_baseline(data, examples, name), examples, labels=data.labels)


def predict_baseline(data: TaskData, examples: Sequence[Any], name: str = "") -> list[Any]:
  """Returns the predictions of a baseline.

  For tags, majority is each word's most frequent tag in train, and the most frequent tag for other words. For
  regression it is the mean of train.

  Raises:
    UserError: for a baseline that the task does not have.
  """
  name = name or USUAL[data.task]
  if name not in _BASELINES[data.task]:
    raise UserError(f"{data.task} has no baseline {name!r}; it has {', '.join(_BASELINES[data.task])}")
  if data.task == "classify":
    return _predict_labels(data, len(examples))
  if data.task == "tag":
    return _predict_tags(data.train, examples)
  if name == "no_answer":
    return ["" for _ in examples]
  texts = [_source_of(example) for example in examples]
  return [first_sentence(text) for text in texts] if name == "first_sentence" else texts


def _predict_labels(data: TaskData, count: int) -> list[Any]:
  if not data.labels:
    return [float(np.mean([example.label_value for example in data.train]))] * count
  counts = Counter(example.label for example in data.train)
  # The first in the order of names among equals.
  return [max(sorted(counts), key=lambda label: counts[label])] * count


def _predict_tags(train: Sequence[TaggedExample], examples: Sequence[TaggedExample]) -> list[tuple[str, ...]]:
  counts: dict[str, Counter[str]] = defaultdict(Counter)
  total: Counter[str] = Counter()
  for example in train:
    for token, tag in zip(example.tokens, example.tags, strict=True):
      counts[token][tag] += 1
      total[tag] += 1
  usual = total.most_common(1)[0][0]
  # Equal counts are decided by the first occurrence, as Counter keeps the order of insertion.
  best = {token: tags.most_common(1)[0][0] for token, tags in counts.items()}
  return [tuple(best.get(token, usual) for token in example.tokens) for example in examples]


def _source_of(example: Any) -> str:
  if hasattr(example, "source"):
    return example.source
  if hasattr(example, "context"):
    return example.context
  return next((message.content for message in reversed(example.messages) if message.role == "user"), "")
