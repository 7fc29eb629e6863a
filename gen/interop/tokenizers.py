"""Tokenizers of Hugging Face checkpoints behind the interface of `gen.data.tokenizer`.

    tokenizer = tokenizers.load(directory)
    ids = tokenizer.encode("A text.")                   # of the text alone
    ids = tokenizer.encode_for_model("A text.")         # with the special tokens that its model expects

tokenizer.json is read by the `tokenizers` library (`pip install gen[interop]`), spiece.model (T5) and
sentencepiece.bpe.model (XLM-RoBERTa) by sentencepiece. What differs from a tokenizer of `gen`: special ids lie
anywhere, some are absent (None), and text may be normalized, so that decoding need not give it back.
"""

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.data.tokenizer import Tokenizer, utf8
from gen.errors import UserError

JSON, T5_MODEL, XLM_ROBERTA_MODEL = "tokenizer.json", "spiece.model", "sentencepiece.bpe.model"
FILES = (JSON, T5_MODEL, XLM_ROBERTA_MODEL)
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
T5_SENTINELS = 100


class PretrainedTokenizer(Tokenizer):
  """A tokenizer that came with a checkpoint.

  Attributes:
    pad, eos, unk, bos, cls, sep, mask: ids, or None for one that it does not have.
    text_vocab: as vocab; special ids may lie anywhere, see `is_special`.
    byte_lengths: bytes of the text that an id's piece shows; normalization may have changed them.
  """

  def __init__(
    self, content: bytes, pieces: list[bytes], special: dict[int, str], roles: dict[str, int | None]
  ) -> None:
    """Takes what it was read from, the text of each id, the special ids' names, and which of them is what."""
    self._content, self._special = content, special
    self.vocab = self.text_vocab = len(pieces)
    self._pieces = pieces
    self.byte_lengths = np.array(
      [0 if number in special else len(piece) for number, piece in enumerate(pieces)], np.int32
    )
    for role in _NAMES:
      setattr(self, role, roles.get(role))
    self.hash = hashlib.sha256(self.kind.encode() + b"\0" + content).hexdigest()[:16]

  def sentinel(self, index: int) -> int:
    """Returns T5's id that marks the index-th hole of a text."""
    name = f"<extra_id_{index}>"
    for number, special in self._special.items():
      if special == name:
        return number
    raise ValueError(f"sentinel {index} does not exist; this tokenizer has no {name}")

  def is_special(self, number: int) -> bool:
    """Says whether an id stands for no text."""
    return number in self._special

  def name(self, number: int) -> str:
    """Returns how an id is shown: a special one by its name, another by its text."""
    return self._special.get(number) or self._pieces[number].decode("utf-8", errors="backslashreplace")

  def decode(self, ids: Iterable[int], keep_special: bool = False) -> str:
    """Returns the text of ids, special ones dropped or shown by their names.

    Raises:
      ValueError: for an id that does not exist.
    """
    numbers = np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids).ravel().tolist()
    for number in numbers:
      if not 0 <= number < self.vocab:
        raise ValueError(f"id {number} does not exist; this tokenizer has {self.vocab}")
    return self._decode(numbers, keep_special)

  def encode_for_model(self, text: str, pair: str | None = None) -> np.ndarray:
    """Returns the ids of a text, or of two, with the special ones that the model was trained with, int32."""
    utf8(text + (pair or ""))
    return np.array(self._encode_for_model(text, pair), np.int32)

  @abstractmethod
  def _decode(self, numbers: list[int], keep_special: bool) -> str: ...

  @abstractmethod
  def _encode_for_model(self, text: str, pair: str | None) -> list[int]: ...

  def _model(self) -> bytes:
    return self._content

  def save(self, folder: str | Path) -> None:
    """Writes the file that it was read from into a folder, which is made if need be; `load` reads it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / self.kind).write_bytes(self._content)


class JsonTokenizer(PretrainedTokenizer):
  """One that tokenizer.json describes in full."""

  kind = JSON

  def __init__(self, content: bytes, named: dict[str, str]) -> None:
    """Takes the file and the names of roles that other files give."""
    self._library = _library().Tokenizer.from_str(content.decode("utf-8"))
    self._library.no_padding()
    self._library.no_truncation()
    self._library.encode_special_tokens = (
      True  # a text that says "[MASK]" is text: special ids are put in by id
    )
    size = max(self._library.get_vocab().values()) + 1
    added = self._library.get_added_tokens_decoder()
    special = {number: token.content for number, token in added.items() if token.special}
    pieces = [self._library.id_to_token(number) or "" for number in range(size)]
    decoder = (json.loads(content).get("decoder") or {}).get("type")
    super().__init__(content, [_shown(piece, decoder) for piece in pieces], special, {})
    for role, likely in _NAMES.items():
      names = [named[role]] if role in named else [name for name in likely if name in special.values()]
      found = [self._library.token_to_id(name) for name in names]
      setattr(self, role, found[0] if found else None)

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones."""
    for text in texts:
      utf8(text)
    return [
      np.array(each.ids, np.int32)
      for each in self._library.encode_batch(list(texts), add_special_tokens=False)
    ]

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    ids: list[int] = self._library.encode(text, pair, add_special_tokens=True).ids
    return ids

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    text: str = self._library.decode(numbers, skip_special_tokens=not keep_special)
    return text


class SentencePieceTokenizer(PretrainedTokenizer):
  """T5's spiece.model, or XLM-RoBERTa's sentencepiece.bpe.model, whose ids its model counts otherwise.

  T5            id of the piece                                      |  <extra_id_99> ... <extra_id_0>
  XLM-RoBERTa   0 <s>  1 <pad>  2 </s>  3 <unk>  |  1 + id of the piece, from 4  |  <mask>
  """

  def __init__(self, content: bytes, kind: str) -> None:
    """Takes the file and its name."""
    import sentencepiece

    self.kind = kind
    try:
      self._library = sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
      raise ValueError(str(error).splitlines()[0]) from error
    library, size = self._library, self._library.get_piece_size()
    self._offset = 1 if kind == XLM_ROBERTA_MODEL else 0
    pieces = [library.id_to_piece(number) for number in range(size)]
    text = [_shown_piece(piece) for piece in pieces]
    if self._offset:
      special = dict(enumerate(("<s>", "<pad>", "</s>", "<unk>"))) | {size + 1: "<mask>"}
      text = [b""] * 4 + text[3:] + [b""]
      roles: dict[str, int | None] = {
        "pad": 1, "eos": 2, "unk": 3, "bos": 0, "cls": 0, "sep": 2, "mask": size + 1,
      }  # fmt: skip
    else:
      special = {n: pieces[n] for n in range(size) if library.is_control(n) or library.is_unknown(n)}
      extra = [f"<extra_id_{index}>" for index in reversed(range(T5_SENTINELS))]
      special |= {size + place: name for place, name in enumerate(extra)}
      text += [b""] * len(extra)
      ids = {
        "pad": library.pad_id(),
        "eos": library.eos_id(),
        "unk": library.unk_id(),
        "bos": library.bos_id(),
      }
      roles = {role: number if number >= 0 else None for role, number in ids.items()}
    super().__init__(content, text, special, roles)

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones."""
    for text in texts:
      utf8(text)
    found = self._library.encode(list(texts), num_threads=threads)
    return [np.array([self._outward(number) for number in ids], np.int32) for ids in found]

  def _outward(self, number: int) -> int:
    if not self._offset:
      return number
    return 3 if number == self._library.unk_id() else number + self._offset

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    first = self.encode(text).tolist()
    second = None if pair is None else self.encode(pair).tolist()
    eos: list[int] = [] if self.eos is None else [self.eos]
    if not self._offset:
      return [*first, *eos, *([] if second is None else [*second, *eos])]
    return [self.bos, *first, *eos, *([] if second is None else [*eos, *second, *eos])]

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    parts: list[str] = []
    run: list[int] = []
    for number in [*numbers, -1]:
      if number >= 0 and number not in self._special:
        run.append(number - self._offset)
        continue
      if run:
        parts.append(self._library.decode(run))
        run = []
      if number >= 0 and keep_special:
        parts.append(self._special[number])
    return " ".join(parts)


def load(directory: str | Path) -> PretrainedTokenizer:
  """Returns the tokenizer of a checkpoint's directory.

  Raises:
    UserError: if there is none that can be read.
  """
  directory = Path(directory)
  for name in FILES:
    path = directory / name
    if not path.is_file():
      continue
    try:
      if name == JSON:
        return JsonTokenizer(path.read_bytes(), _named_roles(directory))
      return SentencePieceTokenizer(path.read_bytes(), name)
    except UserError:
      raise
    except OSError as error:
      raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # Whatever the libraries raise, of which some is a bare Exception.
      raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
  raise UserError(
    f"{directory} has no tokenizer: none of {JSON}, {T5_MODEL} and {XLM_ROBERTA_MODEL} is there"
  )


def _library() -> Any:
  try:
    import tokenizers
  except ImportError as error:
    raise UserError(f"{JSON} needs the package tokenizers: pip install 'gen[interop]'") from error
  return tokenizers


def _named_roles(directory: Path) -> dict[str, str]:
  """Returns the names of special tokens by role, as files beside the tokenizer give them."""
  found: dict[str, str] = {}
  for name in ("tokenizer_config.json", "special_tokens_map.json"):
    path = directory / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for role in _NAMES:
      token = content.get(f"{role}_token")
      token = token.get("content") if isinstance(token, dict) else token
      if isinstance(token, str):
        found[role] = token
  return found


def _shown(piece: str, decoder: str | None) -> bytes:
  """Returns the text that a piece stands for, as far as it can be told from the piece alone."""
  if decoder == "ByteLevel":
    return bytes(_BYTES.get(letter, ord("?")) for letter in piece)
  return piece.removeprefix("##").encode() if decoder == "WordPiece" else _shown_piece(piece)


def _shown_piece(piece: str) -> bytes:
  if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
    return bytes([int(piece[3:5], 16)])
  return piece.replace("\u2581", " ").encode()


def _letters() -> dict[str, int]:
  """Returns which byte each letter of GPT-2's byte-level pieces stands for."""
  plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in plain]
  return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _letters()
