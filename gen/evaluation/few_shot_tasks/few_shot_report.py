"""Few-shot accuracy of several models on held-out sentences, as rows, answers and lines."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from gen.config import Data
from gen.data import corpus
from gen.errors import UserError
from gen.evaluation.few_shot_tasks import few_shot, held_out_sentences
from gen.evaluation.few_shot_tasks.few_shot import AccuracyValues
from gen.generation import loaded_model


def unseen_sentences(folders: Sequence[str], max_words: int, report: Callable[[str], None]) -> list[Any]:
  """Returns sentences that no run among the checkpoints was trained on.

  Args:
    folders: the checkpoints.
    max_words: longest sentence, in words.
    report: called with a warning for a checkpoint whose training text is unknown, and with progress.
  """
  fraction, trained = Data().validation_fraction, list[str]()
  for folder in folders:
    try:
      data = loaded_model.read_run(folder).data
    except UserError:  # a checkpoint of another project
      report(f"{folder} does not record its training text; it may include the held-out sentences")
      continue
    fraction = min(fraction, data.validation_fraction)
    trained += corpus.build_corpus(data, report).train
  return held_out_sentences.held_out_sentences(fraction, trained, max_words)


class FewShotRow(TypedDict):
  """A model's accuracies on a task, as JSON has them.

  `beyond` is how many tokens more examples need, by their number, and `window` is how many the model has.
  """

  model: str
  family: str
  task: str
  chance: float
  questions: int
  points: list[AccuracyValues]
  beyond: dict[int, int]
  window: int


def evaluate_task(
  restored: Any, task: Any, ks: list[int], seed: int, normalize: str
) -> tuple[FewShotRow, list[dict[str, object]]]:
  """Returns a model's row of a task, and each question with its prompt and answer.

  Args:
    restored: a loaded model.
    task: of `held_out_sentences.make_task`.
    ks: numbers of examples in the prompt, ascending.
    seed: of the choice of examples.
    normalize: what a choice's log-probability is divided by.
  """
  curve = held_out_sentences.accuracy_curve(restored, task, ks, seed, normalize)
  points = few_shot.accuracy_values(curve)
  row: FewShotRow = {
    "model": restored.where, "family": restored.model.family, "task": task.name, "chance": task.chance,
    "questions": len(task.items), "points": points,
    "beyond": {k: held_out_sentences.tokens_needed(restored, task, k, seed) for k in ks[len(points) :]},
    "window": curve[0].answers[0].window,
  }  # fmt: skip
  answers = [
    {"model": restored.where, "task": task.name, "k": point.k} | answer._asdict()
    for point in curve
    for answer in point.answers
  ]
  return row, answers


def report_lines(rows: Sequence[FewShotRow]) -> list[str]:
  """Returns each model's accuracy on each task, by the number of examples in the prompt."""
  lines = []
  for row in rows:
    lines.append(f"\n{row['model']}, {row['task']}: {row['questions']} questions, chance {row['chance']:.2f}")
    for point in row["points"]:
      interval = f"{point['accuracy']:.3f} [{point['low']:.2f}, {point['high']:.2f}]"
      share = "" if point["share"] is None else f"examples take {point['share']:.0%} of the window"
      lines.append(f"{point['k']:>4} examples  {interval:>20}  {share}")
    for k, tokens in row["beyond"].items():
      lines.append(f"{k:>4} examples  need up to {tokens} tokens, and the window has {row['window']}")
  return lines
