"""ByT5's tokenizer, which has no file: each byte of UTF-8 is an id (arXiv:2105.13626).

0 <pad>  1 </s>  2 <unk>  |  3 + byte  |  259 <extra_id_0> ... <extra_id_124>
"""

import json
from collections.abc import Sequence

import numpy as np

from gen.data.tokenizers.tokenizer import encode_utf8
from gen.errors import UserError
from gen.interop.tokenizers.base import MAX_IDS, Ids, PretrainedTokenizer
from gen.interop.tokenizers.settings import CONFIG, TokenizerSettings

BYT5 = "ByT5Tokenizer"
FIRST, SENTINELS = 3, 125  # pad, eos and unk come first; extra_ids of transformers' ByT5Tokenizer


class Utf8Tokenizer(PretrainedTokenizer):
  """ByT5's tokenizer; sentinels and added tokens follow the bytes."""

  kind = "byt5"

  def __init__(self, settings: TokenizerSettings) -> None:
    """Applies the settings of tokenizer_config.json.

    Raises:
      UserError: for an invalid number of sentinels.
    """
    count = settings.option("extra_ids", SENTINELS)
    if not 0 <= count < MAX_IDS:
      raise UserError(f"{CONFIG}: extra_ids {count} is not allowed; it must be between 0 and {MAX_IDS:,}")
    special = dict(enumerate(("<pad>", "</s>", "<unk>")))
    special |= {FIRST + 256 + extra_number: f"<extra_id_{extra_number}>" for extra_number in range(count)}
    special |= {number: token.content for number, token in settings.added.items()}
    pieces = [b""] * (1 + max(FIRST + 255, *special))
    pieces[FIRST : FIRST + 256] = [bytes([byte]) for byte in range(256)]
    ids = {name: number for number, name in special.items()}
    named = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"} | settings.roles
    roles = {role: ids.get(name) for role, name in named.items()}
    self._names = json.dumps(sorted(special.items())).encode()
    files = {CONFIG: json.dumps(settings.values | {"tokenizer_class": BYT5}).encode()}
    super().__init__({**settings.files, **files}, pieces, special, roles)

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones."""
    return [np.frombuffer(encode_utf8(text), np.uint8).astype(np.int32) + FIRST for text in texts]

  def frame(self) -> tuple[Ids, Ids]:
    """Returns </s> after a text."""
    return (), () if self.eos is None else (self.eos,)

  def _model(self) -> bytes:
    return self._names

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    _, after = self.frame()
    first = [*self.encode(text).tolist(), *after]
    return first if pair is None else [*first, *self.encode(pair).tolist(), *after]

  def _decode(self, numbers: list[int], keep_special: bool) -> str:
    names = self._special if keep_special else {}
    pieces = [names[number].encode() if number in names else self._pieces[number] for number in numbers]
    return b"".join(pieces).decode("utf-8", errors="replace")
