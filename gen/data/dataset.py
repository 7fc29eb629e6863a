"""Corpus, tokenizer and tokens of a run, in one call."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gen.config import Data, mixture
from gen.data import corpus, overlap, token_stream
from gen.data.corpus import Corpus
from gen.data.token_stream import TokenStream
from gen.data.tokenizers import tokenizer
from gen.data.tokenizers.tokenizer import Tokenizer

Report = Callable[[str], None]


class CorpusTokens(NamedTuple):
  """The tokens of one corpus.

  Attributes:
    train: ids of the training side.
    validation: ids of the validation side.
  """

  train: TokenStream
  validation: TokenStream


class Dataset(NamedTuple):
  """The result of `load_dataset`.

  Attributes:
    corpus: text, its size and its hash.
    tokenizer: trained on the corpus.
    tokens: of each corpus of a mixture, by name; of one corpus, under the name "".
  """

  corpus: Corpus
  tokenizer: Tokenizer
  tokens: Mapping[str, CorpusTokens]

  @property
  def train(self) -> TokenStream:
    """Ids of the training side; of a mixture, of all corpora one after the other, in memory."""
    return _joined([part.train for part in self.tokens.values()])

  @property
  def validation(self) -> TokenStream:
    """Ids of the validation side; of a mixture, as for `train`."""
    return _joined([part.validation for part in self.tokens.values()])


def _joined(streams: list[TokenStream]) -> TokenStream:
  if len(streams) == 1:
    return streams[0]
  begins = np.cumsum([0, *(len(stream.ids) for stream in streams[:-1])])
  return TokenStream(
    np.concatenate([stream.ids for stream in streams]),
    np.concatenate([stream.starts + begin for stream, begin in zip(streams, begins, strict=True)]),
    streams[0].tokenizer,
  )


def load_dataset(data: Data, report: Report | None = None) -> Dataset:
  """Builds or finds corpus, tokenizer and tokens; of a mixture, those of each corpus, and one tokenizer.

  All of it is cached for later calls and for other processes. Weights and `data.unique_tokens` do not change it.

  Args:
    data: names the corpus and the tokenizer.
    report: called with one line for each of the three.

  Raises:
    UserError: for anything wrong with the source, the vocabulary or the cache folder.
  """
  mixture.check_mixture(data)
  if report and (line := mixture.normalization_line(data)):
    report(line)
  text = corpus.build_corpus(data, report)
  if report and text.parts:
    overlap.report_overlap(data, text.parts, report)
  # One tokenizer of all corpora of a mixture, or ids of different corpora would mean different text.
  trained = tokenizer.tokenizer_for_data(data, text, report)
  tokens = {
    name: CorpusTokens(*token_stream.tokenize_corpus(part, trained, data, _naming(name, report)))
    for name, part in (text.parts or {"": text}).items()
  }
  return Dataset(text, trained, tokens)


def _naming(name: str, report: Report | None) -> Report | None:
  """Returns a report whose lines begin with the name of a mixture's corpus."""
  return report if report is None or not name else lambda line: report(f"{name}: {line}")
