"""One study in one folder: its corpus, its runs trained by workers, its record.

    load -> expand -> ledger -> pool -> results

Nothing here fits or draws: `TrainedStudy` is what the laws are fitted to, `collect_results` what is written down of it.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from gen import versions
from gen.config import Data, Run, Sweep, from_dict, mixture, to_dict
from gen.data import dataset
from gen.data.dataset import Dataset
from gen.errors import UserError
from gen.io import formats
from gen.scaling.sweeps import design, trunk_sweeps
from gen.scaling.sweeps.trunk_sweeps import StudyCompute
from gen.scaling.verdicts.criteria import Reason, Verdict, make_verdict
from gen.scaling.verdicts.study_records import CorpusRecord, TokenizerRecord
from gen.scaling.verdicts.verdict import Analysis
from gen.scaling.workers import forecast, pool, progress
from gen.scaling.workers.executors import LOCAL, RunExecutor
from gen.scaling.workers.ledger import LOGS, SweepLedger
from gen.training import loop
from gen.training.run_folders import run_length
from gen.training.run_log.rows import RowValues


@dataclasses.dataclass
class TrainedStudy:
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
    executor: where the last sitting trained.
  """

  loaded: Dataset
  runs: list[Run]
  results: list[RowValues]
  curves: list[RowValues]
  failed: dict[str, str]
  epochs: dict[str, float]
  interrupted: bool
  utilization: dict[str, float]
  seconds: float
  executor: RunExecutor = LOCAL


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyResults(Analysis):
  """What results.json holds: an analysis, its runs, and where they are from.

  Attributes:
    format: version of results.
    name: of the study.
    created: time, ISO 8601.
    points: the result row of each run, without its config.
    failed: why runs have no result, by name.
    utilization: wall time of workers, and how much of it was inside training steps.
    compute: cost of the runs.
    seconds: wall time of training, over all sittings.
    corpus: text of the runs.
    tokenizer: of the runs.
    seeds: of the runs.
    versions: of software.
    machine: where the runs were trained.
    config: the configuration, as plain values.
  """

  format: int
  name: str
  created: str
  points: list[RowValues]
  failed: dict[str, str]
  utilization: dict[str, float]
  compute: StudyCompute
  seconds: float
  corpus: CorpusRecord
  tokenizer: TokenizerRecord
  seeds: list[int]
  versions: dict[str, str]
  machine: dict[str, str | int | None]
  config: dict[str, object]


@dataclasses.dataclass
class OpenedStudy:
  """A study whose folder is open: what it reads, its runs, and its record."""

  sweep: Sweep
  loaded: Dataset
  runs: list[Run]
  epochs: dict[str, float]
  ledger: SweepLedger


def train_study(
  sweep: Sweep,
  folder: Path,
  console: Console,
  command: Sequence[str] = pool.COMMAND,
  executor: RunExecutor = LOCAL,
) -> TrainedStudy:
  """Trains what is left of a study; the caller holds the folder's lock.

  Args:
    sweep: the study.
    folder: where it lives.
    console: what people see.
    command: the worker process.
    executor: where runs are trained.

  Raises:
    UserError: for a study that cannot be, a folder of another one, or a mistake that a worker met.
  """
  return train_all({"": sweep}, folder, console, sweep.workers, command, executor)[""]


def train_all(
  sweeps_by_name: Mapping[str, Sweep],
  folder: Path,
  console: Console,
  workers: int = 0,
  command: Sequence[str] = pool.COMMAND,
  executor: RunExecutor = LOCAL,
  allow_failures: bool = False,
) -> dict[str, TrainedStudy]:
  """Trains what is left of several studies in one pool of workers, each study in the folder of its name.

  Args:
    sweeps_by_name: the studies; the one named "" lives in the folder itself.
    folder: where they live; the caller holds its lock.
    console: what people see.
    workers: runs at a time; 0 is one per core or GPU, and as many as a cluster grants.
    command: the worker process.
    executor: where runs are trained.
    allow_failures: whether a study may end without any result, as one of a single run may.

  Raises:
    UserError: for a study that cannot be, a folder of another one, or a mistake that a worker met.
  """
  for mesh in {sweep.mesh for sweep in sweeps_by_name.values()}:
    executor.check_mesh(mesh)
  report = functools.partial(console.print, soft_wrap=True, highlight=False)
  # Studies of the same text share it, and its lines are printed once.
  load = functools.lru_cache(
    lambda data_json: dataset.load_dataset(from_dict(Data, json.loads(data_json)), report)
  )
  with contextlib.ExitStack() as stack:
    opened = {}
    for name, sweep in sweeps_by_name.items():
      design.check_sweep(sweep)
      loop.row_length(sweep)
      opened[name] = _open(
        sweep,
        folder / name,
        console,
        # Batch and limit do not change the text; with one value for all, studies share one entry of the cache.
        load(json.dumps(to_dict(sweep.data) | {"batch": 1, "unique_tokens": 0})),
      )
      stack.enter_context(opened[name].ledger)
    failed, interrupted = _work(opened, folder, workers, console, command, executor)
  return {
    name: dataclasses.replace(
      _trained(study, failed[name], interrupted, interrupted or allow_failures), executor=executor
    )
    for name, study in opened.items()
  }


def _open(sweep: Sweep, folder: Path, console: Console, loaded: Dataset) -> OpenedStudy:
  runs = design.expand_sweep(sweep, loop.complete_run(sweep, loaded).model.vocab)
  epochs = _epochs(runs, loaded)
  if max(epochs.values()) > 1:
    console.print(_repetition(epochs))
  identity = {"corpus_sha256": loaded.corpus.sha256, "tokenizer": loaded.tokenizer.hash}
  return OpenedStudy(sweep, loaded, runs, epochs, SweepLedger(folder, sweep, runs, identity))


def _trained(
  opened: OpenedStudy, failed: dict[str, str], interrupted: bool, may_be_empty: bool
) -> TrainedStudy:
  ledger, runs = opened.ledger, opened.runs
  results = ledger.results()
  if not results and not may_be_empty:
    first = next(iter(failed.items()))
    raise UserError(f"no run of {ledger.folder} could be trained; {first[0]}: {first[1]}")
  return TrainedStudy(
    loaded=opened.loaded,
    runs=ledger.runs,
    results=results,
    curves=ledger.curves(),
    failed=failed,
    epochs=opened.epochs,
    interrupted=interrupted and len(results) + len(failed) < len(runs),
    utilization=ledger.utilization(),
    seconds=ledger.seconds,
  )


def _epochs(runs: Sequence[Run], loaded: Dataset) -> dict[str, float]:
  return {run.name: run_length.count_epochs(run, loaded) for run in runs}


def _repetition(epochs: Mapping[str, float]) -> str:
  worst = max(epochs, key=lambda name: epochs[name])
  if epochs[worst] <= 1:
    return "No run reads any text twice."
  count = sum(often > 1 for often in epochs.values())
  runs = "1 run reads" if count == 1 else f"{count} runs read"
  times = f"{worst} {epochs[worst]:.1f} times"
  return f"{runs} the corpus more than once, {times}; the laws describe text that is read once."


def _work(
  opened: Mapping[str, OpenedStudy],
  folder: Path,
  workers: int,
  console: Console,
  command: Sequence[str],
  executor: RunExecutor,
) -> tuple[dict[str, dict[str, str]], bool]:
  """Trains what is left; returns why runs failed, by study and name, and whether a signal came.

  A worker knows a run by its path below the folder, which names its study as well.
  """
  ledgers = {name: study.ledger for name, study in opened.items()}
  places = {_path(name, run): (name, run) for name, ledger in ledgers.items() for run in ledger.left()}
  failed: dict[str, dict[str, str]] = {name: {} for name in opened}
  finished = dict.fromkeys(opened, 0.0)
  total = sum(len(ledger.runs) for ledger in ledgers.values())
  if not places:
    console.print(f"all {total} runs are done")
    return failed, False
  if going_on := _standing(ledgers.values(), len(places)):
    console.print(going_on)
  left = [dataclasses.replace(run, name=path) for path, (_, run) in places.items()]
  # The longest first: a long run that begins last would keep one worker busy and all others idle.
  left.sort(key=design.expected_time, reverse=True)
  trainer = executor.trainer(workers, len(left), folder / LOGS, command)
  every = [run for ledger in ledgers.values() for run in ledger.runs]
  if executor.name == "local":
    console.print(forecast.sweep_sentence(left, trainer.workers))
  show = progress.make_display(progress.SweepTally(every, left, trainer.workers), console)
  events = trainer.train(left, folder)
  with contextlib.closing(show), contextlib.closing(events), pool.stopped_by_signals(trainer) as signals:
    for event in events:
      show.show(event)
      name, run = places[event.run.name]
      ledger = ledgers[name]
      # A result may have been recorded as a row of the journal already.
      if event.kind == "row" or (event.kind == "finished" and ledger.result(run) is None):
        ledger.record(run, event.row)
      elif event.kind == "failed":
        failed[name][run.name] = event.text
      finished[name] += trunk_sweeps.own_share(run) * run.flops * (event.kind == "finished")
      if event.kind in ("finished", "stopped"):
        _note_time(ledgers, finished, trainer.worker_seconds)
  _note_time(ledgers, finished, trainer.worker_seconds)
  return failed, bool(signals)


def _path(study: str, run: Run) -> str:
  return f"{study}/{run.name}" if study else run.name


def _note_time(
  ledgers: Mapping[str, SweepLedger], finished: Mapping[str, float], worker_seconds: float
) -> None:
  """Shares the workers' time between the studies by the FLOPs that each finished in this sitting."""
  total = sum(finished.values())
  for name, ledger in ledgers.items():
    ledger.spent(worker_seconds * (finished[name] / total if total else 1 / len(ledgers)))


def _standing(ledgers: Iterable[SweepLedger], left: int) -> str:
  """Returns a sentence about the finished runs of a resumed sweep; empty for a new one."""
  total = begun = 0
  for ledger in ledgers:
    total += len(ledger.runs)
    begun += sum(ledger.begun(run) for run in ledger.left())
  done = total - left
  if not done and not begun:
    return ""
  held = f"{begun} {'has a checkpoint' if begun == 1 else 'have checkpoints'}"
  return f"resuming: {done} of {total} runs are done, {held}"


def collect_results(sweep: Sweep, trained: TrainedStudy, analysis: Analysis) -> StudyResults:
  """Returns what results.json holds.

  Args:
    sweep: the study.
    trained: its runs.
    analysis: the laws fitted to them, what they predict, and the verdict.
  """
  corpus, tokenizer, data = trained.loaded.corpus, trained.loaded.tokenizer, sweep.data
  judged = dataclasses.replace(analysis, verdict=_judged(analysis.verdict, trained))
  return StudyResults(
    format=formats.RESULTS,
    name=sweep.name,
    created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    points=[_without_config(row) for row in trained.results],
    **{field.name: getattr(judged, field.name) for field in dataclasses.fields(Analysis)},
    failed=trained.failed,
    utilization=trained.utilization,
    compute=trunk_sweeps.study_compute(trained.results),
    seconds=trained.seconds,
    corpus=CorpusRecord(
      mixture.mixture_text(data.mixture) or data.corpus,
      corpus.documents,
      corpus.bytes,
      corpus.validation_bytes,
      corpus.sha256,
    ),
    tokenizer=TokenizerRecord(data.tokenizer, tokenizer.vocab, tokenizer.hash),
    seeds=sorted({run.seed for run in trained.runs}),
    versions=versions.installed_versions(),
    machine=versions.describe_machine() | trained.executor.described(sweep.workers),
    config=to_dict(sweep),
  )


def _without_config(row: RowValues) -> RowValues:
  copy = row.copy()
  copy.pop("config", None)
  return copy


def _judged(verdict: Verdict, trained: TrainedStudy) -> Verdict:
  """Returns the verdict on the fits with what they cannot see: runs that are missing, text that was read twice."""
  missing, often = len(trained.failed), max(trained.epochs.values())
  sentence = (
    f"{missing} of {len(trained.runs)} runs have no result." if missing else "Every run has a result."
  )
  return make_verdict(
    [
      *verdict.reasons,
      Reason("complete", not missing, missing, 0, sentence),
      Reason("one_epoch", often <= 1, often, 1, _repetition(trained.epochs)),
      *_different_texts(trained.runs),
    ]
  )


def _different_texts(runs: Sequence[Run]) -> list[Reason]:
  """Returns why a law of runs of several weights or limits is not credible; empty where all read one text."""
  texts = len({(mixture.mixture_text(run.data.mixture), run.data.unique_tokens) for run in runs})
  sentence = (
    f"The runs read {texts} different texts (mixtures, unique_tokens), which one law does not describe."
  )
  return [Reason("one_text", False, texts, 1, sentence)] if texts > 1 else []
