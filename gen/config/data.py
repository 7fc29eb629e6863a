"""The text of a run and how it becomes rows of tokens. T length, B batch."""

import dataclasses
from typing import Any

from gen.config.mixture import MixtureCorpus, read_mixture
from gen.config.references import HoldsReferences


@dataclasses.dataclass
class Data(HoldsReferences):
  """The text of a run and how it becomes rows of tokens; some fields may name the user's own code."""

  own_code = ("data.corpus", "data.tokenizer", "data.objective")

  # manual[:small|:large] | law | package:NAME==VERSION[:MEMBER] | manifest:PATH | a path or glob | FORMAT:PATH
  # | tfds:NAME | environment[:docstrings|:code], of what is installed | python:FUNCTION, as python:mine.py:documents
  corpus: str = "manual"
  # Several corpora in the place of data.corpus, as manual=0.7,law=0.3 (gen/config/mixture.py); empty: data.corpus.
  mixture: tuple[MixtureCorpus, ...] = ()
  mixture_unit: str = (
    "share"  # share | tokens: whether its weights are shares of the rows, or tokens of the run
  )
  mixture_temperature: float = 0.0  # its weights are sizes^(1/temperature), as 1 or 3.3; 0: as given
  # Later weights: (fraction of the run, weight of each corpus in order), as ((0.8, 0.2, 0.8),) for the last fifth.
  mixture_schedule: tuple[tuple[float, ...], ...] = ()
  unique_tokens: int = (
    0  # only the first so many training tokens are read, of documents in random order; 0: all
  )
  field: str = "text"  # of records: JSON, tables, parquet, Arrow, TFDS
  split: str = "train"  # of TFDS sets and of folders of Hugging Face datasets
  # Of files (documents where a source has no files); chosen: a twentieth leaves most of a small corpus for training.
  validation_fraction: float = 0.05
  tokenizer: str = (
    "bytes"  # bytes | bpe | unigram | the folder or tokenizer.json of a tokenizer | a class, as mine.py:Words
  )
  vocab: int = 4096  # text ids of a trained tokenizer; chosen: tables stay a small part of small models
  objective: str = "causal"  # causal | prefix | masked | span_corruption | infilling | ul2 | ... | a class
  length: int = 128  # T, positions per row
  batch: int = 16  # B, rows per step
  stream: bool = False  # row b of each batch continues row b of the batch before it
  # Minimum number of tokens to evaluate, if the corpus has them; chosen: 2^17, beyond which the error over texts falls
  # slowly.
  validation_tokens: int = 131_072
  max_bytes: int = 17_179_869_184  # that one compressed file or archive may expand to, 16 GiB; 0: no limit
  cache: str = ""  # folder of corpora, tokenizers and compiled programs; empty: $GEN_CACHE or ~/.cache/gen

  def __setattr__(self, name: str, value: Any) -> None:
    """Sets a field; a mixture may be text, {name: weight}, or a tuple of corpora."""
    super().__setattr__(name, read_mixture(value) if name == "mixture" else value)
