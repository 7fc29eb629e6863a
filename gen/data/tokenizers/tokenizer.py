"""Tokenizers behind one interface: text <-> ids, lossless for any text that UTF-8 can encode.

Ids, in this order:

    0 pad  1 eos  2 unk  3 bos  |  text  |  cls  sep  mask  sentinel 0 ... sentinel 99
    `------------ text_vocab ------------'
    `------------------------------ vocab --------------------------------------------'

Every text id has fixed bytes, so decoding concatenates them. Special ids have no bytes, and no text is encoded as
one: the string "<mask>" is encoded as ordinary text.
"""

import hashlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.config import Data
from gen.data import cache
from gen.data.corpus import Corpus
from gen.errors import UserError
from gen.io import user_code

# As many as T5's released vocabulary has.
SENTINELS = 100
FIRST = ("<pad>", "</s>", "<unk>", "<s>")
LAST = ("<cls>", "<sep>", "<mask>", *(f"<extra_id_{i}>" for i in range(SENTINELS)))
DESCRIPTION, MODEL = "tokenizer.json", "tokenizer.model"
PRETRAINED = (
  "pretrained"  # subfolder of a saved tokenizer that came with a checkpoint of the Hugging Face format
)
# gen.interop builds on this package, so its reader of such tokenizers is imported by name.
_READER = "gen.interop.tokenizers.training:load_for_training"
FORMAT = 1  # of trained tokenizers in the cache; raise it when training changes
Report = Callable[[str], None]


class Tokenizer(ABC):
  """Converts text to ids and back.

  Attributes:
    kind: bytes | bpe | unigram.
    text_vocab: number of ids of text, pad, eos, unk and bos; they come first.
    vocab: number of all ids.
    hash: identifies the mapping; equal hashes give equal ids.
    byte_lengths: UTF-8 bytes of each id, int32; 0 for special ids.
  """

  pad, eos, unk, bos = range(4)
  kind: str

  def __init__(self, pieces: list[bytes]) -> None:
    """Stores the bytes of each id below text_vocab; those of the first four are empty."""
    self.text_vocab = len(pieces)
    self.vocab = self.text_vocab + len(LAST)
    self.cls, self.sep, self.mask = range(self.text_vocab, self.text_vocab + 3)
    # Special ids have no bytes, so decoding drops them, and bits per byte count no text for them.
    self._pieces = [*pieces, *[b""] * len(LAST)]
    self.byte_lengths = np.array([len(piece) for piece in self._pieces], np.int32)
    # 16 digits, 64 bits: hashes only tell tokenizers apart.
    self.hash = hashlib.sha256(self.kind.encode() + b"\0" + self._model()).hexdigest()[:16]

  def sentinel(self, index: int) -> int:
    """Returns the id that marks the index-th span of a text."""
    if not 0 <= index < SENTINELS:
      raise ValueError(f"sentinel {index} does not exist; there are {SENTINELS}")
    return self.mask + 1 + index

  def encode(self, text: str) -> np.ndarray:
    """Returns the ids of a text, int32, without bos and eos.

    Raises:
      UserError: if the text holds half of a surrogate pair.
    """
    return self.encode_batch([text])[0]

  @abstractmethod
  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, as `encode` does, but faster."""

  @abstractmethod
  def _model(self) -> bytes:
    """Returns the serialized mapping, which the hash covers."""

  def serialized_model(self) -> bytes:
    """Returns the serialized mapping: SentencePiece's model, where there is one."""
    return self._model()

  def decode(self, ids: Iterable[int], keep_special: bool = False) -> str:
    """Returns the text of ids.

    Args:
      ids: below vocab; bytes that are not valid UTF-8 become U+FFFD.
      keep_special: whether special ids appear as <pad>, </s>, <mask>, <extra_id_0> ... or are dropped.

    Raises:
      ValueError: for an id that does not exist.
    """
    pieces = []
    for number in np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids).ravel().tolist():
      if not 0 <= number < self.vocab:
        raise ValueError(f"id {number} does not exist; this tokenizer has {self.vocab}")
      pieces.append(
        self.name(number).encode() if keep_special and self.is_special(number) else self._pieces[number]
      )
    # Joined before decoding: a character of several bytes may be several tokens.
    return b"".join(pieces).decode("utf-8", errors="replace")

  @property
  def text_range(self) -> tuple[int, int]:
    """The first id of text and one past the last; random replacements are drawn from it."""
    return len(FIRST), self.text_vocab

  def piece(self, number: int) -> bytes:
    """Returns the text of an id, as far as the id alone determines it; empty for a special one."""
    return self._pieces[number]

  def is_special(self, number: int) -> bool:
    """Returns whether an id is special, without text."""
    return number < len(FIRST) or number >= self.text_vocab

  def name(self, number: int) -> str:
    """Returns the displayed form of an id: the name of a special id, the text of another."""
    if number < len(FIRST):
      return FIRST[number]
    if number >= self.text_vocab:
      return LAST[number - self.text_vocab]
    return self._pieces[number].decode("utf-8", errors="backslashreplace")

  def save(self, folder: str | Path) -> None:
    """Writes the tokenizer into a folder, which is created if absent."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {"kind": self.kind, "hash": self.hash, "text_vocab": self.text_vocab, "vocab": self.vocab}
    (folder / MODEL).write_bytes(self._model())
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


class ByteTokenizer(Tokenizer):
  """Each byte of UTF-8 is a token: byte b has the id 4 + b.

  >>> ByteTokenizer().encode("gen").tolist()
  [107, 105, 114]
  """

  kind = "bytes"

  def __init__(self) -> None:
    """Builds the fixed table of bytes."""
    super().__init__([b""] * len(FIRST) + [bytes([byte]) for byte in range(256)])

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text."""
    return [np.frombuffer(encode_utf8(text), np.uint8).astype(np.int32) + len(FIRST) for text in texts]

  def _model(self) -> bytes:
    return b""


def encode_utf8(text: str) -> bytes:
  """Returns the bytes of a text.

  Raises:
    UserError: if the text holds half of a surrogate pair, which UTF-8 cannot encode.
  """
  try:
    return text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise UserError(
      f"the text has half of a surrogate pair (U+{ord(text[error.start]):04X} at character {error.start}),"
      " which UTF-8 cannot encode; remove it"
    ) from None


def load_tokenizer(folder: str | Path) -> Tokenizer:
  """Reads a tokenizer that `Tokenizer.save` wrote.

  Raises:
    UserError: if there is none, or it was altered.
  """
  folder = Path(folder)
  if (folder / PRETRAINED).is_dir():
    return _load_pretrained(folder / PRETRAINED)
  try:
    description = json.loads((folder / DESCRIPTION).read_text())
    tokenizer = _from_model(description["kind"], (folder / MODEL).read_bytes())
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserError(f"{folder}: there is no tokenizer: {Path(error.filename).name} is missing") from None
  except OSError as error:
    raise UserError(f"{folder}: the tokenizer cannot be read: {error.strerror}") from error
  except (ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
    raise UserError(f"{folder}: the tokenizer is damaged: {error}") from error
  # A changed tokenizer would load and give fluent nonsense.
  if tokenizer.hash != description.get("hash"):
    raise UserError(
      f"{folder}: the tokenizer was changed: its hash is not the recorded {description.get('hash')}"
    )
  return tokenizer


def find_tokenizer(place: str | Path) -> Tokenizer:
  """Returns the tokenizer in a folder: of a run, of `scripts/train_tokenizer.py`, or of the Hugging Face format.

  Args:
    place: the folder, or a tokenizer.json of the Hugging Face format.

  Raises:
    UserError: if there is none that can be read.
  """
  place = Path(place)
  for folder in (place / "tokenizer", place):
    if (folder / PRETRAINED).is_dir() or _is_own(folder):
      return load_tokenizer(folder)
  return _load_pretrained(place)


def _is_own(folder: Path) -> bool:
  """Returns whether a folder holds a tokenizer that `Tokenizer.save` wrote."""
  try:
    return (folder / MODEL).is_file() and "kind" in json.loads((folder / DESCRIPTION).read_text())
  except (OSError, ValueError, TypeError, RecursionError):
    return False


def _load_pretrained(place: Path) -> Tokenizer:
  loaded: Tokenizer = user_code.load_object(_READER, "data.tokenizer")(str(place))
  return loaded


def _from_model(kind: str, model: bytes) -> Tokenizer:
  from gen.data.tokenizers import own_tokenizer  # which build on this module
  from gen.data.tokenizers.subwords import SubwordTokenizer

  if kind == ByteTokenizer.kind:
    return ByteTokenizer()
  if kind in SubwordTokenizer.KINDS:
    return SubwordTokenizer(kind, model)
  if kind == own_tokenizer.KIND:
    return own_tokenizer.open_tokenizer(model)
  raise ValueError(f"unknown kind {kind!r}")


def tokenizer_for_data(data: Data, corpus: Corpus, report: Report | None = None) -> Tokenizer:
  """Returns the tokenizer that `data` names: one of a folder, or one trained on the training side or in the cache.

  Raises:
    UserError: for an unknown kind, a vocabulary that the corpus does not allow, or a folder without a tokenizer.
  """
  if data.tokenizer == ByteTokenizer.kind:
    return ByteTokenizer()
  from gen.data.tokenizers import own_tokenizer, subwords  # which build on this module

  is_own = user_code.is_reference(data.tokenizer)
  if data.tokenizer not in subwords.SubwordTokenizer.KINDS and not is_own:
    return _of_files(data.tokenizer, report)
  begin = time.perf_counter()
  train = own_tokenizer.train_tokenizer if is_own else _train_subwords

  def build(folder: Path) -> dict[str, Any]:
    train(data.tokenizer, corpus.train, data.vocab).save(folder)
    return {}

  source = (own_tokenizer.source_checksum(data.tokenizer),) if is_own else ()
  name = "tokenizer-" + cache.cache_key(FORMAT, corpus.sha256, data.tokenizer, data.vocab, *source)
  made = cache.find_or_build(cache.cache_folder(data), name, build)
  tokenizer = load_tokenizer(made.path)
  if report:
    report(
      f"tokenizer {tokenizer.kind}: {tokenizer.text_vocab:,} text ids, hash {tokenizer.hash},"
      f" {time.perf_counter() - begin:.1f} s" + (", found in the cache" if made.existed else "")
    )
  return tokenizer


def _of_files(place: str, report: Report | None) -> Tokenizer:
  """Returns a tokenizer that exists, and says which special ids were added to it."""
  if not os.path.exists(place):  # noqa: PTH110 (false, not an error, for names that no file can have)
    raise UserError(
      f"data.tokenizer is {place!r}; it must be bytes, bpe or unigram, or the folder or tokenizer.json of a tokenizer"
    )
  tokenizer = find_tokenizer(place)
  if report:
    report(f"tokenizer of {place}: {tokenizer.text_vocab:,} text ids, hash {tokenizer.hash}")
    added: list[str] = getattr(tokenizer, "added", [])
    if added:
      names = ", ".join(added[:4]) + (f" and {len(added) - 4:,} more" if len(added) > 4 else "")
      report(
        f"the tokenizer has no id of its own for {names}; they have ids from {tokenizer.vocab - len(added):,} on"
      )
  return tokenizer


def _train_subwords(kind: str, texts: Sequence[str], vocab: int) -> Tokenizer:
  from gen.data.tokenizers import subwords

  return subwords.train_subwords(texts, kind, vocab)
