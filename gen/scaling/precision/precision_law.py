"""The loss that rounding to few bits after training adds, as a law of size, data and bits (arXiv:2411.04330).

    delta(N, D, P) = C_T D^g_D / N^g_N exp(-P / g_P)

N parameters, D training tokens, P bits of a weight; delta in nats per token. Its logarithm is linear in the unknowns
(ln C_T, g_D, g_N, 1 / g_P), so the fit is least squares in ln delta. Only rows whose added loss is clearly above zero
have a logarithm that means something; the others are counted and left out. All rows of a run share its weights, so
intervals resample runs.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.scaling.runs import bootstrap

# Chosen: constants of few runs are judged at the level of task scores, not at the 90 % of sweeps.
LEVEL = 0.95
# With one kind a column of the equations would be constant, and its unknown not told from ln C_T.
MIN_KINDS = 2  # different sizes, ratios and numbers of bits that the unknowns need
NAMES = ("coefficient", "data_exponent", "size_exponent", "bits_scale", "ratio_exponent")


@dataclasses.dataclass(frozen=True, slots=True)
class RoundedLoss:
  """One run, rounded to some bits.

  Attributes:
    run: name of the run.
    N: parameters.
    D: training tokens.
    bits: P.
    loss: before rounding, nats per token.
    added: by rounding.
    low: lower end of its interval.
    high: upper end.
  """

  run: str
  N: float
  D: float
  bits: float
  loss: float
  added: float
  low: float
  high: float


FIELDS = tuple(field.name for field in dataclasses.fields(RoundedLoss))


class PrecisionLaw(NamedTuple):
  """The constants of the law.

  Attributes:
    coefficient: C_T.
    data_exponent: g_D.
    size_exponent: g_N.
    bits_scale: g_P, bits in which the loss falls by a factor e.
  """

  coefficient: float
  data_exponent: float
  size_exponent: float
  bits_scale: float

  def added_loss(self, params: float, tokens: float, bits: float) -> float:
    """Returns the nats per token that rounding adds.

    >>> law = PrecisionLaw(2.0, 0.5, 0.25, 1.5)
    >>> round(law.added_loss(16.0, 4.0, 1.5), 4), round(2 * 2 / 2 / math.e, 4)
    (0.7358, 0.7358)
    """
    exponent = self.data_exponent * math.log(tokens) - self.size_exponent * math.log(params)
    # 700: exp overflows float64 above 709.
    return self.coefficient * math.exp(min(exponent - bits / self.bits_scale, 700.0))


@dataclasses.dataclass(frozen=True)
class HeldOutSize:
  """The largest size, predicted from all others.

  Attributes:
    N: parameters of it.
    rows: measured there.
    error: root of the mean square of ln(predicted / measured).
    factor: e to that: the factor by which a prediction is usually wrong.
    inside: rows whose measured value lies in the interval of its prediction.
  """

  N: float
  rows: int
  error: float
  factor: float
  inside: int


@dataclasses.dataclass(frozen=True)
class PrecisionFit:
  """A fitted law.

  Attributes:
    law: its constants.
    intervals: [low, high] of each constant, and of `ratio_exponent`.
    ratio_exponent: of D / N, if N and D enter as (D / N)^g alone.
    runs: runs that were used.
    rows: rows that were used.
    left_out: rows whose added loss is not clearly above zero.
    r_squared: of ln delta.
    error: root of the mean square of ln(fitted / measured).
    held_out: the largest size, predicted; None with fewer than three sizes.
    resamples: of the intervals.
  """

  law: PrecisionLaw
  intervals: dict[str, list[float]]
  ratio_exponent: float
  runs: int
  rows: int
  left_out: int
  r_squared: float
  error: float
  held_out: HeldOutSize | None
  resamples: int


def fit_precision(rows: Sequence[RoundedLoss], resamples: int = 1000, seed: int = 0) -> PrecisionFit:
  """Fits the law.

  Args:
    rows: measurements; those whose interval reaches zero are left out.
    resamples: of runs, for the intervals.
    seed: of the resampling.

  Raises:
    UserError: for rows that do not determine the constants: one size, one number of tokens or one number of bits.
  """
  # Selection by the measured value biases the smallest deltas upwards; the alternative, ln of noise, has no mean.
  used = [row for row in rows if row.low > 0 and row.added > 0]
  _check(used, len(rows))
  design_np, target_n = _equations(used)
  solution_p = _solve(design_np, target_n)
  fitted_n = design_np @ solution_p
  names = [row.run for row in used]
  clusters_n = np.unique(names, return_inverse=True)[1]
  draws_bp = _draws(design_np, target_n, clusters_n, resamples, seed)
  values = _constants(solution_p) | {"ratio_exponent": _ratio_exponent(design_np, target_n)}
  ratio_design = _ratio_design(design_np)
  ratio_draws_b = _draws(ratio_design, target_n, clusters_n, resamples, seed)[:, 1]
  of_draws = {
    "coefficient": np.exp(draws_bp[:, 0]), "data_exponent": draws_bp[:, 1], "size_exponent": -draws_bp[:, 2],
    "bits_scale": -1 / draws_bp[:, 3], "ratio_exponent": ratio_draws_b,
  }  # fmt: skip
  residual_n = fitted_n - target_n
  spread = float(np.square(target_n - target_n.mean()).sum())
  return PrecisionFit(
    PrecisionLaw(*(values[name] for name in NAMES[:4])),
    {name: bootstrap.draw_interval(of_draws[name], values[name], LEVEL) for name in NAMES},
    values["ratio_exponent"],
    len(set(names)),
    len(used),
    len(rows) - len(used),
    1 - float(np.square(residual_n).sum()) / spread if spread else 1.0,
    float(np.sqrt(np.square(residual_n).mean())),
    _hold_out(used, resamples, seed),
    resamples,
  )


def added_loss_draws(
  rows: Sequence[RoundedLoss],
  points: Sequence[tuple[float, float, float]],
  resamples: int = 1000,
  seed: int = 0,
) -> np.ndarray:
  """Returns the added loss at points (N, D, P) of each resample of runs, [B, points]; NaN where one has no law."""
  used = [row for row in rows if row.low > 0 and row.added > 0]
  design_np, target_n = _equations(used)
  clusters_n = np.unique([row.run for row in used], return_inverse=True)[1]
  there_kp = np.array([[1.0, math.log(tokens), math.log(params), bits] for params, tokens, bits in points])
  logs_bk = _draws(design_np, target_n, clusters_n, resamples, seed) @ there_kp.T
  return np.exp(np.minimum(logs_bk, 700.0))


def _check(used: Sequence[RoundedLoss], given: int) -> None:
  kinds = {
    "sizes (N)": {row.N for row in used},
    # At one ratio ln D and ln N are collinear, and g_D and g_N enter only by their difference. Rounded to 0.1 %, since
    # runs of one ratio differ by the rounding of their steps.
    "ratios of tokens to parameters (D / N)": {round(math.log(row.D / row.N), 3) for row in used},
    "numbers of bits": {row.bits for row in used},
  }
  for name, values in kinds.items():
    if len(values) < MIN_KINDS:
      raise UserError(
        f"the law of precision needs {MIN_KINDS} or more {name}; of {given} rows, {len(used)} have an added loss "
        f"clearly above zero, with {len(values)} of them: measure more runs, or fewer bits"
      )
  # Two residuals more than constants; and with two runs the bootstrap has three different resamples at most.
  if len({row.run for row in used}) < 3 or len(used) < 6:
    raise UserError(
      f"the law of precision has four constants; {len(used)} usable rows of {len({row.run for row in used})} runs do "
      "not determine them: measure more runs"
    )


def _equations(rows: Sequence[RoundedLoss]) -> tuple[np.ndarray, np.ndarray]:
  """Returns (1, ln D, ln N, P) of each row, and ln delta."""
  design_np = np.array([[1.0, math.log(row.D), math.log(row.N), row.bits] for row in rows])
  return design_np, np.log([row.added for row in rows])


def _ratio_design(design_np: np.ndarray) -> np.ndarray:
  """Returns (1, ln D / N, P)."""
  return np.stack([design_np[:, 0], design_np[:, 1] - design_np[:, 2], design_np[:, 3]], axis=1)


def _ratio_exponent(design_np: np.ndarray, target_n: np.ndarray) -> float:
  return float(_solve(_ratio_design(design_np), target_n)[1])


def _solve(design_np: np.ndarray, target_n: np.ndarray, weights_n: np.ndarray | None = None) -> np.ndarray:
  if weights_n is not None:
    root_n = np.sqrt(weights_n)
    # Square roots, as least squares squares them: a run drawn twice then counts twice.
    design_np, target_n = design_np * root_n[:, None], target_n * root_n
  return np.linalg.lstsq(design_np, target_n, rcond=None)[0]


def _draws(
  design_np: np.ndarray, target_n: np.ndarray, clusters_n: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
  counts_bn = bootstrap.resample_counts(clusters_n, resamples, seed)
  width = design_np.shape[1]
  # A resample with too few different runs determines nothing and gives no draw.
  solved = [
    _solve(design_np, target_n, counts_n)
    if np.linalg.matrix_rank(design_np[counts_n > 0]) == width
    else np.full(width, np.nan)
    for counts_n in counts_bn
  ]
  return np.array(solved).reshape(-1, width)


def _constants(solution_p: np.ndarray) -> dict[str, float]:
  return {
    "coefficient": float(np.exp(solution_p[0])),
    "data_exponent": float(solution_p[1]),
    "size_exponent": float(-solution_p[2]),
    "bits_scale": float(-1 / solution_p[3]),
  }


def _hold_out(used: Sequence[RoundedLoss], resamples: int, seed: int) -> HeldOutSize | None:
  """Returns how well the largest size is predicted from the others."""
  largest = max(row.N for row in used)
  rest = [row for row in used if largest > row.N]
  held = [row for row in used if largest == row.N]
  if len({row.N for row in rest}) < 2 or len({row.run for row in rest}) < 3:
    return None
  design_np, target_n = _equations(rest)
  if np.linalg.matrix_rank(design_np) < 4:
    return None
  there_np, measured_n = _equations(held)
  predicted_n = there_np @ _solve(design_np, target_n)
  clusters_n = np.unique([row.run for row in rest], return_inverse=True)[1]
  draws_bn = _draws(design_np, target_n, clusters_n, resamples, seed) @ there_np.T
  inside = 0
  for index, row in enumerate(held):
    low, high = bootstrap.draw_interval(draws_bn[:, index], predicted_n[index], LEVEL)
    # Both are uncertain, so the intervals have to meet, not to contain a point.
    inside += math.log(row.low) <= high and math.log(row.high) >= low
  error = float(np.sqrt(np.square(predicted_n - measured_n).mean()))
  return HeldOutSize(largest, len(held), error, math.exp(error), int(inside))


def fit_record(fit: PrecisionFit, rows: Sequence[RoundedLoss]) -> dict[str, Any]:
  """Returns a fit and its rows as JSON has them."""
  return {
    "law": fit.law._asdict(),
    **{name: value for name, value in dataclasses.asdict(fit).items() if name != "law"},
    "measurements": [dataclasses.asdict(row) for row in rows],
  }


def fit_lines(fit: PrecisionFit) -> list[str]:
  """Returns the constants with their intervals, the quality of the fit, and the held-out size."""
  titles = dict(zip(NAMES, ("C_T", "g_D", "g_N", "g_P (bits)", "g of (D / N)^g"), strict=True))
  values = fit.law._asdict() | {"ratio_exponent": fit.ratio_exponent}
  lines = [f"added loss = C_T D^g_D / N^g_N exp(-P / g_P), from {fit.rows} rows of {fit.runs} runs"]
  for name, title in titles.items():
    low, high = fit.intervals[name]
    lines.append(f"  {title:<16}{values[name]:>11.4g}  [{low:.4g}, {high:.4g}]")
  lines.append(
    f"R^2 of ln(added loss) {fit.r_squared:.3f}; a fitted value is usually wrong by a factor of "
    f"{math.exp(fit.error):.2f}; {fit.left_out} rows are not clearly above zero"
  )
  if fit.held_out is None:
    return [*lines, "too few sizes to hold one out"]
  held = fit.held_out
  return [
    *lines,
    f"largest size, N {held.N:,.0f}, predicted from the others: usually wrong by a factor of {held.factor:.2f}; "
    f"{held.inside} of {held.rows} intervals meet the measured one",
  ]
