"""A study of labelled examples in its folder: trains its members, and makes the curves of their rows.

The folder is that of a sweep (`gen.finetuning.sweep_members`). More counts, methods, seeds and starts may be added to
it later.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gen import versions
from gen.evaluation.metrics import baselines
from gen.finetuning import finetune, sweep_members
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.worth_of_labels import label_curves, label_members
from gen.finetuning.worth_of_labels.label_curves import Crossing, LabelCurve, StartPoint
from gen.io.locks import FolderLock


@dataclasses.dataclass(frozen=True)
class LabelStudy:
  """The result of a study.

  Attributes:
    settings: that all members share.
    metric: the task's main one.
    examples: number in each part of the data; train is before any limit.
    licence: of the data.
    seeds: numbers of the seeds.
    curves: of the methods.
    crossings: where one method overtakes another.
    baseline: score that needs no model, by the name of the baseline.
    starts: all starts with the score on the most examples.
    failed: reasons of members that failed, by name.
    versions: of the software.
  """

  settings: FinetuneSettings
  metric: str
  examples: dict[str, int]
  licence: str
  seeds: tuple[int, ...]
  curves: tuple[LabelCurve, ...]
  crossings: tuple[Crossing, ...]
  baseline: dict[str, float]
  starts: tuple[StartPoint, ...]
  failed: dict[str, str]
  versions: dict[str, str]


def run_study(
  settings: FinetuneSettings,
  methods: Sequence[str],
  counts: Sequence[int],
  seeds: int,
  starts: Sequence[str],
  workdir: Path,
  workers: int,
  report: Callable[[str], None],
) -> LabelStudy:
  """Trains and evaluates each member that has no row yet, and returns the result.

  Args:
    settings: that all members share.
    methods: full, lora, head, last:N, prompt and tfidf; empty: those that suit the task.
    counts: numbers of labelled examples; of more than there are, all are taken.
    seeds: number of seeds; each chooses other examples.
    starts: further checkpoints, which are fine-tuned by the first method on the most examples.
    workdir: folder of the study.
    workers: processes at a time; 0 is one per core.
    report: called with lines of progress.

  Raises:
    UserError: for settings that cannot be, too few examples, another study in the folder, or if no member succeeds.
    gen.training.hooks.RunStopped: when a signal asks for it; the same call resumes.
  """
  settings.check()
  data = finetune.read_data(dataclasses.replace(settings, limit=0), report)
  methods, counts = label_members.choose_methods(methods, data), label_members.bound_counts(data, counts)
  members = label_members.make_members(settings, methods, counts, seeds, starts)
  with FolderLock(workdir):
    swept = sweep_members.train_members(members, workdir, workers, report)
  own = [
    row for name, row in swept.rows.items() if row.get("start", settings.start_from) == settings.start_from
  ]
  curves = label_curves.make_curves(own, methods)
  metric = next((row["metric"] for row in swept.rows.values() if row["metric"]), "score")
  main = next((method for method in methods if method not in (label_members.PROMPT, label_members.WORDS)), "")
  points = []
  for start in dict.fromkeys([settings.start_from, *starts]) if main else ():
    rows = [
      row for row in swept.rows.values()
      if row.get("start") == start and row["method"] == main and row["examples"] == counts[-1]
    ]  # fmt: skip
    if rows:
      point = label_curves.average_rows(counts[-1], rows)
      points.append(StartPoint(start, label_curves.pretraining_loss(start), point))
  baseline = baselines.score_baseline(data)
  return LabelStudy(
    settings, metric, {part: len(getattr(data, part)) for part in ("train", "development", "test")}, data.licence,
    tuple(range(settings.seed, settings.seed + seeds)), tuple(curves), tuple(label_curves.find_crossings(curves)),
    {baselines.USUAL[data.task]: baseline.value}, tuple(points), swept.failed, versions.installed_versions(),
  )  # fmt: skip


def study_lines(study: LabelStudy) -> list[str]:
  """Returns the tables and sentences of a study."""
  baseline = next(iter(study.baseline.values()), math.nan)
  return [
    *label_curves.table_lines(study.curves, study.metric),
    f"{next(iter(study.baseline), 'baseline')}: {baseline:.4f}",
    *label_curves.crossing_lines(study.crossings),
    *label_curves.start_lines(study.starts, study.metric),
    *(f"{name} failed: {why}" for name, why in study.failed.items()),
  ]
