"""What is stored beside the arrays of a checkpoint."""

from pathlib import Path
from typing import TypedDict

from gen.errors import UserError
from gen.training.run_log.rows import JournalMark


class LeafRecord(TypedDict):
  """Shape and type of an array, such as float32."""

  shape: list[int]
  dtype: str


Tree = dict[str, LeafRecord]
"""Arrays by path."""


# Not total: checkpoints of fine-tuning, imports and quantization hold only a part of these entries.
class CheckpointMeta(TypedDict, total=False):
  """What is saved beside the arrays of a checkpoint.

  `data` and `sums` say how far the run was; `head` says whether the parameters have an output head,
  and `imported` is the folder that they were imported from.
  """

  step: int
  config: dict[str, object]
  run: str
  corpus: str
  corpus_sha256: str
  tokenizer: str
  devices: list[str]
  sums: dict[str, float]
  data: dict[str, int]
  journal: JournalMark
  head: bool
  imported: str


class CheckpointRecord(TypedDict):
  """The content of `meta.json`: `saved` is a time in unix seconds, `bytes` the size of the arrays."""

  step: int
  saved: float
  bytes: int
  meta: CheckpointMeta
  tree: Tree


def require_tokenizer(meta: CheckpointMeta, tokenizer: str, path: str | Path) -> None:
  """Checks that the checkpoint at a path was trained with the tokenizer of a hash.

  Raises:
    UserError: if the checkpoint has another hash.
  """
  if meta.get("tokenizer") != tokenizer:
    raise UserError(
      f"checkpoint {path} was trained with tokenizer {meta.get('tokenizer')}, but the data now use {tokenizer}; "
      "set the same data.tokenizer, data.vocab and data.corpus as in training"
    )
