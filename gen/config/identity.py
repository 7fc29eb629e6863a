"""The fields of a run that change what it computes, and their hash."""

import hashlib
import json
from typing import Any

from gen.config.codec import to_dict
from gen.config.run import Run

# Fields that change where something is computed or written and how often, never what is computed.
_NOT_IDENTITY = (
  "name",
  "log_every",
  "evaluate_every",
  "checkpoint_every",
  "checkpoint_seconds",
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


def identity_fields(run: Run) -> dict[str, Any]:
  """Returns the fields of a run that change what it computes."""
  values = to_dict(run)
  for name in _NOT_IDENTITY:
    values.pop(name)
  values["data"].pop("cache")
  values["model"].pop("attention")
  # A run without them is what it was before there were such fields.
  for name in ("frozen", "rate_multipliers"):
    if not values["optimizer"][name]:
      values["optimizer"].pop(name)
  for name in ("start_opt_state", "start_partial"):
    if not values[name]:
      values.pop(name)
  return values


def config_hash(run: Run) -> str:
  """Returns 12 hex digits that identify what a run computes."""
  text = json.dumps(identity_fields(run), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]
