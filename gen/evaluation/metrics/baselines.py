"""Scores that need no model: the most frequent label, the source as target, the first sentence."""

from gen.data.tasks.examples import TaskData
from gen.evaluation.metrics.score import Score


def score_baseline(data: TaskData, name: str = "") -> Score:
  """Returns the score of a baseline on the test part.

  Args:
    data: of a task.
    name: majority (classify, tag), copy or first_sentence (translate, summarize, instruct), no_answer or
      first_words (answer); empty takes the task's usual baseline.
  """
  raise NotImplementedError
