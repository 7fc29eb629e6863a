"""Settings of a tokenizer from its other files: special tokens, added tokens, and options.

tokenizer_config.json     all of it: roles, added_tokens_decoder, extra_ids, do_lower_case, the class
special_tokens_map.json   roles, in older checkpoints
added_tokens.json         ids of added tokens, in older checkpoints
config.json               the class, if no other file names it
"""

from pathlib import Path
from typing import Any, NamedTuple

from gen.errors import UserError
from gen.interop.tokenizers.base import MAX_IDS, ROLES, content_of
from gen.io import json_reading

CONFIG, SPECIAL_MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
FILES = (CONFIG, SPECIAL_MAP, ADDED)
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


class TokenAddition(NamedTuple):
  """A token that was added to a vocabulary.

  Attributes:
    content: its text.
    lstrip: whether it absorbs the white space to its left.
    rstrip: whether it absorbs the white space to its right.
    single_word: whether it matches only whole words.
    normalized: whether it is matched in the normalized text.
    special: whether it is no text.
  """

  content: str
  lstrip: bool = False
  rstrip: bool = False
  single_word: bool = False
  normalized: bool = True
  special: bool = False


class TokenizerSettings(NamedTuple):
  """The settings of a tokenizer.

  Attributes:
    values: tokenizer_config.json.
    roles: the names of special tokens, pad, eos, unk and so on.
    others: the names of special tokens without a role.
    added: added tokens by id.
    kind: name of transformers' class without "Fast", for example "T5Tokenizer"; empty if none is given.
    model_type: of config.json, or empty.
    files: contents of the files that were read, by name.
  """

  values: dict[str, object]
  roles: dict[str, str]
  others: tuple[str, ...]
  added: dict[int, TokenAddition]
  kind: str
  model_type: str
  files: dict[str, bytes]

  def option(self, name: str, default: Any) -> Any:
    """Returns an option of tokenizer_config.json, which must be of the type of its default, or null."""
    value = self.values.get(name)
    return default if value is None else json_reading.require_kind(value, type(default), f"{CONFIG}: {name}")


NOTHING = TokenizerSettings({}, {}, (), {}, "", "", {})


def read_settings(directory: Path) -> TokenizerSettings:
  """Returns the settings in the files of a directory; each file may be missing.

  Raises:
    UserError: for one that cannot be read, or a value of a wrong type.
  """
  paths = {name: directory / name for name in FILES if (directory / name).is_file()}
  files = {name: json_reading.parse_json(content_of(path), str(path)) for name, path in paths.items()}
  values = files.get(CONFIG, {})
  added = _added(directory, values, files.get(ADDED, {}))
  # In older checkpoints the map takes precedence; with added_tokens_decoder, the config does.
  sources = [(CONFIG, values), (SPECIAL_MAP, files.get(SPECIAL_MAP, {}))]
  if "added_tokens_decoder" in values:
    sources.reverse()
  roles: dict[str, str] = {}
  others: list[str] = []
  for name, content in sources:
    for role in ROLES:
      token = content.get(f"{role}_token")
      if token is not None:
        roles[role] = _token(token, f"{directory / name}: {role}_token").content
    for key in _LISTS:
      others += _names(content.get(key), f"{directory / name}: {key}")
  special = {*roles.values(), *others}
  added = {
    number: token._replace(special=token.special or token.content in special)
    for number, token in added.items()
  }
  model = json_reading.read_json(directory / "config.json") if (directory / "config.json").is_file() else {}
  kinds = (values.get("tokenizer_class"), model.get("tokenizer_class"))
  kind = next((kind for kind in kinds if isinstance(kind, str)), "").removesuffix("Fast")
  model_type = model.get("model_type")
  return TokenizerSettings(
    values, roles, tuple(dict.fromkeys(others)), added, kind,
    model_type if isinstance(model_type, str) else "",
    {name: content_of(path) for name, path in paths.items()},
  )  # fmt: skip


def _added(directory: Path, values: dict[str, object], older: dict[str, object]) -> dict[int, TokenAddition]:
  """Returns added tokens by id; added_tokens_decoder takes precedence over added_tokens.json."""
  additions: dict[int, TokenAddition] = {}
  where = str(directory / ADDED)
  for content, number in older.items():
    _place(additions, number, TokenAddition(content), where)
  where = f"{directory / CONFIG}: added_tokens_decoder"
  decoder = values.get("added_tokens_decoder")
  newer: dict[int, TokenAddition] = {}
  for key, token in json_reading.require_kind(decoder or {}, dict, where).items():
    # isdecimal alone accepts digits of other scripts; 20 digits bound the time of `int`.
    number = int(key) if key.isascii() and key.isdecimal() and len(key) < 20 else key
    _place(newer, number, _token(token, f"{where} {key[:40]!r}"), where)
  return additions | newer


def _place(additions: dict[int, TokenAddition], number: Any, token: TokenAddition, where: str) -> None:
  if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MAX_IDS:
    raise UserError(
      f"{where} gives {token.content[:40]!r} the id {str(number)[:40]}; it must be a whole number below {MAX_IDS:,}"
    )
  if additions.setdefault(number, token) != token:
    raise UserError(
      f"{where} gives the id {number} to {additions[number].content[:40]!r} and to {token.content[:40]!r}"
    )


def _token(value: Any, where: str) -> TokenAddition:
  """Returns a token from its text, or from an object with flags."""
  if isinstance(value, str):
    return TokenAddition(value)
  json_reading.require_kind(value, dict, where)
  content = json_reading.require_field(value, "content", str, where)
  flags = {
    flag: json_reading.require_field(value, flag, bool, where)
    for flag in _FLAGS
    if value.get(flag) is not None
  }
  return TokenAddition(content, **flags)


def _names(value: Any, where: str) -> list[str]:
  if value is None:
    return []
  values = value.values() if isinstance(value, dict) else json_reading.require_kind(value, list, where)
  return [_token(each, where).content for each in values]
