"""Subword tokenizers: byte-pair encoding (arXiv:1508.07909) and the unigram model (arXiv:1804.10959), by SentencePiece.

SentencePiece is kept from changing text: identity normalization, no dummy prefix, white space as it stands, unknown
characters as their bytes. It writes a space as U+2581, so a U+2581 that the text holds itself goes around it, as
bytes. Special symbols beyond its first four live above its ids, unknown to it, so that no text can name them.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import sentencepiece

from gen.data.tokenizers.tokenizer import Tokenizer, encode_utf8
from gen.errors import UserError

SPACE = "\u2581"
BYTES = 256
FIRST_BYTE = 4  # id of the byte 0 in each model that `train_subwords` makes
MAX_LINE = 4096  # characters of one line that training sees
SAMPLE = {"bpe": 10_000_000, "unigram": 4_000_000}  # characters; the unigram model takes ten times as long
_SEED = 20_210_317
# SentencePiece skips whole lines that hold its own marks: the tab, U+2585, NUL, and the space's sign.
_MARKS = re.compile("[\0\t\r\n\u2585\u2581]+")


class SubwordTokenizer(Tokenizer):
  """Pieces of words that training found; a byte where none fits."""

  KINDS = ("bpe", "unigram")

  def __init__(self, kind: str, model: bytes) -> None:
    """Takes the serialized SentencePiece model."""
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
    """Returns the ids of each text; so many threads share the work."""
    parts = [text.split(SPACE) for text in texts]
    flat = [part for pieces in parts for part in pieces]
    try:
      found = iter(self._processor.encode(flat, num_threads=threads))
    except (UnicodeEncodeError, TypeError):
      for text in texts:
        encode_utf8(text)  # half of a surrogate pair; says where
      raise
    return [self._join([next(found) for _ in pieces]) for pieces in parts]

  def _join(self, pieces: list[list[int]]) -> np.ndarray:
    ids = pieces[0]
    for piece in pieces[1:]:
      ids = [*ids, *self._space_ids, *piece]
    return np.array(ids, np.int32)


def train_subwords(texts: Sequence[str], kind: str, vocab: int) -> SubwordTokenizer:
  """Trains a tokenizer; the same texts in any order of cores give the same one.

  Args:
    texts: to learn from; of more than 10 MB (unigram: 4 MB) a sample is taken, document by document.
    kind: bpe | unigram.
    vocab: ids that the model shall have, with pad, eos, unk, bos and 256 bytes.

  Raises:
    UserError: if the texts cannot yield so many, or so many cannot hold their characters.
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
      num_threads=2,  # part of the result: the unigram model's sums are per thread
      minloglevel=2,
    )
  except RuntimeError as error:
    raise _explain(str(error), kind, vocab) from None
  return SubwordTokenizer(kind, model.getvalue())


def _explain(message: str, kind: str, vocab: int) -> UserError:
  """Turns SentencePiece's words into ours."""
  high = re.search(r"Please set it to a value <= (\d+)", message)
  low = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
  if high:
    return UserError(
      f"data.vocab {vocab} is more than the corpus allows a {kind} tokenizer: at most {high.group(1)}"
    )
  if low:
    return UserError(
      f"data.vocab {vocab} is too small for a {kind} tokenizer of this corpus: its bytes and characters need at least"
      f" {low.group(1)}"
    )
  return UserError(
    f"a {kind} tokenizer with data.vocab {vocab} cannot be trained on this corpus: {message.strip()}"
  )


def sample_documents(texts: Sequence[str], characters: int) -> Iterator[str]:
  """Yields documents in a fixed random order until there are so many characters; the last one is cut."""
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
