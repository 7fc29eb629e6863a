"""Finds outliers: runs so far off a fitted law that a divergence, a crash or a wrong unit is likely.

The rule: a residual in log loss beyond 9 robust standard deviations and beyond 1 % of the loss. Normal noise exceeds
9 of them in one run of 10^18, Student's t with 3 degrees of freedom in one of 700.
"""

import numpy as np

FAR_OUT = 9.0  # residuals, in robust standard deviations
MIN_NOISE = 1e-4  # relative, of losses: what runs that follow a law exactly are taken to have
# Studies without noise have tiny residuals, of which nine standard deviations mean nothing.
_MIN_RESIDUAL = 0.01


def residual_scale(residuals: np.ndarray, constants: int = 5) -> float:
  """Returns a robust standard deviation of the residuals of a law, from their median absolute value.

  >>> round(residual_scale(np.tile([-0.01, 0.01], 50)), 4)
  0.0152
  """
  # Degrees of freedom, as in the unbiased variance; .6745 is the third quartile of the standard normal.
  spare = len(residuals) / max(len(residuals) - constants, 1)
  return max(float(np.median(np.abs(residuals))) / 0.6745 * spare**0.5, MIN_NOISE)


def outlier_mask(residuals: np.ndarray, constants: int = 5) -> np.ndarray:
  """Returns the mask of runs that lie far off the law."""
  size = np.abs(residuals)
  return (size > FAR_OUT * residual_scale(residuals, constants)) & (size > _MIN_RESIDUAL)


def outlier_sentences(
  residuals: np.ndarray, losses: np.ndarray, names: np.ndarray, count: int = 5
) -> list[str]:
  """Returns one sentence for each of the farthest outliers, and one for the rest.

  Args:
    residuals: log predicted minus log measured loss of each run.
    losses: measured, nats per token.
    names: of the runs.
    count: maximum number of outliers to name.
  """
  rows = np.flatnonzero(outlier_mask(residuals))
  rows = rows[np.argsort(-np.abs(residuals[rows]), kind="stable")]
  scale = residual_scale(residuals)
  sentences = []
  for row in rows[:count]:
    called = f"row {row + 1}" + ("" if names[row] == f"row {row + 1}" else f" ({names[row]})")
    # e^700 is near the largest float64; a law far off a run would give infinity in a sentence.
    expected = losses[row] * np.exp(min(residuals[row], 700.0))
    sentences.append(
      f"{called} is an outlier: its loss is {losses[row]:.4g}, the law says {expected:.4g}, "
      f"{abs(residuals[row]) / scale:.3g} robust standard deviations away; did the run diverge?"
    )
  if len(rows) > count:
    sentences.append(f"{len(rows) - count} more runs are outliers")
  return sentences
