"""One study in one folder: its corpus, its runs trained by workers, its record.

    load -> expand -> ledger -> pool -> results

Nothing here fits or draws: `Trained` is what the laws are fitted to, `results` what is written down of it.
"""

import contextlib
import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gen import versions
from gen.config import Run, Sweep, to_dict
from gen.data import loaded as loading
from gen.data.loaded import Loaded
from gen.errors import UserError
from gen.scaling import pool as pools
from gen.scaling import progress
from gen.scaling import sweep as sweeps
from gen.scaling.ledger import LOGS, Ledger
from gen.training import loop


@dataclasses.dataclass
class Trained:
  """What a study has after its runs were trained, or after it was interrupted.

  Attributes:
    loaded: corpus, tokenizer and tokens.
    runs: of the study, in canonical order.
    results: result rows in the same order.
    curves: train and evaluation rows of the finished runs.
    failed: why, by the name of the run that has no result.
    epochs: how often each run reads the corpus, by name.
    interrupted: whether a signal asked to stop before all was done.
    utilization: wall time of workers, and how much of it was inside training steps.
    seconds: wall time of training, over all sittings.
  """

  loaded: Loaded
  runs: list[Run]
  results: list[dict[str, Any]]
  curves: list[dict[str, Any]]
  failed: dict[str, str]
  epochs: dict[str, float]
  interrupted: bool
  utilization: dict[str, float]
  seconds: float


def train(sweep: Sweep, folder: Path, console: Console, command: Sequence[str] = pools.COMMAND) -> Trained:
  """Trains what is left of a study; the caller holds the folder's lock.

  Args:
    sweep: the study.
    folder: where it lives.
    console: what people see.
    command: the worker process.

  Raises:
    UserError: for a study that cannot be, a folder of another one, or a mistake that a worker met.
  """
  sweeps.check(sweep)
  loop.row_of(sweep)
  loaded = loading.load(sweep.data, functools.partial(console.print, soft_wrap=True, highlight=False))
  runs = sweeps.expand(sweep, loop.complete(sweep, loaded).model.vocab)
  epochs = _epochs(runs, loaded)
  if max(epochs.values()) > 1:
    console.print(_repetition(epochs))
  identity = {"corpus_sha256": loaded.corpus.sha256, "tokenizer": loaded.tokenizer.hash}
  with Ledger(folder, sweep, runs, identity) as ledger:
    failed, interrupted = _work(ledger, sweep.workers, console, command)
  results = ledger.results()
  if not results and not interrupted:
    first = next(iter(failed.items()))
    raise UserError(f"no run of {folder} could be trained; {first[0]}: {first[1]}")
  return Trained(
    loaded=loaded,
    runs=ledger.runs,
    results=results,
    curves=ledger.curves(),
    failed=failed,
    epochs=epochs,
    interrupted=interrupted and len(results) + len(failed) < len(runs),
    utilization=ledger.utilization(),
    seconds=ledger.seconds,
  )


def _epochs(runs: Sequence[Run], loaded: Loaded) -> dict[str, float]:
  tokens = {run.name: loop.steps_of(run) * run.data.batch * loop.row_of(run).tokens for run in runs}
  return {name: count / len(loaded.train.ids) for name, count in tokens.items()}


def _repetition(epochs: Mapping[str, float]) -> str:
  most = max(epochs, key=lambda name: epochs[name])
  if epochs[most] <= 1:
    return "No run reads any text twice."
  count = sum(often > 1 for often in epochs.values())
  runs = "1 run reads" if count == 1 else f"{count} runs read"
  return f"{runs} the corpus more than once, {most} {epochs[most]:.1f} times; the laws are of text that is read once."


def _work(
  ledger: Ledger, workers: int, console: Console, command: Sequence[str]
) -> tuple[dict[str, str], bool]:
  """Trains what is left; returns why runs failed, by name, and whether a signal came."""
  left, failed = ledger.left(), dict[str, str]()
  if not left:
    console.print(f"all {len(ledger.runs)} runs are done")
    return failed, False
  if going_on := _standing(ledger, left):
    console.print(going_on)
  pool = pools.Pool(min(workers or len(pools.cores()), len(left)), ledger.folder / LOGS, command)
  show = progress.display(progress.Tally(ledger.runs, left, pool.workers), console)
  events = pool.train(left, ledger.folder)
  with contextlib.closing(show), contextlib.closing(events), pools.stopped_by_signals(pool) as signals:
    for event in events:
      show.show(event)
      if event.kind == "row" or (event.kind == "finished" and ledger.result(event.run) is None):
        ledger.record(event.run, event.row)
      elif event.kind == "failed":
        failed[event.run.name] = event.text
      if event.kind in ("finished", "stopped"):
        ledger.spent(pool.worker_seconds)
  ledger.spent(pool.worker_seconds)
  return failed, bool(signals)


def _standing(ledger: Ledger, left: Sequence[Run]) -> str:
  """Says what a sweep that goes on finds; nothing for one that begins."""
  done, begun = len(ledger.runs) - len(left), sum(ledger.begun(run) for run in left)
  if not done and not begun:
    return ""
  held = f"{begun} {'has a checkpoint' if begun == 1 else 'have checkpoints'}"
  return f"going on: {done} of {len(ledger.runs)} runs are done, {held}"


def results(sweep: Sweep, trained: Trained, analysis: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what results.json holds.

  Args:
    sweep: the study.
    trained: its runs.
    analysis: the laws fitted to them, what they predict, and the verdict.
  """
  corpus, tokenizer, data = trained.loaded.corpus, trained.loaded.tokenizer, sweep.data
  return {
    "name": sweep.name,
    "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "points": [{name: value for name, value in row.items() if name != "config"} for row in trained.results],
    **analysis,
    "verdict": _judged(analysis["verdict"], trained),
    "failed": trained.failed,
    "utilization": trained.utilization,
    "seconds": trained.seconds,
    "corpus": {
      "name": data.corpus,
      "documents": corpus.documents,
      "bytes": corpus.bytes,
      "validation_bytes": corpus.validation_bytes,
      "sha256": corpus.sha256,
    },
    "tokenizer": {"kind": data.tokenizer, "vocab": tokenizer.vocab, "hash": tokenizer.hash},
    "seeds": sorted({run.seed for run in trained.runs}),
    "versions": versions.installed(),
    "machine": versions.machine() | {"workers": sweep.workers or len(pools.cores())},
    "config": to_dict(sweep),
  }


def _judged(verdict: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
  """Returns the verdict on the fits with what they cannot see: runs that are missing, text that was read twice."""
  missing, often = len(trained.failed), max(trained.epochs.values())
  sentence = (
    f"{missing} of {len(trained.runs)} runs have no result." if missing else "Every run has a result."
  )
  reasons = [
    {"name": "complete", "passed": not missing, "value": missing, "limit": 0, "sentence": sentence},
    {
      "name": "one_epoch",
      "passed": often <= 1,
      "value": often,
      "limit": 1,
      "sentence": _repetition(trained.epochs),
    },
  ]
  credible = bool(verdict["credible"]) and all(reason["passed"] for reason in reasons)
  return {**verdict, "credible": credible, "reasons": [*verdict["reasons"], *reasons]}
