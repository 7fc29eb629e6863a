"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), equal to those of rouge-score, in percent. N examples."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from gen.evaluation.metrics.porter_stemmer import stem_word
from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero, evaluate_sums

NAMES = ("rouge1", "rouge2", "rougeL")
_OTHERS = re.compile(r"[^a-z0-9]+")


def split_words(text: str, stemmer: bool = False) -> list[str]:
  """Returns the words of a text in small letters: runs of a to z and digits, stemmed beyond three letters if asked.

  >>> split_words("Two cats' tails"), split_words("Two cats' tails", stemmer=True)
  (['two', 'cats', 'tails'], ['two', 'cat', 'tail'])
  """
  # ASCII alone, as rouge-score: other scripts have no words here, and score 0.
  words = [word for word in _OTHERS.split(text.lower()) if word]
  # rouge-score stems only words of more than three letters.
  return [stem_word(word) if len(word) > 3 else word for word in words] if stemmer else words


def score_rouge(prediction: str, target: str, stemmer: bool = False) -> dict[str, float]:
  """Returns the F-measures, from 0 to 1.

  >>> score_rouge("the cat sat", "the cat lay")["rouge2"]
  0.5
  """
  predicted, true = split_words(prediction, stemmer), split_words(target, stemmer)
  values = {f"rouge{order}": _overlap(predicted, true, order) for order in (1, 2)}
  common = common_subsequence(predicted, true)
  return values | {"rougeL": _f_measure(common, len(predicted), len(true))}


def _overlap(predicted: Sequence[str], true: Sequence[str], order: int) -> float:
  first, second = (
    Counter(zip(*(words[start:] for start in range(order)), strict=False)) for words in (predicted, true)
  )
  return _f_measure((first & second).total(), first.total(), second.total())


def _f_measure(common: int, predicted: int, true: int) -> float:
  precision, recall = common / max(predicted, 1), common / max(true, 1)
  return 2 * precision * recall / (precision + recall) if common else 0.0


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
  """Returns the length of the longest common subsequence.

  One row of the usual table is the bits of one integer (Hyyrö 2004), so a word of `first` costs a few operations.

  >>> common_subsequence("a b c d".split(), "b x d a".split())
  2
  """
  masks: dict[str, int] = {}
  for index, word in enumerate(second):
    masks[word] = masks.get(word, 0) | 1 << index
  full = (1 << len(second)) - 1
  row = full
  for word in first:
    matches = row & masks.get(word, 0)
    # Zeros of the row mark where the length grows; `full` drops the carry of the addition.
    row = ((row + matches) | (row - matches)) & full
  return len(second) - row.bit_count()


def evaluate_rouge(predictions: Sequence[str], targets: Sequence[str], stemmer: bool = False) -> Evaluator:
  """Returns the mean F-measures over examples, in percent."""
  scores = [score_rouge(first, second, stemmer) for first, second in zip(predictions, targets, strict=True)]
  sums_ns = np.array([[100 * score[name] for name in NAMES] + [1.0] for score in scores])

  def finish(sums_bs: np.ndarray) -> dict[str, np.ndarray]:
    return {name: divide_or_zero(sums_bs[:, index], sums_bs[:, -1]) for index, name in enumerate(NAMES)}

  return Evaluator("rougeL", evaluate_sums(sums_ns, finish), f"rouge|stemmer:{'porter' if stemmer else 'no'}")
