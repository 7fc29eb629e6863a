"""Regression by a head: texts and pairs of texts as rows, and the number of each from its windows' outputs.

In training the head predicts standardized numbers, because a head that starts near 0 would need many steps to reach
prices or years. After training the mean and the deviation are folded into its last layer, so that a saved model, also
one that is exported, gives numbers in the unit of the data.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gen.data.tasks.examples import TextExample
from gen.finetuning.task_forms.classify_form import ClassifyForm, TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow

OUTPUT = "value"  # name of the head's single output


class NumberForm(ClassifyForm):
  """Texts with a number each.

  Attributes:
    center: what is subtracted from a number; 0 before `standardize`.
    spread: what it is divided by then; 1 before `standardize`.
  """

  center, spread = 0.0, 1.0

  def standardize(self, train: Sequence[TextExample]) -> None:
    """Takes the mean and the deviation of training numbers; a head without a bias has no mean."""
    numbers = np.array([example.label_value for example in train], np.float64)
    self.center = float(numbers.mean()) if self.head.bias else 0.0
    self.spread = float(np.sqrt(((numbers - self.center) ** 2).mean())) or 1.0

  def fold(self, output: dict[str, Any]) -> dict[str, Any]:
    """Returns the last layer of a head as one that gives numbers in the unit of the data.

    Args:
      output: kernel [D, 1], and bias [1] where the head has one.
    """
    folded = {"kernel": output["kernel"] * self.spread}
    if "bias" in output:
      folded["bias"] = output["bias"] * self.spread + self.center
    return folded

  def _target(self, example: TextExample) -> tuple[float, float]:
    """Returns the standardized number of an example, and its weight in the loss."""
    return (float(example.label_value or 0.0) - self.center) / self.spread, 1.0

  def predictions(
    self, rows: Sequence[EncodedRow], logits: Sequence[np.ndarray], examples: Sequence[TextExample]
  ) -> list[TaskPrediction]:
    """Returns the number of each example: the mean over its windows."""
    sums, counts = np.zeros((2, len(examples)))
    for row, logits_k in zip(rows, logits, strict=True):
      sums[row.owner] += float(logits_k[0])
      counts[row.owner] += 1
    numbers = sums / counts * self.spread + self.center
    return [TaskPrediction(float(number), float("nan")) for number in numbers]
