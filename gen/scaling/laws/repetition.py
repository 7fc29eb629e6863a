"""What repeated text is worth: laws of the loss with D tokens of which U are unique.

Muennighoff et al. 2023 (arXiv:2305.16264) discount repeated tokens and excess parameters:

    L = E + A / N'^alpha + B / D'^beta
    D' = U + U R*_D (1 - exp(-R_D / R*_D)),          R_D = D / U - 1
    N' = U_N + U_N R*_N (1 - exp(-R_N / R*_N)),      R_N = N / U_N - 1

where U_N is the smaller of N and the size that is compute-optimal for U tokens. `repetition_penalty` holds another law.

A study at equal FLOPs has one N and D for each budget. E, A and alpha are then one constant for each budget, and
`fit_decay` estimates the rest.
"""

import dataclasses
import math

import numpy as np
from scipy import optimize

from gen.errors import UserError
from gen.scaling.laws.loss_law.law import ParametricLaw

MIN_DECAY, MAX_DECAY = (
  1e-2,
  1e4,
)  # of R*_D: below, repeated text is worth nothing; above, it is as good as new
# Starts of the search for R*_D; chosen: ten a decade, so neighbours bracket any minimum of one valley.
_GRID = 61
# Chosen: each is a fit. The ends of a 90 % interval are then the tenth draws from either side.
RESAMPLES = 200
MIN_REPEATED = 2  # different numbers of epochs above 1 that a fit takes


@dataclasses.dataclass(frozen=True)
class RepetitionLaw:
  """The law of Muennighoff et al.; infinite decays make it that of Hoffmann et al.

  Attributes:
    base: E, A, B, alpha, beta, of text that is read once.
    data_decay: R*_D, the repetitions after which repeated tokens are worth 1 - 1/e of new ones on average.
    size_decay: R*_N, the same of excess parameters.
  """

  base: ParametricLaw
  data_decay: float
  size_decay: float = math.inf

  def loss(self, params: np.ndarray, tokens: np.ndarray, unique: np.ndarray) -> np.ndarray:
    """Returns the loss of models with N parameters trained on D tokens, U of them unique."""
    unique = np.minimum(unique, tokens)
    excess = effective_amount(params, np.minimum(params, self.optimal_params(unique)), self.size_decay)
    return np.asarray(self.base.loss(excess, effective_amount(tokens, unique, self.data_decay)))

  def optimal_params(self, unique: np.ndarray) -> np.ndarray:
    """Returns the compute-optimal parameters for U tokens that are read once, at C = 6 N D."""
    base = self.base
    return np.asarray(
      (base.alpha * base.A / (base.beta * base.B) * np.asarray(unique) ** base.beta) ** (1 / base.alpha)
    )


# Appendix A of arXiv:2305.16264; A, B and E are exponentials of the fitted logarithms.
MUENNIGHOFF = RepetitionLaw(
  ParametricLaw(
    E=math.exp(0.6254804), A=math.exp(6.255414), B=math.exp(7.3049974), alpha=0.3526596, beta=0.3526596
  ),
  data_decay=15.387756,
  size_decay=5.309743,
)


def effective_amount(amount: np.ndarray, unique: np.ndarray, decay: float) -> np.ndarray:
  """Returns D' of D and U, or N' of N and U_N: what repeated tokens are worth in new ones.

  >>> effective_amount(np.array([100.0, 400.0]), np.array([100.0, 100.0]), 15.387756).round(1).tolist()
  [100.0, 372.6]

  Args:
    amount: D, or N.
    unique: the part without repetition, at most `amount`.
    decay: R*; infinite: repeated tokens are as good as new ones.
  """
  repeats = np.maximum(amount / unique - 1, 0)
  if math.isinf(decay):
    return unique * (1 + repeats)
  return unique * (1 - decay * np.expm1(-repeats / decay))


@dataclasses.dataclass(frozen=True)
class FittedCoefficient:
  """A fitted coefficient with its interval.

  Attributes:
    value: estimate.
    low: lower end of the interval; None where there is none.
    high: upper end of the interval; None where there is none.
    error: root of the mean squared residual of the loss, in the unit of the loss.
    at_bound: whether the estimate lies at the end of the range that was searched, so that the runs do not identify it.
  """

  value: float
  low: float | None
  high: float | None
  error: float
  at_bound: bool = False


@dataclasses.dataclass(frozen=True)
class RepeatedRuns:
  """Runs of which some repeat their text, as arrays of one length.

  Attributes:
    budgets: number of each run's budget; N and D are the same within a budget.
    params: N.
    tokens: D.
    unique: U, at most D.
    loss: of each run.
  """

  budgets: np.ndarray
  params: np.ndarray
  tokens: np.ndarray
  unique: np.ndarray
  loss: np.ndarray

  def taken(self, index: np.ndarray) -> "RepeatedRuns":
    """Returns some of the runs."""
    return RepeatedRuns(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

  @property
  def one_hot(self) -> np.ndarray:
    """A column for each budget, 1 for its runs."""
    return (self.budgets[:, None] == np.unique(self.budgets)).astype(float)


def fit_decay(
  runs: RepeatedRuns, level: float, beta: float = MUENNIGHOFF.base.beta, seed: int = 0
) -> FittedCoefficient:
  """Fits R*_D to L = c_budget + B / D'^beta by least squares; the interval is of resampled residuals.

  Args:
    runs: of a study at equal FLOPs.
    level: of the interval.
    beta: exponent of the data; one D for each budget does not identify it, so it is the published one.
    seed: of the resampling.

  Raises:
    UserError: for too few runs.
  """
  require_repeats(runs)
  decay = _best_decay(runs, runs.loss, beta)
  columns = _decay_columns(runs, decay, beta)
  fitted = columns @ _project(columns, runs.loss)
  residuals, freedom = runs.loss - fitted, len(runs.loss) - columns.shape[1] - 1
  error = float(np.sqrt(np.mean(residuals**2)))
  # One percent inside the bounds: the bounded search ends close to an end, not on it.
  at_bound = not MIN_DECAY * 1.01 < decay < MAX_DECAY / 1.01
  if freedom < 1:
    return FittedCoefficient(decay, None, None, error, at_bound)
  random = np.random.default_rng(seed)
  # Residuals of a fit are smaller than the errors: a fit of p constants leaves n - p degrees of freedom.
  scaled = residuals * math.sqrt(len(residuals) / freedom)
  draws = [_best_decay(runs, fitted + random.choice(scaled, len(scaled)), beta) for _ in range(RESAMPLES)]
  low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
  return FittedCoefficient(decay, low, high, error, at_bound)


def require_repeats(runs: RepeatedRuns) -> None:
  """Checks that the runs repeat their text in enough ways for a law.

  Raises:
    UserError: for too few numbers of epochs, of all budgets or within them.
  """
  epochs = np.round(runs.tokens / runs.unique, 2)
  # 1.05: a run of whole steps may read its text a few percent more than once, which is no repetition.
  epochs = np.where(epochs > 1.05, epochs, 1.0)
  repeated = np.unique(epochs[epochs > 1])
  if len(repeated) < MIN_REPEATED:
    raise UserError(
      f"a law of repetition takes runs at {MIN_REPEATED} or more numbers of epochs above 1, and there "
      f"{'is' if len(repeated) == 1 else 'are'} {len(repeated)}; give more config.repetitions"
    )
  # Each budget has a constant of its own, so only differences within a budget belong to repetition.
  kinds = np.unique(np.column_stack([runs.budgets, epochs]), axis=0)
  if len(kinds) - len(np.unique(runs.budgets)) < MIN_REPEATED:
    raise UserError(
      "a law of repetition compares runs of one budget, and too few budgets have runs at two or more numbers of "
      "epochs; use more text, or higher config.repetitions"
    )


def _best_decay(runs: RepeatedRuns, loss: np.ndarray, beta: float) -> float:
  """Returns the R*_D of least squares: a grid, then a bounded search around its best point."""

  def squares(log_decay: float) -> float:
    columns = _decay_columns(runs, math.exp(log_decay), beta)
    rest = loss - columns @ _project(columns, loss)
    return float(rest @ rest)

  # In ln R*_D, whose effect is even there. The grid comes first, because the squares may have two minima.
  grid = np.linspace(math.log(MIN_DECAY), math.log(MAX_DECAY), _GRID)
  best = int(np.argmin([squares(point) for point in grid]))
  low, high = grid[max(0, best - 1)], grid[min(_GRID - 1, best + 1)]
  # 1e-8 in ln R*_D: the square root of float64's resolution, below which a minimum is flat.
  found = optimize.minimize_scalar(squares, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
  return float(math.exp(found.x))


def _decay_columns(runs: RepeatedRuns, decay: float, beta: float) -> np.ndarray:
  """Returns the columns whose linear combination is the loss at one R*_D."""
  # Over the tokens of the largest budget, so that the columns are of one size.
  shrunk = (effective_amount(runs.tokens, runs.unique, decay) / runs.tokens.max()) ** -beta
  return np.column_stack([runs.one_hot, shrunk])


def _project(columns: np.ndarray, loss: np.ndarray) -> np.ndarray:
  """Returns the coefficients of least squares; that of D' is not negative, because less text is never better."""
  # Variable projection (Golub and Pereyra 1973): the linear constants are solved for at each R*_D, so the search has
  # one dimension.
  solution = np.linalg.lstsq(columns, loss, rcond=None)[0]
  if solution[-1] >= 0:
    return solution
  # With that coefficient at its bound of 0, the others are those of least squares without the column.
  means = np.linalg.lstsq(columns[:, :-1], loss, rcond=None)[0]
  return np.append(means, 0.0)
