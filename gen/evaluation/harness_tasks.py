"""Scores of a model on tasks of lm-evaluation-harness, its own or from YAML files, as plain values."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen import versions
from gen.errors import UserError
from gen.evaluation import harness
from gen.evaluation.harness import Backend


class TaskScore(NamedTuple):
  """A score of a task: metric, filter of the answers, value, and standard error (None if unknown)."""

  metric: str
  filter: str
  value: float
  standard_error: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class TaskScores:
  """The scores of a task, its version, and how many examples (shots) and questions it had."""

  version: object
  shots: int | None
  questions: int | None
  scores: list[TaskScore]


@dataclasses.dataclass(frozen=True, slots=True)
class GroupScores:
  """The scores of a group of tasks."""

  scores: list[TaskScore]


@dataclasses.dataclass(frozen=True, slots=True)
class HarnessReport:
  """The scores of a model.

  Attributes:
    model: what the harness records of the model.
    tasks: by name.
    groups: by name.
    versions: of software.
    samples: of each task, as the harness has them; None unless asked for.
  """

  model: dict[str, str | int]
  tasks: dict[str, TaskScores]
  groups: dict[str, GroupScores]
  versions: dict[str, str]
  samples: dict[str, object] | None = None


def evaluate_tasks(
  model: Backend,
  tasks: Sequence[str],
  *,
  include_path: str | Path | None = None,
  shots: int | None = None,
  limit: int | None = None,
  # The harness's own default of its random seeds.
  seed: int = 1234,
  log_samples: bool = False,
) -> HarnessReport:
  """Returns the scores of a model.

  Args:
    model: of `harness.language_model()`.
    tasks: names, or patterns of names, of tasks and groups.
    include_path: a folder with more tasks.
    shots: examples before each question; None uses the task's default.
    limit: maximum questions per task; None is all.
    seed: of the examples' choice.
    log_samples: whether to include every question with its exact prompts and the model's answers.

  Raises:
    UserError: for an unknown task, or one whose data cannot be loaded, or errors of the model.
  """
  harness.require_harness()
  import lm_eval
  from lm_eval import evaluator
  from lm_eval.tasks import TaskManager

  if include_path and not Path(include_path).is_dir():
    raise UserError(f"--include_path={include_path} is not a folder; give one with YAML files of tasks")
  known = TaskManager(include_path=str(include_path) if include_path else None)
  unknown = [name for name in tasks if not known.match_tasks([name])]
  if unknown or not tasks:
    raise UserError(
      f"there is no task {', '.join(unknown)}; lm_eval ls tasks lists all; give your own with --include_path"
      if unknown
      else "no task is named; give some with --tasks"
    )
  try:
    results = evaluator.simple_evaluate(
      model=model, tasks=known.match_tasks(list(tasks)), num_fewshot=shots, limit=limit, task_manager=known,
      fewshot_random_seed=seed, log_samples=log_samples, bootstrap_iters=1000,
    )  # fmt: skip
  except OSError as error:  # base class of errors of hubs, networks and disks
    line = str(error).strip().splitlines()[:1] or [type(error).__name__]
    raise UserError(f"the data of {', '.join(tasks)} cannot be loaded: {line[0]}") from error
  assert results is not None  # None only in processes other than the first
  return HarnessReport(
    model=model.get_model_info() | {"max_length": model.max_length},
    tasks={name: _task(name, values, results) for name, values in results["results"].items()},
    groups={name: GroupScores(_scores(values)) for name, values in results.get("groups", {}).items()},
    versions=versions.installed_versions() | {"lm-eval": lm_eval.__version__},
    samples=results["samples"] if log_samples else None,
  )


def _task(name: str, values: Mapping[str, Any], results: Mapping[str, Any]) -> TaskScores:
  return TaskScores(
    version=results["versions"].get(name),
    shots=results["n-shot"].get(name),
    questions=results["n-samples"].get(name, {}).get("effective"),
    scores=_scores(values),
  )


def _scores(values: Mapping[str, Any]) -> list[TaskScore]:
  """Returns the harness's values under names such as `acc,none` and `acc_stderr,none`.

  >>> _scores({"alias": "t", "acc,none": 0.5, "acc_stderr,none": "N/A"})
  [TaskScore(metric='acc', filter='none', value=0.5, standard_error=None)]
  """
  scores = []
  for key, value in values.items():
    metric, comma, filter_name = key.partition(",")
    if not comma or metric.endswith("_stderr"):
      continue
    error = values.get(f"{metric}_stderr,{filter_name}")
    known = error if isinstance(error, float) and math.isfinite(error) else None
    scores.append(TaskScore(metric, filter_name, float(value), known))
  return scores


def report_lines(report: HarnessReport) -> Iterator[str]:
  """Yields a report's scores as text, one per line."""
  yield f"{report.model['checkpoint']}: {report.model['model_num_parameters']:,} parameters"
  parts: dict[str, TaskScores | GroupScores] = {**report.tasks, **report.groups}
  width = max(map(len, [*report.tasks, *report.groups]), default=0)
  for name, part in parts.items():
    for score in part.scores:
      error = "" if score.standard_error is None else f" ± {score.standard_error:.4f}"
      suffix = "" if score.filter == "none" else f" ({score.filter})"
      yield f"{name:{width}}  {score.metric + suffix:20}  {score.value:10.4f}{error}"
