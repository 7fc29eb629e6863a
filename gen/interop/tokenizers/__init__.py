"""Tokenizers of Hugging Face checkpoints behind the interface of `gen.data.tokenizer`.

    tokenizer = tokenizers.load(directory)
    ids = tokenizer.encode("A text.")                   # of the text alone
    ids = tokenizer.encode_for_model("A text.")         # with the special tokens that its model expects

tokenizer.json is read by the `tokenizers` library (`pip install gen[interop]`), spiece.model (T5) and
sentencepiece.bpe.model (XLM-RoBERTa) by sentencepiece. What differs from a tokenizer of `gen`: special ids lie
anywhere, some are absent (None), and text may be normalized, so that decoding need not give it back.
"""

import json
from pathlib import Path

from gen.errors import UserError
from gen.interop.tokenizers.base import ROLES, PretrainedTokenizer
from gen.interop.tokenizers.json_file import JSON, JsonTokenizer
from gen.interop.tokenizers.sentence_pieces import T5_MODEL, XLM_ROBERTA_MODEL, SentencePieceTokenizer

__all__ = ["FILES", "JsonTokenizer", "PretrainedTokenizer", "SentencePieceTokenizer", "load"]
FILES = (JSON, T5_MODEL, XLM_ROBERTA_MODEL)


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


def _named_roles(directory: Path) -> dict[str, str]:
  """Returns the names of special tokens by role, as files beside the tokenizer give them."""
  found: dict[str, str] = {}
  for name in ("tokenizer_config.json", "special_tokens_map.json"):
    path = directory / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for role in ROLES:
      token = content.get(f"{role}_token")
      token = token.get("content") if isinstance(token, dict) else token
      if isinstance(token, str):
        found[role] = token
  return found
