"""Encodes values as strict JSON; numbers that JSON does not have (NaN, infinities) become null."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any


def encode_json(row: Mapping[str, object]) -> bytes:
  r"""Returns a row as one line of strict JSON.

  >>> encode_json({"kind": "train", "loss": float("nan")})
  b'{"kind": "train", "loss": null}\n'
  """
  return json.dumps(plain_value(row), allow_nan=False).encode() + b"\n"


def plain_value(value: Any) -> Any:
  """Returns a value as JSON can hold it; numpy's and jax's numbers and arrays become Python's."""
  if isinstance(value, dict):
    return {str(key): plain_value(item) for key, item in value.items()}
  if isinstance(value, list | tuple | set | frozenset):
    return [plain_value(item) for item in value]
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  # Not isinstance: importing jax for its type would take a second.
  if hasattr(value, "tolist"):  # numpy's scalars and arrays, jax's arrays
    return plain_value(value.tolist())
  return None if isinstance(value, float) and not math.isfinite(value) else value
