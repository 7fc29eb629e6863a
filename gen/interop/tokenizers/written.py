"""Writes a tokenizer that was trained here as tokenizer.json, for a checkpoint of its run.

The ids are the same. Two texts are encoded otherwise by other libraries: the names of special tokens become special
tokens, and U+2581 becomes a space.
"""

import json
from pathlib import Path

import sentencepiece

from gen.data.tokenizers.tokenizer import ByteTokenizer, Tokenizer
from gen.interop.tokenizers.json_file import JSON, byte_letters

_SPACE = "\u2581"
_NEVER = -1e6  # score of pieces that only stand for bytes or special tokens
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unk", "pad_token": "pad"}


def write_tokenizer(folder: Path, tokenizer: Tokenizer, vocab: int, ends: bool) -> None:
  """Writes tokenizer.json and tokenizer_config.json.

  Args:
    folder: of the checkpoint.
    tokenizer: of bytes, or trained by SentencePiece.
    vocab: of the model; special tokens with other ids are left out.
    ends: whether a text is followed by the end token.
  """
  (folder / JSON).write_text(json.dumps(_describe(tokenizer, vocab, ends), ensure_ascii=False) + "\n")
  config: dict[str, object] = {
    role: tokenizer.name(getattr(tokenizer, ours)) for role, ours in _ROLES.items()
  }
  for role, number in (("mask", tokenizer.mask), ("cls", tokenizer.cls), ("sep", tokenizer.sep)):
    if number < vocab:
      config[f"{role}_token"] = tokenizer.name(number)
  config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
  (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def _describe(tokenizer: Tokenizer, vocab: int, ends: bool) -> dict[str, object]:
  """Returns the content of tokenizer.json."""
  special = {
    tokenizer.name(number): number
    for number in range(min(vocab, tokenizer.vocab))
    if tokenizer.is_special(number)
  }
  parts = _of_bytes(special) if isinstance(tokenizer, ByteTokenizer) else _of_pieces(tokenizer, special)
  flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
  added = [{"id": number, "content": name, **flags} for name, number in special.items()]
  marks = [tokenizer.name(number) for number in (tokenizer.bos, tokenizer.eos)]
  around = [[{"SpecialToken": {"id": name, "type_id": 0}}] for name in marks]
  single = [*around[0], {"Sequence": {"id": "A", "type_id": 0}}, *(around[1] if ends else [])]
  post = {
    "type": "TemplateProcessing",
    "single": single,
    "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {
      name: {"id": name, "ids": [special[name]], "tokens": [name]} for name in (marks if ends else marks[:1])
    },
  }
  rest = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": added,
    "post_processor": post,
  }
  return rest | parts


def _bpe(vocab: dict[str, int], merges: list[list[str]], fallback: bool) -> dict[str, object]:
  return {
    "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
    "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": fallback, "ignore_merges": False, "vocab": vocab,
    "merges": merges,
  }  # fmt: skip


def _of_bytes(special: dict[str, int]) -> dict[str, object]:
  first = ByteTokenizer().encode("\0")[0]
  letters = {letter: int(first) + byte for letter, byte in byte_letters().items()}
  level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
  return {
    "model": _bpe(special | letters, [], False), "normalizer": None, "pre_tokenizer": level, "decoder": level,
  }  # fmt: skip


def _of_pieces(tokenizer: Tokenizer, special: dict[str, int]) -> dict[str, object]:
  processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized_model())
  names = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
  names = [
    tokenizer.name(number) if tokenizer.is_special(number) else name for number, name in enumerate(names)
  ]
  score = {
    name: processor.get_score(number)
    for number, name in enumerate(names)
    if not (processor.is_byte(number) or tokenizer.is_special(number))
  }
  if tokenizer.kind == "unigram":
    model: dict[str, object] = {
      "type": "Unigram", "unk_id": tokenizer.unk, "byte_fallback": True,
      "vocab": [[name, score.get(name, _NEVER)] for name in names],
    }  # fmt: skip
  else:
    ids = {name: number for number, name in enumerate(names)}
    model = _bpe(special | ids, _merges(score, ids), True)
  return {
    "model": model,
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
    "pre_tokenizer": None,
    "decoder": {
      "type": "Sequence",
      "decoders": [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
      ],
    },
  }


def _merges(score: dict[str, float], ids: dict[str, int]) -> list[list[str]]:
  """Returns all pairs of pieces that make a piece, the best first."""
  merges: list[tuple[float, int, int, list[str]]] = []
  for name, value in score.items():
    for cut in range(1, len(name)):
      left, right = name[:cut], name[cut:]
      if left in score and right in score:
        merges.append((-value, ids[left], ids[right], [left, right]))
  return [pair for *_, pair in sorted(merges)]
