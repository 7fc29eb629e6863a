"""Tokenizers of the user's own code: a subclass of `PieceTokenizer` that a config names.

The pieces are saved with a run, and the name and checksum of the class. To encode text, its file must be there as it
was.
"""

import abc
import json
from collections.abc import Sequence

import numpy as np

from gen.data.tokenizers.tokenizer import FIRST, Tokenizer
from gen.errors import UserError
from gen.io import json_reading, user_code

FIELD = "data.tokenizer"
KIND = "own"
# Of the corpus, encoded and decoded after training; chosen: a fault shows in the first pages, and this takes a second.
CHECKED_CHARACTERS = 100_000


class PieceTokenizer(Tokenizer):
  """A vocabulary of pieces, each some bytes of text; the first piece has the id 4.

  A subclass has `train`, and `encode_batch`, which returns for each text the int32 ids of pieces whose bytes joined are
  the text.

  Attributes:
    pieces: bytes of each piece.
  """

  kind = KIND

  def __init__(self, pieces: Sequence[bytes], reference: str = "", checksum: str = "") -> None:
    """Stores the pieces, and the class's reference and checksum of a config."""
    self.pieces, self._reference, self._checksum = list(pieces), reference, checksum
    super().__init__([b""] * len(FIRST) + self.pieces)

  @staticmethod
  @abc.abstractmethod
  def train(texts: Sequence[str], vocab: int) -> Sequence[bytes]:
    """Returns pieces for texts, at most `vocab` less 4; bytes that no piece covers must be pieces themselves."""

  def _model(self) -> bytes:
    pieces = [piece.hex() for piece in self.pieces]
    return json.dumps({"class": self._reference, "source": self._checksum, "pieces": pieces}).encode()


def train_tokenizer(reference: str, texts: Sequence[str], vocab: int) -> Tokenizer:
  """Returns the tokenizer of a class, trained on texts.

  Raises:
    UserError: if the class cannot be imported, fails, or does not give the text back.
  """
  kind, what = _load_class(reference), f"{FIELD} {reference}"
  with user_code.errors_of(f"{what}: train"):
    pieces = [bytes(piece) for piece in kind.train(texts, vocab)]
  if not 0 < len(pieces) <= vocab - len(FIRST):
    raise UserError(
      f"{what}: train returns {len(pieces)} pieces; data.vocab {vocab} allows 1 to {vocab - len(FIRST)}"
    )
  tokenizer = kind(pieces, reference, source_checksum(reference))
  _check_round_trip(tokenizer, texts, what)
  return tokenizer


def _check_round_trip(tokenizer: Tokenizer, texts: Sequence[str], what: str) -> None:
  """Refuses a tokenizer that loses text: its bits per byte would be of another text."""
  budget = CHECKED_CHARACTERS
  for text in texts:
    with user_code.errors_of(f"{what}: encode_batch"):
      ids = np.asarray(tokenizer.encode_batch([text])[0])
      inside = ids.size == 0 or (ids.min() >= len(FIRST) and ids.max() < tokenizer.text_vocab)
    if not inside:
      raise UserError(
        f"{what}: encode_batch gives an id that is no piece's; ids are 4 to {tokenizer.text_vocab - 1}"
      )
    if tokenizer.decode(ids) != text:
      raise UserError(f"{what}: decoding the ids of {text[:40]!r} gives {tokenizer.decode(ids)[:40]!r}")
    budget -= len(text)
    if budget < 0:
      return


def open_tokenizer(model: bytes) -> Tokenizer:
  """Returns a saved tokenizer.

  Raises:
    UserError: if the file of its class is not there, or was edited.
  """
  where = "the tokenizer"
  values = json_reading.parse_json(model, where)
  reference: str = json_reading.require_field(values, "class", str, where)
  checksum: str = json_reading.require_field(values, "source", str, where)
  pieces: list[str] = json_reading.require_field(values, "pieces", list, where)
  kind = _load_class(reference)
  if source_checksum(reference) != checksum:
    raise UserError(
      f"{FIELD} {reference} was edited since the tokenizer was trained, so its ids may stand for other text; restore "
      "the file"
    )
  return kind([bytes.fromhex(piece) for piece in pieces], reference, checksum)


def source_checksum(reference: str) -> str:
  """Returns the checksum of a tokenizer's source."""
  return user_code.source_checksum(reference, FIELD)[:16]


def _load_class(reference: str) -> type[PieceTokenizer]:
  kind = user_code.load_object(reference, FIELD)
  if not (isinstance(kind, type) and issubclass(kind, PieceTokenizer)):
    raise UserError(f"{FIELD} {reference} is no subclass of gen.data.tokenizers.own_tokenizer.PieceTokenizer")
  return kind
