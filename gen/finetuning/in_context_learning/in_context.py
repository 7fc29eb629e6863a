"""Learning from the context against learning by gradients, on mappings that are new for each sequence.

A model trained on `label_mapping_task` has to learn from its context. `accuracy_curve` measures it with k examples in
the prompt. `fine_tuned_accuracy` spends the FLOPs of those examples on fine-tuning with the same k examples.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from gen.evaluation.few_shot_tasks import few_shot
from gen.evaluation.synthetic import label_mapping_task
from gen.evaluation.synthetic.label_mapping_task import LAYOUT, LabelMappingTask
from gen.finetuning.in_context_learning import fixed_cost
from gen.generation import prompts
from gen.generation.loaded_model import LoadedModel


class TunedAccuracy(NamedTuple):
  """The accuracy after fine-tuning on k examples, at the cost of reading them in the prompt of each question.

  Attributes:
    k: examples.
    accuracy: mean over the mappings.
    low: lower end of its 95 % interval (Student's, of the mappings' accuracies); None for one mapping.
    high: upper end of the interval.
    steps: of fine-tuning.
    flops: of fine-tuning.
    context_flops: of reading the examples in all questions of a mapping.
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
  """Returns the accuracy with k examples on `count` questions, each with a separate mapping."""
  items = task.items(count, seed, goes_by)
  return [few_shot.by_likelihood(restored, LAYOUT, items, task.pool, task.choices, k, seed=seed) for k in ks]


def fine_tuned_accuracy(
  restored: LoadedModel,
  task: LabelMappingTask,
  k: int,
  goes_by: str,
  *,
  num_mappings: int,
  questions: int,
  rate: float,
  seed: int,
  rows: int,
) -> TunedAccuracy:
  """Returns the accuracy after fine-tuning on k examples, over several mappings.

  Args:
    restored: the model; each mapping starts from it.
    task: of the mappings.
    k: examples of each mapping, chosen as in a prompt.
    goes_by: letter, as in training, or digit.
    num_mappings: number of mappings.
    questions: number of questions that share the cost of the examples; all other words are evaluated.
    rate: learning rate.
    seed: of mappings and examples.
    rows: of the compiled batch.
  """
  # 2: a stream of its own beside those of training (0) and of the questions (1) in `label_mapping_task`.
  draw = np.random.default_rng((seed, 2, label_mapping_task.GOES_BY.index(goes_by)))
  right: list[float] = []
  blank = prompts.blank_of(restored.model.family, restored.reading.objective)
  spent = fixed_cost.TunedModel(restored, 0, 0.0)
  budget = 0.0
  for number in range(num_mappings):
    mapping = task.mapping(draw, goes_by)
    pool = task.pool({"mapping": mapping})
    prompt = LAYOUT.few_shot({"word": ""}, pool, k, seed + number)
    examples = [pool[i] for i in prompt.examples]
    left = [item for i, item in enumerate(pool) if i not in prompt.examples]
    # Every question of a mapping costs the same, so the first stands for all.
    question = _asked(left[0], examples, blank)
    budget = fixed_cost.reading_flops(restored, questions, *question, left[0]["label"])
    pairs = [(LAYOUT.zero_shot(example, blank).text, example["label"]) for example in examples]
    # Each mapping starts from the same parameters, so mappings are independent and Student's interval holds.
    spent = fixed_cost.fine_tune(restored, pairs, budget, rate, rows)
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
  # Student's t: there are few mappings, and their spread is estimated.
  half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
  return mean, max(0.0, mean - half), min(1.0, mean + half)


def _asked(item: Any, examples: Sequence[Any], blank: str | None) -> tuple[str, str]:
  """Returns the prompts of an item with and without examples; the first may exceed the window."""
  bare = LAYOUT.zero_shot(item, blank).text
  return LAYOUT.separator.join([*(LAYOUT.template.fill(**example) for example in examples), bare]), bare
