"""Subword tokenizers: byte-pair encoding (arXiv:1508.07909) and the unigram model (arXiv:1804.10959), by SentencePiece.

SentencePiece does not change text here: identity normalization, no dummy prefix, unchanged white space, unknown
characters as bytes. It writes a space as U+2581, so U+2581 in a text is encoded as bytes without it. Special symbols
beyond its first four have ids above its own, so that no text can produce them.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import sentencepiece

from gen.data.tokenizers.tokenizer import Tokenizer, encode_utf8
from gen.errors import UserError

SPACE = "\u2581"
BYTES = 256  # pieces for single bytes, into which unknown characters fall back
FIRST_BYTE = 4  # id of the byte 0 in each model that `train_subwords` makes
# Characters of one line of training text; SentencePiece drops longer lines (max_sentence_length, 4,192 bytes by
# default).
MAX_LINE = 4096
SAMPLE = {"bpe": 10_000_000, "unigram": 4_000_000}  # characters; the unigram model takes ten times as long
# Any fixed number: the sample of training text must not vary between calls.
_SEED = 20_210_317
# SentencePiece skips lines that contain its own marks: the tab, U+2585, NUL, and the space's sign.
_MARKS = re.compile("[\0\t\r\n\u2585\u2581]+")


class SubwordTokenizer(Tokenizer):
  """Trained subword pieces, with single bytes as fallback."""

  KINDS = ("bpe", "unigram")

  def __init__(self, kind: str, model: bytes) -> None:
    """Loads the serialized SentencePiece model."""
    self.kind = kind
    self._serialized = model
    self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    super().__init__([self._bytes_of(number) for number in range(self._processor.get_piece_size())])
    self._space_ids = [FIRST_BYTE + byte for byte in SPACE.encode()]

  def _bytes_of(self, number: int) -> bytes:
    if self._processor.is_byte(number):
      return bytes([int(self._processor.id_to_piece(number)[3:5], 16)])
    if self._processor.is_control(number) or self._processor.is_unknown(number):
      return b""
    return self._processor.id_to_piece(number).replace(SPACE, " ").encode()

  def _model(self) -> bytes:
    return self._serialized

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, computed by `threads` threads."""
    parts = [text.split(SPACE) for text in texts]
    flat = [part for pieces in parts for part in pieces]
    try:
      pieces_ids = iter(self._processor.encode(flat, num_threads=threads))
    except (UnicodeEncodeError, TypeError):
      for text in texts:
        encode_utf8(text)  # half of a surrogate pair; raises the error with its position
      raise
    return [self._join([next(pieces_ids) for _ in pieces]) for pieces in parts]

  def _join(self, pieces: list[list[int]]) -> np.ndarray:
    ids = pieces[0]
    for piece in pieces[1:]:
      ids = [*ids, *self._space_ids, *piece]
    return np.array(ids, np.int32)


def train_subwords(texts: Sequence[str], kind: str, vocab: int) -> SubwordTokenizer:
  """Trains a tokenizer; the result does not depend on the number of cores.

  Args:
    texts: training texts; above 10 MB (unigram: 4 MB) a sample of documents is used.
    kind: bpe | unigram.
    vocab: number of ids of the model, with pad, eos, unk, bos and 256 bytes.

  Raises:
    UserError: if the texts allow only fewer ids, or their characters need more.
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=_lines(sample_documents(texts, SAMPLE[kind])),
      model_writer=model,
      model_type=kind,
      vocab_size=vocab,
      pad_id=Tokenizer.pad,
      eos_id=Tokenizer.eos,
      unk_id=Tokenizer.unk,
      bos_id=Tokenizer.bos,
      byte_fallback=True,
      normalization_rule_name="identity",
      add_dummy_prefix=False,
      remove_extra_whitespaces=False,
      allow_whitespace_only_pieces=True,
      split_digits=True,
      max_sentence_length=8 * MAX_LINE,
      num_threads=2,  # affects the result: the unigram model's sums are per thread
      minloglevel=2,
    )
  except RuntimeError as error:
    raise _explain(str(error), kind, vocab) from None
  return SubwordTokenizer(kind, model.getvalue())


def _explain(message: str, kind: str, vocab: int) -> UserError:
  """Converts SentencePiece's error into a sentence with our names."""
  high = re.search(r"Please set it to a value <= (\d+)", message)
  low = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
  if high:
    return UserError(
      f"data.vocab {vocab} is too large for a {kind} tokenizer of this corpus; set it to at most {high.group(1)}"
    )
  if low:
    return UserError(
      f"data.vocab {vocab} is too small for a {kind} tokenizer of this corpus; set it to at least {low.group(1)}, for"
      " all bytes and characters"
    )
  return UserError(
    f"a {kind} tokenizer with data.vocab {vocab} cannot be trained on this corpus: {message.strip()}"
  )


def sample_documents(texts: Sequence[str], characters: int) -> Iterator[str]:
  """Yields documents in a fixed random order, up to `characters` in total; the last one is cut.

  Each corpus of a mixture gives the same share of the characters, whatever its size and weight.
  """
  parts: Sequence[Sequence[str]] = getattr(texts, "parts", ())
  if parts:
    for part in parts:
      yield from sample_documents(part, characters // len(parts))
    return
  for index in np.random.default_rng(_SEED).permutation(len(texts)).tolist():
    text = texts[index][:characters]
    yield text
    characters -= len(text)
    if characters <= 0:
      return


def _lines(texts: Iterable[str]) -> Iterator[str]:
  for text in texts:
    for line in _MARKS.split(text):
      for start in range(0, len(line), MAX_LINE):
        yield line[start : start + MAX_LINE]
