"""Recounts N and C of runs in named conventions, from the model shapes that a file gives beside its losses.

    rows with a shape -> Model, row lengths -> count_parameters, count_flops -> RunsTable

A shape is a `config` (gen's own journals have one) or columns: width, depth, vocab and length; family where it is not
decoder; any other field of `gen.config.Model` (heads, head_width, feed_forward, activation, tied, ...). An
encoder-decoder's rows need source_length and row_tokens too: D counts corpus tokens, and a row has two lengths.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen.config import FAMILIES, Model, Run, from_dict
from gen.errors import UserError
from gen.scaling.runs import conventions, runs_table, table_files
from gen.scaling.runs.runs_table import RunsTable

GIVEN, SIX_ND = "given", "6nd"
NEEDED = ("width", "depth", "vocab", "length")
_FIELDS = {field.name: field.type for field in dataclasses.fields(Model)}


class ConventionChoice(NamedTuple):
  """The conventions of N and C; GIVEN keeps the file's own. C of 6nd is 6 N D with the chosen N."""

  params: str = GIVEN
  flops: str = GIVEN


class RunShape(NamedTuple):
  """A run's model, the lengths of its rows, and the corpus tokens per row."""

  model: Model
  length: int
  source_length: int
  row_tokens: float


def parse_choice(text: str) -> ConventionChoice:
  """Reads names of conventions, at most one of N and one of C, with a comma between them.

  >>> parse_choice("kaplan"), parse_choice("non_embedding,6nd")
  (ConventionChoice(params='given', flops='kaplan'), ConventionChoice(params='non_embedding', flops='6nd'))

  Raises:
    UserError: for an unknown name, with the nearest, or two of a kind.
  """
  chosen: dict[str, str] = {}
  for name in filter(None, (part.strip() for part in text.split(","))):
    if name == GIVEN:
      continue
    kind = "flops" if name in conventions.FLOPS else "params" if name in conventions.PARAMETERS else ""
    known = [GIVEN, *conventions.PARAMETERS, *conventions.FLOPS]
    if not kind:
      nearest = difflib.get_close_matches(name, known, 1, 0.0)[0]
      raise UserError(
        f"--convention={text}: {name!r} is not one of {', '.join(known)}; the nearest is {nearest!r}"
      )
    if kind in chosen:
      raise UserError(
        f"--convention={text} counts {'C' if kind == 'flops' else 'N'} in two ways, {chosen[kind]} and {name}; give one"
      )
    chosen[kind] = name
  return ConventionChoice(**chosen)


def recount_runs(runs: RunsTable, chosen: ConventionChoice, path: str | Path) -> RunsTable:
  """Returns the runs with N and C in the chosen conventions.

  Args:
    runs: as `runs_table.read_runs` gave them, all of them.
    chosen: the conventions.
    path: the file that they were read from, which also holds their shapes.

  Raises:
    UserError: where the file has no shapes, naming what is missing.
  """
  if chosen.params != GIVEN or chosen.flops not in (GIVEN, SIX_ND):
    shapes = read_shapes(path)
    if chosen.params != GIVEN:
      counted = [conventions.count_parameters(run_shape.model, chosen.params) for run_shape in shapes]
      runs = dataclasses.replace(runs, params=np.array(counted, np.float64))
    if chosen.flops not in (GIVEN, SIX_ND):
      each = [_per_token(run_shape, chosen.flops) for run_shape in shapes]
      return _regrouped(runs, np.array(each) * runs.tokens)
  return _regrouped(runs, 6 * runs.params * runs.tokens) if chosen.flops == SIX_ND else runs


def _regrouped(runs: RunsTable, flops: np.ndarray) -> RunsTable:
  """Returns the runs with another C, each budget that of its runs as they are now counted."""
  groups = runs.groups()
  # The geometric mean, as a budget's runs differ by factors.
  log_c = np.bincount(groups, np.log(flops)) / np.bincount(groups)
  return dataclasses.replace(runs, flops=flops, budget=np.exp(log_c)[groups])


def unequal_reason(runs: RunsTable, text: str) -> str:
  """Returns why recounted runs have no valleys at equal C, or "" if they have.

  Args:
    runs: as `recount_runs` gave them.
    text: the convention, as it was asked for.
  """
  if parse_choice(text).flops == GIVEN or not len(runs):
    return ""
  spread = np.exp(np.log(runs.flops) - np.log(runs.budget))
  factor = max(float(np.ptp(np.log(spread[runs.budget == budget]))) for budget in np.unique(runs.budget))
  if factor <= math.log(runs_table.SAME_BUDGET):
    return ""
  return (
    f"counted as --convention={text} the runs of one budget differ in C by up to a factor {math.exp(factor):.2f}, so "
    "they show no valley at equal C; use --approach=parametric, which needs no valley, or the file's own C"
  )


def _per_token(shape: RunShape, convention: str) -> float:
  row = conventions.count_flops(shape.model, shape.length, shape.source_length, convention)
  return row / shape.row_tokens


def read_shapes(path: str | Path) -> list[RunShape]:
  """Returns the shape of each run of a file, in the order in which `runs_table.read_runs` has them."""
  path = Path(path)
  text = table_files.text_of(path)
  if table_files.is_json(text):
    rows: Sequence[Mapping[str, object]] = table_files.json_rows(text, path)
  else:
    table = table_files.read_cells(text, str(path))
    header = [name.strip() for name in next(table, (1, []))[1]]
    rows = [dict(zip(header, cells, strict=False)) for _, cells in table]
  return [_shape(row, f"{path}: run {number}") for number, row in enumerate(rows, 1)]


def _shape(row: Mapping[str, object], where: str) -> RunShape:
  config = row.get("config")
  if isinstance(config, Mapping):
    return _of_config(from_dict(Run, dict(config)))
  fields = {
    name: value for name, value in row.items() if value not in (None, "") and name in (*_FIELDS, *NEEDED)
  }
  missing = [name for name in NEEDED if name not in fields]
  if missing:
    raise UserError(
      f"{where} has no {missing[0]!r}, and a convention that is not in the file is counted from each run's width, "
      "depth, vocab and length (and family, heads, feed_forward, ... where they are not a plain decoder's); add those "
      "columns, or leave --convention=given"
    )
  length = _whole(fields.pop("length"), "length", where)
  model = Model(**{name: _value(name, value, where) for name, value in fields.items()})
  if model.family not in FAMILIES:
    raise UserError(f"{where}: family is {model.family!r}; it must be one of {', '.join(FAMILIES)}")
  if "heads" not in fields and "head_width" not in fields:
    model.heads = 1  # How the width is split among heads changes no count but appendix F's softmax.
  if model.heads and "head_width" not in fields:
    model.head_width = model.width // model.heads
  if model.family != "encoder_decoder":
    return RunShape(model, length, 0, float(length))
  lengths = [name for name in ("source_length", "row_tokens") if row.get(name) in (None, "")]
  if lengths:
    raise UserError(
      f"{where} is an encoder-decoder's and has no {lengths[0]!r}; its rows have two lengths: add it"
    )
  source, tokens = (_whole(row[name], name, where) for name in ("source_length", "row_tokens"))
  return RunShape(model, length, source, float(tokens))


def _of_config(run: Run) -> RunShape:
  from gen.training import loop  # jax, which files without configs do without

  row = loop.row_length(run)
  return RunShape(run.model, row.target, row.source, float(row.tokens))


def _value(name: str, value: Any, where: str) -> Any:
  kind: Any = _FIELDS[name]
  if kind is int:
    return _whole(value, name, where)
  if kind is bool:
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0", "1.0", "0.0"):
      raise UserError(f"{where}: {name} is {value!r}; it must be true or false")
    return word in ("true", "1", "1.0")
  return str(value).strip() if kind is str else float(value)


def _whole(value: Any, name: str, where: str) -> int:
  try:
    number = float(value)
  except (TypeError, ValueError):
    number = -1.0
  if number < 0 or number != int(number):
    raise UserError(f"{where}: {name} is {value!r}; it must be a whole number")
  return int(number)
