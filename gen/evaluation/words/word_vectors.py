"""Uses of word vectors: nearest words, analogies (3CosAdd of arXiv:1301.3781, section 4), and their shape in 3-D.

V words, D width, N words of a question, K components.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gen.errors import UserError, summarize_error
from gen.evaluation.words import word2vec
from gen.evaluation.words.vocabulary import Vocabulary, WordIds
from gen.evaluation.words.word2vec import Word2VecSettings


@dataclasses.dataclass(frozen=True, eq=False)
class WordVectors:
  """Words and their vectors, most frequent first.

  Attributes:
    words: V of them, each once.
    vectors_vd: float32.
  """

  words: tuple[str, ...]
  vectors_vd: np.ndarray

  @functools.cached_property
  def ids(self) -> dict[str, int]:
    """The index of each word."""
    return {word: number for number, word in enumerate(self.words)}

  @functools.cached_property
  def directions_vd(self) -> np.ndarray:
    """The vectors at length 1; a zero vector stays zero."""
    return _unit(self.vectors_vd)

  def id(self, word: str) -> int:
    """Returns the index of a word.

    Raises:
      UserError: if it is not in the vocabulary.
    """
    if word not in self.ids:
      raise UserError(
        f"{word!r} is not among the {len(self.words):,} words; it is absent from the corpus or too rare"
      )
    return self.ids[word]

  def nearest(self, word: str, count: int = 8) -> list[tuple[str, float]]:
    """Returns the words of the largest cosine with a word, and the cosines; the word itself is left out."""
    number = self.id(word)
    return self._best(self.directions_vd[number], count, [number])

  def analogy(self, a: str, b: str, c: str, count: int = 1) -> list[tuple[str, float]]:
    """Answers a : b :: c : ? by 3CosAdd, the words of the largest cosine with b - a + c, without a, b and c."""
    numbers = [self.id(word) for word in (a, b, c)]
    first_d, second_d, third_d = self.directions_vd[numbers]
    return self._best(_unit(second_d - first_d + third_d), count, numbers)

  def _best(self, direction_d: np.ndarray, count: int, without: Sequence[int]) -> list[tuple[str, float]]:
    cosines_v = self.directions_vd @ direction_d
    # The words of the question are the nearest to their own combination, and are excluded as in the paper.
    cosines_v[list(without)] = -np.inf
    count = min(count, len(self.words) - len(set(without)))
    best = np.argsort(-cosines_v, kind="stable")[:count]
    return [(self.words[number], float(cosines_v[number])) for number in best]

  def save(self, path: Path) -> None:
    """Writes .npz (arrays `words`, `vectors_vd`), or else word2vec's text format: V and D, then a word a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
      np.savez(path, words=np.array(self.words), vectors_vd=self.vectors_vd)
      return
    with path.open("w", encoding="utf-8") as stream:
      stream.write(f"{len(self.words)} {self.vectors_vd.shape[1]}\n")
      for word, vector_d in zip(self.words, self.vectors_vd, strict=True):
        # Nine digits restore a float32 exactly.
        stream.write(f"{word} {' '.join(f'{value:.9g}' for value in vector_d)}\n")


def load_vectors(path: Path) -> WordVectors:
  """Reads what `WordVectors.save` wrote, bit for bit.

  Raises:
    UserError: if the file is absent or has other content.
  """
  try:
    if path.suffix == ".npz":
      with np.load(path) as arrays:
        return WordVectors(tuple(arrays["words"].tolist()), arrays["vectors_vd"])
    lines = path.read_text(encoding="utf-8").splitlines()
    count, width = map(int, lines[0].split())
    rows = [line.split(" ") for line in lines[1:]]
    vectors_vd = np.array([row[1:] for row in rows], np.float32).reshape(count, width)
    return WordVectors(tuple(row[0] for row in rows), vectors_vd)
  except OSError as error:
    raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
  except (ValueError, IndexError, KeyError) as error:
    raise UserError(
      f"{path} holds no word vectors ({summarize_error(error)}); write them with experiments/word_vectors.py"
    ) from None


def principal_components(x_nd: np.ndarray, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
  """Returns PCA's coordinates [N, K], largest variance first, and the fraction of variance of each.

  Computed by SVD of the centred rows, in float64. Each axis points towards its furthest word, so that signs are
  deterministic.

  Raises:
    ValueError: for more components than the rows can have.
  """
  if not 0 < count <= min(x_nd.shape):
    raise ValueError(f"{x_nd.shape[0]} vectors of width {x_nd.shape[1]} have no {count} principal components")
  centred_nd = np.asarray(x_nd, np.float64) - np.mean(x_nd, axis=0, dtype=np.float64)
  u_nk, sizes_k, _ = np.linalg.svd(centred_nd, full_matrices=False)
  points_nk = u_nk[:, :count] * sizes_k[:count]
  # An SVD's signs are arbitrary and differ between libraries of linear algebra.
  furthest_k = np.abs(points_nk).argmax(0)
  signs_k = np.where(points_nk[furthest_k, np.arange(count)] < 0, -1.0, 1.0)
  variance = np.square(sizes_k).sum()
  return points_nk * signs_k, np.square(sizes_k[:count]) / (variance or 1.0)


def _unit(x: np.ndarray) -> np.ndarray:
  """Returns vectors at length 1."""
  # 1e-12: a vector of zeros stays zero instead of NaN.
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def train_words(
  text_ids: WordIds, vocabulary: Vocabulary, settings: Word2VecSettings, say: Callable[[str], None]
) -> WordVectors:
  """Trains the vectors of a text's words.

  Args:
    text_ids: the text.
    vocabulary: its words.
    settings: of training.
    say: called with one line after each epoch.
  """
  began = time.perf_counter()
  for progress in word2vec.train_vectors(text_ids.ids_n, text_ids.documents_n, vocabulary.counts_v, settings):
    say(
      f"epoch {progress.epoch}/{settings.epochs}  loss {progress.loss:.4f}  {progress.words:,} words after subsampling"
      f"  {time.perf_counter() - began:.0f} s"
    )
  return WordVectors(vocabulary.words, np.asarray(progress.tables.inputs_vd))
