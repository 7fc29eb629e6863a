"""Configs as plain values and back."""

import dataclasses
from typing import Any

from gen.io import typed_json


def to_dict(config: Any) -> dict[str, Any]:
  """Returns the config as plain values that JSON can hold."""
  return dataclasses.asdict(config)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
  """Rebuilds a config; the inverse of `to_dict`, also after a trip through JSON.

  Raises:
    UserError: for a field that `kind` does not have, or a value that is not of its type.
  """
  return typed_json.decode_record(kind, values, kind.__name__.lower(), null_is_nan=False)
