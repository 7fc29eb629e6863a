"""Tokenizers from SentencePiece models, with the ids of each kind of checkpoint.

    T5            id of the piece                                      |  <extra_id_99> ... <extra_id_0>
    XLM-RoBERTa   0 <s>  1 <pad>  2 </s>  3 <unk>  |  1 + id of the piece, from 4  |  <mask>
    Llama         id of the piece

Added tokens follow, or have any id. A text is split at added tokens that are not special, as in transformers.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.data.tokenizers.tokenizer import encode_utf8
from gen.errors import UserError
from gen.interop.tokenizers.base import MAX_IDS, ROLES, Ids, PretrainedTokenizer, library_errors
from gen.interop.tokenizers.json_file import MAKE_ONE, shown_piece
from gen.interop.tokenizers.settings import CONFIG, NOTHING, TokenAddition, TokenizerSettings
from gen.interop.untrusted import trial

T5_MODEL, XLM_ROBERTA_MODEL, LLAMA_MODEL = "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"
T5_SENTINELS = 100  # extra_ids of transformers' T5Tokenizer
# Unsupported classes: their ids, special tokens or normalization differ.
_OTHERS = {
  f"{name}Tokenizer"
  for name in (
    "Albert",
    "BigBird",
    "Barthez",
    "Camembert",
    "FNet",
    "MBart",
    "MBart50",
    "Nllb",
    "Pegasus",
    "RemBert",
    "XLNet",
  )
}
_SENTINEL = re.compile(r"<extra_id_\d+>")


class SentencePieceTokenizer(PretrainedTokenizer):
  """One of T5's spiece.model, XLM-RoBERTa's sentencepiece.bpe.model or Llama's tokenizer.model."""

  def __init__(
    self, content: bytes, kind: str, settings: TokenizerSettings = NOTHING, name: str = ""
  ) -> None:
    """Loads the file, with its name, the settings of other files, and the name of the file in errors.

    Raises:
      UserError: if the file is damaged, or two tokens have one id.
    """
    import sentencepiece

    if settings.kind in _OTHERS:
      raise UserError(f"{kind} is of the class {settings.kind}, which is not supported; {MAKE_ONE}")
    self.kind = kind
    trial.require_safe(kind, content, name or kind)
    with library_errors(f"{name or kind} is damaged"):
      self._library = sentencepiece.SentencePieceProcessor(model_proto=content)
    self._offset = 1 if kind == XLM_ROBERTA_MODEL else 0
    table = _xlm_roberta(self._library) if self._offset else _in_order(self._library, kind, settings)
    extra = _apply(table, settings, kind)
    self._extra = json.dumps(extra, sort_keys=True).encode() if extra else b""
    self._added = {token.content: number for number, token in settings.added.items() if not token.special}
    self._settings = settings
    self._cuts = _cuts([token for token in settings.added.values() if not token.special])
    ids = {name: number for number, name in table.special.items()}
    ids |= {token.content: number for number, token in settings.added.items()}
    for role, name in settings.roles.items():
      number = ids.get(name, self._piece_id(name))
      if number is not None:
        table.roles[role] = number
        table.special[number] = name
    for name in settings.others:
      number = ids.get(name, self._piece_id(name))
      if number is not None:
        table.special[number] = name
    super().__init__({kind: content, **settings.files}, table.pieces, table.special, table.roles)

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones."""
    for text in texts:
      encode_utf8(text)
    # Odd elements are added tokens, because re.split returns the group's matches.
    parts = [self._cuts.split(text) if self._cuts else [text] for text in texts]
    plain = [part for each in parts for part in each[::2]]
    with library_errors("the tokenizer cannot encode this text"):
      encoded = iter(self._library.encode(plain, num_threads=threads))
    rows = []
    for each in parts:
      ids: list[int] = []
      for number, part in enumerate(each):
        ids += [self._added_id(part)] if number % 2 else map(self._outward, next(encoded))
      rows.append(np.array(ids, np.int32))
    return rows

  def frame(self) -> tuple[Ids, Ids]:
    """Returns <s> and </s> for XLM-RoBERTa, </s> alone for T5, <s> alone for Llama, unless its options differ."""
    bos: Ids = () if self.bos is None else (self.bos,)
    eos: Ids = () if self.eos is None else (self.eos,)
    if self.kind != LLAMA_MODEL:
      return (bos if self.kind == XLM_ROBERTA_MODEL else ()), eos
    begins, ends = (
      self._settings.option(name, name == "add_bos_token") for name in ("add_bos_token", "add_eos_token")
    )
    return bos if begins else (), eos if ends else ()

  def _added_id(self, part: str) -> int:
    """Returns the id of an added token, ignoring white space that it strips."""
    if part in self._added:
      return self._added[part]
    return self._added[max((content for content in self._added if content in part), key=len)]

  def _outward(self, number: int) -> int:
    if not self._offset:
      return number
    return 3 if number == self._library.unk_id() else number + self._offset

  def _piece_id(self, name: str) -> int | None:
    """Returns the id of a piece by its name; None where the model has no such piece."""
    number = self._library.piece_to_id(name)
    return self._outward(number) if self._library.id_to_piece(number) == name else None

  def _model(self) -> bytes:
    return self._files[self.kind] + self._extra

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    before, after = self.frame()
    first = [*before, *self.encode(text).tolist(), *after]
    if pair is None:
      return first
    # XLM-RoBERTa separates two texts by </s></s>, without <s> before the second.
    between = after if self.kind == XLM_ROBERTA_MODEL else before
    return [*first, *between, *self.encode(pair).tolist(), *after]

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    contents = {number: content for content, number in self._added.items()}
    if keep_special:
      contents |= self._special
    parts: list[str] = []
    run: list[int] = []
    for number in [*numbers, -1]:
      if number >= 0 and number not in self._special and number not in contents:
        if 0 <= number - self._offset < self._library.get_piece_size():
          run.append(number - self._offset)
        continue
      if run:
        parts.append(self._library.decode(run))
        run = []
      if number in contents:
        parts.append(contents[number])
    return " ".join(parts)


class _Table(NamedTuple):
  """The text of each id, the names of special ids, and the id of each role."""

  pieces: list[bytes]
  special: dict[int, str]
  roles: dict[str, int | None]


def _xlm_roberta(library: Any) -> _Table:
  size = library.get_piece_size()
  special = dict(enumerate(("<s>", "<pad>", "</s>", "<unk>"))) | {size + 1: "<mask>"}
  pieces = [b""] * 4 + [shown_piece(library.id_to_piece(number)) for number in range(3, size)] + [b""]
  roles: dict[str, int | None] = {
    "pad": 1, "eos": 2, "unk": 3, "bos": 0, "cls": 0, "sep": 2, "mask": size + 1,
  }  # fmt: skip
  return _Table(pieces, special, roles)


def _in_order(library: Any, kind: str, settings: TokenizerSettings) -> _Table:
  """Returns the table of a model with the ids of its pieces; T5's sentinels follow them."""
  names = [library.id_to_piece(number) for number in range(library.get_piece_size())]
  special = {
    number: name
    for number, name in enumerate(names)
    if library.is_control(number) or library.is_unknown(number) or _SENTINEL.fullmatch(name)
  }
  pieces = [b"" if number in special else shown_piece(name) for number, name in enumerate(names)]
  if kind == T5_MODEL:
    extra = [f"<extra_id_{index}>" for index in reversed(range(count_sentinels(settings)))]
    # mT5's sentinels are already pieces of the model.
    extra = [name for name in extra if name not in special.values()]
    special |= {len(names) + extra_number: name for extra_number, name in enumerate(extra)}
    pieces += [b""] * len(extra)
  ids = {role: getattr(library, f"{role}_id")() for role in ("pad", "eos", "unk", "bos")}
  roles = {role: number if number >= 0 else None for role, number in ids.items()}
  return _Table(pieces, special, dict.fromkeys(ROLES) | roles)


def count_sentinels(settings: TokenizerSettings) -> int:
  """Returns the number of sentinels after T5's pieces: extra_ids, or the number of named ones.

  Raises:
    UserError: for an invalid number.
  """
  named = sum(bool(_SENTINEL.fullmatch(name)) for name in settings.others)
  default = named or (0 if settings.kind and "T5" not in settings.kind else T5_SENTINELS)
  count: int = settings.option("extra_ids", default)
  if not 0 <= count < MAX_IDS:
    raise UserError(f"{CONFIG}: extra_ids {count} is not allowed; it must be between 0 and {MAX_IDS:,}")
  return count


def _apply(table: _Table, settings: TokenizerSettings, kind: str) -> dict[str, object]:
  """Adds tokens to a table; returns those whose ids differ from the file's, for the hash."""
  known = len(table.pieces)
  for number, token in sorted(settings.added.items()):
    table.pieces.extend([b""] * (number + 1 - len(table.pieces)))
    if token.special:
      table.special[number] = token.content
      table.pieces[number] = b""
    elif number not in table.special:
      table.pieces[number] = encode_utf8(token.content)
  text = {str(number): list(token) for number, token in settings.added.items() if not token.special}
  count = count_sentinels(settings) if kind == T5_MODEL else T5_SENTINELS
  changed: dict[str, object] = {"added": text} if text else {}
  if len(table.pieces) > known:
    changed["vocab"] = len(table.pieces)
  if count != T5_SENTINELS:
    changed["extra_ids"] = count
  return changed


def _cuts(added: list[TokenAddition]) -> re.Pattern[str] | None:
  """Returns a pattern whose one group finds added tokens in a text, the longest first."""
  if not added:
    return None
  parts = []
  for token in sorted(added, key=lambda token: -len(token.content)):
    text = re.escape(token.content)
    text = rf"(?<!\w){text}(?!\w)" if token.single_word else text
    parts.append((r"\s*" if token.lstrip else "") + text + (r"\s*" if token.rstrip else ""))
  return re.compile(f"({'|'.join(parts)})")
