"""A sweep of fine-tunings over learning rates and seeds, in the worker processes that scaling sweeps have.

    sweep.json               the settings that all share
    rate_1e-05_seed_0/       the folder of one fine-tuning
    and the files of `gen.finetuning.sweep_members`

The rate with the best mean development score wins; test scores choose nothing.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from gen.errors import UserError
from gen.finetuning import sweep_members
from gen.finetuning.reports import results, seed_means
from gen.finetuning.settings import FinetuneSettings, usual_rate
from gen.finetuning.sweep_members import MemberRow, SweepMember
from gen.generation import loaded_model
from gen.io import checksums, json_reading, typed_json
from gen.io.locks import FolderLock
from gen.training import start_source

SETTINGS = "sweep.json"


def sweep_name(rate: float, seed: int) -> str:
  """Returns the name of a fine-tuning, which is also its folder.

  >>> sweep_name(1e-5, 0)
  'rate_1e-05_seed_0'
  """
  return f"rate_{rate:g}_seed_{seed}"


class SweepSummary(TypedDict):
  """What a sweep has, as its JSON has it.

  `rows` has one row a fine-tuning, `best` is the learning rate, `mean` has the test scores of its seeds, `folder` is
  that of its fine-tuning with the best development score, `failed` has reasons by name, and `result` is that of the
  folder.
  """

  rows: list[MemberRow]
  best: float
  mean: dict[str, object]
  folder: str
  failed: dict[str, str]
  result: dict[str, object]


def member_settings(settings: FinetuneSettings, rate: float, seed: int, first: bool) -> FinetuneSettings:
  """Returns the settings of one fine-tuning of a sweep; the first alone asks the untrained model."""
  prompted = settings.prompted_examples if first else 0
  return dataclasses.replace(settings, learning_rate=rate, seed=seed, prompted_examples=prompted)


def usual_rates(settings: FinetuneSettings, rates: Sequence[float]) -> list[float]:
  """Returns the learning rates of a sweep, with the one that suits the method and the model's width for each 0.

  Raises:
    UserError: if there is a 0, and the model cannot be read.
  """
  if all(rates):
    return list(rates)
  folder, step = start_source.split_step(settings.start_from)
  width = loaded_model.load_model(folder, step).model.width
  return [rate or usual_rate(settings.method_name, width) for rate in rates]


def run_sweep(
  settings: FinetuneSettings,
  rates: Sequence[float],
  seeds: int,
  workdir: Path,
  workers: int,
  report: Callable[[str], None],
) -> SweepSummary:
  """Fine-tunes for each learning rate and seed that has no result yet, and returns all results.

  Args:
    settings: that all share; learning_rate is not used, and seeds count from settings.seed.
    rates: peak learning rates.
    seeds: number of seeds.
    workdir: folder of the sweep.
    workers: processes at a time; 0 is one per core.
    report: called with lines of progress.

  Raises:
    UserError: for settings that cannot be, another sweep in the folder, or if no fine-tuning succeeds.
    RunStopped: when a signal asks for it; what was begun resumes.
  """
  settings.check()
  members = {
    sweep_name(rate, seed): SweepMember(member_settings(settings, rate, seed, seed == settings.seed))
    for rate, seed in itertools.product(dict.fromkeys(rates), range(settings.seed, settings.seed + seeds))
  }
  with FolderLock(workdir):
    _claim(workdir, settings)
    swept = sweep_members.train_members(members, workdir, workers, report)
  return _summary(workdir, [swept.rows[name] for name in members if name in swept.rows], swept.failed)


def _summary(workdir: Path, rows: list[MemberRow], failed: dict[str, str]) -> SweepSummary:
  by_rate = {
    rate: float(np.mean([row["development"] for row in rows if row["learning_rate"] == rate]))
    for rate in dict.fromkeys(row["learning_rate"] for row in rows)
  }
  # By the mean over seeds: the best single run of many rates and seeds would mostly be luck.
  best = max(by_rate, key=lambda rate: by_rate[rate])
  of_best = [row for row in rows if row["learning_rate"] == best]
  chosen = max(of_best, key=lambda row: row["development"])
  folder = workdir / chosen["name"]
  result = results.read_result(folder)
  # The untrained model is the same for all, and was asked once for each rate.
  asked = (results.read_result(workdir / row["name"]) for row in rows)
  beside = next((each for each in asked if each.settings.prompted_examples), result)
  result = dataclasses.replace(result, prompted=beside.prompted, prompted_note=beside.prompted_note)
  return {
    "rows": rows, "best": best, "mean": dataclasses.asdict(seed_means.mean_over_seeds(of_best)),
    "folder": str(folder), "failed": failed, "result": typed_json.encode_record(result),
  }  # fmt: skip


def _claim(workdir: Path, settings: FinetuneSettings) -> None:
  """Writes what all fine-tunings share into the folder, after checking that it holds no other sweep."""
  path = workdir / SETTINGS
  values = typed_json.encode_record(dataclasses.replace(settings, learning_rate=0.0))
  if path.is_file() and sweep_members.is_begun(workdir):
    before = json_reading.read_json(path)
    for name, value in json.loads(json.dumps(values)).items():
      if before.get(name) != value:
        raise UserError(
          f"{workdir} holds another sweep ({name}: {before.get(name)!r} -> {value!r}); choose another --workdir"
        )
    return
  if (workdir / "config.json").is_file() or (workdir / results.NAME).is_file():
    raise UserError(f"{workdir} holds a single fine-tuning or a run; choose another --workdir")
  checksums.write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())
