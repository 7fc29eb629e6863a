"""Learning from the context against learning by gradients, on mappings that no parameter can know beforehand.

A model that was trained on `mappings` has to learn from its context: `accuracy_curve` asks it with k examples in the
prompt,
and `fine_tuned_accuracy` spends what those examples cost, over so many questions, on fine-tuning with the same k
examples.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from gen.evaluation import few_shot, fine_tuning
from gen.evaluation.synthetic import label_mapping_task
from gen.evaluation.synthetic.label_mapping_task import LAYOUT, LabelMappingTask
from gen.generation import prompts
from gen.generation.loaded_model import LoadedModel


class TunedAccuracy(NamedTuple):
  """What fine-tuning on k examples makes of a model, at the cost of reading them in the prompt of each question.

  Attributes:
    k: examples.
    accuracy: mean over the mappings.
    low: 95 % interval of it (Student's, of the mappings' accuracies), which one mapping alone does not have.
    high: its other end.
    steps: of fine-tuning.
    flops: they cost.
    context_flops: what reading the examples costs over all questions of a mapping.
  """

  k: int
  accuracy: float
  low: float
  high: float
  steps: int
  flops: float
  context_flops: float


def accuracy_curve(
  restored: LoadedModel, task: LabelMappingTask, ks: Sequence[int], count: int, goes_by: str, seed: int
) -> list[few_shot.FewShotResult]:
  """Returns how many of `count` questions, each of a mapping of its own, are answered right with k examples."""
  items = task.items(count, seed, goes_by)
  return [few_shot.by_likelihood(restored, LAYOUT, items, task.pool, task.choices, k, seed=seed) for k in ks]


def fine_tuned_accuracy(
  restored: LoadedModel,
  task: LabelMappingTask,
  k: int,
  goes_by: str,
  *,
  mappings_: int,
  questions: int,
  rate: float,
  seed: int,
  rows: int,
) -> TunedAccuracy:
  """Returns what fine-tuning on k examples gives, over some mappings.

  Args:
    restored: the model; each mapping starts from it.
    task: what the mappings are of.
    k: examples of each mapping, chosen as those of a prompt.
    goes_by: letter, as in the training, or digit.
    mappings_: so many.
    questions: that the cost of reading examples is counted for; all words that are no example are asked.
    rate: learning rate.
    seed: of mappings and examples.
    rows: of the compiled batch.
  """
  draw = np.random.default_rng((seed, 2, label_mapping_task.GOES_BY.index(goes_by)))
  right: list[float] = []
  blank = prompts.blank_of(restored.model.family, restored.reading.objective)
  spent = fine_tuning.TunedModel(restored, 0, 0.0)
  budget = 0.0
  for number in range(mappings_):
    mapping = task.mapping(draw, goes_by)
    pool = task.pool({"mapping": mapping})
    shown = LAYOUT.few_shot({"word": ""}, pool, k, seed + number)
    examples = [pool[i] for i in shown.examples]
    left = [item for i, item in enumerate(pool) if i not in shown.examples]
    asked = _asked(left[0], examples, blank)
    budget = fine_tuning.reading_flops(restored, questions, *asked, left[0]["label"])
    pairs = [(LAYOUT.zero_shot(one, blank).text, one["label"]) for one in examples]
    spent = fine_tuning.fine_tune(restored, pairs, budget, rate, rows)
    right.append(few_shot.by_likelihood(spent.restored, LAYOUT, left, [], task.choices, 0).accuracy)
  return TunedAccuracy(k, *mean_interval(right), spent.steps, spent.flops, budget)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
  """Returns the mean of independent values in [0, 1] and its 95 % interval.

  >>> [round(number, 3) for number in mean_interval([0.5, 0.7])]
  [0.6, 0.0, 1.0]
  """
  mean = float(np.mean(values))
  if len(values) < 2:
    return mean, 0.0, 1.0
  half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
  return mean, max(0.0, mean - half), min(1.0, mean + half)


def _asked(item: Any, examples: Sequence[Any], blank: str | None) -> tuple[str, str]:
  """Returns the prompt of an item after the examples, which the window need not hold, and alone."""
  bare = LAYOUT.zero_shot(item, blank).text
  return LAYOUT.separator.join([*(LAYOUT.template.fill(**one) for one in examples), bare]), bare
