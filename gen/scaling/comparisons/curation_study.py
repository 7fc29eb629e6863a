"""A study of a curation from its sources to its results.

sources -> text after each stage -> runs on each -> runs on repeated parts -> scores on another text -> differences
"""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from gen import versions
from gen.config import Run, to_dict
from gen.config.comparisons import CurationStudy
from gen.data import corpus, dataset
from gen.data.dataset import Dataset
from gen.data.tokenizers.subwords import SubwordTokenizer
from gen.errors import UserError, name_flag
from gen.scaling.comparisons import compute_worth, curation_design, curation_verdict, held_out_text, paired
from gen.scaling.comparisons.curation_design import RAW, REPEAT
from gen.scaling.comparisons.curation_records import (
  CurationResults,
  RepeatedArm,
  RepetitionFits,
  StageArm,
  StageRecord,
)
from gen.scaling.comparisons.curation_texts import StageText
from gen.scaling.comparisons.held_out_text import HeldOutText
from gen.scaling.comparisons.scored_runs import RunScorer
from gen.scaling.laws import repetition, repetition_penalty
from gen.scaling.workers import pool, study
from gen.scaling.workers.executors import LOCAL, RunExecutor
from gen.scaling.workers.study import TrainedStudy
from gen.training.run_log.rows import RowValues

Report = Callable[[str], None]


class JudgedTexts(NamedTuple):
  """Texts of a study, ready to be trained on.

  Attributes:
    loaded: each text in the tokens of all runs, by stage.
    records: their sizes, in the order of the stages.
    tokenizer: of all runs, as data.tokenizer.
    judge: text of another source.
    overlap: share of its characters whose lines stand in the raw text.
  """

  loaded: dict[str, Dataset]
  records: list[StageRecord]
  tokenizer: str
  judge: HeldOutText
  overlap: float


class TrainedCuration(NamedTuple):
  """What a session of training left: the studies by name, and how many runs are done of how many."""

  studies: dict[str, TrainedStudy]
  done: int
  total: int
  interrupted: bool


def open_texts(
  config: CurationStudy, texts: Sequence[StageText], judge: str, folder: Path, report: Report
) -> JudgedTexts:
  """Builds or finds the texts and the one that judges, which must not stand in the raw text.

  Args:
    config: the study.
    texts: of the stages, the raw text first.
    judge: corpus of another source.
    folder: of the study; a tokenizer that is trained on the raw text is saved there.
    report: called with lines of progress.

  Raises:
    UserError: for a text that cannot be read or is too short, or too much overlap.
  """
  data, name = config.sweep.data, config.sweep.data.tokenizer
  with name_flag("--judge"):
    judging = corpus.build_corpus(dataclasses.replace(data, corpus=judge), report)
  raw = dataset.load_dataset(dataclasses.replace(data, corpus=str(texts[0].folder.resolve())), report)
  held_out = held_out_text.draw_held_out(
    "judge", [*judging.validation, *judging.train], config.held_out_bytes
  )
  overlap = held_out_text.repeated_share(held_out, raw.corpus.train)
  if overlap > config.max_overlap:
    raise UserError(
      f"{overlap:.0%} of the text of --judge={judge} stands in the raw text, more than config.max_overlap "
      f"{config.max_overlap:g}; judge by a text of another source"
    )
  if name in SubwordTokenizer.KINDS:
    place = (folder / "tokenizer").resolve()
    raw.tokenizer.save(place)
    name = str(place)
  loaded = {
    text.stage: dataset.load_dataset(
      dataclasses.replace(data, corpus=str(text.folder.resolve()), tokenizer=name), report
    )
    for text in texts
  }
  records = [
    StageRecord(
      stage=text.stage, documents=text.documents, bytes=text.bytes, share=text.bytes / texts[0].bytes,
      train_tokens=len(loaded[text.stage].train.ids), corpus_sha256=loaded[text.stage].corpus.sha256,
    )
    for text in texts
  ]  # fmt: skip
  return JudgedTexts(loaded, records, name, held_out, overlap)


def train_texts(
  config: CurationStudy,
  opened: JudgedTexts,
  corpora: Mapping[str, str],
  folder: Path,
  console: Console,
  executor: RunExecutor = LOCAL,
  command: Sequence[str] = pool.COMMAND,
) -> TrainedCuration:
  """Trains what is left on all texts, and on the repeated parts of the last; the caller holds the folder's lock.

  Args:
    config: the study.
    opened: its texts.
    corpora: data.corpus of each text, by stage.
    folder: of the study.
    console: what people see.
    executor: where runs are trained.
    command: the worker process.

  Raises:
    UserError: for a study that cannot be, a folder of another one, or a mistake that a worker met.
  """
  last, workers = list(corpora)[-1], config.sweep.workers
  sweeps = curation_design.stage_sweeps(config, corpora, opened.tokenizer)
  console.print(f"part 1 of 2: the same FLOPs on {len(sweeps)} texts")
  trained = study.train_all(sweeps, folder, console, workers, command, executor)
  runs: list[Run] = trained[last].runs
  available = len(opened.loaded[last].train.ids)
  repeated = curation_design.repetition_sweeps(config, corpora[last], opened.tokenizer, runs, available)
  total = len(runs) * len(sweeps) + sum(max(sweep.seeds, default=1) for sweep in repeated.values())
  if repeated and not any(each.interrupted for each in trained.values()):
    console.print("part 2 of 2: repeated parts of the final text")
    trained |= study.train_all(repeated, folder, console, workers, command, executor, allow_failures=True)
  done = sum(len(each.results) for each in trained.values())
  return TrainedCuration(trained, done, total, any(each.interrupted for each in trained.values()))


def collect_results(
  config: CurationStudy, opened: JudgedTexts, trained: TrainedCuration, folder: Path, report: Report
) -> CurationResults:
  """Scores the runs by the text of another source and compares the texts.

  Args:
    config: the study.
    opened: its texts.
    trained: its runs.
    folder: where they are.
    report: called with lines of progress.

  Raises:
    UserError: for a run that cannot be read.
  """
  rows = {
    folder / name / str(row["name"]): row for name, each in trained.studies.items() for row in each.results
  }
  scores = RunScorer(folder, [opened.judge], report).score_runs(rows)
  scored = {
    name: [(row, scores[folder / name / str(row["name"])][opened.judge.name]) for row in each.results]
    for name, each in trained.studies.items()
  }
  arms = _stage_arms(config, opened, scored)
  final = {arm.budget: arm for arm in arms if arm.stage == opened.records[-1].stage}
  repeated = _repeated_arms(config, scored, final)
  any_study = next(iter(trained.studies.values()))
  return CurationResults(
    name=config.name,
    created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    confidence=config.confidence,
    stages=opened.records,
    arms=arms,
    repeated=repeated,
    repetition=fit_repetition(list(final.values()), repeated, config.confidence),
    verdicts=[
      curation_verdict.judge_curation(
        arm, [each for each in repeated if each.budget == budget], opened.records[0], opened.records[-1]
      )
      for budget, arm in final.items()
    ],
    judge=opened.judge.name,
    judge_bytes=opened.judge.bytes,
    judge_sha256=opened.judge.sha256,
    judge_overlap=opened.overlap,
    failed={f"{name}/{run}": why for name, each in trained.studies.items() for run, why in each.failed.items()},
    seconds=sum(float(row["seconds"]) for row in rows.values()),
    versions=versions.installed_versions(),
    machine=versions.describe_machine() | any_study.executor.described(config.sweep.workers),
    config=to_dict(config),
  )  # fmt: skip


def _stage_arms(
  config: CurationStudy, opened: JudgedTexts, scored: Mapping[str, Sequence[tuple[RowValues, float]]]
) -> list[StageArm]:
  """Returns the arms by budget, each beside the raw text and the text before its stage."""
  level, stages = config.confidence, [record.stage for record in opened.records]
  bits = {
    stage: {
      budget: {int(row["seed"]): value for row, value in scored[stage] if row["budget"] == budget}
      for budget in config.sweep.budgets
    }
    for stage in stages
  }
  reference: dict[int, dict[float, float]] = {}
  for budget, by_seed in bits[RAW].items():
    for seed, value in by_seed.items():
      reference.setdefault(seed, {})[budget] = value
  arms = []
  for budget in config.sweep.budgets:
    for number, stage in enumerate(stages):
      here = bits[stage][budget]
      row = next((row for row, _ in scored[stage] if row["budget"] == budget), None)
      if row is None:
        continue
      before = bits[stages[max(0, number - 1)]][budget]
      arms.append(
        StageArm(
          stage=stage, budget=budget, width=int(row["width"]), params=int(row["params"]), tokens=int(row["tokens"]),
          epochs=float(row["epochs"]), bits={str(seed): value for seed, value in here.items()},
          flops=float(row["flops"]), step_flops=float(row["flops"]) / int(row["steps"]),
          mean=paired.mean_interval(list(here.values()), level),
          over_raw=paired.paired_gap(here, bits[RAW][budget], level) if number else None,
          over_previous=paired.paired_gap(here, before, level) if number else None,
          worth=compute_worth.compute_ratio(reference, here, budget, level) if number else None,
        )
      )  # fmt: skip
  return arms


def _repeated_arms(
  config: CurationStudy,
  scored: Mapping[str, Sequence[tuple[RowValues, float]]],
  final: Mapping[float, StageArm],
) -> list[RepeatedArm]:
  """Returns the runs on parts of the final text, each beside the whole of it."""
  arms = []
  for name, pairs in scored.items():
    kind, _, epochs = name.partition("/")[0].partition("_")
    if kind != REPEAT or not pairs:
      continue
    budget = float(pairs[0][0]["budget"] or 0.0)
    here = {int(row["seed"]): value for row, value in pairs}
    whole = final.get(budget)
    known = {} if whole is None else {int(seed): value for seed, value in whole.bits.items()}
    arms.append(
      RepeatedArm(
        budget=budget, epochs=float(epochs), unique=int(int(pairs[0][0]["tokens"]) / float(epochs)),
        bits={str(seed): value for seed, value in here.items()}, cost=paired.paired_gap(here, known, config.confidence),
      )
    )  # fmt: skip
  return sorted(arms, key=lambda arm: (arm.budget, arm.epochs))


def fit_repetition(
  final: Sequence[StageArm], repeated: Sequence[RepeatedArm], level: float
) -> RepetitionFits:
  """Fits both laws of repetition to the runs on the final text and on its parts.

  Args:
    final: runs on the final text, by budget.
    repeated: runs on its parts.
    level: of the intervals.
  """
  by_budget = {arm.budget: arm for arm in final}
  rows = []
  for number, arm in enumerate(final):
    unique = arm.tokens / max(1.0, arm.epochs)
    rows += [(number, arm.params, arm.tokens, unique, value) for value in arm.bits.values()]
  for part in repeated:
    whole = by_budget.get(part.budget)
    if whole is not None:
      number = list(by_budget).index(part.budget)
      rows += [(number, whole.params, whole.tokens, part.unique, value) for value in part.bits.values()]
  published = repetition.MUENNIGHOFF.data_decay
  try:
    runs = repetition.RepeatedRuns(*np.array(rows, float).reshape(-1, 5).T)
    return RepetitionFits(
      decay=repetition.fit_decay(runs, level), penalty=repetition_penalty.fit_coefficient(runs, level),
      exponents=repetition_penalty.fit_exponents(runs, level), published_decay=published, error="",
    )  # fmt: skip
  except UserError as error:
    return RepetitionFits(
      decay=None, penalty=None, exponents=None, published_decay=published, error=str(error)
    )
