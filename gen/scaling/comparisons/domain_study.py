"""A study of a domain from its texts to its results.

    texts -> overlap? -> runs of one phase -> second phases -> scores on held-out text -> differences, verdict

The runs train in the folders of ordinary sweeps, one for each arm, so a study that was stopped goes on.
"""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from gen import versions
from gen.config import to_dict
from gen.config.comparisons import DomainStudy
from gen.data import corpus, dataset
from gen.data.dataset import Dataset
from gen.errors import UserError, name_flag
from gen.scaling.comparisons import domain_design, domain_verdict, held_out_text, paired
from gen.scaling.comparisons.domain_design import DomainTexts
from gen.scaling.comparisons.domain_records import (
  DomainArm,
  DomainResults,
  DomainRun,
  HeldOutRecord,
  VocabularyCost,
)
from gen.scaling.comparisons.held_out_text import HeldOutText
from gen.scaling.comparisons.scored_runs import RunScorer
from gen.scaling.verdicts.study_records import CorpusRecord, TokenizerRecord
from gen.scaling.workers import pool, study
from gen.scaling.workers.executors import LOCAL, RunExecutor
from gen.scaling.workers.study import TrainedStudy
from gen.training.run_log.rows import RowValues

DOMAIN, GENERAL = "domain", "general"  # names of the held-out texts
Report = Callable[[str], None]


class OpenedTexts(NamedTuple):
  """Texts and tokenizers of a study.

  Attributes:
    texts: where runs read from.
    general: general text in its own tokens.
    domain: the domain in the tokens of the general text.
    own: the domain in its own tokens; None without a tokenizer of its own.
    held_out: texts that all runs are scored on, by name.
    overlaps: of each held-out text.
  """

  texts: DomainTexts
  general: Dataset
  domain: Dataset
  own: Dataset | None
  held_out: dict[str, HeldOutText]
  overlaps: list[HeldOutRecord]


class TrainedArms(NamedTuple):
  """What a session of training left: the studies by name, and how many runs are done of how many."""

  studies: dict[str, TrainedStudy]
  done: int
  total: int
  interrupted: bool


def open_texts(
  study_config: DomainStudy, domain: str, general: str, folder: Path, report: Report
) -> OpenedTexts:
  """Builds or finds both texts, and checks that neither holds the other's held-out text.

  Args:
    study_config: the study.
    domain: corpus of the domain.
    general: corpus of general text.
    folder: of the study; the tokenizer of the general text is saved there.
    report: called with lines of progress.

  Raises:
    UserError: for a text that cannot be read, twice the same text, or too much overlap.
  """
  data, name = study_config.sweep.data, study_config.sweep.data.tokenizer
  domain_data = dataclasses.replace(data, corpus=domain)
  with name_flag("--domain"):
    domain_corpus = corpus.build_corpus(domain_data, report)
  with name_flag("--general"):
    loaded = dataset.load_dataset(dataclasses.replace(data, corpus=general), report)
  if domain_corpus.sha256 == loaded.corpus.sha256:
    raise UserError(f"--domain={domain} and --general={general} are the same text; name two different ones")
  held_out = {
    side: held_out_text.draw_held_out(side, text.validation, study_config.held_out_bytes)
    for side, text in ((DOMAIN, domain_corpus), (GENERAL, loaded.corpus))
  }
  report("looking for held-out text in the training texts")
  overlaps = [
    HeldOutRecord(
      name=side, bytes=text.bytes, sha256=text.sha256,
      in_domain=held_out_text.repeated_share(text, domain_corpus.train),
      in_general=held_out_text.repeated_share(text, loaded.corpus.train),
    )
    for side, text in held_out.items()
  ]  # fmt: skip
  _refuse_overlap(overlaps, study_config.max_overlap, domain, general)
  own = None
  if domain_design.has_own_tokenizer(study_config):
    place = (folder / "tokenizer").resolve()
    loaded.tokenizer.save(place)
    own, name = dataset.load_dataset(domain_data, report), str(place)
  in_general = dataset.load_dataset(dataclasses.replace(domain_data, tokenizer=name), report)
  return OpenedTexts(DomainTexts(general, domain, name), loaded, in_general, own, held_out, overlaps)


def _refuse_overlap(overlaps: Sequence[HeldOutRecord], limit: float, domain: str, general: str) -> None:
  of_domain, of_general = overlaps
  for share, text, other in (
    (of_domain.in_general, f"--domain={domain}", f"--general={general}"),
    (of_general.in_domain, f"--general={general}", f"--domain={domain}"),
  ):
    if share > limit:
      raise UserError(
        f"{share:.0%} of the held-out text of {text} stands in the training text of {other}, more than "
        f"config.max_overlap {limit:g}; name texts that do not share documents"
      )


def train_arms(
  study_config: DomainStudy,
  opened: OpenedTexts,
  folder: Path,
  console: Console,
  executor: RunExecutor = LOCAL,
  command: Sequence[str] = pool.COMMAND,
) -> TrainedArms:
  """Trains what is left of all arms, the second phases after the first; the caller holds the folder's lock.

  Raises:
    UserError: for a study that cannot be, a folder of another one, or a mistake that a worker met.
  """
  workers, sweeps = study_config.sweep.workers, domain_design.first_sweeps(study_config, opened.texts)
  total = len(sweeps[domain_design.FIRST].budgets) * max(study_config.sweep.seeds, default=1)
  expected = total * (len(sweeps) + len(study_config.replays))
  console.print(f"phase 1 of 2: {total * len(sweeps)} runs that need no other run")
  trained = study.train_all(sweeps, folder, console, workers, command, executor)
  first = trained[domain_design.FIRST]
  finished = {str(row["name"]) for row in first.results}
  if not any(each.interrupted for each in trained.values()):
    phases = domain_design.second_phases(
      study_config,
      opened.texts,
      [run for run in first.runs if run.name in finished],
      str((folder / domain_design.FIRST).resolve()),
    )
    console.print(f"phase 2 of 2: {len(phases)} runs that continue on the domain")
    second = {f"{phase.arm}/{phase.first.name}": phase.sweep for phase in phases}
    trained |= study.train_all(second, folder, console, workers, command, executor, allow_failures=True)
  done = sum(len(each.results) for each in trained.values())
  return TrainedArms(trained, done, expected, any(each.interrupted for each in trained.values()))


def collect_results(
  study_config: DomainStudy, opened: OpenedTexts, trained: TrainedArms, folder: Path, report: Report
) -> DomainResults:
  """Scores the runs on held-out text and compares the arms.

  Args:
    study_config: the study.
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
  scores = RunScorer(folder, list(opened.held_out.values()), report).score_runs(rows)
  arms = _compare(
    _runs_by_arm(study_config, opened, trained.studies, folder, scores), study_config.confidence
  )
  by_budget = [[arm for arm in arms if arm.budget == budget] for budget in study_config.sweep.budgets]
  judged = [domain_verdict.judge_budget(each, study_config.confidence) for each in by_budget]
  verdicts = [verdict for verdict in judged if verdict is not None]
  any_study = next(iter(trained.studies.values()))
  tokenizers = {GENERAL: opened.general} | ({} if opened.own is None else {DOMAIN: opened.own})
  return DomainResults(
    name=study_config.name,
    created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    confidence=study_config.confidence,
    arms=arms,
    verdicts=verdicts,
    summary=domain_verdict.summarize_verdicts(verdicts),
    vocabulary=[_vocabulary(name, loaded, opened.held_out) for name, loaded in tokenizers.items()],
    held_out=opened.overlaps,
    corpora={name: _corpus_record(loaded) for name, loaded in ((DOMAIN, opened.domain), (GENERAL, opened.general))},
    tokenizers={
      name: TokenizerRecord(study_config.sweep.data.tokenizer, loaded.tokenizer.vocab, loaded.tokenizer.hash)
      for name, loaded in tokenizers.items()
    },
    failed={f"{name}/{run}": why for name, each in trained.studies.items() for run, why in each.failed.items()},
    seconds=sum(float(row["seconds"]) for row in rows.values()),
    versions=versions.installed_versions(),
    machine=versions.describe_machine() | any_study.executor.described(study_config.sweep.workers),
    config=to_dict(study_config) | {DOMAIN: opened.texts.domain, GENERAL: opened.texts.general},
  )  # fmt: skip


def _vocabulary(name: str, loaded: Dataset, held_out: Mapping[str, HeldOutText]) -> VocabularyCost:
  costs = {
    text: held_out_text.bytes_per_token(held_out[text], loaded.tokenizer) for text in (DOMAIN, GENERAL)
  }
  return VocabularyCost(tokenizer=name, vocab=loaded.tokenizer.vocab, **costs)


def _corpus_record(loaded: Dataset) -> CorpusRecord:
  text = loaded.corpus
  return CorpusRecord(text.name, text.documents, text.bytes, text.validation_bytes, text.sha256)


def finished_runs(
  study_config: DomainStudy, trained: TrainedArms, folder: Path
) -> dict[str, dict[int, Path]]:
  """Returns the folders of the runs of the largest budget that have a result, by arm and seed.

  Args:
    study_config: the study.
    trained: its runs.
    folder: where they are.
  """
  largest = max(study_config.sweep.budgets)
  firsts = {run.name: run for run in trained.studies[domain_design.FIRST].runs}
  runs: dict[str, dict[int, Path]] = {}
  for name, each in trained.studies.items():
    arm, _, first = name.partition("/")
    for row in each.results if arm != domain_design.FIRST else ():
      budget = domain_design.study_budget(study_config, firsts[first]) if first else row["budget"]
      if budget == largest:
        runs.setdefault(arm, {})[int(row["seed"])] = folder / name / str(row["name"])
  return runs


class _ScoredRow(NamedTuple):
  """A finished run: its arm, the whole budget, its result rows phase by phase, and what the last two phases score."""

  arm: str
  budget: float
  rows: list[RowValues]
  bits: dict[str, float]
  before: dict[str, float] | None


def _runs_by_arm(
  study_config: DomainStudy,
  opened: OpenedTexts,
  studies: Mapping[str, TrainedStudy],
  folder: Path,
  scores: Mapping[Path, dict[str, float]],
) -> dict[tuple[float, str], list[tuple[RowValues, DomainRun]]]:
  """Returns the runs of each budget and arm, each with its last result row."""
  firsts = {run.name: run for run in studies[domain_design.FIRST].runs}
  first_rows = {str(row["name"]): row for row in studies[domain_design.FIRST].results}
  grouped: dict[tuple[float, str], list[tuple[RowValues, DomainRun]]] = {}
  for name, each in studies.items():
    arm, _, first = name.partition("/")
    for row in each.results if arm != domain_design.FIRST else ():
      bits = scores[folder / name / str(row["name"])]
      budget, rows, before = float(row["budget"] or 0.0), [row], None
      if first:
        budget = domain_design.study_budget(study_config, firsts[first])
        rows, before = [first_rows[first], row], scores[folder / domain_design.FIRST / first]
      scored = _ScoredRow(arm, budget, rows, bits, before)
      grouped.setdefault((budget, arm), []).append((row, _domain_run(scored, opened)))
  return grouped


def _domain_run(scored: _ScoredRow, opened: OpenedTexts) -> DomainRun:
  last, arm = scored.rows[-1], scored.arm
  text = opened.own if arm == domain_design.SCRATCH_OWN and opened.own is not None else opened.domain
  share = 0.0 if arm == domain_design.GENERAL else 1 - domain_design.replay_of(arm)
  return DomainRun(
    seed=int(last["seed"]),
    domain=scored.bits[DOMAIN],
    general=scored.bits[GENERAL],
    flops=sum(float(row["flops"]) for row in scored.rows),
    first_flops=sum(float(row["flops"]) for row in scored.rows[:-1]),
    step_flops=float(last["flops"]) / int(last["steps"]),
    tokens=sum(int(row["tokens"]) for row in scored.rows),
    domain_epochs=share * int(last["tokens"]) / len(text.train.ids),
    general_before=None if scored.before is None else scored.before[GENERAL],
    learning_rate=float(last["learning_rate"]),
    seconds=sum(float(row["seconds"]) for row in scored.rows),
  )


def _compare(
  grouped: Mapping[tuple[float, str], list[tuple[RowValues, DomainRun]]], level: float
) -> list[DomainArm]:
  """Returns the arms by budget, each set beside the general model of its budget."""
  arms = []
  for (budget, arm), pairs in sorted(grouped.items(), key=lambda item: item[0][0]):
    runs = sorted((run for _, run in pairs), key=lambda run: run.seed)
    general = {run.seed: run.domain for _, run in grouped.get((budget, domain_design.GENERAL), [])}
    bits = {run.seed: run.domain for run in runs}
    before = {run.seed: run.general_before for run in runs if run.general_before is not None}
    arms.append(
      DomainArm(
        arm=arm, budget=budget, width=int(pairs[0][0]["width"]), params=int(pairs[0][0]["params"]), runs=runs,
        domain=paired.mean_interval(list(bits.values()), level),
        general=paired.mean_interval([run.general for run in runs], level),
        over_general_model=None if arm == domain_design.GENERAL else paired.paired_gap(bits, general, level),
        forgetting=paired.paired_gap({run.seed: run.general for run in runs}, before, level) if before else None,
      )
    )  # fmt: skip
  return arms
