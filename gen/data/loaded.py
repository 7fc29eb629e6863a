"""Everything a run reads, in one call."""

from collections.abc import Callable
from typing import NamedTuple

from gen.config import Data
from gen.data import corpus, tokenizer, tokens
from gen.data.corpus import Corpus
from gen.data.tokenizer import Tokenizer
from gen.data.tokens import TokenStream


class Loaded(NamedTuple):
  """What `load` gives.

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


def load(data: Data, report: Callable[[str], None] | None = None) -> Loaded:
  """Builds or finds corpus, tokenizer and tokens.

  Once one process has done so, others find all of it in the cache.

  Args:
    data: what to read.
    report: is told one line for each of the three.

  Raises:
    UserError: for anything wrong with the source, the vocabulary or the cache folder.
  """
  text = corpus.build(data, report)
  found = tokenizer.for_data(data, text, report)
  train, validation = tokens.tokenize(text, found, data, report)
  return Loaded(text, found, train, validation)
