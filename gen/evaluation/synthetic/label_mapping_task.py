"""Sequences of words and labels with a random mapping per sequence, which only its examples determine.

    7cB 3aD 0cB 5dA ...      here the letter decides: a is D, b is C, c is B, d is A; other sequences differ

A word is a digit and a letter; one of them decides the label, and the other is irrelevant. So the examples can
determine the label of a word that is not among them. A model trained on such sequences has to learn from its context,
since its parameters cannot store the mapping (arXiv:2202.12837, 2211.15661).
B sequences, N pairs, T positions.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gen.batch import Batch
from gen.errors import UserError
from gen.evaluation.synthetic import synthetic_training
from gen.evaluation.synthetic.synthetic_training import BYTES
from gen.generation.prompts import Item, PromptLayout, PromptTemplate

DIGITS, LETTERS, LABELS = "0123456789", "abcdefghij", "ABCDEFGHIJ"
LAYOUT = PromptLayout(PromptTemplate("{word}{label}"), answer="label", separator=" ")
GOES_BY = ("letter", "digit")
_TRAIN, _TEST = 0, 1  # streams of random numbers


@dataclasses.dataclass(frozen=True)
class LabelMappingTask:
  """The sequences.

  Attributes:
    letters: number of letters and of labels; each letter has one label.
    pairs: per sequence.
  """

  letters: int = 4
  pairs: int = 12

  def __post_init__(self) -> None:
    """Checks the sizes."""
    if not 2 <= self.letters <= len(LETTERS):
      raise UserError(f"{self.letters} letters are not supported; take 2 to {len(LETTERS)}")
    if self.pairs < 2:
      raise UserError(f"a sequence of {self.pairs} pairs has no example before its question; take at least 2")

  @property
  def labels(self) -> str:
    """All labels, one letter each."""
    return LABELS[: self.letters]

  @property
  def length(self) -> int:
    """Positions of a sequence that a model reads: a mark, and four for each pair but for its last space and label."""
    return 4 * self.pairs - 1

  @property
  def words(self) -> list[str]:
    """All words."""
    return [digit + letter for letter in LETTERS[: self.letters] for digit in DIGITS]

  @property
  def families(self) -> tuple[str, ...]:
    """Families that read the sequences unchanged; `label_mapping_masked` has a form for the others."""
    return synthetic_training.CAUSAL_FAMILIES

  def batch(self, step: int, rows: int, seed: int = 0) -> Batch:
    """Returns the sequences of a training step, a pure function of seed and step; only labels have loss."""
    ids_bt = self.sequences(step, rows, seed)
    # Every fourth id is a label: digit, letter, label, space, after the mark at the beginning.
    bears_bt = np.tile((np.arange(ids_bt.shape[1] - 1) % 4 == 2).astype(np.float32), (rows, 1))
    return synthetic_training.make_batch(ids_bt, bears_bt)

  def sequences(self, step: int, rows: int, seed: int = 0, plain: float = 0.0) -> np.ndarray:
    """Returns the ids [B, 4 N] of a step's sequences: a mark, and four of each pair but for its last space.

    A random fraction `plain` of them has the mapping in which a is A, b is B, and so on.
    """
    draw = np.random.default_rng((seed, _TRAIN, step))
    # A permutation for each row: all mappings are equally likely, and each label is used once.
    label_bl = draw.permuted(np.tile(np.arange(self.letters), (rows, 1)), axis=1)
    letter_bn = draw.integers(self.letters, size=(rows, self.pairs))
    digit_bn = draw.integers(len(DIGITS), size=(rows, self.pairs))
    if plain:
      label_bl[draw.random(rows) < plain] = np.arange(self.letters)
    pair_bn4 = np.stack(
      [
        _ids(DIGITS)[digit_bn],
        _ids(LETTERS)[letter_bn],
        _ids(LABELS)[np.take_along_axis(label_bl, letter_bn, axis=1)],
        np.full((rows, self.pairs), _ids(LAYOUT.separator)[0]),
      ],
      axis=-1,
    )
    return np.concatenate([np.full((rows, 1), BYTES.bos), pair_bn4.reshape(rows, -1)[:, :-1]], axis=1)

  def items(self, count: int, seed: int = 0, goes_by: str = "letter") -> list[dict[str, str]]:
    """Returns questions, each with a separate mapping in the field `mapping`."""
    draw = np.random.default_rng((seed, _TEST, GOES_BY.index(goes_by)))
    drawn = []
    for _ in range(count):
      mapping = self.mapping(draw, goes_by)
      word = str(draw.choice(self.words))
      drawn.append({"word": word, "label": self.label(word, mapping), "mapping": mapping})
    return drawn

  def mapping(self, draw: np.random.Generator, goes_by: str = "letter") -> str:
    """Returns a mapping: letter or digit, and the labels of all letters or digits, as balanced as possible."""
    if goes_by == "letter":
      return f"letter {''.join(draw.permutation(list(self.labels)))}"
    # Ten digits share fewer labels: some have one more than others.
    labels = np.resize(np.arange(self.letters), len(DIGITS))
    return f"digit {''.join(self.labels[i] for i in draw.permutation(labels))}"

  def label(self, word: str, mapping: str) -> str:
    """Returns the label of a word.

    >>> LabelMappingTask().label("7c", "letter BDAC"), LabelMappingTask().label("7c", "digit ABCDABCDAB")
    ('A', 'D')
    """
    goes_by, labels = mapping.split()
    return labels[LETTERS.index(word[1]) if goes_by == "letter" else DIGITS.index(word[0])]

  def pool(self, item: Item) -> list[dict[str, str]]:
    """Returns every word with its label in an item's mapping."""
    return [{"word": word, "label": self.label(word, item["mapping"])} for word in self.words]

  def choices(self, item: Item) -> Sequence[str]:
    """Returns all labels."""
    del item
    return self.labels

  def best(self, k: int) -> float:
    """Returns the accuracy that k balanced examples of a mapping by letters allow.

    A letter among them determines its label; for another, the unused labels are equally likely.

    >>> [LabelMappingTask(4).best(k) for k in (0, 1, 2, 4)]
    [0.25, 0.5, 0.75, 1.0]
    """
    seen = min(k, self.letters)
    return (seen + (seen < self.letters)) / self.letters


def _ids(text: str) -> np.ndarray:
  return BYTES.encode(text)
