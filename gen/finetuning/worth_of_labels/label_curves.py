"""Scores against the number of labelled examples: means over seeds, where methods overtake each other, and tables.

Also the score against the pre-training loss of several starts.
"""

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from gen.errors import UserError
from gen.evaluation import run_curves
from gen.finetuning.reports.seed_means import mean_over_seeds
from gen.finetuning.sweep_members import MemberRow
from gen.training import start_source

CELL = 22  # characters of a score with its interval, such as 14.1234 [11.50, 16.41]


@dataclasses.dataclass(frozen=True)
class LabelPoint:
  """The score of a method with a number of labelled examples.

  Attributes:
    examples: labelled examples used.
    score: mean over seeds.
    low: mean over seeds of the lower ends of the 95 % intervals, which are of the test examples.
    high: the same of the upper ends.
    by_seed: the scores.
  """

  examples: int
  score: float
  low: float
  high: float
  by_seed: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class LabelCurve:
  """The scores of one method, by ascending number of examples; empty if it has none, for the reason in `note`."""

  method: str
  points: tuple[LabelPoint, ...]
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Crossing:
  """Where the mean of one method overtakes that of another, and stays above it.

  Attributes:
    first: the method that overtakes.
    second: the method that is overtaken.
    below: most examples at which `first` is not above.
    above: the next number of examples, from which on it is.
  """

  first: str
  second: str
  below: int
  above: int


@dataclasses.dataclass(frozen=True)
class StartPoint:
  """A start, fine-tuned on the most examples.

  Attributes:
    start: its folder.
    loss: of its pre-training on validation text, nats per token; None if its folder does not record it.
    point: its score.
  """

  start: str
  loss: float | None
  point: LabelPoint


def make_curves(rows: Sequence[MemberRow], methods: Sequence[str]) -> list[LabelCurve]:
  """Returns the curve of each method from the rows of a study."""
  curves = []
  for method in methods:
    mine = [row for row in rows if row["method"] == method]
    scored: dict[int, list[MemberRow]] = defaultdict(list)
    for row in mine:
      if row.get("score") is not None:
        scored[row["examples"]].append(row)
    note = next((str(row["note"]) for row in mine if row.get("score") is None), "")
    points = tuple(average_rows(count, scored[count]) for count in sorted(scored))
    curves.append(LabelCurve(method, points, "" if points else note or "not measured"))
  return curves


def average_rows(examples: int, rows: Sequence[MemberRow]) -> LabelPoint:
  """Returns the mean over seeds."""
  mean = mean_over_seeds(rows)
  return LabelPoint(examples, mean.score, mean.low, mean.high, mean.by_seed)


def find_crossings(curves: Sequence[LabelCurve]) -> list[Crossing]:
  """Returns where each method overtakes each other one, on the numbers of examples that both have.

  >>> first = LabelCurve("a", tuple(LabelPoint(n, s, s, s, ()) for n, s in ((8, 0.1), (32, 0.4), (128, 0.9))))
  >>> second = LabelCurve("b", tuple(LabelPoint(n, s, s, s, ()) for n, s in ((8, 0.3), (32, 0.5), (128, 0.6))))
  >>> find_crossings([first, second])
  [Crossing(first='a', second='b', below=32, above=128)]
  """
  crossings = []
  for first, second in itertools.permutations(curves, 2):
    theirs = {point.examples: point.score for point in second.points}
    shared = [
      (point.examples, point.score > theirs[point.examples])
      for point in first.points
      if point.examples in theirs
    ]
    # The last number at which `first` is not above: scores of few seeds cross by chance, so the final crossing counts.
    last = max((index for index, (_, above) in enumerate(shared) if not above), default=-1)
    if 0 <= last < len(shared) - 1:
      crossings.append(Crossing(first.method, second.method, shared[last][0], shared[last + 1][0]))
  return crossings


def pretraining_loss(start: str) -> float | None:
  """Returns the last validation loss of a run at or before its checkpoint, or None for a folder that has none.

  Args:
    start: folder of a run, FOLDER:STEP, or a Hugging Face folder.
  """
  folder, step = start_source.split_step(start)
  try:
    curves = run_curves.read_runs([Path(folder)])
  except UserError:
    return None
  # A folder may hold the curves of several runs, as after an extension; the last is the one that was continued.
  points = [point for point in curves[-1].evaluation if step is None or point.steps <= step]
  return points[-1].loss if points and math.isfinite(points[-1].loss) else None


def table_lines(curves: Sequence[LabelCurve], metric: str) -> list[str]:
  """Returns the table of the curves, a row for each number of examples, with the mean ends of 95 % intervals."""
  counts = sorted({point.examples for curve in curves for point in curve.points})
  lines = [
    f"{metric}, mean over seeds",
    f"{'examples':>9}" + "".join(f"  {curve.method:>{CELL}}" for curve in curves),
  ]
  for count in counts:
    cells = []
    for curve in curves:
      point = next((each for each in curve.points if each.examples == count), None)
      cell = f"{point.score:.4f} [{point.low:.2f}, {point.high:.2f}]" if point else ""
      cells.append(f"  {cell:>{CELL}}")
    lines.append(f"{count:>9,}" + "".join(cells))
  return lines + [f"{curve.method}: {curve.note}" for curve in curves if curve.note]


def crossing_lines(crossings: Sequence[Crossing]) -> list[str]:
  """Returns a sentence for each crossing."""
  return [
    f"{each.first} overtakes {each.second} between {each.below:,} and {each.above:,} examples"
    for each in crossings
  ]


def start_lines(starts: Sequence[StartPoint], metric: str) -> list[str]:
  """Returns the table of the starts, from the highest pre-training loss to the lowest."""
  if len(starts) < 2:
    return []
  lines = [f"{'loss':>8}  {metric:>9}  start, fine-tuned on {starts[0].point.examples:,} examples"]
  for each in sorted(starts, key=lambda each: -math.inf if each.loss is None else -each.loss):
    loss = "" if each.loss is None else f"{each.loss:.4f}"
    lines.append(f"{loss:>8}  {each.point.score:>9.4f}  {each.start}")
  return lines
