"""Classification by a head: texts and pairs of texts as rows, and the class of each from its windows' logits."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.config.heads import HeadConfig
from gen.data.tasks.examples import TextExample
from gen.finetuning import model_inputs
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.generation.loaded_model import LoadedModel


class TaskPrediction(NamedTuple):
  """A model's answer to one example.

  Attributes:
    value: what is scored: a class, tags, or a text.
    score: probability of a class, mean probability of tags, log-probability of a text; NaN if there is none.
    options: further values by which the answer was chosen.
  """

  value: Any
  score: float
  options: Any = None


class ClassifyForm:
  """Texts with a class each.

  Attributes:
    head: of the model.
    targets: targets of a row.
  """

  targets = 1

  def __init__(
    self,
    loaded: LoadedModel,
    head: HeadConfig,
    settings: FinetuneSettings,
    class_weights: Sequence[float] = (),
  ) -> None:
    """Derives how texts become rows.

    Args:
      loaded: the model, with its tokenizer.
      head: of kind classify.
      settings: max_length, long and stride.
      class_weights: weight of each class in the loss; empty: 1.
    """
    self.loaded, self.head = loaded, head
    self._frame = model_inputs.input_frame(loaded)
    self._length = model_inputs.row_length(loaded, settings.max_length)
    self._longer = model_inputs.suggest_longer(loaded, self._length)
    self._long, self._stride = settings.long or "error", settings.stride
    self._weights = list(class_weights) or [1.0] * len(head.labels)
    self._number = {label: number for number, label in enumerate(head.labels)}

  def rows(self, examples: Sequence[TextExample], what: str) -> list[EncodedRow]:
    """Returns the rows of examples; each window of a long text is one.

    Args:
      examples: the texts.
      what: part of the data, in errors, as "training".

    Raises:
      UserError: for a text that a row does not hold, unless settings say what happens to it.
    """
    firsts = model_inputs.encode_texts(self.loaded, [e.text for e in examples], f"{what} text")
    has_second = any(example.second_text for example in examples)
    seconds = (
      model_inputs.encode_texts(self.loaded, [e.second_text for e in examples], f"{what} second text")
      if has_second
      else [None] * len(examples)
    )
    room = self._frame.room(self._length, has_second)
    model_inputs.require_room(room, self._length, 1 + has_second)
    if self._long == "windows":
      model_inputs.require_stride(room, self._stride)
    elif self._long == "error":
      lengths = [
        len(first) + (0 if second is None else len(second))
        for first, second in zip(firsts, seconds, strict=True)
      ]
      model_inputs.require_fits(lengths, room, f"{what} text", self._longer)
    rows = []
    for owner, (example, first, second) in enumerate(zip(examples, firsts, seconds, strict=True)):
      target, weight = self._target(example)
      for ids, types in self._inputs(first, second, room):
        rows.append(self._row(owner, ids, types, target, weight))
    return rows

  def _target(self, example: TextExample) -> tuple[float, float]:
    """Returns the number of an example's class, and its weight in the loss."""
    target = self._number.get(example.label, 0)
    return target, self._weights[target]

  def _row(self, owner: int, ids: list[int], types: list[int], target: float, weight: float) -> EncodedRow:
    types = types if any(types) else []
    if self.loaded.model.role != "encoder_decoder":
      return EncodedRow(owner, ids, (target,), (weight,), types)
    # BART reads the text in both stacks, and classifies by the decoder's last position.
    start = self.loaded.reading.start[0]
    return EncodedRow(owner, [start, *ids[:-1]], (target,), (weight,), source=ids)

  def _inputs(
    self, first: np.ndarray, second: np.ndarray | None, room: int
  ) -> list[tuple[list[int], list[int]]]:
    """Returns the ids and types of each window; the longer of two texts is cut, or moves on."""
    if second is None:
      if self._long != "windows":
        return [self._frame.join(first[:room].tolist())]
      cuts = model_inputs.cut_windows(len(first), room, self._stride)
      return [self._frame.join(first[begin:end].tolist()) for begin, end in cuts]
    if len(first) + len(second) > room and self._long == "windows":
      return self._pair_windows(first, second, room)
    if len(first) + len(second) > room:
      # As transformers' `longest_first`: from the longer text first.
      first = first[: min(len(first), max(room - len(second), room // 2))]
      second = second[: room - len(first)]
    return [self._frame.join(first.tolist(), second.tolist())]

  def _pair_windows(
    self, first: np.ndarray, second: np.ndarray, room: int
  ) -> list[tuple[list[int], list[int]]]:
    """Returns windows of the longer text, each with the shorter one, which may take half of a row."""
    is_first = len(first) >= len(second)
    long, kept = (first, second[: room // 2]) if is_first else (second, first[: room // 2])
    model_inputs.require_stride(room - len(kept), self._stride)
    parts = [
      long[begin:end] for begin, end in model_inputs.cut_windows(len(long), room - len(kept), self._stride)
    ]
    pairs = [(part, kept) if is_first else (kept, part) for part in parts]
    return [self._frame.join(one.tolist(), other.tolist()) for one, other in pairs]

  def predictions(
    self, rows: Sequence[EncodedRow], logits: Sequence[np.ndarray], examples: Sequence[TextExample]
  ) -> list[TaskPrediction]:
    """Returns the class of each example: the likeliest one over the mean of its windows' log-probabilities."""
    sums = np.zeros((len(examples), len(self.head.labels)))
    counts = np.zeros(len(examples))
    for row, logits_k in zip(rows, logits, strict=True):
      # Log-softmax of each window: the mean of logits would weigh windows by how large theirs happen to be.
      shifted_k = logits_k.astype(np.float64) - logits_k.max()
      sums[row.owner] += shifted_k - np.log(np.exp(shifted_k).sum())
      counts[row.owner] += 1
    means = sums / counts[:, None]
    probabilities = np.exp(means - means.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    return [TaskPrediction(self.head.labels[row.argmax()], float(row.max())) for row in probabilities]


def balanced_weights(counts: Sequence[float]) -> list[float]:
  """Returns weights by which each class weighs as much as any other, with mean 1 over the examples.

  >>> balanced_weights([1, 3])
  [2.0, 0.6666666666666666]
  """
  # n / (k n_c), scikit-learn's "balanced"; classes without an example count nowhere.
  present = sum(count > 0 for count in counts)
  return [sum(counts) / (present * count) if count else 0.0 for count in counts]
