"""Which bits should a memory budget buy: a large model in few bits, or a small one in more?

The loss of a model of N parameters after D tokens, rounded to P bits after training, is

    L(N, D) + delta(N, D, P)        N = 8 M / P

with M bytes of weights, L the law of the loss and delta the law of precision (`gen.scaling.precision`). Bytes of scales
are not counted: there is one for each output. With a FLOP budget each size trains on the tokens that it buys.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gen.errors import UserError
from gen.io import json_reading, seals
from gen.scaling.laws.loss_law import law_batch
from gen.scaling.planning.law_source import LawSource
from gen.scaling.precision import precision_law
from gen.scaling.precision.precision_law import PrecisionFit, RoundedLoss
from gen.scaling.runs import bootstrap


@dataclasses.dataclass(frozen=True, slots=True)
class BitsChoice:
  """One number of bits in the memory budget.

  Attributes:
    bits: P.
    N: parameters that fit.
    D: tokens.
    float_loss: before rounding, nats per token.
    added: by rounding.
    added_interval: [low, high] of it.
    loss: after rounding.
    extrapolates: whether N, D / N or P lies outside the measurements.
  """

  bits: float
  N: float
  D: float
  float_loss: float
  added: float
  added_interval: list[float]
  loss: float
  extrapolates: bool


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryPlan:
  """The choices of a memory budget, the best first.

  Attributes:
    memory_bytes: M.
    loss_law: name of L's law.
    precision_runs: runs behind the law of precision.
    choices: by loss.
    clear: whether the best stays the best at either end of the intervals of what rounding adds.
  """

  memory_bytes: float
  loss_law: str
  precision_runs: int
  choices: list[BitsChoice]
  clear: bool


def read_precision_law(path: str | Path) -> tuple[PrecisionFit, list[RoundedLoss]]:
  """Returns the law and the measurements of a results.json of experiments/precision_law.py, fitted again.

  Raises:
    UserError: for a file that was edited, or without measurements, or whose measurements determine no law.
  """
  values = seals.without_seal(json_reading.read_json(Path(path)), str(path))
  rows = json_reading.require_field(values, "measurements", list, str(path))
  measured = []
  for number, row in enumerate(rows, 1):
    where = f"{path}: measurement {number}"
    json_reading.require_kind(row, dict, where)
    text = json_reading.require_field(row, "run", str, where)
    numbers = [json_reading.require_field(row, name, float, where) for name in precision_law.FIELDS[1:]]
    if not all(map(math.isfinite, numbers)) or min(numbers[:3]) <= 0:
      raise UserError(f"{where} has a number that is not finite, or N, D or bits that are not positive")
    measured.append(RoundedLoss(text, *numbers))
  return precision_law.fit_precision(measured), measured


def choose_bits(
  law: LawSource,
  path: str | Path,
  memory_bytes: float,
  bits: Sequence[float],
  *,
  tokens: float | None = None,
  flops: float | None = None,
) -> MemoryPlan:
  """Returns the loss of each number of bits in a memory budget.

  Args:
    law: of the loss.
    path: results.json with the law of precision.
    memory_bytes: of the weights.
    bits: numbers of bits to compare.
    tokens: D of all models.
    flops: training FLOPs of each, in place of tokens.

  Raises:
    UserError: for a law of the optimum alone, no length of training, or a file that holds no law of precision.
  """
  law.needs_surface("--memory")
  if (tokens is None) == (flops is None):
    given = "neither is given" if tokens is None else "both are given"
    raise UserError(
      f"--memory compares trained models: give either --tokens, or a budget such as --flops; {given}"
    )
  fit, measured = read_precision_law(path)
  assert law.rows_sp is not None
  points, float_losses = [], []
  for each in dict.fromkeys(bits):
    size = 8 * memory_bytes / each
    data = tokens if flops is None else float(law.cost.tokens(flops, size))
    assert data is not None
    points.append((size, data, float(each)))
    float_losses.append(float(law_batch.batch_loss(law.rows_sp, np.log(size), np.log(data))[0]))
  # The uncertainty of what rounding adds alone: L's own cancels in part, as all choices read one law.
  draws_bk = precision_law.added_loss_draws(measured, points)
  choices = []
  for index, ((size, data, count), float_loss) in enumerate(zip(points, float_losses, strict=True)):
    added = fit.law.added_loss(size, data, count)
    interval = bootstrap.draw_interval(draws_bk[:, index], added, precision_law.LEVEL)
    outside = _is_outside(measured, size, data, count)
    choices.append(BitsChoice(count, size, data, float_loss, added, interval, float_loss + added, outside))
  choices.sort(key=lambda choice: choice.loss)
  # Ends of separate intervals, which is stricter than an interval of the difference would be.
  worst_of_best = choices[0].float_loss + choices[0].added_interval[1]
  clear = all(worst_of_best < other.float_loss + other.added_interval[0] for other in choices[1:])
  return MemoryPlan(memory_bytes, law.name, fit.runs, choices, clear)


def _is_outside(measured: Sequence[RoundedLoss], params: float, tokens: float, bits: float) -> bool:
  for value, known in (
    (params, [row.N for row in measured]),
    (tokens / params, [row.D / row.N for row in measured]),
    (bits, [row.bits for row in measured]),
  ):
    # A tenth of a percent, as sizes and ratios come from rounded shapes.
    if not min(known) * 0.999 <= value <= max(known) * 1.001:
      return True
  return False


def memory_lines(plan: MemoryPlan) -> list[str]:
  """Returns the table of a plan, and its answer in a sentence."""
  lines = [
    f"{plan.memory_bytes / 1e6:,.4g} MB of weights; loss by {plan.loss_law}, rounding by {plan.precision_runs} runs",
    f"{'bits':>5} {'N':>12} {'D':>12} {'loss':>9} {'added by rounding':>30} {'in all':>9}",
  ]
  for choice in plan.choices:
    low, high = choice.added_interval
    note = "  outside the measurements" if choice.extrapolates else ""
    added = f"{choice.added:.4g} [{low:.3g}, {high:.3g}]"
    lines.append(
      f"{choice.bits:>5g} {choice.N:>12.4g} {choice.D:>12.4g} {choice.float_loss:>9.4f} {added:>30} "
      f"{choice.loss:>9.4f}{note}"
    )
  best = plan.choices[0]
  answer = f"best: {best.N:,.4g} parameters in {best.bits:g} bits"
  if len(plan.choices) > 1:
    gain = plan.choices[1].loss - best.loss
    answer += f", {gain:.4f} nats below {plan.choices[1].N:,.4g} in {plan.choices[1].bits:g} bits"
    answer += "" if plan.clear else "; the intervals of what rounding adds do not decide it"
  return [*lines, answer]
