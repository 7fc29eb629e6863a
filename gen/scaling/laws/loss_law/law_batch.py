"""Optima of many laws L(N, D) = E + A / N^alpha + B / D^beta at once: an estimate and its resamples.

Rows are theta = (ln A, ln B, ln E, alpha, beta), one a law; C = k N D training FLOPs, k / 3 N of them a token forward;
`cost` is k(N) (`gen.scaling.laws.loss_law.cost_model`) or one k.
Each function takes rows [S, 5] and returns arrays [S] by name, NaN where a law has no such optimum.

  optimum      least loss at C (Hoffmann et al. 2022, arXiv:2203.15556, equation 4)
  served       least training plus inference FLOPs at a loss (Sardana et al. 2023, arXiv:2401.00448)
  overtrained  what a model smaller than the optimum costs at equal loss, and loses at equal FLOPs
  repeated     least loss at C with U unique tokens (Muennighoff et al. 2023, arXiv:2305.16264, equations 5 and 6)
"""

import math

import numpy as np

from gen.scaling.laws.loss_law.cost_model import CostModel
from gen.scaling.laws.loss_law.law import ParametricLaw, bounded_exp
from gen.scaling.laws.loss_law.optimum import as_cost, optima_of_rows

# Appendix A of Muennighoff et al. 2023: how many repetitions of a token, and excesses of a parameter, wear it out.
DATA_HALFWAY, PARAMS_HALFWAY = 15.387756, 5.309743  # R_D*, R_N*
_BISECTIONS = 80  # 2^-80 of any bracket of ln N is below float64's resolution
_PLACES = 161  # of a search over ln N, refined; odd, so that the centre is one of them
_REFINEMENTS = 5  # each narrows the search to a 32nd: 5 leave steps of 1e-7 in ln N
_WIDEST = math.log(1e4)  # of that search, to either side of the optimum

BatchOptimum = dict[str, np.ndarray]


def law_row(law: ParametricLaw) -> np.ndarray:
  """Returns one law as rows [1, 5]."""
  return law.theta_p[None]


def row_law(theta_p: np.ndarray, cost: CostModel | float = 6.0) -> ParametricLaw:
  """Returns the law of one row [5]; the inverse of `law_row`."""
  a, b, e, alpha, beta = map(float, theta_p)
  known = as_cost(cost)
  return ParametricLaw(
    E=bounded_exp(e), A=bounded_exp(a), B=bounded_exp(b), alpha=alpha, beta=beta, k=known.reference,
    cost=None if known.is_constant else known,
  )  # fmt: skip


def batch_loss(theta_sp: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
  """Returns L at ln N and ln D, which broadcast with the laws along the first axis."""
  a, b, e, alpha, beta = _columns(theta_sp, np.ndim(log_n))
  with np.errstate(over="ignore", invalid="ignore"):
    return np.exp(e) + np.exp(a - alpha * log_n) + np.exp(b - beta * log_d)


def batch_optimum(
  theta_sp: np.ndarray, flops: float | np.ndarray, cost: CostModel | float = 6.0
) -> BatchOptimum:
  """Returns N, D, ratio (tokens per parameter) and loss of the optimum at a budget (one for all laws, or one each)."""
  return optima_of_rows(theta_sp, flops, cost)


def inference_optimum(
  theta_sp: np.ndarray, flops: float, inference_tokens: float, cost: CostModel | float = 6.0
) -> BatchOptimum:
  """Returns the model of least total FLOPs that has the loss of the optimum at `flops`.

  Minimises k N D + k/3 N I at L(N, D) = L*.

  Args:
    theta_sp: laws.
    flops: training budget whose lowest loss the model must reach.
    inference_tokens: I, tokens processed over the model's life.
    cost: k(N), or one k for all sizes.
  """
  cost = as_cost(cost)
  # Sardana et al. hold the loss at that of the training optimum. The model shrinks as more is served.
  best = batch_optimum(theta_sp, flops, cost)
  a, _, e, alpha, beta = theta_sp.T
  left = best["loss"] - np.exp(e)
  with np.errstate(all="ignore"):
    # Below this size the term of N alone exceeds the wanted loss.
    smallest = (a - np.log(left)) / alpha  # ln N at which no data are enough
  low, high = smallest.copy(), np.log(best["N"])
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    size_term = np.exp(a - alpha * middle)
    log_d = tokens_for(theta_sp, best["loss"], middle)
    with np.errstate(all="ignore"):
      # The derivative of k N (D + I / 3) by ln N at equal loss, over k N. Along that line dD/dN follows from alpha A /
      # N^alpha + beta B / D^beta (dln D/dln N) = 0.
      dearer = 1 + cost.slope(middle)  # d ln (k N) / d ln N
      slope = np.exp(log_d) * (dearer - alpha * size_term / (beta * (left - size_term)))
    rises = (
      slope + dearer * inference_tokens / 3 > 0
    )  # not where D is infinite: the slope is -inf or NaN there
    low, high = np.where(rises, low, middle), np.where(rises, middle, high)
  log_n = high
  log_d = tokens_for(theta_sp, best["loss"], log_n)
  optimum = _named(log_n, log_d) | {"loss": best["loss"]}
  optimum["training_flops"] = cost.flops(optimum["N"], optimum["D"])
  optimum["inference_flops"] = cost.flops(optimum["N"], inference_tokens) / 3
  optimum["total_flops"] = optimum["training_flops"] + optimum["inference_flops"]
  unaware = flops + cost.flops(best["N"], inference_tokens) / 3
  return optimum | {"saving": 1 - optimum["total_flops"] / unaware}


def overtrained_model(
  theta_sp: np.ndarray, flops: float, factor: float, cost: CostModel | float = 6.0
) -> BatchOptimum:
  """Returns the cost and the loss of a model `factor` times smaller than the optimum at `flops`.

  N; D, ratio, training_flops and compute_factor (over the optimum's FLOPs) at equal loss, infinite where no data are
  enough; loss_at_equal_flops and loss_rise; inference_factor, its cost a token over the optimum's.
  """
  cost = as_cost(cost)
  best = batch_optimum(theta_sp, flops, cost)
  # At equal loss it needs more tokens; at equal FLOPs it loses.
  log_n = np.log(best["N"]) - math.log(factor)
  log_d = tokens_for(theta_sp, best["loss"], log_n)
  model = _named(log_n, log_d)
  model["training_flops"] = cost.flops(model["N"], model["D"])
  model["compute_factor"] = model["training_flops"] / flops
  model["loss_at_equal_flops"] = batch_loss(theta_sp, log_n, cost.log_tokens(flops, log_n))
  model["loss_rise"] = model["loss_at_equal_flops"] - best["loss"]
  return model | {"inference_factor": cost.flops(model["N"], 1.0) / cost.flops(best["N"], 1.0)}


def tokens_for(theta_sp: np.ndarray, wanted: np.ndarray, log_n: np.ndarray) -> np.ndarray:
  """Returns ln D at which models of ln N have the wanted loss; infinite where they never do."""
  a, b, e, alpha, beta = theta_sp.T
  rest = wanted - np.exp(e) - np.exp(a - alpha * log_n)
  with np.errstate(all="ignore"):
    # 1e-300 only keeps the logarithm of rows quiet that `where` discards.
    return np.where(rest > 0, (b - np.log(np.maximum(rest, 1e-300))) / beta, np.inf)


def repeated_optimum(
  theta_sp: np.ndarray,
  flops: float,
  unique_tokens: float,
  cost: CostModel | float = 6.0,
  data_halfway: float = DATA_HALFWAY,
  params_halfway: float = PARAMS_HALFWAY,
) -> BatchOptimum:
  """Returns the model of least loss at `flops` where only so many tokens are unique.

  Repetitions R of U tokens count as U R* (1 - exp(-R / R*)) new ones; parameters beyond the optimum for U tokens wear
  out likewise. N, D (read, repetitions included), ratio, epochs, effective_D, loss, and loss_rise over fresh data.
  """
  cost = as_cost(cost)
  fresh = batch_optimum(theta_sp, flops, cost)
  centre, width = np.log(fresh["N"]), _WIDEST
  for _ in range(_REFINEMENTS):
    log_n_sm = centre[:, None] + np.linspace(-width, width, _PLACES)
    loss_sm = _worn(
      theta_sp, log_n_sm, cost.log_tokens(flops, log_n_sm), unique_tokens, data_halfway, params_halfway
    )
    best = np.argmin(np.where(np.isfinite(loss_sm), loss_sm, np.inf), 1)
    centre = log_n_sm[np.arange(len(best)), best]
    # Each search is 2.5 grid steps wide to either side of the last best, so the minimum stays inside.
    width = 2.5 * width / (_PLACES // 2)
  log_d = cost.log_tokens(flops, centre)
  optimum = _named(centre, log_d)
  optimum["epochs"] = np.maximum(optimum["D"] / unique_tokens, 1.0)
  optimum["effective_D"] = np.exp(_effective(log_d, math.log(unique_tokens), data_halfway))
  optimum["loss"] = _worn(
    theta_sp, centre[:, None], log_d[:, None], unique_tokens, data_halfway, params_halfway
  )[:, 0]
  return optimum | {"loss_rise": optimum["loss"] - fresh["loss"]}


def _worn(
  theta_sp: np.ndarray,
  log_n_sm: np.ndarray,
  log_d_sm: np.ndarray,
  unique_tokens: float,
  data_halfway: float,
  params_halfway: float,
) -> np.ndarray:
  """Returns the loss with repeated tokens and excess parameters counted at their effective number."""
  # A run that reads fewer than U tokens repeats none: it has only that many unique ones.
  log_unique_sm = np.minimum(math.log(unique_tokens), log_d_sm)
  a, b, _, alpha, beta = _columns(theta_sp, 2)
  with np.errstate(all="ignore"):
    # N of the optimum that reads U tokens: alpha A / N^alpha = beta B / U^beta.
    log_enough_sm = (np.log(alpha / beta) + a - b + beta * log_unique_sm) / alpha
  log_n_sm = _effective(log_n_sm, np.minimum(log_enough_sm, log_n_sm), params_halfway)
  return batch_loss(theta_sp, log_n_sm, _effective(log_d_sm, log_unique_sm, data_halfway))


def _effective(log_all: np.ndarray, log_first: np.ndarray | float, halfway: float) -> np.ndarray:
  """Returns ln of the effective number of `all`, of which the part beyond `first` has a decaying value."""
  log_first = np.minimum(log_first, log_all)
  with np.errstate(over="ignore"):  # Infinitely many repetitions are worth R*.
    # R of the paper: repetitions beyond the first pass. expm1 and log1p keep digits where R is small.
    excess = np.expm1(log_all - log_first)
  return np.asarray(log_first + np.log1p(halfway * -np.expm1(-excess / halfway)))


def _named(log_n: np.ndarray, log_d: np.ndarray) -> BatchOptimum:
  with np.errstate(over="ignore"):
    return {"N": np.exp(log_n), "D": np.exp(log_d), "ratio": np.exp(log_d - log_n)}


def _columns(theta_sp: np.ndarray, rank: int) -> tuple[np.ndarray, ...]:
  """Returns the constants, each with trailing axes that broadcast with arrays of the given rank."""
  return tuple(column.reshape(-1, *[1] * (max(rank, 1) - 1)) for column in theta_sp.T)
