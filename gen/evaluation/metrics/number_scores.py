"""Spearman's and Pearson's correlation, and errors, of predicted numbers, equal to scipy's. B resamples, N examples."""

from collections.abc import Sequence

import numpy as np

from gen.evaluation.metrics.resampling import Evaluator, divide_or_zero

NAMES = ("spearman", "pearson", "mean_absolute_error", "mean_squared_error")


def evaluate_numbers(predictions: Sequence[float], values: Sequence[float]) -> Evaluator:
  """Returns the metrics of predicted numbers; a correlation with a constant is 0.

  All of them are NaN where a prediction is not finite.
  """
  predicted_n, true_n = np.asarray(predictions, np.float64), np.asarray(values, np.float64)

  # Squares beyond float64 stand at a bound whose sum is still finite.
  with np.errstate(over="ignore"):
    squares_n = np.minimum((predicted_n - true_n) ** 2, np.finfo(np.float64).max / max(len(true_n), 1) ** 2)

  def evaluate(counts_bn: np.ndarray) -> dict[str, np.ndarray]:
    total_b = counts_bn.sum(1)
    if not np.isfinite(predicted_n).all():  # NaN has no rank
      return {name: np.full(len(counts_bn), np.nan) for name in NAMES}
    ranks = [
      _correlate(_rank(predicted_n, counts_n), _rank(true_n, counts_n), counts_n) for counts_n in counts_bn
    ]
    return {
      "spearman": np.array(ranks),
      "pearson": np.array([_correlate(predicted_n, true_n, counts_n) for counts_n in counts_bn]),
      "mean_absolute_error": divide_or_zero(counts_bn @ np.abs(predicted_n - true_n), total_b),
      "mean_squared_error": divide_or_zero(counts_bn @ squares_n, total_b),
    }

  return Evaluator("spearman", evaluate)


def _rank(values_n: np.ndarray, counts_n: np.ndarray) -> np.ndarray:
  """Returns the rank of each value in a sample that holds it as often as it counts; equal values share their mean rank.

  >>> _rank(np.array([3.0, 1.0, 3.0]), np.array([1.0, 2.0, 1.0]))
  array([3.5, 1.5, 3.5])
  """
  _, groups_n = np.unique(values_n, return_inverse=True)
  sizes = np.bincount(groups_n, counts_n)
  ends = np.cumsum(sizes)
  return (ends - (sizes - 1) / 2)[groups_n]


def _scale(values_n: np.ndarray) -> np.ndarray:
  """Returns values divided by the power of two above the largest, since squares of 1e200 overflow; no bit changes."""
  return np.ldexp(values_n, -np.frexp(np.abs(values_n).max())[1])


def _correlate(first_n: np.ndarray, second_n: np.ndarray, counts_n: np.ndarray) -> float:
  drawn_n = counts_n > 0
  # Compared as they are: rounding gives a constant less its mean a spread of about 1e-16.
  if not (np.ptp(first_n[drawn_n]) and np.ptp(second_n[drawn_n])):
    return 0.0
  weights_n = counts_n / counts_n.sum()
  first_n, second_n = _scale(first_n), _scale(second_n)
  first_n, second_n = first_n - weights_n @ first_n, second_n - weights_n @ second_n
  spread = np.sqrt((weights_n @ first_n**2) * (weights_n @ second_n**2))
  return float(weights_n @ (first_n * second_n) / spread) if spread > 0 else 0.0
