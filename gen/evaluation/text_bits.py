"""Bits per byte of texts under a decoder or a recurrent model: how well it predicts them, whatever its tokenizer."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from gen.evaluation import harness
from gen.generation.loaded_model import LoadedModel

# Of a text that are scored, from its beginning; chosen: some 5,000 tokens; more would cost time and change the mean
# little.
MAX_CHARACTERS = 20_000


class TextRequest(NamedTuple):
  """A text in the form of the harness's requests."""

  args: tuple[str]


def make_scorer(backend: harness.Backend) -> Callable[[Sequence[str]], list[float]]:
  """Returns a function that gives the bits per byte of texts; a text of no bytes has infinitely many.

  Args:
    backend: of the model.
  """

  def score(texts: Sequence[str]) -> list[float]:
    begins = [text[:MAX_CHARACTERS] for text in texts]
    filled = [begin for begin in begins if begin]
    nats = iter(backend.loglikelihood_rolling([TextRequest((begin,)) for begin in filled]))
    return [-next(nats) / math.log(2) / len(begin.encode()) if begin else math.inf for begin in begins]

  return score


def model_checksum(restored: LoadedModel) -> str:
  """Returns 16 hex digits that change with any parameter and with the tokenizer."""
  digest = hashlib.sha256(restored.tokenizer.hash.encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path(restored.params):
    digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
  return digest.hexdigest()[:16]
