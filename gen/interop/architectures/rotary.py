"""Rotary positions in config.json: `rope_parameters` of newer files, `rope_theta` and `rope_scaling` of older ones."""

import math
from collections.abc import Mapping
from typing import TypedDict

from gen.config import Model
from gen.errors import UserError
from gen.interop.architectures.hf_config import HfConfig

# rope_type: its numbers beside rope_theta
_SCALING = {
  "default": (),
  "linear": ("factor",),
  "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
# Bases in use are up to 1e7; their powers must stay within float32.
_LARGEST = 1e30


class RotaryFields(TypedDict, total=False):
  """The fields of `Model` about rotary positions."""

  positions: str
  rotary_base: float
  rotary_width: int
  rotary_factor: float
  rotary_context: int
  rotary_low: float
  rotary_high: float


class RotaryDescription(TypedDict):
  """The fields of config.json about rotary positions: older names, and all of them in `rope_parameters`."""

  rope_theta: float
  rope_scaling: dict[str, str | float] | None
  rope_parameters: dict[str, str | float]


def read_rotary(hf: HfConfig, head_width: int) -> RotaryFields:
  """Returns the fields of a `Model` about rotary positions.

  Args:
    hf: config.json, completed by its architecture's defaults, among them `rope_theta` and `partial_rotary_factor`.
    head_width: dimensions of a head.

  Raises:
    UserError: for a kind of scaling that is not supported, or a value that is not a positive number.
  """
  # The older name first: a file that has both was written for readers of either, with equal values.
  settings = hf.get("rope_scaling") or hf.get("rope_parameters") or {}
  if not isinstance(settings, dict) or any(isinstance(value, dict) for value in settings.values()):
    raise UserError("config.json: rope parameters by kind of layer are not supported, only one set for all")
  kind = settings.get("rope_type", settings.get("type", "default"))
  if not isinstance(kind, str) or kind not in _SCALING:
    raise UserError(
      f"config.json: rope_type {str(kind)[:40]!r} is not supported; known are {', '.join(_SCALING)}"
    )
  values = {key: hf[key] for key in ("rope_theta", "partial_rotary_factor")} | {
    "original_max_position_embeddings": hf["max_position_embeddings"]
  }
  values |= settings
  numbers = {key: _number(key, values) for key in ("rope_theta", "partial_rotary_factor", *_SCALING[kind])}
  # Rounded down, as transformers does.
  turned = int(head_width * numbers["partial_rotary_factor"])
  if not 0 < turned <= head_width or turned % 2:
    raise UserError(
      f"config.json: rotary positions would turn {turned} of a head's {head_width} dimensions; it must be an even "
      f"number from 2 to {head_width}"
    )
  fields: RotaryFields = {"positions": "rotary", "rotary_base": numbers["rope_theta"]}
  fields["rotary_width"] = 0 if turned == head_width else turned
  fields["rotary_factor"] = numbers.get("factor", 1.0)
  if kind == "llama3":
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    if high <= low:
      raise UserError(f"config.json: high_freq_factor {high:g} must be more than low_freq_factor {low:g}")
    context = int(numbers["original_max_position_embeddings"])
    fields["rotary_context"], fields["rotary_low"], fields["rotary_high"] = context, low, high
  return fields


def _number(key: str, values: Mapping[str, object]) -> float:
  value = values.get(key)
  if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST:
    raise UserError(f"config.json: rope parameter {key} must be a positive number, not {str(value)[:40]}")
  return float(value)


def describe_rotary(model: Model) -> RotaryDescription:
  """Returns config.json's fields of a model's rotary positions, in both spellings."""
  settings: dict[str, str | float] = {"rope_type": "default"}
  if model.rotary_context:
    settings |= {
      "rope_type": "llama3",
      "low_freq_factor": model.rotary_low,
      "high_freq_factor": model.rotary_high,
      "original_max_position_embeddings": model.rotary_context,
    }
  elif model.rotary_factor != 1.0:
    settings["rope_type"] = "linear"
  if settings["rope_type"] != "default":
    settings["factor"] = model.rotary_factor
  scaling = None if settings["rope_type"] == "default" else dict(settings)
  # After `scaling` was copied: older readers take the base from the top level alone.
  settings["rope_theta"] = model.rotary_base
  if model.turned_width != model.head_width:
    settings["partial_rotary_factor"] = _share(model.turned_width, model.head_width)
  return {"rope_theta": model.rotary_base, "rope_scaling": scaling, "rope_parameters": settings}


def _share(turned: int, head_width: int) -> float:
  """Returns a factor that readers, who round the product down, turn into so many dimensions."""
  share = turned / head_width
  return share if int(head_width * share) == turned else math.nextafter(share, 1.0)
