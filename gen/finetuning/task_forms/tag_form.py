"""Tagging by a head: the first piece of each word has the word's tag, other pieces have none.

A word that the tokenizer drops has one unknown piece. A long sentence becomes windows; a word's tag is from the window
in which it stands furthest from an end.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.config.heads import HeadConfig
from gen.data.tasks.examples import TaggedExample
from gen.finetuning import model_inputs
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.generation.loaded_model import LoadedModel


class WordPieces(NamedTuple):
  """The pieces of a sentence, and the index of each word's first piece."""

  ids: np.ndarray
  firsts: np.ndarray


class TagForm:
  """Sentences with one tag a word.

  Attributes:
    head: of the model.
    targets: 0, as each token has one.
  """

  targets = 0

  def __init__(
    self,
    loaded: LoadedModel,
    head: HeadConfig,
    settings: FinetuneSettings,
    class_weights: Sequence[float] = (),
  ) -> None:
    """Derives how sentences become rows; arguments as of `ClassifyForm`."""
    self.loaded, self.head = loaded, head
    self._frame = model_inputs.input_frame(loaded)
    self._length = model_inputs.row_length(loaded, settings.max_length)
    self._longer = model_inputs.suggest_longer(loaded, self._length)
    self._long, self._stride = settings.long or "windows", settings.stride
    self._weights = list(class_weights) or [1.0] * len(head.labels)
    self._number = {label: number for number, label in enumerate(head.labels)}

  def rows(self, examples: Sequence[TaggedExample], what: str) -> list[EncodedRow]:
    """Returns the rows of examples; each window of a long sentence is one.

    Raises:
      UserError: for a sentence that a row does not hold, unless settings say what happens to it.
    """
    sentences = split_words(self.loaded, [example.tokens for example in examples], what)
    room, rows = self._frame.room(self._length), []
    model_inputs.require_room(room, self._length)
    longest = max(len(sentence.ids) for sentence in sentences)
    if self._long == "error":
      model_inputs.require_fits([len(each.ids) for each in sentences], room, f"{what} sentence", self._longer)
    elif longest > room and self._long == "windows":
      model_inputs.require_stride(room, self._stride)
    for owner, (sentence, example) in enumerate(zip(sentences, examples, strict=True)):
      numbers = [self._number.get(tag, 0) for tag in example.tags]
      for begin, end in self._windows(len(sentence.ids), room):
        rows.append(self._row(owner, sentence, numbers, begin, end))
    return rows

  def _windows(self, length: int, room: int) -> list[tuple[int, int]]:
    if length <= room or self._long != "windows":
      return [(0, min(length, room))]
    return model_inputs.cut_windows(length, room, self._stride)

  def _row(
    self, owner: int, sentence: WordPieces, numbers: Sequence[int], begin: int, end: int
  ) -> EncodedRow:
    ids, _ = self._frame.join(sentence.ids[begin:end].tolist())
    # Only first pieces have a weight: BERT, section 5.3 (arXiv:1810.04805), classifies the first sub-token of a word.
    targets, weights = [0] * len(ids), [0.0] * len(ids)
    for number, first in zip(numbers, sentence.firsts.tolist(), strict=True):
      if begin <= first < end:
        place = len(self._frame.before) + first - begin
        targets[place], weights[place] = number, self._weights[number]
    return EncodedRow(owner, ids, targets, weights)

  def predictions(
    self, rows: Sequence[EncodedRow], logits: Sequence[np.ndarray], examples: Sequence[TaggedExample]
  ) -> list[TaskPrediction]:
    """Returns the tags of each example; a word beyond a row that was cut has O, or the first tag without an O."""
    sentences = split_words(self.loaded, [example.tokens for example in examples], "test")
    room, before = self._frame.room(self._length), len(self._frame.before)
    by_row, answers = iter(logits), []
    default = self.head.labels.index("O") if "O" in self.head.labels else 0
    for sentence, example in zip(sentences, examples, strict=True):
      best = np.full(len(example.tokens), -1)  # how far from an end the word's tag was read
      tags, scores = np.full(len(example.tokens), default), np.zeros(len(example.tokens))
      for begin, end in self._windows(len(sentence.ids), room):
        logits_tk = next(by_row).astype(np.float64)
        for word, first in enumerate(sentence.firsts.tolist()):
          distance = min(first - begin, end - 1 - first)
          if distance > best[word]:
            row_k = np.exp(logits_tk[before + first - begin] - logits_tk[before + first - begin].max())
            best[word], tags[word] = distance, row_k.argmax()
            scores[word] = row_k.max() / row_k.sum()
      names = tuple(self.head.labels[tag] for tag in tags)
      answers.append(TaskPrediction(names, float(scores.mean())))
    return answers


def split_words(loaded: LoadedModel, sentences: Sequence[Sequence[str]], what: str) -> list[WordPieces]:
  """Returns the pieces of each sentence's words, encoded with the space before them.

  Args:
    loaded: the model.
    sentences: words.
    what: part of the data, in errors.
  """
  words = [("" if at == 0 else " ") + word for words in sentences for at, word in enumerate(words)]
  pieces = iter(model_inputs.encode_texts(loaded, words, f"{what} word"))
  unknown = loaded.tokenizer.unk if loaded.tokenizer.unk is not None else 0
  read = []
  for sentence in sentences:
    ids: list[int] = []
    firsts: list[int] = []
    for _ in sentence:
      piece = next(pieces).tolist()
      firsts.append(len(ids))
      ids += piece or [unknown]
    read.append(WordPieces(np.array(ids, np.int32), np.array(firsts, int)))
  return read
