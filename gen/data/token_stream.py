"""A corpus as one sequence of ids: bos, document, eos, bos, document, eos ... memory-mapped from the cache.

Documents are in a fixed random order, so that neighbours in the stream are not neighbours in the source.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gen.config import Data
from gen.data import cache
from gen.data.corpus import Corpus
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.io import cores

FORMAT = 1  # of the cached files and of the rules above; raise it when either changes
# Characters encoded at a time; bounds memory: some 4 bytes a character as text and 4 a token as ids.
CHUNK = 4_000_000
# Fixed, not the run's seed: all runs of a study share one cached stream. Each draws its own order of rows.
_SEED = 20_220_329  # of the order of documents
Report = Callable[[str], None]


class TokenStream(NamedTuple):
  """All documents of one side of a corpus, one after the other.

  Attributes:
    ids: token ids, uint16 or uint32, memory-mapped.
    starts: index in `ids` where each document begins, int64; every bos is at one of them.
    tokenizer: produced the ids.
  """

  ids: np.ndarray
  starts: np.ndarray
  tokenizer: Tokenizer


def tokenize_corpus(
  corpus: Corpus, tokenizer: Tokenizer, data: Data, report: Report | None = None
) -> tuple[TokenStream, TokenStream]:
  """Returns the ids of the training and of the validation side."""
  begin = time.perf_counter()

  def build(folder: Path) -> dict[str, Any]:
    for side in ("train", "validation"):
      _write(folder, side, getattr(corpus, side), tokenizer)
    return {}

  # The key holds all that the ids depend on: another tokenizer or corpus is another entry, and none is overwritten.
  name = "tokens-" + cache.cache_key(FORMAT, corpus.sha256, tokenizer.hash)
  made = cache.find_or_build(cache.cache_folder(data), name, build)
  train, validation = (
    TokenStream(
      # Memory-mapped: a corpus may be larger than memory, and processes of one machine share its pages.
      np.load(made.path / f"{side}.npy", mmap_mode="r"),
      np.load(made.path / f"{side}_starts.npy"),
      tokenizer,
    )
    for side in ("train", "validation")
  )
  if report:
    per_token = corpus.bytes / (len(train.ids) + len(validation.ids))
    report(
      f"tokens: {len(train.ids):,} for training, {len(validation.ids):,} for validation, {per_token:.2f} bytes each,"
      f" {time.perf_counter() - begin:.1f} s" + (", found in the cache" if made.existed else "")
    )
  return train, validation


def limit_stream(stream: TokenStream, tokens: int) -> TokenStream:
  """Returns the first tokens of a stream; its documents are in random order, and a larger limit only adds text."""
  return stream._replace(ids=stream.ids[:tokens], starts=stream.starts[stream.starts < tokens])


def encode_texts(texts: Sequence[str], tokenizer: Tokenizer) -> TokenStream:
  """Returns the stream of a few texts, in memory and in their order.

  >>> from gen.data.tokenizers.tokenizer import ByteTokenizer
  >>> encode_texts(["a", "bc"], ByteTokenizer()).starts.tolist()
  [0, 3]
  """
  framed = [
    np.concatenate([[tokenizer.bos], ids, [tokenizer.eos]])
    for ids in tokenizer.encode_batch(list(texts), cores.available_cores())
  ]
  lengths = np.array([len(ids) for ids in framed], np.int64)
  return TokenStream(np.concatenate(framed), np.cumsum(lengths) - lengths, tokenizer)


def _write(folder: Path, side: str, texts: Sequence[str], tokenizer: Tokenizer) -> None:
  # Half the bytes where ids fit; they are widened when a batch is made.
  dtype = np.dtype(np.uint16 if tokenizer.vocab <= 1 << 16 else np.uint32)
  lengths = []
  with (folder / f"{side}.npy").open("wb") as stream:
    _header(stream, dtype, 0)
    for ids in _encoded(texts, tokenizer):
      framed = np.concatenate([[tokenizer.bos], ids, [tokenizer.eos]])
      stream.write(framed.astype(dtype).tobytes())
      lengths.append(len(framed))
    stream.seek(0)
    _header(stream, dtype, sum(lengths))  # numpy pads headers, so the length can be rewritten in place
  with (folder / f"{side}_starts.npy").open("wb") as stream:
    _header(stream, np.dtype(np.int64), len(lengths))
    stream.write((np.cumsum(lengths) - lengths).astype(np.int64).tobytes())


def _header(stream: BinaryIO, dtype: np.dtype, length: int) -> None:
  description = {"descr": dtype.str, "fortran_order": False, "shape": (length,)}
  np.lib.format.write_array_header_1_0(stream, description)


def _encoded(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[np.ndarray]:
  chunk: list[str] = []
  characters = 0
  for index in np.random.default_rng(_SEED).permutation(len(texts)).tolist():
    chunk.append(texts[index])
    characters += len(chunk[-1])
    if characters >= CHUNK:
      yield from tokenizer.encode_batch(chunk, cores.available_cores())
      chunk, characters = [], 0
  yield from tokenizer.encode_batch(chunk, cores.available_cores())
