"""A sweep of fine-tunings over learning rates and seeds, in the worker processes that scaling sweeps have.

    sweep.json               the settings that all share
    journal.jsonl            one result row for each fine-tuning that is done
    rate_1e-05_seed_0/       the folder of one fine-tuning
    logs/                    output of the workers

The rate with the best mean development score wins; test scores choose nothing.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.config import Optimizer, Run
from gen.errors import UserError
from gen.finetuning.reports import results
from gen.finetuning.settings import FinetuneSettings
from gen.io import checksums, json_reading, typed_json
from gen.io.locks import FolderLock
from gen.scaling.workers.pool import WorkerPool, stopped_by_signals
from gen.training.hooks import RunStopped
from gen.training.run_log.journal import Journal, read_journal

SETTINGS, JOURNAL, LOGS = "sweep.json", "journal.jsonl", "logs"
COMMAND = (sys.executable, "-m", "gen.finetuning.sweep_worker")


def sweep_name(rate: float, seed: int) -> str:
  """Returns the name of a fine-tuning, which is also its folder.

  >>> sweep_name(1e-5, 0)
  'rate_1e-05_seed_0'
  """
  return f"rate_{rate:g}_seed_{seed}"


def member_settings(settings: FinetuneSettings, rate: float, seed: int, first: bool) -> FinetuneSettings:
  """Returns the settings of one fine-tuning of a sweep; the first alone asks the untrained model."""
  prompted = settings.prompted_examples if first else 0
  return dataclasses.replace(settings, learning_rate=rate, seed=seed, prompted_examples=prompted)


def run_sweep(
  settings: FinetuneSettings,
  rates: Sequence[float],
  seeds: int,
  workdir: Path,
  workers: int,
  report: Callable[[str], None],
) -> dict[str, Any]:
  """Fine-tunes for each learning rate and seed that has no result yet, and returns all results.

  Args:
    settings: that all share; learning_rate is not used, and seeds count from settings.seed.
    rates: peak learning rates.
    seeds: number of seeds.
    workdir: folder of the sweep.
    workers: processes at a time; 0 is one per core.
    report: called with lines of progress.

  Returns:
    rows (one a fine-tuning), best (the learning rate), folder (of its fine-tuning with the best development score),
    failed (reasons by name), and result (of that folder).

  Raises:
    UserError: for settings that cannot be, another sweep in the folder, or if no fine-tuning succeeds.
    RunStopped: when a signal asks for it; what was begun resumes.
  """
  settings.check()
  pairs = list(itertools.product(dict.fromkeys(rates), range(settings.seed, settings.seed + seeds)))
  runs = [
    Run(name=sweep_name(rate, seed), seed=seed, optimizer=Optimizer(peak_learning_rate=rate))
    for rate, seed in pairs
  ]
  with FolderLock(workdir):
    _claim(workdir, settings)
    rows: dict[str, dict[str, Any]] = {
      row["name"]: dict(row) for row in read_journal(workdir / JOURNAL) if row.get("kind") == "result"
    }
    waiting = [run for run in runs if run.name not in rows]
    report(f"{len(runs)} fine-tunings, {len(runs) - len(waiting)} of them done")
    pool = WorkerPool(min(workers, len(waiting)) if workers else 0, workdir / LOGS, COMMAND)
    failed: dict[str, str] = {}
    with Journal(workdir / JOURNAL) as journal, stopped_by_signals(pool) as signals:
      for event in pool.train(waiting, workdir) if waiting else ():
        if event.kind == "finished":
          row: dict[str, Any] = {"kind": "result", "name": event.run.name, **event.row}
          journal.append(row)
          rows[event.run.name] = row
          report(f"{event.run.name}: development {row['development']:.4f}, {len(rows)} of {len(runs)} done")
        elif event.kind in ("failed", "retried"):
          failed[event.run.name] = event.text
          report(f"{event.run.name} {event.kind}: {event.text}")
      if signals:
        raise RunStopped(f"stopped: {len(rows)} of {len(runs)} fine-tunings are done and saved in {workdir}")
  done = [rows[run.name] for run in runs if run.name in rows]
  if not done:
    raise UserError(f"no fine-tuning of the sweep succeeded: {next(iter(failed.values()), 'none was begun')}")
  return _summary(workdir, done, {name: why for name, why in failed.items() if name not in rows})


def _summary(workdir: Path, rows: list[dict[str, Any]], failed: dict[str, str]) -> dict[str, Any]:
  by_rate = {
    rate: float(np.mean([row["development"] for row in rows if row["learning_rate"] == rate]))
    for rate in dict.fromkeys(row["learning_rate"] for row in rows)
  }
  best = max(by_rate, key=lambda rate: by_rate[rate])
  chosen = max((row for row in rows if row["learning_rate"] == best), key=lambda row: row["development"])
  folder = workdir / chosen["name"]
  result = results.read_result(folder)
  # The untrained model is the same for all, and was asked once for each rate.
  asked = (results.read_result(workdir / row["name"]) for row in rows)
  beside = next((each for each in asked if each.settings.prompted_examples), result)
  result = dataclasses.replace(result, prompted=beside.prompted, prompted_note=beside.prompted_note)
  return {
    "rows": rows, "best": best, "folder": str(folder), "failed": failed,
    "result": typed_json.encode_record(result),
  }  # fmt: skip


def _claim(workdir: Path, settings: FinetuneSettings) -> None:
  """Writes what all fine-tunings share into the folder, after checking that it holds no other sweep."""
  path = workdir / SETTINGS
  values = typed_json.encode_record(dataclasses.replace(settings, learning_rate=0.0))
  if path.is_file():
    before = json_reading.read_json(path)
    for name, value in json.loads(json.dumps(values)).items():
      if before.get(name) != value:
        raise UserError(
          f"{workdir} holds another sweep ({name}: {before.get(name)} -> {value}); choose another --workdir"
        )
    return
  if (workdir / "config.json").is_file() or (workdir / results.NAME).is_file():
    raise UserError(f"{workdir} holds a single fine-tuning or a run; choose another --workdir")
  checksums.write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())


def shared_settings(workdir: Path) -> FinetuneSettings:
  """Returns the settings of a sweep's folder."""
  path = workdir / SETTINGS
  return typed_json.decode_record(FinetuneSettings, json_reading.read_json(path), str(path))
