"""Task scores of two models on the same questions, with paired bootstrap intervals of their difference."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.evaluation import harness, harness_tasks

# As `gen.evaluation.metrics.resampling`: each end of the interval is then the 25th draw.
DRAWS, LEVEL = 1000, 0.95


@dataclasses.dataclass(frozen=True, slots=True)
class PairedScore:
  """A metric of a task for two models.

  Attributes:
    task: its name.
    metric: of single questions, such as acc.
    questions: that both answered.
    before: mean of the first model.
    after: mean of the second.
    difference: after - before.
    low: lower end of its interval, at 95 %; NaN for a single question.
    high: its upper end.
  """

  task: str
  metric: str
  questions: int
  before: float
  after: float
  difference: float
  low: float
  high: float


def compare_folders(
  before: str | Path,
  after: str | Path,
  tasks: Sequence[str],
  *,
  include_path: str = "",
  limit: int | None = None,
  seed: int = 0,
) -> list[PairedScore]:
  """Returns the scores of the models in two folders.

  Args:
    before: folder of the first model.
    after: of the second.
    tasks: names or patterns of lm-evaluation-harness.
    include_path: folder with YAML files of more tasks.
    limit: maximum questions of each task; None is all.
    seed: of the bootstrap.

  Raises:
    UserError: without the harness, or for a task or model that it cannot evaluate.
  """
  samples = [
    harness_tasks.evaluate_tasks(
      harness.language_model()(str(folder)),
      tasks,
      include_path=include_path or None,
      limit=limit,
      log_samples=True,
    ).samples
    for folder in (before, after)
  ]
  return pair_samples(samples[0] or {}, samples[1] or {}, seed)


def pair_samples(before: Mapping[str, Any], after: Mapping[str, Any], seed: int = 0) -> list[PairedScore]:
  """Returns the paired scores of samples as the harness logs them: rows with doc_id and metrics, by task."""
  scores = []
  for task in sorted(set(before) & set(after)):
    # A question has a row for each filter of its answers.
    first, second = (
      {(row.get("filter", "none"), row["doc_id"]): row for row in each[task]} for each in (before, after)
    )
    shared = sorted(set(first) & set(second))
    kinds = dict.fromkeys((key[0], name) for key, row in first.items() for name in row.get("metrics") or ())
    for filter_name, name in kinds:
      pairs = np.array(
        [
          (first[key][name], second[key][name])
          for key in shared
          if key[0] == filter_name and _is_number(first[key].get(name)) and _is_number(second[key].get(name))
        ],
        np.float64,
      ).reshape(-1, 2)
      if len(pairs):
        scores.append(
          _paired(task, name if filter_name == "none" else f"{name} ({filter_name})", pairs, seed)
        )
  return scores


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float | np.number) and math.isfinite(value)


def _paired(task: str, metric: str, pairs_n2: np.ndarray, seed: int) -> PairedScore:
  count = len(pairs_n2)
  # The same draw of questions for both models.
  draws_dn = np.random.default_rng(seed).integers(0, count, (DRAWS, count))
  # Differences of the same questions, whose difficulty cancels.
  differences_n = pairs_n2[:, 1] - pairs_n2[:, 0]
  low, high = np.quantile(differences_n[draws_dn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
  # All draws of one question are alike, so their interval would have no width and claim to be exact.
  low, high = (low, high) if count > 1 else (math.nan, math.nan)
  before, after = pairs_n2.mean(0).tolist()
  return PairedScore(task, metric, count, before, after, after - before, low, high)


def score_lines(scores: Sequence[PairedScore]) -> list[str]:
  """Returns a line for each score."""
  return [
    f"{each.task} {each.metric}: {each.before:.4f} before, {each.after:.4f} after; difference "
    f"{each.difference:+.4f} "
    + (
      f"[{each.low:+.4f}, {each.high:+.4f}] on {each.questions:,} questions"
      if each.questions > 1
      else "on one question, so without an interval"
    )
    for each in scores
  ]
