"""Tokenizers of SentencePiece models whose checkpoints count their ids in their own way."""

from collections.abc import Sequence

import numpy as np

from gen.data.tokenizer import utf8
from gen.interop.tokenizers.base import Ids, PretrainedTokenizer
from gen.interop.tokenizers.json_file import shown_piece

T5_MODEL, XLM_ROBERTA_MODEL = "spiece.model", "sentencepiece.bpe.model"
T5_SENTINELS = 100


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
    text = [shown_piece(piece) for piece in pieces]
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
    super().__init__({kind: content}, text, special, roles)

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

  def frame(self) -> tuple[Ids, Ids]:
    """Returns <s> and </s> for XLM-RoBERTa, </s> alone for T5."""
    eos: Ids = () if self.eos is None else (self.eos,)
    return ((self.bos,) if self._offset else ()), eos

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
