"""The curves of runs from their journals, side by side, and what differs between their configs."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.errors import UserError
from gen.training.run_folders import run_folder
from gen.training.run_log import journal
from gen.training.run_log.rows import RowValues

AXES = ("steps", "tokens", "flops", "seconds")
# In one figure; chosen: more lines than a reader tells apart, as few as a browser draws at once.
MAX_RUNS = 200


class CurvePoint(NamedTuple):
  """One row of a journal.

  Attributes:
    steps: done.
    tokens: of the corpus, read so far.
    flops: training FLOPs spent so far.
    seconds: of training so far, without evaluations and saves.
    loss: nats per token.
    learning_rate: of the step; None in evaluations.
    gradient_norm: before clipping; None in evaluations.
  """

  steps: int
  tokens: float
  flops: float
  seconds: float
  loss: float
  learning_rate: float | None = None
  gradient_norm: float | None = None


class RunCurves(NamedTuple):
  """What one run's journal holds.

  Attributes:
    name: unique among the runs that were read together.
    folder: whose journal it is.
    train: means over the steps since the row before.
    evaluation: on validation text.
    config: of the run, by path (`model.width`); empty if the journal does not say it.
    finished: whether the journal holds the run's result.
  """

  name: str
  folder: str
  train: tuple[CurvePoint, ...]
  evaluation: tuple[CurvePoint, ...]
  config: Mapping[str, object]
  finished: bool


def read_runs(folders: Sequence[str | Path]) -> list[RunCurves]:
  """Returns the curves of all runs in some folders.

  Args:
    folders: of runs, or of sweeps, whose journal holds many runs.

  Raises:
    UserError: for a folder without a journal, a journal without a measured row, or more than `MAX_RUNS` runs.
  """
  runs = [run for folder in dict.fromkeys(map(str, folders)) for run in _read_folder(Path(folder))]
  if len(runs) > MAX_RUNS:
    raise UserError(f"{len(runs)} runs do not fit into one figure; give at most {MAX_RUNS}")
  return [run._replace(name=name) for run, name in zip(runs, _unique_names(runs), strict=True)]


def _read_folder(folder: Path) -> Iterator[RunCurves]:
  path = folder / run_folder.JOURNAL
  if not path.is_file():
    raise UserError(f"{folder} has no {run_folder.JOURNAL}; give the --workdir of a run or of a sweep")
  rows_by_run: dict[str, list[RowValues]] = {}
  for row in journal.read_journal(path):
    if isinstance(row.get("run"), str):
      # A sweep's journal holds rows of many runs, told apart by the hash of their config.
      rows_by_run.setdefault(row["run"], []).append(row)
  curves = [_curves(folder, rows) for rows in rows_by_run.values()]
  measured = [run for run in curves if run.train or run.evaluation]
  if not measured:
    raise UserError(f"{path} has no measured step yet; let the run train until its first row")
  yield from measured


def _curves(folder: Path, rows: list[RowValues]) -> RunCurves:
  train: list[CurvePoint] = []
  evaluations: list[RowValues] = []
  config: Mapping[str, object] = {}
  name, finished, tokens, seconds = "", False, 0.0, 0.0
  for row in rows:
    name = str(row.get("name") or name)
    config = row["config"] if isinstance(row.get("config"), dict) else config
    # A resumed run's journal may go on after an earlier result.
    finished = finished or row.get("kind") == "result"
    if row.get("kind") == "evaluation" and _is_measured(row):
      evaluations.append(row)
    if row.get("kind") != "train" or not _is_measured(row):
      continue
    rate = row["tokens_per_second"] if _is_plain(row.get("tokens_per_second")) else 0.0
    # From the rate inside steps; differences of the rows' clocks would include evaluations and saves.
    seconds += (row["tokens"] - tokens) / rate if rate > 0 else 0.0
    tokens = row["tokens"]
    train.append(
      CurvePoint(
        row["step"],
        tokens,
        row["flops"],
        seconds,
        row["loss"],
        row.get("learning_rate"),
        row.get("gradient_norm"),
      )
    )
  points = tuple(
    CurvePoint(row["step"], row["tokens"], row["flops"], _seconds_at(train, row["step"]), row["loss"])
    for row in evaluations
  )
  return RunCurves(name or folder.name, str(folder), tuple(train), points, _flat(config), finished)


def _is_measured(row: RowValues) -> bool:
  """Returns whether a row holds all numbers of a point; a loss that was not finite is null."""
  return all(_is_plain(row.get(name)) for name in ("step", "tokens", "flops", "loss"))


def _is_plain(value: Any) -> bool:
  """Returns whether a value is a finite number that float64 holds; other programs' journals may hold anything."""
  return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e308 < value < 1e308


def _seconds_at(train: list[CurvePoint], step: int) -> float:
  """Returns the seconds of training at a step, between those of the rows around it."""
  before = max((point for point in train if point.steps <= step), key=lambda point: point.steps, default=None)
  after = min((point for point in train if point.steps >= step), key=lambda point: point.steps, default=None)
  if before is None or after is None:
    return after.seconds if after else before.seconds if before else 0.0
  share = (step - before.steps) / max(1, after.steps - before.steps)
  return before.seconds + share * (after.seconds - before.seconds)


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
  values: dict[str, object] = {}
  for name, value in config.items():
    values |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
  return values


def _unique_names(runs: list[RunCurves]) -> list[str]:
  """Returns names that are unique: the run's, else with its folder's name, else with its whole folder."""
  names = [run.name for run in runs]
  for label in (
    lambda run: f"{Path(run.folder).name}/{run.name}",
    lambda run: f"{run.folder}/{run.name}",
  ):
    if len(set(names)) == len(names):
      return names
    names = [label(run) for run in runs]
  counts: dict[str, int] = {}
  for index, name in enumerate(names):
    counts[name] = counts.get(name, 0) + 1
    names[index] = name if counts[name] == 1 else f"{name} ({counts[name]})"
  return names


def config_differences(runs: Sequence[RunCurves]) -> dict[str, list[object]]:
  """Returns, for each field in which the configs differ, its value in each run; None where a run does not say it.

  Names and how often something is written or logged are left out, since they change no number.
  """
  # Fields that name, log or store; a table of differences is about what changes a loss.
  left_out = (
    "name",
    "sources",
    "branches",
    "trunk",
    "data.cache",
    "data.max_bytes",
    "tensorboard",
    "wandb",
    "profile",
    "keep_checkpoints",
  )
  paths = dict.fromkeys(path for run in runs for path in run.config)
  values = {path: [run.config.get(path) for run in runs] for path in paths if path not in left_out}
  return {
    path: each
    for path, each in values.items()
    if len({json.dumps(value, sort_keys=True) for value in each}) > 1
  }


def summary_lines(runs: Sequence[RunCurves]) -> list[str]:
  """Returns a table of the last loss of each run and of what differs between them."""
  differences = config_differences(runs)
  head = ["run", "steps", "train loss", "validation loss", *differences]
  rows = [
    [
      run.name + ("" if run.finished else " (unfinished)"),
      f"{max(point.steps for point in (*run.train, *run.evaluation)):,}",
      _last(run.train),
      _last(run.evaluation),
      *(_cell(values[index]) for values in differences.values()),
    ]
    for index, run in enumerate(runs)
  ]
  widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
  return [
    "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for row in [head, *rows]
  ]


def _last(points: tuple[CurvePoint, ...]) -> str:
  return f"{points[-1].loss:.4f}" if points else "-"


def _cell(value: object) -> str:
  if isinstance(value, float):
    return f"{value:g}"
  return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


@dataclasses.dataclass(frozen=True, slots=True)
class CurvesReport:
  """A run's points as JSON holds them, by column of `CurvePoint`."""

  name: str
  folder: str
  finished: bool
  train: dict[str, list[float | None]]
  evaluation: dict[str, list[float | None]]


def run_report(run: RunCurves) -> CurvesReport:
  """Returns a run's points by column; evaluations have no learning rate and no gradient norm."""

  def columns(points: tuple[CurvePoint, ...], names: Sequence[str]) -> dict[str, list[float | None]]:
    return {name: [getattr(point, name) for point in points] for name in names}

  measured = [name for name in CurvePoint._fields if name not in ("learning_rate", "gradient_norm")]
  return CurvesReport(
    run.name,
    run.folder,
    run.finished,
    columns(run.train, CurvePoint._fields),
    columns(run.evaluation, measured),
  )
