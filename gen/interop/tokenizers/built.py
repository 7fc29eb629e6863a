"""Converts older tokenizer files to the content of tokenizer.json.

    vocab.json + merges.txt   byte-level BPE: GPT-2; RoBERTa and BART with <s> ... </s> around a text
    vocab.txt                 BERT's WordPiece with [CLS] ... [SEP]

The result equals that of transformers' classes of the same name.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gen.data.tokenizers.tokenizer import encode_utf8
from gen.errors import UserError
from gen.interop.tokenizers.base import MAX_IDS, content_of, library_errors
from gen.interop.tokenizers.json_file import MAKE_ONE, JsonTokenizer, tokenizers_library
from gen.interop.tokenizers.settings import TokenAddition, TokenizerSettings
from gen.io import json_reading

VOCAB, MERGES, WORDS = "vocab.json", "merges.txt", "vocab.txt"
# White space as Python defines it; the library's lacks four separators.
_SPACES = "[\\t-\\r\\x1c-\\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
_END = "<|endoftext|>"
_GPT2 = {"unk": _END, "bos": _END, "eos": _END}
_ROBERTA = {
  "bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>",
}  # fmt: skip
_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}


def byte_level(directory: Path, settings: TokenizerSettings) -> JsonTokenizer:
  """Reads vocab.json and merges.txt.

  Raises:
    UserError: if one of them is missing or damaged.
  """
  if not (directory / MERGES).is_file():
    raise UserError(
      f"{directory} has {VOCAB} and no {MERGES}; copy it from the same checkpoint, or {MAKE_ONE}"
    )
  vocab = _checked(
    json_reading.parse_json(content_of(directory / VOCAB), str(directory / VOCAB)), directory / VOCAB
  )
  framed = _is_roberta(settings, vocab)
  roles = (_ROBERTA if framed else _GPT2) | settings.roles
  prefix = settings.option("add_prefix_space", False)
  pieces = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
  post = None
  if framed:
    sep, cls = ([roles[role], _id(roles[role], vocab, settings, directory)] for role in ("sep", "cls"))
    post = {
      "type": "RobertaProcessing",
      "sep": sep,
      "cls": cls,
      "trim_offsets": True,
      "add_prefix_space": prefix,
    }
  elif settings.option("add_bos_token", False):
    post = _template([roles["bos"]], [], [(roles["bos"], _id(roles["bos"], vocab, settings, directory))])
  model = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
    "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab,
    "merges": _merges(directory / MERGES),
  }  # fmt: skip
  content = _described(
    model, vocab, settings, roles, pre_tokenizer=pieces, post_processor=post, decoder=pieces
  )
  return JsonTokenizer(
    content, settings._replace(roles=roles, added={}), f"{directory / VOCAB} with {MERGES}"
  )


def word_pieces(directory: Path, settings: TokenizerSettings) -> JsonTokenizer:
  """Reads vocab.txt.

  Raises:
    UserError: if it is damaged, or not of a BERT tokenizer.
  """
  if settings.kind and settings.kind not in ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"):
    raise UserError(
      f"{directory / WORDS} is of the class {settings.kind}, which is not supported; {MAKE_ONE}"
    )
  lines = _lines(directory / WORDS)
  vocab = {line: number for number, line in enumerate(lines) if line}
  if not vocab:
    raise UserError(f"{directory / WORDS} is empty")
  roles = _BERT | settings.roles
  cls, sep = ((roles[role], _id(roles[role], vocab, settings, directory)) for role in ("cls", "sep"))
  model = {
    "type": "WordPiece", "unk_token": roles["unk"], "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100, "vocab": vocab,
  }  # fmt: skip
  normalizer: dict[str, object] | None = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": settings.option("tokenize_chinese_chars", True),
    "strip_accents": settings.option("strip_accents", False) if _given(settings, "strip_accents") else None,
    "lowercase": settings.option("do_lower_case", True),
  }
  cut: dict[str, object] = {"type": "BertPreTokenizer"}
  if not settings.option("do_basic_tokenize", True):
    normalizer, cut = (
      None,
      {"type": "Split", "pattern": {"Regex": _SPACES}, "behavior": "Removed", "invert": False},
    )
  content = _described(
    model, vocab, settings, roles, normalizer=normalizer, pre_tokenizer=cut,
    post_processor=_template([cls[0]], [sep[0]], [cls, sep]),
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": False},
  )  # fmt: skip
  settings = settings._replace(roles=roles, added={})
  never = settings.option("never_split", [])
  path = directory / WORDS
  if not never:
    return JsonTokenizer(content, settings, str(path))
  words = [json_reading.require_kind(word, str, "never_split") for word in never]
  return _NeverSplit(content, settings, words, {WORDS: content_of(path), **settings.files}, str(path))


class _NeverSplit(JsonTokenizer):
  """BERT's tokenizer, with added words that are matched before normalization."""

  def __init__(
    self, content: bytes, settings: TokenizerSettings, words: list[str], files: dict[str, bytes], name: str
  ) -> None:
    self._words = frozenset(words)
    chinese = settings.option("tokenize_chinese_chars", True)
    # The steps before words are split, as in transformers' class.
    self._clean = tokenizers_library().normalizers.BertNormalizer(True, chinese, False, False)
    super().__init__(content, settings, name)
    self._files = files  # tokenizer.json cannot say which words are never split

  def _model(self) -> bytes:
    return super()._model() + json.dumps(sorted(self._words)).encode()

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """Returns the ids of each text, int32, without special ones."""
    return [np.array(self._words_of(text), np.int32) for text in texts]

  def _words_of(self, text: str) -> list[int]:
    encode_utf8(text)
    ids: list[int] = []
    run: list[str] = []
    with library_errors("the tokenizer cannot encode this text"):
      for word in [*self._clean.normalize_str(text).split(), None]:
        if word is not None and word not in self._words:
          run.append(word)
          continue
        ids += self._library.encode(" ".join(run), add_special_tokens=False).ids
        run = []
        if word is not None:
          ids += [token.id for token in self._library.model.tokenize(word)]
    return ids

  def _encode_for_model(self, text: str, pair: str | None) -> list[int]:
    before, after = self.frame()
    first = [*before, *self._words_of(text), *after]
    return first if pair is None else [*first, *self._words_of(pair), *after]


def _given(settings: TokenizerSettings, name: str) -> bool:
  return settings.values.get(name) is not None


def _is_roberta(settings: TokenizerSettings, vocab: dict[str, int]) -> bool:
  """Returns whether a byte-level BPE adds <s> and </s>, by its class, its model or its vocabulary."""
  for name in (settings.kind.lower(), settings.model_type):
    if name:
      return name.startswith(("roberta", "bart", "longformer", "led"))
  return _END not in vocab and {"<s>", "</s>"} <= vocab.keys()


def _described(
  model: Mapping[str, object],
  vocab: dict[str, int],
  settings: TokenizerSettings,
  roles: dict[str, str],
  **parts: object,
) -> bytes:
  """Returns tokenizer.json of a model, with special and added tokens."""
  special = dict.fromkeys([*roles.values(), *settings.others])
  tokens = {
    vocab[name]: TokenAddition(name, normalized=False, special=True) for name in special if name in vocab
  }
  tokens |= settings.added
  missing = [number for number, token in sorted(settings.added.items()) if token.content not in vocab]
  if missing != list(range(len(vocab), len(vocab) + len(missing))):
    # The library numbers added tokens after the vocabulary; tokens with other ids must be in it.
    vocab |= {settings.added[number].content: number for number in missing}
  added = [{"id": number, **token._asdict()} for number, token in sorted(tokens.items())]
  shape = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None}
  return json.dumps(shape | parts | {"model": dict(model)}, ensure_ascii=False).encode()


def _template(before: list[str], after: list[str], marks: list[tuple[str, int]]) -> dict[str, object]:
  """Returns a post-processor that adds special tokens around a text, or around each of two."""

  def special(names: list[str], kind: int) -> list[dict[str, object]]:
    return [{"SpecialToken": {"id": name, "type_id": kind}} for name in names]

  def text(name: str, kind: int) -> list[dict[str, object]]:
    return [{"Sequence": {"id": name, "type_id": kind}}, *special(after, kind)]

  single = special(before, 0) + text("A", 0)
  second = text("B", 1) if after else special(before, 1) + text("B", 1)
  ids = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in marks}
  return {"type": "TemplateProcessing", "single": single, "pair": single + second, "special_tokens": ids}


def _id(name: str, vocab: dict[str, int], settings: TokenizerSettings, directory: Path) -> int:
  ids = vocab | {token.content: number for number, token in settings.added.items()}
  if name not in ids:
    raise UserError(
      f"the vocabulary in {directory} has no {name!r}, which the tokenizer adds to each text; name the right token in"
      " tokenizer_config.json"
    )
  return ids[name]


def _checked(vocab: dict[str, int], path: Path) -> dict[str, int]:
  """Returns a vocabulary after checking that its ids are unique integers.

  Raises:
    UserError: if they are not.
  """
  if not vocab:
    raise UserError(f"{path} is empty")
  owners: dict[int, str] = {}
  for piece, number in vocab.items():
    json_reading.require_kind(number, int, f"{path}: the id of {piece[:40]!r}")
    if not 0 <= number < MAX_IDS:
      raise UserError(f"{path} gives {piece[:40]!r} the id {number}; ids must be between 0 and {MAX_IDS:,}")
    if owners.setdefault(number, piece) != piece:
      raise UserError(f"{path} gives the id {number} to {owners[number][:40]!r} and to {piece[:40]!r}")
  return vocab


def _lines(path: Path) -> list[str]:
  """Returns the lines of a UTF-8 text; split only at the line ends of Python's text files."""
  try:
    text = content_of(path).decode("utf-8-sig")
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from error
  except UnicodeDecodeError as error:
    raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from error
  lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
  return lines if lines[-1] else lines[:-1]


def _merges(path: Path) -> list[list[str]]:
  lines = _lines(path)
  merges = []
  for number, line in enumerate(lines, 1):
    if not line or (number == 1 and line.startswith("#version")):
      continue
    pair = line.split(" ")
    if len(pair) != 2 or not all(pair):
      raise UserError(
        f"{path}, line {number}: {line[:40]!r} is not a merge; write two pieces with a space between"
      )
    merges.append(pair)
  return merges
