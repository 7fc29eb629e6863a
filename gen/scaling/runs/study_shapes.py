"""Reads the models of a study's runs from its files; plans scale their shapes from these.

A results.json has the study's config and each run's width and depth; a journal has each run's config; a .csv may have
columns of the shape. A model is used only where its parameters are those that the file gives the run.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from gen import counts
from gen.config import Model, from_dict
from gen.errors import UserError
from gen.io import json_lines, json_reading
from gen.scaling.runs import recount_conventions, runs_table, table_files

_LARGEST = 10**9  # of one size of a model
# Relative difference of counts that still are one model's; chosen: biases and norms, which some counts leave out, are
# about as many.
_SAME = 0.01


def read_shapes(path: str | Path) -> dict[str, Model]:
  """Returns the models of a file of runs by run name; empty if the file has no shapes."""
  path = Path(path)
  try:
    text = table_files.text_of(path)
    if table_files.is_json(text) and table_files.is_one_value(text, path.name):
      models = _of_results(text, path)
    else:
      models = [run_shape.model for run_shape in recount_conventions.read_shapes(path)]
    runs = runs_table.read_runs(path)
  except UserError:  # a table without shapes: plans do without
    return {}
  if len(models) != len(runs):
    return {}
  return {
    str(name): model
    for name, model, params in zip(runs.names, models, runs.params, strict=True)
    if model is not None and abs(counts.count_matrices(model) / params - 1) < _SAME
  }


def _of_results(text: str, path: Path) -> list[Model | None]:
  content = json_lines.parse_value(text, str(path))
  config = content.get("config") if isinstance(content, Mapping) else None
  base = config.get("model") if isinstance(config, Mapping) else None
  if not isinstance(base, Mapping):
    return []
  model = from_dict(Model, dict(base))
  for field in dataclasses.fields(Model):
    value = json_reading.require_kind(getattr(model, field.name), field.type, f"{path}: {field.name}")  # type: ignore[arg-type]
    if field.type is int and not 0 <= value < _LARGEST:
      raise UserError(f"{path}: {field.name} is not a size of a model")
  return [_resized(model, row) for row in table_files.json_rows(text, path)]


def _resized(base: Model, row: Mapping[str, object]) -> Model | None:
  """Returns a run's model, or None if the row lacks its width, depth or vocabulary."""
  groups = row.get("params_by_group")
  width, depth, vocab = row.get("width"), row.get("depth"), base.vocab
  if not (_is_size(width) and _is_size(depth)):
    return None
  if not vocab and isinstance(groups, Mapping):
    table = groups.get("head") or groups.get("embedding")
    vocab = table // width if _is_size(table) else 0
  if not vocab:
    return None
  heads = max(1, round(width / base.head_width)) if base.head_width else 1
  return dataclasses.replace(base, width=width, depth=depth, vocab=vocab, head_width=max(1, width // heads))


def _is_size(value: Any) -> TypeGuard[int]:
  return isinstance(value, int) and 0 < value < _LARGEST
