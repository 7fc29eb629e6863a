"""Tokenizers from tokenizer.json, by the `tokenizers` library."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.data.tokenizers.tokenizer import encode_utf8
from gen.errors import UserError
from gen.interop.tokenizers.base import ROLES, Ids, PretrainedTokenizer, library_errors
from gen.interop.tokenizers.settings import NOTHING, TokenAddition, TokenizerSettings
from gen.interop.untrusted import trial
from gen.io import json_reading

JSON = "tokenizer.json"
MAKE_ONE = (
  "make a tokenizer.json of it where transformers is installed:"
  " transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
# Usual names of a role if no file names it, the most likely first.
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
  """A tokenizer from tokenizer.json."""

  kind = JSON

  def __init__(self, content: bytes, settings: TokenizerSettings = NOTHING, name: str = JSON) -> None:
    """Loads the file, with the settings of other files, and the name of the file in errors.

    Raises:
      UserError: if the file is damaged.
    """
    trial.require_safe(JSON, content, name)
    with library_errors(f"{name} is damaged"):
      self._library = tokenizers_library().Tokenizer.from_str(content.decode("utf-8-sig"))
    self._library.no_padding()
    self._library.no_truncation()
    # The string "[MASK]" is encoded as text; special tokens are inserted by id.
    self._library.encode_special_tokens = True
    if getattr(self._library.model, "dropout", None):
      self._library.model.dropout = None  # random splits for training; encoding here is deterministic
    self._later = self._add(settings.added)
    self._size = size = max(self._library.get_vocab().values(), default=-1) + 1
    added = self._library.get_added_tokens_decoder()
    special = {number: token.content for number, token in added.items() if token.special}
    pieces = [self._library.id_to_token(number) or "" for number in range(size)]
    described = json_reading.parse_json(content, name)
    self._require_ids(described.get("added_tokens") or [], name)
    decoder = (described.get("decoder") or {}).get("type")
    named, roles = settings.roles, dict.fromkeys(ROLES)
    for role in ROLES:
      names = [named[role]] if role in named else [name for name in _NAMES[role] if name in special.values()]
      roles[role] = next((self._library.token_to_id(name) for name in names), None)
    files = {JSON: content, **settings.files}
    super().__init__(files, [_shown(piece, decoder) for piece in pieces], special, roles)

  def _require_ids(self, added: list[dict[str, object]], name: str) -> None:
    """Checks that the library gives added tokens the ids of the file."""
    for token in added:
      content = json_reading.require_field(token, "content", str, name)
      got = self._library.token_to_id(content)
      if got not in (None, token["id"]):
        raise UserError(
          f"{name} gives the added token {content[:40]!r} the id {token['id']}, and the library {got}: ids"
          " must follow the vocabulary without gaps"
        )

  def _add(self, added: dict[int, TokenAddition]) -> list[tuple[int, TokenAddition]]:
    """Adds the tokens of other files that tokenizer.json lacks; returns them.

    Raises:
      UserError: if their ids do not follow the vocabulary.
    """
    later = []
    for number, token in sorted(added.items()):
      if self._library.token_to_id(token.content) is not None:
        continue
      flags = {name: getattr(token, name) for name in TokenAddition._fields[1:]}
      self._library.add_tokens([tokenizers_library().AddedToken(token.content, **flags)])
      got = self._library.token_to_id(token.content)
      if got != number:
        raise UserError(
          f"the added token {token.content[:40]!r} has the id {number} beside {JSON}, whose next id is {got};"
          f" {MAKE_ONE}"
        )
      later.append((number, token))
    return later

  def _model(self) -> bytes:
    return super()._model() + (json.dumps(self._later).encode() if self._later else b"")

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones.

    Raises:
      UserError: for a text that the tokenizer cannot encode.
    """
    for text in texts:
      encode_utf8(text)
    with library_errors("the tokenizer cannot encode this text"):
      encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
    return [np.array(each.ids, np.int32) for each in encodings]

  def encode_marked(self, text: str) -> np.ndarray:
    """Returns the ids of a text in which special tokens are encoded as such, int32."""
    encode_utf8(text)
    self._library.encode_special_tokens = False
    try:
      with library_errors("the tokenizer cannot encode this text"):
        return np.array(self._library.encode(text, add_special_tokens=False).ids, np.int32)
    finally:
      self._library.encode_special_tokens = True

  def frame(self) -> tuple[Ids, Ids]:
    """Returns the ids that the post-processor adds before and after a text."""
    if self._library.post_processor is None:
      return (), ()
    # Here "x" is an added id after the vocabulary, so the alphabet does not matter.
    probe = tokenizers_library().Tokenizer(
      tokenizers_library().models.WordLevel({"x": self._size}, unk_token="x")
    )
    with library_errors("the tokenizer cannot add its special tokens to a text"):
      ids = self._library.post_processor.process(probe.encode("x"), add_special_tokens=True).ids
    if ids.count(self._size) != 1:
      raise UserError(
        f"the post-processor of {JSON} repeats a text {ids.count(self._size)} times, which is not supported"
      )
    text_index = ids.index(self._size)
    return tuple(ids[:text_index]), tuple(ids[text_index + 1 :])

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    ids: list[int] = self._library.encode(text, pair, add_special_tokens=True).ids
    return ids

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    text: str = self._library.decode(numbers, skip_special_tokens=not keep_special)
    return text


def tokenizers_library() -> Any:
  """Returns the package `tokenizers`.

  Raises:
    UserError: if it is not installed.
  """
  try:
    import tokenizers
  except ImportError as error:
    raise UserError(f"{JSON} needs tokenizers: uv run --extra interop, or pip install tokenizers") from error
  return tokenizers


def _shown(piece: str, decoder: str | None) -> bytes:
  """Returns the text of a piece, as far as the piece alone determines it."""
  if decoder == "ByteLevel":
    return bytes(_BYTES.get(letter, ord("?")) for letter in piece)
  return piece.removeprefix("##").encode() if decoder == "WordPiece" else shown_piece(piece)


def shown_piece(piece: str) -> bytes:
  """Returns the text of a SentencePiece piece, or of a byte's."""
  if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
    return bytes([int(piece[3:5], 16)])
  return piece.replace("\u2581", " ").encode()


def byte_letters() -> dict[str, int]:
  """Returns the byte of each letter in GPT-2's byte-level pieces."""
  plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in plain]
  return {chr(byte): byte for byte in plain} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTES = byte_letters()
