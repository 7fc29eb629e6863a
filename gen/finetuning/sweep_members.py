"""The members of a sweep of fine-tunings: how each is named, kept in a file, and trained by worker processes.

members.json     the settings of every member, by name
journal.jsonl    one result row for each member that is done
NAME/            the folder of a member that is fine-tuned
logs/            output of the workers
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from gen.config import Optimizer, Run
from gen.errors import UserError
from gen.evaluation.metrics.score import Score
from gen.finetuning import finetune
from gen.finetuning.reports.results import FinetuneResult
from gen.finetuning.settings import FinetuneSettings
from gen.io import checksums, json_reading, typed_json
from gen.scaling.workers.pool import WorkerPool, stopped_by_signals
from gen.training.hooks import RunStopped
from gen.training.run_log.journal import Journal, read_journal

MEMBERS, JOURNAL, LOGS = "members.json", "journal.jsonl", "logs"
COMMAND = (sys.executable, "-m", "gen.finetuning.sweep_worker")
KINDS = ("finetune", "prompt", "words")


@dataclasses.dataclass(frozen=True)
class SweepMember:
  """One member of a sweep.

  Attributes:
    settings: of its fine-tuning; `limit` is the number of its training examples.
    kind: finetune; prompt: the untrained model is asked, with `settings.few_shot` solved examples in its prompt; words:
      a classifier of word counts (`gen.evaluation.words.bag_of_words`) is fitted on the training examples.
    keep_model: whether the fine-tuned model stays in its folder.
  """

  settings: FinetuneSettings
  kind: str = "finetune"
  keep_model: bool = True


class MemberRow(TypedDict, total=False):
  """The result of a member, a row of the sweep's journal.

  Every row has the fields of `score_row`; those from `start` on are of fine-tuned members alone. `development` is the
  score on the development part, and `baseline` that which needs no model.
  """

  kind: str
  name: str
  method: str
  examples: int
  seed: int
  metric: str
  note: str
  score: float | None
  low: float | None
  high: float | None
  start: str
  learning_rate: float
  development: float
  steps: int
  best_step: int
  seconds: float
  trained_parameters: int
  baseline: float


class SweepRows(NamedTuple):
  """What a sweep has, by the names of its members: rows of those done, and the reasons of those that failed."""

  rows: dict[str, MemberRow]
  failed: dict[str, str]


def train_members(
  members: Mapping[str, SweepMember], workdir: Path, workers: int, report: Callable[[str], None]
) -> SweepRows:
  """Trains each member that has no row yet; the caller holds the lock of the folder.

  Args:
    members: by name, which is also the folder; the first are begun first.
    workdir: folder of the sweep. Members may be added to it later.
    workers: processes at a time; 0 is one per core.
    report: called with lines of progress.

  Raises:
    UserError: for a member that the folder has with other settings, or that cannot be trained.
    RunStopped: when a signal asks for it; what was begun resumes.
  """
  _write_members(workdir, members)
  rows = {
    str(row["name"]): cast(MemberRow, dict(row))
    for row in read_journal(workdir / JOURNAL)
    if row.get("kind") == "result"
  }
  # The journal may hold members of a larger sweep; those that are not asked for stay there.
  rows = {name: row for name, row in rows.items() if name in members}
  waiting = [_run_of(name, member) for name, member in members.items() if name not in rows]
  report(f"{len(members)} members of the sweep, {len(rows)} of them done")
  pool = WorkerPool(min(workers, len(waiting)) if workers else 0, workdir / LOGS, COMMAND)
  failed: dict[str, str] = {}
  with Journal(workdir / JOURNAL) as journal, stopped_by_signals(pool) as signals:
    for event in pool.train(waiting, workdir) if waiting else ():
      if event.kind == "finished":
        row = cast(MemberRow, {"kind": "result", "name": event.run.name, **event.row})
        journal.append(row)
        rows[event.run.name] = row
        report(f"{event.run.name}: {_score_text(row)}, {len(rows)} of {len(members)} done")
      # A later success of a retried member takes it out again, below.
      elif event.kind in ("failed", "retried"):
        failed[event.run.name] = event.text
        report(f"{event.run.name} {event.kind}: {event.text}")
    if signals:
      raise RunStopped(
        f"stopped: {len(rows)} of {len(members)} members of the sweep are done and saved in {workdir}"
      )
  if not rows:
    raise UserError(f"no member of the sweep succeeded: {next(iter(failed.values()), 'none was begun')}")
  return SweepRows(rows, {name: why for name, why in failed.items() if name not in rows})


def is_begun(workdir: Path) -> bool:
  """Returns whether a member of the folder has a result, or has begun to train: only then are settings fixed."""
  rows = read_journal(workdir / JOURNAL)
  return any(row.get("kind") == "result" for row in rows) or any(workdir.glob(f"*/{finetune.SETTINGS}"))


def read_member(folder: Path) -> SweepMember:
  """Returns the member whose folder this is.

  Raises:
    UserError: if its sweep has no such member.
  """
  path = folder.parent / MEMBERS
  values = json_reading.read_json(path).get(folder.name)
  return typed_json.decode_record(SweepMember, values, f"{folder.name} in {path}")


def tuned_row(result: FinetuneResult) -> MemberRow:
  """Returns the row of a member that was fine-tuned."""
  settings = result.settings
  return score_row(settings.method, result.examples["train"], settings.seed, result.score) | {
    "start": settings.start_from, "learning_rate": result.learning_rate, "development": result.development,
    "steps": result.steps, "best_step": result.best_step, "seconds": result.seconds,
    "trained_parameters": result.trained_parameters, "baseline": result.baseline.value,
  }  # fmt: skip


def score_row(method: str, examples: int, seed: int, score: Score | None, note: str = "") -> MemberRow:
  """Returns the fields that every row has; a score that is not defined is None.

  Args:
    method: of the member.
    examples: labelled examples that it used.
    seed: of the choice of them.
    score: on the test part.
    note: on how it was scored, or why it was not.
  """
  row: MemberRow = {"method": method, "examples": examples, "seed": seed, "metric": "", "note": note}
  row |= {"score": None, "low": None, "high": None}
  if score is not None:
    row |= {"metric": score.name, "score": score.value, "low": score.low, "high": score.high}
  return row


def _run_of(name: str, member: SweepMember) -> Run:
  """Returns what the worker pool needs of a member; the worker reads the rest from the folder."""
  rate = Optimizer(peak_learning_rate=member.settings.learning_rate or Optimizer().peak_learning_rate)
  return Run(name=name, seed=member.settings.seed, optimizer=rate)


def _score_text(row: MemberRow) -> str:
  if row.get("development") is not None:
    return f"development {row['development']:.4f}"
  return f"{row['metric']} {row['score']:.4f}" if row.get("score") is not None else str(row.get("note", ""))


def _write_members(workdir: Path, members: Mapping[str, SweepMember]) -> None:
  """Adds the members to the folder's file, after checking that those it has are the same, once one is begun."""
  path = workdir / MEMBERS
  before = json_reading.read_json(path) if path.is_file() else {}
  values = {name: json.loads(json.dumps(typed_json.encode_record(each))) for name, each in members.items()}
  for name, mine in values.items():
    theirs = before.get(name, mine)
    if theirs != mine and is_begun(workdir):
      raise UserError(
        f"{workdir} holds another sweep ({_difference(theirs, mine)}); choose another --workdir"
      )
  # Members are only added: a smaller call leaves the others' settings in the file.
  if before != before | values:
    checksums.write_atomically(path, (json.dumps(before | values, indent=1) + "\n").encode())


def _difference(theirs: Any, mine: Mapping[str, object]) -> str:
  """Returns the first field in which two members differ."""
  pairs: list[tuple[Any, Any]] = [(theirs, mine)]
  if isinstance(theirs, dict):
    pairs.insert(0, (theirs.get("settings"), mine["settings"]))
  for old, new in pairs:
    if isinstance(old, dict):
      for name in new:
        if old.get(name) != new[name]:
          return f"{name}: {old.get(name)!r} -> {new[name]!r}"
  return "its file is damaged"
