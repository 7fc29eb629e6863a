"""Corpus, tokenizer and tokens of a run, in one call."""

from collections.abc import Callable
from typing import NamedTuple

from gen.config import Data
from gen.data import corpus, token_stream
from gen.data.corpus import Corpus
from gen.data.token_stream import TokenStream
from gen.data.tokenizers import tokenizer
from gen.data.tokenizers.tokenizer import Tokenizer


class Dataset(NamedTuple):
  """The result of `load_dataset`.

  Attributes:
    corpus: text, its size and its hash.
    tokenizer: trained on the corpus.
    train: ids of the training side.
    validation: ids of the validation side.
  """

  corpus: Corpus
  tokenizer: Tokenizer
  train: TokenStream
  validation: TokenStream


def load_dataset(data: Data, report: Callable[[str], None] | None = None) -> Dataset:
  """Builds or finds corpus, tokenizer and tokens.

  All of it is cached for later calls and for other processes.

  Args:
    data: names the corpus and the tokenizer.
    report: called with one line for each of the three.

  Raises:
    UserError: for anything wrong with the source, the vocabulary or the cache folder.
  """
  text = corpus.build_corpus(data, report)
  trained = tokenizer.tokenizer_for_data(data, text, report)
  train, validation = token_stream.tokenize_corpus(text, trained, data, report)
  return Dataset(text, trained, train, validation)
