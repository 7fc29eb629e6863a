"""Config overrides from the command line: `--config.path=value` checked and converted before anything is built."""

import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from gen.config import mixture
from gen.errors import UserError
from gen.io import quantities

# Names of other code bases for a field, where no spelling correction would find it.
OTHER_NAMES = {
  "batch_size": "data.batch",
  "context_length": "data.length",
  "dim": "model.width",
  "hidden_size": "model.width",
  "layers": "model.depth",
  "lr": "optimizer.peak_learning_rate",
  "num_layers": "model.depth",
  "precision": "model.dtype",
  "sequence_length": "data.length",
}
MIN_SIMILARITY = 0.6  # of two names; the cutoff that difflib itself takes by default


def is_of_kind(value: Any, kind: type) -> Any:
  """Returns the config if it is of that kind."""
  if isinstance(value, kind):
    return value
  raise UserError(
    f"--config holds a config of type {type(value).__name__}; this experiment needs {kind.__name__} (see configs/)"
  )


def placed_overrides(words: list[str]) -> Iterator[tuple[int, str, str | None]]:
  """Yields the index of the word that holds the value, the field's path and the value."""
  for index, (word, following) in enumerate(itertools.pairwise([*words, None])):
    if word is None or word == "--":
      return
    if not word.startswith(("--config.", "-config.")):
      continue
    path, equals, value = word.lstrip("-")[len("config.") :].partition("=")
    yield (index, path, value) if equals else (index + 1, path, following)


def check_overrides(words: list[str], kind: type) -> list[str]:
  """Checks each `--config.path=value` against the dataclass before anything is built.

  Returns:
    The words with every number spelled out: `--config.steps=1k` becomes `--config.steps=1000`.

  Raises:
    UserError: for an unknown field, naming the nearest one, or a value of the wrong type.
  """
  words = list(words)
  for index, path, value in list(placed_overrides(words)):
    plain = _plain_value(path, value, _field_type(path, kind))
    words[index] = words[index].removesuffix(value or "") + plain
  return words


def _field_type(path: str, kind: type) -> Any:
  here: Any = kind
  for name in path.split("."):
    fields = {f.name: f.type for f in dataclasses.fields(here)} if dataclasses.is_dataclass(here) else {}
    if name not in fields:
      raise UserError(f"config has no field {path!r}; {nearest_field(path, kind)}")
    here = fields[name]
  return here


def nearest_field(path: str, kind: type) -> str:
  """Returns a clause that names the most similar field, or all top-level fields if none is similar."""
  known, leaf = list(field_paths(kind)), path.split(".")[-1]
  if OTHER_NAMES.get(leaf) in known:
    return f"the nearest is --config.{OTHER_NAMES[leaf]}"
  by_leaf = [
    candidate
    for candidate in known
    if difflib.get_close_matches(leaf, [candidate.split(".")[-1]], 1, MIN_SIMILARITY)
  ]
  nearest = difflib.get_close_matches(path, by_leaf or known, 1, 0.0 if by_leaf else MIN_SIMILARITY)
  if nearest:
    return f"the nearest is --config.{nearest[0]}"
  return f"its fields are {', '.join(field.name for field in dataclasses.fields(kind))}"  # type: ignore[arg-type]


def field_paths(kind: type, prefix: str = "") -> dict[str, Any]:
  """Returns the type of each plain field, by its path."""
  types: dict[str, Any] = {}
  for field in dataclasses.fields(kind):
    if dataclasses.is_dataclass(field.type):
      types |= field_paths(field.type, f"{prefix}{field.name}.")  # type: ignore[arg-type]
    else:
      types[prefix + field.name] = field.type
  return types


def _plain_value(path: str, value: str | None, kind: Any) -> str:
  """Returns the value as the config's own parser reads it; numbers may carry units."""
  if dataclasses.is_dataclass(kind):
    raise UserError(
      f"--config.{path} is a group of fields; set one of them, as in --config.{path}.NAME=VALUE"
    )
  if value is None:
    raise UserError(f"--config.{path} has no value; write --config.{path}=VALUE")
  flag = f"--config.{path}={quantities.shorten_text(value)}"
  try:
    if kind is bool and value.lower() not in ("true", "false", "1", "0"):
      raise UserError(f"{flag}: the value must be of type bool, true or false")
    if kind is int:
      return str(quantities.parse_integer(value, -quantities.MAX_INTEGER))
    if kind is float:
      return repr(quantities.parse_number(value))
    if get_origin(kind) is tuple and get_args(kind)[0] is mixture.MixtureCorpus:
      return _mixture(value)
    if get_origin(kind) is tuple and get_args(kind)[0] is str and not value.lstrip().startswith(("(", "[")):
      return repr(tuple(part.strip() for part in value.split(",") if part.strip()))  # words need no quotes
    if get_origin(kind) is tuple:
      return repr(_tuple(quantities.parse_literal(value), kind))
  except TypeError:
    raise UserError(f"{flag}: the value must be a tuple such as {_example(kind)}") from None
  except (SyntaxError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    if kind in (int, float):
      raise UserError(f"{flag}: the value must be of type {kind.__name__}; {error}") from None
    raise UserError(f"{flag}: the value must be a tuple such as {_example(kind)}") from None
  return value


def _mixture(value: str) -> str:
  """Returns a mixture, written as text or as a Python literal, as tuples of its corpora's fields."""
  written: Any = quantities.parse_literal(value) if value.lstrip().startswith(("(", "[", "{")) else value
  return repr(tuple(dataclasses.astuple(corpus) for corpus in mixture.read_mixture(written)))


def _example(kind: Any) -> str:
  if get_args(kind)[0] is mixture.MixtureCorpus:
    return mixture.EXAMPLE
  if get_args(kind)[0] is str:
    return "('a', 'b')"
  return "((1, 2), (3, 4))" if get_origin(get_args(kind)[0]) is tuple else "(1, 2)"


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
  """Returns a literal as a tuple of that kind; whole numbers may be written as 1e3.

  Raises:
    TypeError: if it is no such tuple.
  """
  if not isinstance(value, (tuple, list)):
    raise TypeError(value)
  inner = get_args(kind)[0]
  if get_origin(inner) is tuple:
    return tuple(_tuple(item, inner) for item in value)
  return tuple(_item(item, inner) for item in value)


def _item(item: Any, kind: type) -> Any:
  if kind is int and isinstance(item, float) and item.is_integer():
    return int(item)
  is_integer = isinstance(item, int) and not isinstance(item, bool)
  if kind is float and (is_integer or (isinstance(item, float) and math.isfinite(item))):
    return item
  if kind is int and is_integer and abs(item) <= quantities.MAX_INTEGER:
    return item
  if kind not in (int, float) and isinstance(item, kind):
    return item
  raise TypeError(item)
