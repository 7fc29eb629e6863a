"""Tokenizers that tokenizer.json describes, by the `tokenizers` library."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.data.tokenizer import utf8
from gen.errors import UserError
from gen.interop.tokenizers.base import ROLES, Ids, PretrainedTokenizer, library_errors

JSON = "tokenizer.json"
# What a role is called where no file says it, the likeliest first.
_NAMES = {
  "pad": ("[PAD]", "<pad>"),
  "eos": ("</s>", "<|endoftext|>", "[SEP]"),
  "unk": ("[UNK]", "<unk>", "<|endoftext|>"),
  "bos": ("<s>", "<|endoftext|>", "[CLS]"),
  "cls": ("[CLS]", "<s>"),
  "sep": ("[SEP]", "</s>"),
  "mask": ("[MASK]", "<mask>"),
}


class JsonTokenizer(PretrainedTokenizer):
  """One that tokenizer.json describes in full."""

  kind = JSON

  def __init__(self, content: bytes, named: dict[str, str]) -> None:
    """Takes the file and the names of roles that other files give."""
    self._library = library().Tokenizer.from_str(content.decode("utf-8"))
    self._library.no_padding()
    self._library.no_truncation()
    # A text that says "[MASK]" is text: special ids are put in by id.
    self._library.encode_special_tokens = True
    self._size = size = max(self._library.get_vocab().values()) + 1
    added = self._library.get_added_tokens_decoder()
    special = {number: token.content for number, token in added.items() if token.special}
    pieces = [self._library.id_to_token(number) or "" for number in range(size)]
    decoder = (json.loads(content).get("decoder") or {}).get("type")
    roles: dict[str, int | None] = {}
    for role in ROLES:
      names = [named[role]] if role in named else [name for name in _NAMES[role] if name in special.values()]
      roles[role] = next((self._library.token_to_id(name) for name in names), None)
    super().__init__({JSON: content}, [_shown(piece, decoder) for piece in pieces], special, roles)

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones.

    Raises:
      UserError: for a text that the tokenizer has no ids for.
    """
    for text in texts:
      utf8(text)
    with library_errors("the tokenizer cannot encode this text"):
      encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
    return [np.array(each.ids, np.int32) for each in encodings]

  def frame(self) -> tuple[Ids, Ids]:
    """Returns what the post-processor puts before and after an id that no text has."""
    if self._library.post_processor is None:
      return (), ()
    # The text "x" of this one stands for an id behind the vocabulary, so no alphabet matters.
    other = library().Tokenizer(library().models.WordLevel({"x": self._size}, unk_token="x"))
    with library_errors("the tokenizer cannot frame a text"):
      ids = self._library.post_processor.process(other.encode("x"), add_special_tokens=True).ids
    if ids.count(self._size) != 1:
      raise UserError(
        f"the post-processor of {JSON} gives a text {ids.count(self._size)} times, which is not supported"
      )
    place = ids.index(self._size)
    return tuple(ids[:place]), tuple(ids[place + 1 :])

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    ids: list[int] = self._library.encode(text, pair, add_special_tokens=True).ids
    return ids

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    text: str = self._library.decode(numbers, skip_special_tokens=not keep_special)
    return text


def library() -> Any:
  """Returns the package `tokenizers`.

  Raises:
    UserError: if it is not installed.
  """
  try:
    import tokenizers
  except ImportError as error:
    raise UserError(f"{JSON} needs the package tokenizers: pip install 'gen[interop]'") from error
  return tokenizers


def _shown(piece: str, decoder: str | None) -> bytes:
  """Returns the text that a piece stands for, as far as it can be told from the piece alone."""
  if decoder == "ByteLevel":
    return bytes(_BYTES.get(letter, ord("?")) for letter in piece)
  return piece.removeprefix("##").encode() if decoder == "WordPiece" else shown_piece(piece)


def shown_piece(piece: str) -> bytes:
  """Returns the text of a SentencePiece piece, or of a byte's."""
  if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
    return bytes([int(piece[3:5], 16)])
  return piece.replace("\u2581", " ").encode()


def letters() -> dict[str, int]:
  """Returns which byte each letter of GPT-2's byte-level pieces stands for."""
  plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in plain]
  return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = letters()
