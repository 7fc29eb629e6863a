"""The record of a sweep in its folder, so that no run is trained twice.

    config.json         the study, its corpus and tokenizer, written before the first run
    <run>/              one run: checkpoints and its own journal, which is authoritative
    journal.jsonl       all runs' rows, written by the sweep alone
    logs/               output of workers; for clusters also the map from jobs to runs
    clock.json          wall time over all sessions

A hash of its configuration identifies a run. Studies may grow (budgets, sizes, seeds), and finished runs stay valid.
A change that would alter an existing run is refused with its name.
"""

import contextlib
import dataclasses
import json
import time
from pathlib import Path

from gen.config import Run, Sweep, config_hash, from_dict, to_dict
from gen.errors import UserError, summarize_error
from gen.io import formats, json_reading, seals, typed_json
from gen.io.checksums import write_atomically
from gen.scaling.sweeps import design, trunk_sweeps
from gen.training.checkpointing import checkpoint_folder
from gen.training.run_folders import run_folder
from gen.training.run_folders.run_folder import field_differences
from gen.training.run_log import journal
from gen.training.run_log.rows import RowValues

CONFIG = "config.json"
JOURNAL = "journal.jsonl"
LOGS = "logs"
CHECKPOINTS = "checkpoints"  # of a run, in its folder
CLOCK_FILE = "clock.json"
KINDS = ("train", "evaluation", "result")  # the rows that a sweep's journal holds
# Fields that may differ between sessions: they add runs, or affect only how runs are executed.
GROWABLE_FIELDS = (
  *("rates", "budgets", "widths", "batches", "depths", "seeds", "held_out", "held_out_widths"),
  *("mixtures", "unique_tokens"),
)
IGNORED_FIELDS = (
  *("name", "workers", "bootstraps", "log_every", "evaluate_every", "tensorboard", "wandb", "profile"),
  *("checkpoint_every", "checkpoint_seconds", "keep_checkpoints", "data.cache"),
)


@dataclasses.dataclass(frozen=True)
class StudyClock:
  """Wall time over all sessions, in seconds: of all workers, and of the sweep."""

  worker_seconds: float
  seconds: float


class SweepLedger:
  """The record of one sweep in one folder; the caller must hold the folder's lock."""

  def __init__(self, folder: Path, sweep: Sweep, runs: list[Run], identity: dict[str, str]) -> None:
    """Opens the record, or creates one.

    Args:
      folder: folder of the sweep.
      sweep: the sweep.
      runs: its runs.
      identity: hashes of the runs' text ({"corpus_sha256": ..., "tokenizer": ...}); other text is another sweep.

    Raises:
      UserError: if the folder holds a different sweep, or cannot be written.
    """
    self.folder, self.sweep = folder, sweep
    self.runs = design.canonical_order(runs)
    self._queue = list(runs)
    # By content and not by name alone: a run whose config has changed must not count as trained.
    self._hashes = {run.name: config_hash(run) for run in runs}
    self._identity = identity
    _begin(folder / CONFIG, sweep, identity)
    self._rows = {run.name: self._read(run) for run in self.runs}
    # Written anew from the runs' own journals, which are complete even where the sweep was killed between two rows.
    self._write_journal()
    self._journal = journal.Journal(folder / JOURNAL)
    self._began, self._clock = time.monotonic(), _clock(folder / CLOCK_FILE)
    self.spent(0.0)

  def left(self) -> list[Run]:
    """Returns the runs without a result, in starting order."""
    return [run for run in self._queue if self.result(run) is None]

  def result(self, run: Run) -> RowValues | None:
    """Returns the result row of a run, if it has one."""
    return next((row for row in self._rows[run.name] if row["kind"] == "result"), None)

  def begun(self, run: Run) -> bool:
    """Returns whether a run has a checkpoint but no result yet."""
    return self.result(run) is None and bool(
      checkpoint_folder.complete_steps(self.folder / run.name / CHECKPOINTS)
    )

  def record(self, run: Run, row: RowValues) -> None:
    """Adds a row of a run to the sweep's journal.

    Raises:
      UserError: if the disk is full.
    """
    if row.get("kind") in KINDS:
      row = self._complete(run, row)
      self._rows[run.name].append(row)
      self._journal.append(row)

  def results(self) -> list[RowValues]:
    """Returns the result rows in canonical order."""
    return [row for run in self.runs if (row := self.result(run)) is not None]

  def curves(self) -> list[RowValues]:
    """Returns the train and evaluation rows of the finished runs, run by run in canonical order."""
    finished = [run for run in self.runs if self.result(run) is not None]
    return [row for run in finished for row in self._rows[run.name] if row["kind"] in journal.MEASURED]

  def spent(self, worker_seconds: float) -> None:
    """Records the wall time of all workers in this session."""
    seconds = time.monotonic() - self._began
    self._total = StudyClock(self._clock.worker_seconds + worker_seconds, self._clock.seconds + seconds)
    values = seals.with_seal(typed_json.encode_record(self._total))
    write_atomically(self.folder / CLOCK_FILE, json.dumps(values).encode())

  @property
  def seconds(self) -> float:
    """Wall time of the sweep in seconds, over all sessions."""
    return self._total.seconds

  def utilization(self) -> dict[str, float]:
    """Returns the workers' wall time, and the part of it inside the steps of finished runs."""
    steps = trunk_sweeps.step_seconds(self.results())
    total = self._total.worker_seconds
    return {
      "step_seconds": steps,
      "worker_seconds": total,
      "share": min(1.0, steps / total) if total else 0.0,
    }

  def close(self) -> None:
    """Rewrites the sweep's journal in canonical order, from the runs' own journals."""
    self._journal.close()
    self._rows = {run.name: self._read(run) for run in self.runs}
    self._write_journal(complete=True)

  def __enter__(self) -> "SweepLedger":
    return self

  def __exit__(self, *_: object) -> None:
    with contextlib.suppress(
      UserError
    ):  # The rows are safe in the runs' journals; the first error matters more.
      self.close()

  def _read(self, run: Run) -> list[RowValues]:
    """Returns the rows of a run's journal, after checking that they belong to this run."""
    folder = self.folder / run.name
    try:
      run_folder.check_folder(folder, run)
    except run_folder.AnotherRun as error:
      raise UserError(
        f"{folder} holds another run of that name ({_changes(to_dict(error.before), to_dict(error.run))}); "
        "go back to its settings, or choose another --workdir"
      ) from None
    rows = journal.read_journal(folder / JOURNAL, sealed=True)
    if not rows and checkpoint_folder.complete_steps(folder / CHECKPOINTS):
      raise UserError(
        f"{folder} has checkpoints but has lost its {JOURNAL}, and with it the run's curve; restore it, or remove the "
        "folder to train the run again"
      )
    for number, row in enumerate(rows, 1):
      self._check(run, row, f"line {number} of {folder / JOURNAL}")
    return [self._complete(run, row) for row in rows if row.get("kind") in KINDS]

  def _check(self, run: Run, row: RowValues, name: str) -> None:
    """Checks that a row belongs to the run, and that a result was trained on this sweep's text."""
    if row.get("run") != self._hashes[run.name]:
      raise UserError(f"{name} is of run {row.get('run')}, not of {run.name}; restore the file")
    for key, value in self._identity.items():
      if row.get("kind") == "result" and row.get(key, value) != value:
        raise UserError(f"{name} is of another {key} ({row.get(key)}, now {value}); choose another --workdir")

  def _complete(self, run: Run, row: RowValues) -> RowValues:
    """Adds the sweep's fields to a row of a run."""
    if row["kind"] != "result":
      return row
    held_out = design.is_held_out(self.sweep, run)
    return {**row, "name": run.name, "budget": run.flops, "held_out": held_out}

  def _write_journal(self, complete: bool = False) -> None:
    rows = (row for run in self.runs for row in self._rows[run.name])
    write_atomically(self.folder / JOURNAL, journal.seal_rows(rows, complete))


def _begin(path: Path, sweep: Sweep, identity: dict[str, str]) -> None:
  """Compares the study with the one in the folder, and writes it there."""
  present = json.loads(json.dumps({"sweep": to_dict(sweep), **identity}))
  if path.exists():
    saved = json_reading.read_json(path)
    saved = formats.without_format(saved, formats.RUN_FOLDER, str(path), formats.REMEDY)
    try:  # A field that is newer than the folder has its default there.
      study = from_dict(Sweep, json_reading.require_field(saved, "sweep", dict, str(path)))
    except UserError as error:
      raise UserError(
        f"{path} is not the config of a sweep ({summarize_error(error)}); choose another --workdir"
      ) from None
    saved_sweep = json.loads(json.dumps(to_dict(study)))
    for name in identity:
      if saved.get(name) != present[name]:
        raise UserError(
          f"{path.parent} holds a sweep with another {name} ({saved.get(name)}, now {present[name]}): its runs read "
          "another text; restore it, or choose another --workdir"
        )
    same = {name: present["sweep"].get(name) for name in GROWABLE_FIELDS}
    changed = _changes(saved_sweep | same, present["sweep"])
    if changed:
      raise UserError(
        f"{path.parent} holds another sweep ({changed}); go back to its settings, or choose another --workdir"
      )
  written = formats.with_format(present, formats.RUN_FOLDER)
  write_atomically(path, json.dumps(written, indent=1).encode())


def _clock(path: Path) -> StudyClock:
  if not path.exists():
    return StudyClock(0.0, 0.0)
  values = seals.without_seal(json_reading.read_json(path), str(path))
  return typed_json.decode_record(StudyClock, values, str(path), null_is_nan=False)


def _changes(before: dict[str, object], now: dict[str, object]) -> str:
  """Describes the relevant fields that differ, compared in their JSON form."""
  before, now = json.loads(json.dumps(before)), json.loads(json.dumps(now))
  changed = [
    f"{name} was {old}, now {new}"
    for name, old, new in field_differences(before, now)
    if name not in IGNORED_FIELDS
  ]
  return "; ".join(changed)
