"""Everything a run reads, in one call."""

from collections.abc import Callable
from typing import NamedTuple

from gen.config import Data
from gen.data import corpus, token_stream
from gen.data.corpus import Corpus
from gen.data.token_stream import TokenStream
from gen.data.tokenizers import tokenizer
from gen.data.tokenizers.tokenizer import Tokenizer


class Dataset(NamedTuple):
  """What `load_dataset` gives.

  Attributes:
    corpus: text, its size and its hash.
    tokenizer: trained on the corpus.
    train: ids to learn from.
    validation: ids to be judged by.
  """

  corpus: Corpus
  tokenizer: Tokenizer
  train: TokenStream
  validation: TokenStream


def load_dataset(data: Data, report: Callable[[str], None] | None = None) -> Dataset:
  """Builds or finds corpus, tokenizer and tokens.

  Once one process has done so, others find all of it in the cache.

  Args:
    data: what to read.
    report: is told one line for each of the three.

  Raises:
    UserError: for anything wrong with the source, the vocabulary or the cache folder.
  """
  text = corpus.build_corpus(data, report)
  found = tokenizer.tokenizer_for_data(data, text, report)
  train, validation = token_stream.tokenize_corpus(text, found, data, report)
  return Dataset(text, found, train, validation)
