"""A task of a domain: the models of a study of a domain, fine-tuned alike on labelled texts.

The general model, the best adapted one (by its loss on the domain) and those from scratch are fine-tuned, all of the
largest budget, once for each seed. A seed draws the same examples for all, so differences are paired. No step is chosen
by the development part, because the last one counts for all.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from gen.config.comparisons import DomainStudy
from gen.data.tasks.examples import TaskData
from gen.errors import UserError
from gen.evaluation.metrics import baselines
from gen.finetuning import finetune, sweep_members
from gen.finetuning.settings import EPOCHS, FinetuneSettings
from gen.finetuning.sweep_members import MemberRow, SweepMember
from gen.finetuning.task_forms import forms
from gen.finetuning.worth_of_labels.label_members import NEVER
from gen.scaling.comparisons import domain_design, paired
from gen.scaling.comparisons.domain_records import DomainResults, DomainTask, TaskArm

FOLDER = "task"  # in the folder of the study
# Chosen: 3,000 of PubMed's 60,000 sentences, whose accuracy has a standard error of .009.
TEST_SHARE, DEVELOPMENT_SHARE = 0.05, 0.005
BATCH = 16  # BERT's smaller one: a few thousand labels then take twice the steps
LONG = (
  "truncate"  # the few sentences beyond the window of the models, whose beginning tells the class as well
)


def read_task(data: str, examples: int, report: Callable[[str], None]) -> TaskData:
  """Returns the labelled texts of a task, to check them before anything is trained.

  Args:
    data: as --data of experiments/finetune.py names it.
    examples: training examples of each fine-tuning.
    report: called with lines of progress.

  Raises:
    UserError: for data that cannot be read, or whose labels are numbers.
  """
  read = finetune.read_data(_settings(data, "", examples, 0), report)
  if forms.is_regression(read):
    raise UserError(f"--task={data}: its labels are numbers; name a set of texts with classes")
  return read


def add_task(
  results: DomainResults,
  data: str,
  read: TaskData,
  study: DomainStudy,
  runs: Mapping[str, Mapping[int, Path]],
  folder: Path,
  report: Callable[[str], None],
) -> DomainResults:
  """Fine-tunes the runs that have no score yet, and returns the results with the task's.

  Args:
    results: of the study.
    data: as --data of experiments/finetune.py names it.
    read: its examples.
    study: the study's config.
    runs: folder of each finished run of the largest budget, by arm and seed.
    folder: of the study, whose lock the caller holds.
    report: called with lines of progress.

  Raises:
    UserError: for another task in the folder, or if no fine-tuning succeeds.
    gen.training.hooks.RunStopped: when a signal asks for it; the same call resumes.
  """
  examples, level = study.task_examples, study.confidence
  runs = {arm: by_seed for arm, by_seed in runs.items() if arm in _compared_arms(results)}
  # A slice to None has all of them.
  seeds = sorted({seed for by_seed in runs.values() for seed in by_seed})[: study.task_seeds or None]
  members = {
    f"{arm}_seed_{seed}": SweepMember(
      _settings(data, str(by_seed[seed].resolve()), examples, seed), keep_model=False
    )
    for seed in seeds
    for arm, by_seed in runs.items()
    if seed in by_seed
  }
  members |= {
    f"{domain_design.WORDS}_seed_{seed}": SweepMember(
      _settings(data, "", examples, seed), "words", keep_model=False
    )
    for seed in seeds
  }
  swept = sweep_members.train_members(members, folder / FOLDER, study.sweep.workers, report)
  rows = {
    arm: {seed: row for seed in seeds if (row := swept.rows.get(f"{arm}_seed_{seed}"))}
    for arm in (*runs, domain_design.WORDS)
  }
  general = _scores(rows.get(domain_design.GENERAL, {}))
  first = next(iter(swept.rows.values()))
  baseline = baselines.score_baseline(read)
  settings = dataclasses.asdict(_settings(data, "", examples, 0))
  for name in ("start_from", "seed"):  # those in which the fine-tunings differ
    del settings[name]
  task = DomainTask(
    data=data,
    licence=read.licence,
    metric=first["metric"],
    budget=max(study.sweep.budgets),
    examples=first["examples"],
    test_examples=len(read.test),
    baseline={baselines.USUAL[read.task]: baseline.value},
    arms=[_task_arm(arm, by_seed, general, level) for arm, by_seed in rows.items() if _scores(by_seed)],
    failed=swept.failed,
    settings=settings,
  )  # fmt: skip
  return dataclasses.replace(results, task=task)


def _compared_arms(results: DomainResults) -> set[str]:
  """Returns the arms that are fine-tuned: of the adapted ones that with the least loss on the domain alone."""
  largest = max(arm.budget for arm in results.arms)
  arms = {arm.arm: arm.domain.mean for arm in results.arms if arm.budget == largest}
  adapted = [arm for arm in arms if arm.startswith(domain_design.ADAPTED)]
  return (arms.keys() - set(adapted)) | set(sorted(adapted, key=arms.__getitem__)[:1])


def _settings(data: str, start: str, examples: int, seed: int) -> FinetuneSettings:
  """Returns the settings of one fine-tuning: the defaults, and the last step for all."""
  return FinetuneSettings(
    "classify", start, data, limit=examples, seed=seed, test_share=TEST_SHARE, development_share=DEVELOPMENT_SHARE,
    long=LONG, epochs=EPOCHS, batch=BATCH, patience=0, evaluate_every=NEVER, prompted_examples=0,
  )  # fmt: skip


def _task_arm(arm: str, rows: Mapping[int, MemberRow], general: Mapping[int, float], level: float) -> TaskArm:
  scores = _scores(rows)
  ends = [(row["low"], row["high"]) for row in rows.values()]
  lows, highs = ([float(end) for end in side if end is not None] for side in zip(*ends, strict=True))
  return TaskArm(
    arm=arm, scores={str(seed): value for seed, value in scores.items()},
    mean=paired.mean_interval(list(scores.values()), level),
    # Means of the ends over seeds: the interval of the test examples for a usual seed.
    test_low=sum(lows) / len(lows) if lows else None, test_high=sum(highs) / len(highs) if highs else None,
    over_general_model=None if arm == domain_design.GENERAL else paired.paired_gap(scores, general, level),
  )  # fmt: skip


def _scores(rows: Mapping[int, MemberRow]) -> dict[int, float]:
  """Returns the scores that are defined, by seed."""
  return {seed: value for seed, row in rows.items() if (value := row.get("score")) is not None}
