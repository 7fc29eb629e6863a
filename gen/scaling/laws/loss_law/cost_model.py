"""The cost model k(N) of C = k(N) N D training FLOPs, constant or measured at the sizes of a study.

ln k is a polynomial in ln N through the sizes. Beyond them its slope decays as N^-1/2, as the share of attention and
head does in models of one depth. N parameters, D tokens; x is ln N.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SIX = 6.0  # 2 FLOPs forward, 4 backward (arXiv:2001.08361, section 2.1)
_DECAY = 0.5  # of the slope beyond the sizes, a unit of ln N
_EXACT = 1e-6  # ln k that varies less is constant: k of one cost model differs by rounding alone
_MAX_TERMS = 5  # of the polynomial beside its constant; more would follow the rounding of single shapes
# Share of the scatter of ln k; less, and k is no function of N. Chosen: rounding of shapes leaves a few percent.
_EXPLAINED = 0.9
_SMALLEST_RMS = 1e-7  # of the polynomial, in ln k; a better fit than this is no better


@dataclasses.dataclass(frozen=True)
class CostEntry:
  """A `CostModel` in results.json: `k` is its reference, and `high` is None where k is constant."""

  coefficients: list[float]
  centre: float
  low: float
  high: float | None
  k: float


@dataclasses.dataclass(frozen=True)
class CostModel:
  """k(N), the training FLOPs per parameter and token.

  Attributes:
    coefficients: polynomial of ln k in ln N - centre, by ascending power.
    centre: mean of ln N over the sizes.
    low: the smallest size that was counted; 0 if k is constant.
    high: the largest size that was counted; infinite if k is constant.
    log_reference: ln of the geometric mean of k over the runs.
  """

  coefficients: tuple[float, ...]
  centre: float = 0.0
  low: float = 0.0
  high: float = math.inf
  log_reference: float = math.log(SIX)

  @property
  def is_constant(self) -> bool:
    """Whether k is the same at all sizes."""
    return len(self.coefficients) == 1

  @property
  def reference(self) -> float:
    """The representative k: the geometric mean over the runs."""
    return math.exp(self.log_reference)

  def k(self, params: ArrayLike) -> Any:
    """Returns k at sizes N.

    >>> constant_cost(6.0).k(1e6)
    6.0
    """
    flops_per_token = np.exp(self.log_k(np.log(np.asarray(params, np.float64))))
    return float(flops_per_token) if np.ndim(params) == 0 else flops_per_token

  def log_k(self, x: ArrayLike) -> np.ndarray:
    """Returns ln k at ln N."""
    x = np.asarray(x, np.float64)
    if self.is_constant:
      return np.full_like(x, self.coefficients[0])
    # A polynomial may do anything outside its points. There the tangent at the end is followed, and levels off.
    inner = np.clip(x, math.log(self.low), math.log(self.high))
    beyond = x - inner
    # The integral of e^(-decay |t|) from 0 to `beyond`, so that ln k and its slope are continuous at the ends.
    reach = -np.sign(beyond) * np.expm1(-_DECAY * np.abs(beyond)) / _DECAY
    return self._inside(inner, 0) + self._inside(inner, 1) * reach

  def slope(self, x: ArrayLike) -> np.ndarray:
    """Returns d ln k / d ln N at ln N."""
    x = np.asarray(x, np.float64)
    if self.is_constant:
      return np.zeros_like(x)
    inner = np.clip(x, math.log(self.low), math.log(self.high))
    return self._inside(inner, 1) * np.exp(-_DECAY * np.abs(x - inner))

  def bend(self, x: ArrayLike) -> np.ndarray:
    """Returns the second derivative of ln k in ln N."""
    x = np.asarray(x, np.float64)
    if self.is_constant:
      return np.zeros_like(x)
    inner = np.clip(x, math.log(self.low), math.log(self.high))
    beyond = x - inner
    decaying = -_DECAY * np.sign(beyond) * self._inside(inner, 1) * np.exp(-_DECAY * np.abs(beyond))
    return np.where(beyond == 0, self._inside(inner, 2), decaying)

  def log_tokens(self, flops: ArrayLike, x: ArrayLike) -> np.ndarray:
    """Returns ln D of models of ln N at a budget in FLOPs."""
    return np.log(np.asarray(flops, np.float64)) - self.log_k(x) - np.asarray(x, np.float64)

  def flops(self, params: ArrayLike, tokens: ArrayLike) -> Any:
    """Returns C = k(N) N D."""
    return self.k(params) * np.asarray(params, np.float64) * np.asarray(tokens, np.float64)

  def tokens(self, flops: ArrayLike, params: ArrayLike) -> Any:
    """Returns D = C / (k(N) N)."""
    return np.asarray(flops, np.float64) / (self.k(params) * np.asarray(params, np.float64))

  def params(self, flops: ArrayLike, ratio: ArrayLike) -> np.ndarray:
    """Returns N for a ratio of tokens per parameter at a budget: k(N) N^2 ratio = C."""
    # Newton on ln k(N) + 2 ln N = ln C - ln ratio. The slope of the left side is above 1.1, see `_curve`, so it
    # converges.
    goal = np.log(np.asarray(flops, np.float64)) - np.log(np.asarray(ratio, np.float64))
    x = (goal - self.log_reference) / 2
    # Newton takes about five steps; 100 end a search that NaN would keep going.
    for _ in range(100):
      moved = x - (self.log_k(x) + 2 * x - goal) / (2 + self.slope(x))
      done = np.max(np.abs(moved - x), initial=0.0) < 1e-14 * np.max(np.abs(x), initial=1.0)
      x = moved
      if done:
        break
    return np.exp(x)

  def outside(self, params: ArrayLike) -> Any:
    """Returns whether sizes lie outside the counted range."""
    n = np.asarray(params, np.float64)
    # Sizes of the study itself come back from exp(log N) changed by rounding; they are not outside.
    return (n < self.low * (1 - 1e-9)) | (n > self.high * (1 + 1e-9))

  def entry(self) -> CostEntry:
    """Returns what results.json holds of it; `cost_from_dict` reads it."""
    high = None if math.isinf(self.high) else self.high
    return CostEntry(list(self.coefficients), self.centre, self.low, high, self.reference)

  def __str__(self) -> str:
    """Describes k in words."""
    if self.is_constant:
      return f"k = {self.reference:.4g} FLOPs a parameter and token"
    ends = self.k(self.low), self.k(self.high)
    return (
      f"k(N) from {ends[0]:.4g} FLOPs a parameter and token at {self.low:,.0f} parameters to {ends[1]:.4g} at "
      f"{self.high:,.0f}"
    )

  def _inside(self, x: np.ndarray, derivative: int) -> np.ndarray:
    powers = np.polynomial.Polynomial(self.coefficients)
    return np.asarray((powers.deriv(derivative) if derivative else powers)(x - self.centre))


def constant_cost(k: float = SIX) -> CostModel:
  """Returns a cost model with one k for all sizes."""
  return CostModel((math.log(k),), log_reference=math.log(k))


def measured_cost(params: ArrayLike, tokens: ArrayLike, flops: ArrayLike) -> CostModel:
  """Returns the k(N) of runs: constant unless size explains its variation.

  Args:
    params: N of each run.
    tokens: D of each run.
    flops: C of each run.
  """
  n, d, c = (np.asarray(values, np.float64) for values in (params, tokens, flops))
  log_k = np.log(c / n / d)
  reference = float(np.mean(log_k))
  # Tables whose C is 6 N D get exactly 6, so that their plans show no rounding.
  if abs(math.exp(reference) / SIX - 1) < _EXACT:
    reference = math.log(SIX)
  sizes, of_run = np.unique(n, return_inverse=True)
  if np.ptp(log_k) < _EXACT or len(sizes) < 2:
    return CostModel((reference,), log_reference=reference)
  x, count = np.log(sizes), np.bincount(of_run)
  # One point for each size, and not for each run: a size that was trained often tells no more about the shape of k.
  y = np.bincount(of_run, log_k) / count
  centre = float(x.mean())
  best = _curve(x - centre, y)
  left = log_k - np.polynomial.Polynomial(best)(x[of_run] - centre)
  # k then depends on more than N, for instance on the length of rows. One constant is the honest description.
  if np.sum(left**2) > (1 - _EXPLAINED) * np.sum((log_k - log_k.mean()) ** 2):
    return CostModel((reference,), log_reference=reference)
  return CostModel(tuple(best.tolist()), centre, float(sizes[0]), float(sizes[-1]), reference)


def cost_from_dict(entry: Any) -> CostModel | None:
  """Returns the cost model of an entry of results.json, or None if the entry is invalid."""
  try:
    coefficients = tuple(float(value) for value in entry["coefficients"])
    low, high, k = float(entry["low"]), entry["high"], float(entry["k"])
    high = math.inf if high is None else float(high)
    model = CostModel(coefficients, float(entry["centre"]), low, high, math.log(k))
  except (KeyError, TypeError, ValueError):
    return None
  return model if coefficients and (model.is_constant or 0 < low < high < math.inf) else None


def _curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the polynomial of least BIC (Bayesian information criterion) for which k N increases with N."""
  best, score = np.array([y.mean()]), math.inf
  # At most half as many terms as sizes, so that a polynomial never runs through all points.
  for degree in range(min(_MAX_TERMS, (len(x) + 1) // 2) + 1):
    # Fitted on a scaled domain, which is well conditioned, and converted to plain powers of x for storage.
    power = np.polynomial.Polynomial.fit(x, y, degree).convert()
    slope = power.deriv()(np.linspace(x[0], x[-1], 50)) if degree else np.zeros(1)
    # d ln(k N) / d ln N = 1 + slope must stay positive, or a larger model would cost less; 0.1 is kept as a
    # margin.
    if degree and not (np.min(slope) > -0.9 and np.max(slope) < 3):
      continue
    rms = max(float(np.sqrt(np.mean((power(x) - y) ** 2))), _SMALLEST_RMS)
    # n ln(rms^2) + p ln n (Schwarz 1978): a further term must lower the error by more than it costs.
    bic = 2 * len(x) * math.log(rms) + (degree + 1) * math.log(len(x))
    if bic < score:
      best, score = power.coef, bic
  return best
