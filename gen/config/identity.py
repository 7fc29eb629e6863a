"""The fields of a run that change what it computes, and their hash."""

import dataclasses
import hashlib
import json

from gen.config.codec import to_dict
from gen.config.data import Data
from gen.config.model import Model
from gen.config.run import Run

# Fields that change where something is computed or written and how often, never what is computed.
_NOT_IDENTITY = (
  "name",
  "log_every",
  "evaluate_every",
  "checkpoint_every",
  "checkpoint_seconds",
  "callback_every",
  "keep_checkpoints",
  "tensorboard",
  "wandb",
  "profile",
  "mesh",
  "layout",
  "trunk",
  "branches",
  "start_from",  # what lies there is in sources
)

# Fields of the model that were added later, which at these defaults leave the hashes of older runs as they were.
_ADDED = {
  field.name: field.default
  for field in dataclasses.fields(Model)
  if field.name
  in (
    "norm_offset", "qkv_bias", "rotary_width", "rotary_factor", "rotary_context", "rotary_low", "rotary_high", "window",
    "qk_norm_joint", "parallel", "block", "attention_module", "feed_forward_module",
    "quantize_weights", "quantize_activations", "quantize_group",
    "first_norm", "global_every", "window_rotary_base",
  )
}  # fmt: skip

# The same of the data.
_ADDED_DATA = {
  field.name: field.default
  for field in dataclasses.fields(Data)
  if field.name.startswith("mixture") or field.name == "unique_tokens"
}


def identity_fields(run: Run) -> dict[str, object]:
  """Returns the fields of a run that change what it computes."""
  values = to_dict(run)
  for name in _NOT_IDENTITY:
    values.pop(name)
  data, model, optimizer = (config_section(values, name) for name in ("data", "model", "optimizer"))
  data.pop("cache")
  data.pop("max_bytes")
  if data["mixture"]:
    data.pop("corpus")  # which a mixture replaces
  for name, default in _ADDED_DATA.items():
    if data[name] == default:
      data.pop(name)
  model.pop("attention")
  model.pop("cache_format")
  # A run without them is what it was before there were such fields.
  for name in ("frozen", "rate_multipliers"):
    if not optimizer[name]:
      optimizer.pop(name)
  for name in ("moment_dtype", "param_dtype"):
    if optimizer[name] == "float32":
      optimizer.pop(name)
  for name in ("start_opt_state", "start_partial", "callbacks", "metrics"):
    if not values[name]:
      values.pop(name)
  for name, default in _ADDED.items():
    if model[name] == default:
      model.pop(name)
  return values


def config_section(values: dict[str, object], name: str) -> dict[str, object]:
  """Returns the fields of a config inside another."""
  section = values[name]
  assert isinstance(section, dict)
  return section


def config_hash(run: Run) -> str:
  """Returns 12 hex digits that identify what a run computes."""
  text = json.dumps(identity_fields(run), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]
