"""A text classifier: logistic regression on hashed words and pairs of words, trained on two samples.

Features are 1 + log(count) of each hash, scaled to a vector of length 1. The penalty makes the optimum unique, so
training depends on the samples alone. A model is one .npz file with its format version.
"""

import functools
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import numpy as np

from gen.data.curation.rules import words
from gen.data.document import Document
from gen.errors import UserError

FORMAT = 1  # version of the model's file; another version is refused
KIND = "text classifier"
# Of hashed n-grams: 1 MiB of float32 weights, which stay in a core's cache; fastText's own default is 2 million.
BUCKETS = 1 << 18
# Of a text that are read; chosen: some ten pages, beyond which a text's quality is known.
MAX_CHARACTERS = 20_000
MAX_DOCUMENTS = 20_000  # of a sample; chosen: bounds the time of training, and 2^18 weights need no more
# One document in HELD_OUT is held out, so fewer would leave nothing to test the classifier on.
MIN_DOCUMENTS = 10
# Of the squared weights, relative to the mean loss; chosen: rare n-grams stay near 0, frequent ones are free.
PENALTY = 1e-5
# Every tenth document, by the hash of its name; chosen: a tenth, the usual share of a validation set.
HELD_OUT = 10


class TrainingFacts(TypedDict):
  """Of a classifier's training.

  Attributes:
    documents: of each sample.
    held_out: number of documents that were held out, where there were enough.
    accuracy: on these.
  """

  documents: list[int]
  held_out: NotRequired[int]
  accuracy: NotRequired[float]


class TextClassifier(NamedTuple):
  """A trained classifier.

  Attributes:
    weights: of each bucket.
    bias: of all.
    facts: about its training: documents, accuracy on held-out documents.
  """

  weights: np.ndarray
  bias: float
  facts: TrainingFacts

  def score(self, text: str) -> float:
    """Returns the probability that a text is of the first sample."""
    buckets, values = text_features(text)
    logit = float((self.weights[buckets] * values).sum()) + self.bias
    # Beyond 50 the probability is 0 or 1 in float64, and exp would overflow at 709.
    return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def text_features(text: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the buckets of a text's words and pairs of words, and the value of each."""
  hashes = words.word_hashes(text[:MAX_CHARACTERS])
  grams = np.concatenate([hashes, words.ngram_hashes(hashes, 2)])
  # The upper 18 bits, which are BUCKETS: the last step of a hash is a product, whose low bits are mixed least.
  buckets, counts = np.unique(grams >> np.uint64(64 - 18), return_counts=True)
  # Sublinear counts and vectors of length 1, so that neither a repeated word nor a long text outweighs the rest.
  values = 1 + np.log(counts)
  length = np.sqrt((values**2).sum())
  return buckets.astype(np.int64), values / length if len(values) else values


def train_classifier(first: Iterable[Document], second: Iterable[Document], field: str) -> TextClassifier:
  """Trains a classifier that tells the first sample from the second.

  Args:
    first: documents that get a high score.
    second: the others.
    field: of the config, for errors.

  Raises:
    UserError: if a sample is too small, or both are the same.
  """
  import scipy.optimize

  samples = [list(_draw(documents)) for documents in (first, second)]
  for documents in samples:
    if len(documents) < MIN_DOCUMENTS:
      raise UserError(
        f"{field}: a sample has {len(documents)} documents; a classifier needs {MIN_DOCUMENTS} of each"
      )
  shared = {document.text for document in samples[0]} & {document.text for document in samples[1]}
  # A sample given twice trains to a score of 0.5 everywhere, which looks like a classifier.
  if 2 * len(shared) > min(map(len, samples)):
    raise UserError(f"{field}: {len(shared):,} documents are in both samples, so they cannot be told apart")
  labels = np.repeat([1.0, 0.0], [len(documents) for documents in samples])
  documents = [document for sample in samples for document in sample]
  # By the name's hash, so a document is held out or not whatever else the samples hold.
  held = np.array([words.text_hash(document.name) % HELD_OUT == 0 for document in documents])
  features = _matrix(documents)
  shares = np.array([(labels[~held] == label).sum() for label in (0, 1)])
  if shares.min() == 0:
    # So few documents that one side would have none left to train on: nothing is held out, and no accuracy is given.
    held[:] = False
    shares = np.array([(labels == label).sum() for label in (0, 1)])
  used = np.unique(features[~held].indices)  # the weights of other buckets stay zero
  chosen, targets = features[~held][:, used], labels[~held]
  balance = (0.5 / shares)[targets.astype(int)]  # both samples weigh the same, whatever their sizes

  def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
    logits = chosen @ parameters[:-1] + parameters[-1]
    # logaddexp: log(1 + exp(x)) overflows above 709, and a separable sample drives logits there.
    value = (balance * (np.logaddexp(0, logits) - targets * logits)).sum()
    slopes = balance * (1 / (1 + np.exp(-np.clip(logits, -50, 50))) - targets)
    gradient = np.append(chosen.T @ slopes + 2 * PENALTY * parameters[:-1], slopes.sum())
    return value + PENALTY * (parameters[:-1] ** 2).sum(), gradient

  found = scipy.optimize.minimize(
    # Strictly convex by the penalty, so the start does not matter; 200 steps are our choice.
    loss,
    np.zeros(len(used) + 1),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": 200},
  )
  weights, bias = np.zeros(BUCKETS, np.float32), float(found.x[-1])
  weights[used] = found.x[:-1]
  facts: TrainingFacts = {"documents": [len(sample) for sample in samples]}
  if held.any():
    right = ((features[held] @ weights + bias) > 0) == (labels[held] > 0.5)
    facts["held_out"], facts["accuracy"] = int(held.sum()), round(float(right.mean()), 4)
  return TextClassifier(weights, bias, facts)


def _draw(documents: Iterable[Document]) -> Iterator[Document]:
  """Returns up to MAX_DOCUMENTS documents of a sample: those with the smallest hashes of their names."""
  import heapq

  # A heap of negated hashes has the largest kept hash at its root. The choice depends on names alone, not on the order
  # of files, and memory is bounded by the sample.
  keyed = ((-words.text_hash(document.name), at, document) for at, document in enumerate(documents))
  kept: list[tuple[int, int, Document]] = []
  for item in keyed:
    if len(kept) < MAX_DOCUMENTS:
      heapq.heappush(kept, _short(item))
    elif item[0] > kept[0][0]:
      heapq.heapreplace(kept, _short(item))
  return (document for _, _, document in sorted(kept, key=lambda item: item[1]))


def _short(item: tuple[int, int, Document]) -> tuple[int, int, Document]:
  return item[0], item[1], Document(item[2].name, item[2].text[:MAX_CHARACTERS])


def _matrix(documents: list[Document]) -> Any:
  """Returns the features of documents as a sparse matrix."""
  import scipy.sparse

  rows = [text_features(document.text) for document in documents]
  ends = np.concatenate([[0], np.cumsum([len(buckets) for buckets, _ in rows])])
  columns = np.concatenate([buckets for buckets, _ in rows])
  values = np.concatenate([values for _, values in rows])
  return scipy.sparse.csr_matrix((values, columns, ends), shape=(len(documents), BUCKETS))


def encode_classifier(classifier: TextClassifier) -> bytes:
  """Returns a classifier as the bytes of its file."""
  stream = io.BytesIO()
  about = json.dumps({"format": FORMAT, "kind": KIND, "bias": classifier.bias, "facts": classifier.facts})
  np.savez(stream, about=np.frombuffer(about.encode(), np.uint8), weights=classifier.weights)
  return stream.getvalue()


@functools.lru_cache(maxsize=4)
def load_classifier(path: Path) -> TextClassifier:
  """Reads a classifier.

  Raises:
    UserError: if the file cannot be read, or is no classifier of this version.
  """
  try:
    with np.load(path, allow_pickle=False) as arrays:
      about = json.loads(arrays["about"].tobytes())
      weights = arrays["weights"]
    if about["kind"] != KIND or weights.shape != (BUCKETS,) or weights.dtype != np.float32:
      raise ValueError("another kind of file")
    if about["format"] != FORMAT:
      raise UserError(
        f"{path} is a classifier of format {about['format']}; this version reads {FORMAT}; train it anew"
      )
    if not np.isfinite(weights).all():
      raise ValueError("weights that are not finite")
    return TextClassifier(weights, float(about["bias"]), cast(TrainingFacts, dict(about["facts"])))
  except OSError as error:
    raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
  except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(
      f"{path} is no classifier of gen ({str(error)[:80]}); train one with two samples"
    ) from None
