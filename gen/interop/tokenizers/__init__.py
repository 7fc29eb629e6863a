"""Tokenizers of Hugging Face checkpoints behind the interface of `gen.data.tokenizers.tokenizer`.

    tokenizer = tokenizers.load_tokenizer(directory)
    ids = tokenizer.encode("A text.")                   # without special tokens
    ids = tokenizer.encode_for_model("A text.")         # with the special tokens of its model

    tokenizer.json                     any tokenizer of the `tokenizers` library (the extra `interop`)
    spiece.model                       T5, by sentencepiece
    sentencepiece.bpe.model            XLM-RoBERTa
    tokenizer.model                    Llama
    vocab.json and merges.txt          byte-level BPE of GPT-2, RoBERTa and BART
    vocab.txt                          WordPiece of BERT
    none, class ByT5Tokenizer          the bytes of UTF-8

Differences from a tokenizer of `gen`: special ids may be anywhere, some are absent (None), and text may be normalized,
so decoding may not restore it.
"""

from pathlib import Path

from gen.errors import UserError
from gen.interop.tokenizers import built, settings
from gen.interop.tokenizers.base import PretrainedTokenizer, content_of
from gen.interop.tokenizers.json_file import JSON, MAKE_ONE, JsonTokenizer
from gen.interop.tokenizers.sentence_pieces import (
  LLAMA_MODEL,
  T5_MODEL,
  XLM_ROBERTA_MODEL,
  SentencePieceTokenizer,
)
from gen.interop.tokenizers.utf8_bytes import BYT5, Utf8Tokenizer

__all__ = [
  "ALL_FILES",
  "FILES",
  "JsonTokenizer",
  "PretrainedTokenizer",
  "SentencePieceTokenizer",
  "load_tokenizer",
]
# Each describes a tokenizer; the first existing file is used.
FILES = (JSON, T5_MODEL, XLM_ROBERTA_MODEL, LLAMA_MODEL, built.VOCAB, built.WORDS)
ALL_FILES = (*FILES, built.MERGES, *settings.FILES)


def is_in(directory: str | Path) -> bool:
  """Returns whether a directory contains a tokenizer, readable or not."""
  directory = Path(directory)
  if any((directory / name).is_file() for name in FILES):
    return True
  return directory.is_dir() and settings.read_settings(directory).kind == BYT5


def load_tokenizer(directory: str | Path) -> PretrainedTokenizer:
  """Returns the tokenizer of a checkpoint's directory.

  Raises:
    UserError: if there is none that can be read.
  """
  directory = Path(directory)
  if not directory.is_dir():
    what = "is a file" if directory.exists() else "does not exist"
    raise UserError(f"{directory} {what}; name the folder that holds the tokenizer's files, such as {JSON}")
  name = next((name for name in FILES if (directory / name).is_file()), None)
  try:
    beside = settings.read_settings(directory)
    if name == JSON:
      return JsonTokenizer(content_of(directory / name), beside, str(directory / name))
    if beside.kind == BYT5:
      return Utf8Tokenizer(beside)
    if name == built.VOCAB:
      return built.byte_level(directory, beside)
    if name == built.WORDS:
      return built.word_pieces(directory, beside)
    if name:
      return SentencePieceTokenizer(content_of(directory / name), name, beside, str(directory / name))
  except OSError as error:
    raise UserError(f"the tokenizer in {directory} cannot be read: {error.strerror}") from error
  raise UserError(
    f"{directory} has no tokenizer: none of {', '.join(FILES)} is there; copy it from the same checkpoint, or"
    f" {MAKE_ONE}"
  )
