"""The runs of a study as plain float64 arrays: N parameters, D tokens, loss, C FLOPs, and what groups them.

Read from a table, from a journal's "result" rows, or from arrays. Nothing here needs the trainer or jax.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError
from gen.io import json_lines
from gen.scaling.runs import run_columns, table_files, table_numbers
from gen.scaling.runs.table_files import json_rows, text_of

if TYPE_CHECKING:
  from gen.training.run_log.rows import RowValues

# Sizes of a study are rounded to whole widths and steps, so the FLOPs of one budget differ by some percent.
# Runs whose FLOPs differ by less than this factor share a budget; chosen: between the rounding above and the factor 2
# between budgets.
SAME_BUDGET = 1.1
_BELIEVED = (1e-30, 1e60)  # N, D, losses and FLOPs in any unit; squares and products stay in float64
# Without it a dense scan of C, each step below 10 %, would be one budget from end to end.
_WIDEST_BUDGET = 1.25  # a chain of neighbours wider than this factor is no budget
_NUMBERS = ("params", "tokens", "loss")
_OPTIONAL = ("flops", "budget", "seed", "held_out", "steps")


@dataclasses.dataclass(frozen=True, repr=False)
class RunsTable:
  """The runs of a study; every array has one entry for each run.

  Attributes:
    params: N, in whatever counting convention the study uses.
    tokens: D, tokens processed.
    loss: nats per token; another unit scales E, A and B alike.
    flops: C; 6 N D where the source has none.
    budget: nominal FLOPs of the run's IsoFLOP group; NaN if it has none.
    seed: seed of the run; NaN if unknown.
    held_out: whether the run is excluded from fits.
    steps: training steps; NaN if unknown.
    names: name of each run.
  """

  params: np.ndarray
  tokens: np.ndarray
  loss: np.ndarray
  flops: np.ndarray
  budget: np.ndarray
  seed: np.ndarray
  held_out: np.ndarray
  steps: np.ndarray
  names: np.ndarray

  def __len__(self) -> int:
    return len(self.params)

  def __repr__(self) -> str:
    """Returns one line: the number of runs, and the ranges of N, D and the loss."""
    if not len(self):
      return "<RunsTable of 0 runs>"
    named = (("N", self.params), ("D", self.tokens), ("loss", self.loss))
    ranges = ", ".join(f"{name} {values.min():.4g} to {values.max():.4g}" for name, values in named)
    return f"<RunsTable of {len(self):,} runs, {ranges}>"

  def select(self, which: ArrayLike) -> "RunsTable":
    """Returns the runs that a mask or indices choose."""
    which = np.asarray(which)
    return RunsTable(**{f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)})

  def groups(self) -> np.ndarray:
    """Returns each run's budget as a number from 0, in order of FLOPs.

    Nominal budgets where every run has one; otherwise runs whose FLOPs lie within 10 % of a neighbour's.
    """
    if len(self) and np.all(np.isfinite(self.budget)):
      return np.unique(self.budget, return_inverse=True)[1]
    return _groups_of_flops(self.flops)

  def group_flops(self) -> np.ndarray:
    """Returns the FLOPs of each group: the nominal budget, or the geometric mean of its runs."""
    groups = self.groups()
    flops = self.budget if np.all(np.isfinite(self.budget)) else self.flops
    return np.exp(_means(np.log(flops), groups))

  def without_top_losses(self, count: int) -> "RunsTable":
    """Returns all runs but the `count` with the highest losses.

    Raises:
      UserError: if that leaves none, or `count` is negative.
    """
    if count < 0 or count >= max(len(self), 1):
      raise UserError(
        f"cannot leave out {count} of {len(self)} runs: give a number from 0 to {len(self) - 1}"
      )
    # Sorted once more, so that the runs keep their order.
    lowest = np.sort(np.argsort(self.loss, kind="stable")[: len(self) - count])
    return self.select(lowest)

  def with_flops_6nd(self) -> "RunsTable":
    """Returns the same runs counted as C = 6 N D."""
    return dataclasses.replace(self, flops=6 * self.params * self.tokens)


def make_runs(
  params: ArrayLike,
  tokens: ArrayLike,
  loss: ArrayLike,
  flops: ArrayLike | None = None,
  *,
  budget: ArrayLike | None = None,
  seed: ArrayLike | None = None,
  held_out: ArrayLike | None = None,
  steps: ArrayLike | None = None,
  names: Sequence[str] | None = None,
  lines: Sequence[int] | None = None,
  source: str = "the table",
) -> RunsTable:
  """Builds a table of runs from arrays and checks it.

  Args:
    params: N of each run.
    tokens: D of each run.
    loss: of each run, nats per token.
    flops: C of each run; 6 N D if left out.
    budget: nominal FLOPs of each run's group.
    seed: of each run.
    held_out: whether fits must not see each run.
    steps: of each run.
    names: name of each run; by default its row number.
    lines: line of the file that each run came from, for messages.
    source: what messages call the table.

  Raises:
    UserError: for lengths that differ, or values that are not finite and positive, with the rows.

  >>> len(make_runs([1e6, 2e6], [1e8, 1e8], [3.2, 3.1]))
  2
  """
  columns = {"params": params, "tokens": tokens, "loss": loss, "flops": flops}
  columns |= {"budget": budget, "seed": seed, "held_out": held_out, "steps": steps}
  arrays = {name: _array(name, column) for name, column in columns.items() if column is not None}
  length = len(arrays["params"])
  for name, array in arrays.items():
    if len(array) != length:
      raise UserError(f"{source}: {name} has {len(array)} values, params has {length}")
  for name in ("params", "tokens", "loss", "flops"):
    if name in arrays:
      _check_positive(name, arrays[name], lines, source)
  if "budget" in arrays:
    wrong = ~np.isnan(arrays["budget"]) & ~_believed(arrays["budget"])
    if np.any(wrong):
      row = int(np.flatnonzero(wrong)[0])
      raise UserError(
        f"{source}: budget is {arrays['budget'][row]:g} in row {row + 1}; it must be above zero and finite, or empty"
      )
  nothing = np.full(length, np.nan)
  return RunsTable(
    params=arrays["params"],
    tokens=arrays["tokens"],
    loss=arrays["loss"],
    flops=arrays.get("flops", 6 * arrays["params"] * arrays["tokens"]),
    budget=arrays.get("budget", nothing),
    seed=arrays.get("seed", nothing),
    held_out=np.nan_to_num(arrays.get("held_out", np.zeros(length))) != 0,
    steps=arrays.get("steps", nothing),
    names=np.array(names if names is not None else [f"row {i}" for i in range(1, length + 1)], dtype=object),
  )


def read_runs(path: str | Path, columns: Mapping[str, str] | None = None) -> RunsTable:
  """Reads the runs of a file; see `read_described`."""
  return read_described(path, columns)[0]


def read_described(path: str | Path, columns: Mapping[str, str] | None = None) -> tuple[RunsTable, list[str]]:
  """Reads a table, a journal ("result" rows), JSON lines, a JSON array, or a results.json ("points").

  Args:
    path: of the file.
    columns: names of columns in the file, by the names used here, where they differ: {"params": "N"}.

  Returns:
    The runs, and a sentence for each column of another name and each quantity that was computed.

  Raises:
    UserError: for a file that is missing, unreadable or empty; for a missing column, with what the columns look like;
      for cells that are no positive numbers, with their rows.
  """
  path = Path(path)
  text = text_of(path)
  if text.strip() and not table_files.is_json(text):
    return _from_table(text, str(path), columns or {})
  rows = json_rows(text, path)
  fields = run_columns.of_rows(rows)
  if not rows or all(name in fields for name in _NUMBERS) or rows[0].get("kind") == "result":
    return runs_from_rows(rows, str(path), columns), []
  run_columns.check_fields(rows, fields, str(path))
  cells = [["" if row[name] is None else str(row[name]) for name in fields] for row in rows]
  places, notes = run_columns.find_columns(fields, columns or {}, cells, str(path))
  lines = list(range(1, len(rows) + 1))
  arrays, units = table_numbers.read_columns(fields, cells, places, columns or {}, lines, str(path))
  names = [row[places["name"]] for row in cells] if "name" in places else None
  return make_runs(**_completed(arrays), names=names, source=str(path)), notes + units


def runs_from_columns(table: Mapping[str, ArrayLike], columns: Mapping[str, str] | None = None) -> RunsTable:
  """Returns the runs of columns in memory, such as a dict of arrays or a DataFrame; names are recognized as in a file.

  Raises:
    UserError: as `read_described`.
  """
  values = {str(name): np.atleast_1d(np.asarray(table[name])) for name in table}
  lengths = {name: len(column) for name, column in values.items()}
  if len(set(lengths.values())) > 1:
    raise UserError(
      f"the runs' columns have unequal lengths: {', '.join(f'{name} {n:,}' for name, n in lengths.items())}"
    )
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(values)
  writer.writerows(zip(*(column.tolist() for column in values.values()), strict=True))
  return _from_table(text.getvalue(), "the table", columns or {})[0]


def read_curves(path: str | Path, points: RunsTable) -> list["RowValues"]:
  """Returns a journal's train rows of the runs in `points`, each with the run's name and N; other files have none.

  Args:
    path: of the file that the points were read from.
    points: the runs whose curves are wanted, by name.

  Raises:
    UserError: for a broken line.
  """
  text = text_of(Path(path))
  if not table_files.is_json(text) or table_files.is_one_value(text, Path(path).name):
    return []
  rows = json_lines.parse_rows(text, str(path))
  params = dict(zip(points.names.tolist(), points.params.tolist(), strict=True))
  names = {str(row.get("run")): str(row.get("name")) for row in table_files.last_results(rows)}
  curves = []
  for row in rows:
    name = names.get(str(row.get("run"))) if row.get("kind") == "train" else None
    if name in params:
      curves.append({**row, "run": name, "params": params[name]})
  return cast("list[RowValues]", curves)


def runs_from_rows(
  rows: Iterable[Mapping[str, object]], source: str = "the rows", columns: Mapping[str, str] | None = None
) -> RunsTable:
  """Builds a table of runs from dictionaries with params, tokens, loss and any of the optional fields.

  Raises:
    UserError: if there are none, one lacks a field, or values are not finite and positive.
  """
  rows, columns = list(rows), columns or {}
  if not rows:
    raise UserError(f"{source} holds no finished runs; let at least one run end first")
  named: dict[str, Any] = {}
  for name in (*_NUMBERS, *_OPTIONAL):
    column = columns.get(name, name)
    missing = [i for i, row in enumerate(rows) if column not in row]
    if missing and (name in _NUMBERS or name in columns):
      described = run_columns.describe_missing(column, list(rows[missing[0]]))
      raise UserError(f"{source}: result {missing[0] + 1} has no {column!r}{described}")
    if len(missing) < len(rows):
      named[name] = [
        table_numbers.row_number(row.get(column), column, i, source) for i, row in enumerate(rows, 1)
      ]
  names = [str(row.get("name") or f"row {i}") for i, row in enumerate(rows, 1)]
  return make_runs(**named, names=names, source=source)


def run_cells(points: RunsTable) -> tuple[np.ndarray, int]:
  """Returns (cell of each run, how many cells): runs of one budget and one N, which differ by seed only."""
  keys = np.stack([points.groups().astype(np.float64), points.params], 1)
  labels: np.ndarray = np.unique(keys, axis=0, return_inverse=True)[1]
  return labels.ravel(), int(labels.max(initial=-1)) + 1


def _from_table(text: str, source: str, columns: Mapping[str, str]) -> tuple[RunsTable, list[str]]:
  lines = text.splitlines()
  semicolons = table_files.find_separator(lines) == ";"
  table_rows = list(table_files.read_cells(text, source))
  header = [name.strip().lstrip("\ufeff") for name in table_rows[0][1]] if table_rows else []
  if not any(header):
    raise UserError(f"{source} is empty; its first line must name the columns params, tokens, loss")
  if len(header) == 1:
    raise UserError(
      f"{source} holds neither runs nor results: it is not JSON, and its first line {header[0][:60]!r} does not name "
      "the columns of a table; the cells of a table are separated by a comma, a semicolon, a tab or |"
    )
  if all(run_columns.parse_cell(name) is not None for name in header):
    header = table_files.commented_head(lines, len(header), source)
  else:
    table_rows = table_rows[1:]
  places, notes = run_columns.find_columns(header, columns, [row for _, row in table_rows[:1000]], source)
  least = max(places.values()) + 1
  for line, row in table_rows:
    if len(row) < least:
      cells = f"{len(row)} cell{'s' * (len(row) != 1)}"
      raise UserError(f"{source}: line {line} has {cells}, the first line {len(header)}")
    if any(cell.strip() for cell in row[len(header) :]):
      raise UserError(
        f"{source}: line {line} has {len(row)} cells, but the first line names {len(header)} columns; name every "
        "column, and quote a number that holds the separator"
      )
  if not table_rows:
    raise UserError(f"{source} has no rows below its first line")
  lost = run_columns.unfinished_rows(header, [row for _, row in table_rows], places, semicolons)
  if lost:
    listed = ", ".join(f"line {table_rows[i][0]}" for i in lost[:8]) + (" and more" if len(lost) > 8 else "")
    notes = [
      *notes,
      f"left out {len(lost)} run{'s' * (len(lost) > 1)} that did not finish, without a loss: {listed}",
    ]
    table_rows = [table_row for i, table_row in enumerate(table_rows) if i not in set(lost)]
  numbers = [line for line, _ in table_rows]
  arrays, units = table_numbers.read_columns(
    header, [row for _, row in table_rows], places, columns, numbers, source, semicolons
  )
  names = [row[places["name"]] for _, row in table_rows] if "name" in places else None
  return make_runs(**_completed(arrays), names=names, lines=numbers, source=source), notes + units


def _completed(arrays: dict[str, Any]) -> dict[str, Any]:
  """Returns the columns with N or D computed from C = 6 N D where one is absent."""
  if "params" in arrays and "tokens" in arrays:
    return arrays
  absent, present = ("tokens", "params") if "params" in arrays else ("params", "tokens")
  with np.errstate(all="ignore"):
    third = np.asarray(arrays["flops"], np.float64) / (6 * np.asarray(arrays[present], np.float64))
  return {**arrays, absent: third}


def _array(name: str, values: Any) -> np.ndarray:
  try:
    array = np.asarray(values, np.float64)
  except (TypeError, ValueError, OverflowError):
    raise UserError(f"{name} must be numbers") from None
  if array.ndim != 1:
    raise UserError(f"{name} must be one list of numbers, not an array of shape {array.shape}")
  return array


def _believed(values: np.ndarray) -> np.ndarray:
  return (values >= _BELIEVED[0]) & (values <= _BELIEVED[1])


def _check_positive(name: str, values: np.ndarray, lines: Sequence[int] | None, source: str) -> None:
  bad = np.flatnonzero(~_believed(values))
  if not len(bad):
    return
  least, highest = _BELIEVED
  possible = math.isfinite(values[bad[0]]) and values[bad[0]] > 0
  wanted = f"between {least:g} and {highest:g}" if possible else "finite and above zero"
  listed = [f"{i + 1}" + (f" (line {lines[i]})" if lines else "") for i in bad[:8]]
  more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
  raise UserError(
    f"{source}: {name} must be {wanted}, but is {values[bad[0]]:g} "
    f"in row{'s' if len(bad) > 1 else ''} {', '.join(listed)}{more}; correct or remove them"
  )


def _groups_of_flops(flops: np.ndarray) -> np.ndarray:
  order = np.argsort(flops, kind="stable")
  values = flops[order]
  starts = np.flatnonzero(np.concatenate([[True], values[1:] > SAME_BUDGET * values[:-1]]))
  ends = np.append(starts[1:], len(values))
  fresh = np.zeros(len(values), bool)
  for start, end in zip(starts, ends, strict=True):
    fresh[start] = True
    while values[end - 1] > _WIDEST_BUDGET * values[start]:
      start += int(np.searchsorted(values[start:end], SAME_BUDGET * values[start], side="right"))
      fresh[start] = True
  groups = np.empty(len(flops), np.int64)
  groups[order] = np.cumsum(fresh) - 1
  return groups


def _means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
  return np.bincount(groups, values) / np.bincount(groups)
