"""Accuracy, F1 and Matthews correlation of classes, equal to scikit-learn's.

F1 of a class is 2 TP / (predicted + true). Macro F1 is its mean over the classes that occur among the labels or the
predictions. Matthews' coefficient for many classes is Gorodkin 2004's R_K. N examples, L classes, B resamples.
"""

from collections.abc import Sequence

import numpy as np

from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero, evaluate_sums


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
  return Evaluator("accuracy", evaluate_sums(class_sums(predicted_n, true_n, len(names)), finish_classes))


def class_sums(predicted_n: np.ndarray, true_n: np.ndarray, classes: int) -> np.ndarray:
  """Returns for each example, one-hot over classes: correct, predicted, true [N, 3 L]."""
  sums_n3l = np.zeros((len(true_n), 3, classes))
  rows_n = np.arange(len(true_n))
  sums_n3l[rows_n, 0, true_n] = predicted_n == true_n
  sums_n3l[rows_n, 1, predicted_n] = 1
  sums_n3l[rows_n, 2, true_n] = 1
  return sums_n3l.reshape(len(true_n), -1)


def finish_classes(sums_bs: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the metrics of sums of `class_sums`."""
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
