"""Accuracy, F1 and Matthews correlation of classes, equal to scikit-learn's.

F1 of a class is 2 TP / (predicted + true). Macro F1 is its mean over the classes that occur among the labels or the
predictions. Matthews' coefficient for many classes is Gorodkin 2004's R_K. N examples, L classes, B resamples.
"""

from collections.abc import Sequence

import numpy as np

from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero


def evaluate_classes(predictions: Sequence[str], labels: Sequence[str]) -> Evaluator:
  """Returns the metrics of predicted classes.

  >>> from gen.evaluation.metrics.resampling import evaluate_once
  >>> evaluate_once(evaluate_classes(["a", "b", "b"], ["a", "a", "b"]), 3)["macro_f1"]
  0.6666666666666666
  """
  names = sorted(set(predictions) | set(labels))
  number = {name: index for index, name in enumerate(names)}
  predicted_n = np.array([number[name] for name in predictions])
  true_n = np.array([number[name] for name in labels])

  def evaluate(counts_bn: np.ndarray) -> dict[str, np.ndarray]:
    sums = [count_classes(predicted_n, true_n, counts_n, len(names)) for counts_n in counts_bn]
    return finish_classes(np.stack(sums))

  return Evaluator("accuracy", evaluate)


def count_classes(
  predicted_n: np.ndarray, true_n: np.ndarray, counts_n: np.ndarray, classes: int
) -> np.ndarray:
  """Returns how often each class is predicted correctly, predicted, and true, one after the other [3 L].

  No array has examples times classes, because there may be thousands of both.
  """
  correct_n = counts_n * (predicted_n == true_n)
  pairs = ((true_n, correct_n), (predicted_n, counts_n), (true_n, counts_n))
  return np.concatenate([np.bincount(classes_n, weights_n, classes) for classes_n, weights_n in pairs])


def finish_classes(sums_bs: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the metrics of counts of `count_classes` [B, 3 L]."""
  correct_bl, predicted_bl, true_bl = np.split(sums_bs, 3, axis=1)
  total_b, correct_b = true_bl.sum(1), correct_bl.sum(1)
  f1_bl = divide_or_zero(2 * correct_bl, predicted_bl + true_bl)
  present_bl = predicted_bl + true_bl > 0
  shared_b = (predicted_bl * true_bl).sum(1)
  spread_b = (total_b**2 - (predicted_bl**2).sum(1)) * (total_b**2 - (true_bl**2).sum(1))
  return {
    "accuracy": divide_or_zero(correct_b, total_b),
    "macro_f1": divide_or_zero((f1_bl * present_bl).sum(1), present_bl.sum(1)),
    # One label and one prediction an example: micro F1 is accuracy.
    "micro_f1": divide_or_zero(2 * correct_b, predicted_bl.sum(1) + total_b),
    "matthews": divide_or_zero(correct_b * total_b - shared_b, np.sqrt(np.maximum(spread_b, 0))),
  }
