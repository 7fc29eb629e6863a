"""Whose a folder is: the config of the run that it holds, written whole or not at all."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gen.config import Run, config_hash, from_dict, to_dict
from gen.errors import UserError
from gen.training import manifest

CONFIG = "config.json"


def claim(workdir: Path, run: Run) -> None:
  """Writes the config beside the run, or finds there that the folder belongs to another.

  Raises:
    UserError: for a folder that holds another run, or cannot be written.
  """
  path = workdir / CONFIG
  before = _saved_config(path)
  if before is not None:
    _compare(workdir, before, run)
  if before is None or to_dict(before) != to_dict(run):
    manifest.write_whole(path, (json.dumps(to_dict(run), indent=1) + "\n").encode())


def check(workdir: Path, run: Run) -> None:
  """Says before anything is built what `claim` would say of a run whose vocabulary and context are not derived yet.

  Raises:
    UserError: for a folder that holds another run.
  """
  before = _saved_config(workdir / CONFIG)
  if before is not None:
    vocab, context = run.model.vocab or before.model.vocab, run.model.context or before.model.context
    model = dataclasses.replace(run.model, vocab=vocab, context=context)
    _compare(workdir, before, dataclasses.replace(run, model=model))


def _compare(workdir: Path, before: Run, run: Run) -> None:
  if config_hash(before) != config_hash(run):
    changes = differences(_plain(before), _plain(run))
    named = ", ".join(f"{name}: {old} -> {new}" for name, old, new in changes)
    raise UserError(f"{workdir} holds another run ({named}); choose another --workdir or remove it")


def _saved_config(path: Path) -> Run | None:
  """Returns the config of a run, or None where there is none, or one that was torn before the run began."""
  try:
    return from_dict(Run, json.loads(path.read_text()))
  except FileNotFoundError:
    return None
  except ValueError as error:
    if isinstance(error, UserError):
      raise
    return None


def _plain(run: Run) -> dict[str, Any]:
  """Returns the config as it is after a trip through JSON, where tuples are lists."""
  return json.loads(json.dumps(to_dict(run)))


def differences(
  before: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
  """Yields (path, value before, value now) of fields that differ.

  >>> list(differences({"model": {"width": 8, "depth": 1}}, {"model": {"width": 9, "depth": 1}}))
  [('model.width', 8, 9)]
  """
  for name in [*before, *(name for name in now if name not in before)]:
    old, new = before.get(name), now.get(name)
    if isinstance(old, dict) and isinstance(new, dict):
      yield from differences(old, new, f"{prefix}{name}.")
    elif old != new:
      yield prefix + name, old, new
