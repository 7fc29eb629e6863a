"""Configs as plain values and back."""

import dataclasses
from typing import Any, get_args, get_origin

from gen.errors import UserError


def to_dict(config: Any) -> dict[str, Any]:
  """Returns the config as plain values that JSON can hold."""
  return dataclasses.asdict(config)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
  """Rebuilds a config; the inverse of `to_dict`, also after a trip through JSON.

  Raises:
    UserError: for a field that `kind` does not have, or a value that is not of its type.
  """
  name_of_kind = kind.__name__.lower()
  if not isinstance(values, dict):
    raise UserError(f"{name_of_kind} is {str(values)[:40]!r}; it must be an object with the fields of one")
  fields = {field.name: field for field in dataclasses.fields(kind)}
  unknown = sorted(set(values) - set(fields))
  if unknown:
    raise UserError(f"{name_of_kind} has no field {unknown[0]!r}; it has {', '.join(fields)}")
  built = {}
  for name, value in values.items():
    kind_of_field: Any = fields[name].type
    if dataclasses.is_dataclass(kind_of_field):
      value = from_dict(kind_of_field, value)  # type: ignore[arg-type]
    elif isinstance(value, list):
      value = _tuples(value)
    if not _is_of(value, kind_of_field):
      raise UserError(
        f"{name_of_kind}: {name} is {str(value)[:40]!r}, which is not of type {_type_name(kind_of_field)}"
      )
    built[name] = value
  return kind(**built)


def _is_of(value: Any, kind: Any) -> bool:
  """Returns whether a value may be that of a field; whole numbers are numbers, booleans are not."""
  if get_origin(kind) is tuple:
    inner = get_args(kind)
    kinds = [inner[0]] * len(value) if isinstance(value, tuple) and inner[-1] is ... else inner
    return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
  if isinstance(value, bool):
    return kind is bool
  if kind is int and isinstance(value, float):
    return value.is_integer()
  return isinstance(value, (int, float) if kind is float else kind)


def _type_name(kind: Any) -> str:
  return str(kind) if get_origin(kind) else kind.__name__


def _tuples(value: Any) -> Any:
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
