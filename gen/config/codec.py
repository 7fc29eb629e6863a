"""Converts configs to plain values and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gen.io import typed_json


def to_dict(config: Any) -> dict[str, object]:
  """Returns a config as plain values that JSON can hold."""
  return dataclasses.asdict(config)


def from_dict(kind: type, values: Mapping[str, object]) -> Any:
  """Returns a config from plain values; the inverse of `to_dict`, also for values that were read from JSON.

  Args:
    kind: the dataclass of the config.
    values: fields by name; those that are missing have their defaults.

  Raises:
    UserError: for a field that `kind` does not have, or a value of another type.
  """
  return typed_json.decode_record(kind, values, kind.__name__.lower(), null_is_nan=False)
