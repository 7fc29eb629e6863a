"""The law L(N, D) = E + A / N^alpha + B / D^beta and the optimum that it implies.

With C = k N D FLOPs (k = 6 by convention) the least loss is at

  N*(C) = G (C / k)^a,  D*(C) = (C / k)^b / G,  a = beta / (alpha + beta),  b = alpha / (alpha + beta),
  G = (alpha A / (beta B))^(1 / (alpha + beta))

(Hoffmann et al. 2022, arXiv:2203.15556, equation 4). Where k varies with N a law carries k(N) as `cost`, and its
optimum follows it (`gen.scaling.laws.loss_law.optimum`). N parameters, D tokens, C FLOPs, losses in nats per token.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gen.scaling.laws.loss_law import optimum
from gen.scaling.laws.loss_law.cost_model import CostModel

FLOPS_PER_PARAMETER_TOKEN = 6.0  # 2 forward, 4 backward (arXiv:2001.08361, section 2.1)
_LARGEST_LOG = 709.0  # of a float64: ln of the largest is 709.78


def bounded_exp(value: float) -> float:
  """Returns e^value, the largest finite float where that would overflow, and NaN for NaN.

  >>> bounded_exp(0.0), bounded_exp(1e4) < math.inf
  (1.0, True)
  """
  return math.exp(min(value, _LARGEST_LOG)) if not math.isnan(value) else math.nan


def bounded_log(value: float) -> float:
  """Returns ln value, minus infinity for zero, and NaN for negative values.

  >>> bounded_log(0.0), bounded_log(-1.0)
  (-inf, nan)
  """
  return math.log(value) if value > 0 else -math.inf if value == 0 else math.nan


@dataclasses.dataclass(frozen=True)
class ParametricLaw:
  """A loss as a function of model size and data.

  >>> n, d, loss = HOFFMANN_2022.optimum(5.76e23)
  >>> print(f"{n:.3g} parameters, {d:.3g} tokens, {loss:.3f} nats")
  4.04e+10 parameters, 2.38e+12 tokens, 1.918 nats
  """

  E: float
  A: float
  B: float
  alpha: float
  beta: float
  k: float = FLOPS_PER_PARAMETER_TOKEN
  cost: CostModel | None = None  # k(N), where k is not one for all sizes

  @property
  def theta_p(self) -> np.ndarray:
    """The constants as (ln A, ln B, ln E, alpha, beta)."""
    heights = (max(bounded_log(value), -_LARGEST_LOG) for value in (self.A, self.B, self.E))
    return np.array([*heights, self.alpha, self.beta])

  @property
  def a(self) -> float:
    """Exponent of N* in N D, and in C if k is constant."""
    return self.beta / total if (total := self.alpha + self.beta) else math.nan

  @property
  def b(self) -> float:
    """Exponent of D* in N D, and in C if k is constant."""
    return self.alpha / total if (total := self.alpha + self.beta) else math.nan

  @property
  def G(self) -> float:
    """G of N* = G (C / k)^a; NaN if the exponents allow no optimum."""
    if min(self.alpha, self.beta) <= 0 or min(self.A, self.B) <= 0:
      return math.nan
    # In logarithms: A alone may exceed float64 where alpha is large.
    ratio = math.log(self.alpha / self.beta) + math.log(self.A) - math.log(self.B)
    return bounded_exp(ratio / (self.alpha + self.beta))

  @property
  def n_coefficient(self) -> float:
    """Coefficient of N* = n_coefficient C^a."""
    return self.G * bounded_exp(-self.a * math.log(self.k))

  @property
  def d_coefficient(self) -> float:
    """Coefficient of D* = d_coefficient C^b."""
    return bounded_exp(-self.b * math.log(self.k)) / self.G if self.G > 0 else math.nan

  def loss(self, params: ArrayLike, tokens: ArrayLike) -> Any:
    """Returns the predicted loss, nats per token."""
    n, d = np.asarray(params, np.float64), np.asarray(tokens, np.float64)
    with np.errstate(all="ignore"):  # a law of a bad fit may overflow: infinity says so
      return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

  def optimum(self, flops: ArrayLike) -> tuple[Any, Any, Any]:
    """Returns (N*, D*, loss) at a budget in FLOPs."""
    c = np.asarray(flops, np.float64)
    with np.errstate(all="ignore"):
      if self.cost is None or self.cost.is_constant:
        n, d = self.n_coefficient * c**self.a, self.d_coefficient * c**self.b
      else:
        rows_sp = np.tile(self.theta_p, (c.size, 1))
        # With k(N) there is no closed form; one law is copied to a row for each budget and all are solved at once.
        n = np.exp(optimum.log_sizes(rows_sp, c.ravel(), self.cost)).reshape(c.shape)
        d = self.cost.tokens(c, n)
    return n, d, self.loss(n, d)


@dataclasses.dataclass(frozen=True)
class PowerLaw:
  """value = coefficient x^exponent.

  >>> print(f"{PowerLaw.through([1e18, 1e20], [2e8, 2e9])(1e19):.3g}")
  6.32e+08
  """

  coefficient: float
  exponent: float

  def __call__(self, x: float) -> float:
    """Returns the value at x."""
    with np.errstate(all="ignore"):
      return float(self.coefficient * np.asarray(x, np.float64) ** self.exponent)

  @classmethod
  def through(cls, x: ArrayLike, y: ArrayLike) -> "PowerLaw":
    """Fits a line by least squares in logarithms."""
    # Relative errors count alike at all sizes, which span decades.
    log_x, log_y = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    slope, height = fit_line(log_x, log_y)
    return cls(float(np.exp(height)), float(slope))


def fit_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> tuple[Any, Any]:
  """Returns (slope, height at 0) of least squares, along the last axis; NaN where x does not vary."""
  w = np.ones_like(y) if weights is None else weights
  total = w.sum(-1)
  with np.errstate(invalid="ignore", divide="ignore"):
    mean_x, mean_y = (w * x).sum(-1) / total, (w * y).sum(-1) / total
    # About the weighted mean: sums of x^2 less a squared sum would cancel for ln C near 45.
    off = x - mean_x[..., None]
    spread = (w * off**2).sum(-1)
    slope = np.where(spread > 1e-12 * total, (w * off * (y - mean_y[..., None])).sum(-1) / spread, np.nan)
  return slope, mean_y - slope * mean_x


# Approach 3 of Hoffmann et al. 2022, unrounded: at Gopher's budget the paper's rounded constants give 32 B, these 40 B.
HOFFMANN_2022 = ParametricLaw(
  E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
