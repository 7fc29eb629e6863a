"""Dataclasses as JSON and back: the one codec of results, verdicts, journal rows, messages and configs.

A record is a dataclass whose fields are numbers, texts, booleans, lists, tuples, dictionaries, other records, or
unions of these. On disk it is an object with the names of its fields. A field whose default is None is left out where
it is None. NaN and infinities are null, and null is NaN where a field must be a number.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from gen.errors import UserError
from gen.io import strict_json

Record = TypeVar("Record")
_EMPTY = "empty_if_none"
EMPTY_IF_NONE = {_EMPTY: True}
"""Metadata of an optional field with a default of None: None is written as {}, and {} is read as None.

>>> @dataclasses.dataclass
... class Size:
...   width: int
>>> @dataclasses.dataclass
... class Model:
...   size: Size | None = dataclasses.field(default=None, metadata=EMPTY_IF_NONE)
>>> encode_record(Model()), decode_record(Model, {"size": {}}, "a.json")
({'size': {}}, Model(size=None))
"""


def encode_record(record: Any) -> dict[str, object]:
  """Returns a record as plain values that JSON can hold, in the order of its fields.

  >>> @dataclasses.dataclass
  ... class Point:
  ...   loss: float
  ...   seed: int | None = None
  >>> encode_record(Point(math.nan)), encode_record(Point(2.5, 1))
  ({'loss': None}, {'loss': 2.5, 'seed': 1})
  """
  values: dict[str, object] = {}
  for field in dataclasses.fields(record):
    value = getattr(record, field.name)
    if value is None and _EMPTY in field.metadata:
      values[field.name] = {}
    elif value is not None or field.default is not None:
      values[field.name] = encode_value(value)
  return values


def decode_record(kind: type[Record], values: Any, name: str, null_is_nan: bool = True) -> Record:
  """Returns the record of plain values; the inverse of `encode_record`.

  Args:
    kind: the dataclass.
    values: as JSON held them. A field that is absent has its default.
    name: what errors call the values, for example "runs/a/results.json" or "line 7 of journal.jsonl".
    null_is_nan: whether null stands for a number that JSON lacks; otherwise it is refused.

  Raises:
    UserError: one sentence with the name and the field, for a field that is missing, unknown or of another type.

  >>> @dataclasses.dataclass
  ... class Size:
  ...   width: int
  >>> decode_record(Size, {"width": 8}, "a.json")
  Size(width=8)
  """
  if not isinstance(values, Mapping):
    raise UserError(f"{name} is {_shown(values)}; it must be an object with the fields of one")
  key_of_cache: Any = kind  # mypy takes no generic type for hashable
  types_by_field = _field_types(key_of_cache)
  unknown = sorted(str(key) for key in values if key not in types_by_field)
  if unknown:
    raise UserError(f"{name} has no field {unknown[0]!r}; it has {', '.join(types_by_field)}")
  missing = [field for field in _required(key_of_cache) if field not in values]
  if missing:
    raise UserError(f"{name} lacks the field {missing[0]!r}")
  return kind(
    **{
      key: _decode(types_by_field[key], value, name, key, null_is_nan)
      for key, value in values.items()
      if value != {} or key not in _empty_if_none(key_of_cache)
    }
  )


@functools.cache
def _field_types(kind: Any) -> dict[str, type]:
  """Returns the type of each field of a dataclass, by name."""
  hints = typing.get_type_hints(kind)
  return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


@functools.cache
def _required(kind: Any) -> tuple[str, ...]:
  return tuple(
    field.name
    for field in dataclasses.fields(kind)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
  )


@functools.cache
def _empty_if_none(kind: Any) -> tuple[str, ...]:
  return tuple(field.name for field in dataclasses.fields(kind) if _EMPTY in field.metadata)


def encode_value(value: Any) -> Any:
  """Returns a value as JSON can hold it; each record and named tuple in it becomes an object."""
  if dataclasses.is_dataclass(value):
    return encode_record(value)
  if isinstance(value, tuple) and hasattr(value, "_asdict"):
    return {name: encode_value(item) for name, item in value._asdict().items()}
  if isinstance(value, Mapping):
    return {str(key): encode_value(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [encode_value(item) for item in value]
  return strict_json.plain_value(value)


def _decode(kind: Any, value: Any, name: str, field: str, null_is_nan: bool) -> Any:
  """Returns the value of a field, or raises UserError."""
  origin, inner = get_origin(kind), get_args(kind)
  if kind is Any or kind is object:
    return value
  if origin in (Union, types.UnionType):
    return _decode_union(inner, value, name, field, null_is_nan)
  if dataclasses.is_dataclass(kind):
    return decode_record(kind, value, f"{name}: {field}", null_is_nan)  # type: ignore[arg-type, type-var]
  if typing.is_typeddict(kind) and isinstance(value, Mapping):
    return dict(value)
  if origin in (list, tuple) and isinstance(value, list | tuple):
    return _decode_items(kind, value, name, field, null_is_nan)
  if origin in (dict, Mapping) and isinstance(value, Mapping):
    return {key: _decode(inner[1], item, name, f"{field}.{key}", null_is_nan) for key, item in value.items()}
  if kind is float and value is None and null_is_nan:
    return math.nan
  if not _is_of(kind, value):
    raise UserError(f"{name}: {field} is {_shown(value)}, which is not of type {_type_name(kind)}")
  return value


def _decode_union(kinds: tuple[Any, ...], value: Any, name: str, field: str, null_is_nan: bool) -> Any:
  if value is None and type(None) in kinds:
    return None
  rest = [kind for kind in kinds if kind is not type(None)]
  if len(rest) == 1:  # Its own error says more than that of the union.
    return _decode(rest[0], value, name, field, null_is_nan)
  # In the order of the annotation, so `int | float` keeps a whole number whole.
  for kind in rest:
    try:
      return _decode(kind, value, name, field, null_is_nan)
    except UserError:
      continue
  wanted = " or ".join(map(_type_name, rest))
  raise UserError(f"{name}: {field} is {_shown(value)}, which is not of type {wanted}")


def _decode_items(kind: Any, value: Any, name: str, field: str, null_is_nan: bool) -> Any:
  """Returns a list, a tuple of items of one type, or a tuple of a fixed length."""
  inner, is_tuple = get_args(kind), get_origin(kind) is tuple
  is_fixed = is_tuple and inner[-1] is not ...
  if is_fixed and len(inner) != len(value):
    raise UserError(f"{name}: {field} is {_shown(value)}, which is not of type {_type_name(kind)}")
  kinds = inner if is_fixed else inner[:1] * len(value)
  items = [
    _decode(item_kind, item, name, f"{field}[{i}]", null_is_nan)
    for i, (item_kind, item) in enumerate(zip(kinds, value, strict=True))
  ]
  return tuple(items) if is_tuple else items


def _is_of(kind: Any, value: Any) -> bool:
  """Returns whether a value is of a plain type; whole numbers are numbers, booleans are not."""
  if get_origin(kind) is Literal:
    return value in get_args(kind)
  if not isinstance(kind, type):
    return False
  # First, because bool is a subclass of int.
  if isinstance(value, bool):
    return kind is bool
  if kind is int and isinstance(value, float):
    # Other writers of JSON, JavaScript's among them, do not tell 3.0 from 3.
    return value.is_integer()
  return isinstance(value, (int, float) if kind is float else kind)


def _type_name(kind: Any) -> str:
  return str(kind) if get_origin(kind) or not isinstance(kind, type) else kind.__name__


def _shown(value: Any) -> str:
  return repr(str(value)[:40])
