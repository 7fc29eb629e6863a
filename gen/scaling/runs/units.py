"""Detects and converts counts in the wrong unit, such as tokens in billions or parameters in millions.

Nobody trains a model of 70 parameters, or on 300 tokens. Such numbers are billions or millions without their unit.
N parameters, D tokens, C FLOPs.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError

if TYPE_CHECKING:
  from gen.scaling.runs.runs_table import RunsTable

# Of the short scale; a unit is what a count is multiplied by.
NAMES = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
# As tables of models write them: B for billions, not G.
LETTERS = {1e3: "k", 1e6: "M", 1e9: "B", 1e12: "T"}
# Tokens a parameter; chosen: far outside of what is trained, and within a factor 1,000 of it.
RATIOS = (1e-3, 1e6)
# Sizes outside which a single count is taken for another unit, where no runs say otherwise.
USUAL = {"params": (1e6, 1e15), "tokens": (1e7, 1e18)}
_SMALLEST = {"params": 300.0, "tokens": 5e4}  # medians of a table of runs that are counts of ones
_UNITS = {"params": (1e9, 1e6), "tokens": (1e9, 1e12, 1e6)}  # the likeliest first
# Chosen: N and D of models that people plan, up to three times the 15 T tokens of Llama 3 (arXiv:2407.21783).
_LIKELY = {"params": (2e7, 5e12), "tokens": (1e9, 5e13)}
_WORDS = {"params": "parameters", "tokens": "tokens"}
_TOKENS_A_PARAMETER = 20.0  # of compute-optimal models (Hoffmann et al. 2022), to guess an unstated unit
_FLOPS = (2.0, 60.0)  # FLOPs a parameter and token, of small models too


def parse_unit(name: str, value: float | None) -> float:
  """Returns the unit of counts that a flag gives, or 1 if it gives none.

  Args:
    name: of the flag, for messages.
    value: counts in one unit, such as 1e9.

  Raises:
    UserError: unless it is finite and above zero.
  """
  if value is None:
    return 1.0
  if not (math.isfinite(value) and value > 0):
    raise UserError(f"{name} is {value:g}; give the count in one unit, such as 1e9 for billions")
  return float(value)


def convert_count(
  kind: str,
  value: float,
  given_unit: float | None = None,
  usual: tuple[float, float] | None = None,
  name: str = "",
) -> float:
  """Returns a count of parameters or tokens, in ones.

  Args:
    kind: params or tokens.
    value: as it was given.
    given_unit: --params_unit or --tokens_unit; 1 accepts a small number as it is.
    usual: smallest and largest count that is accepted without a unit; `USUAL` by default.
    name: name of the flag in messages; the kind by default.

  Raises:
    UserError: for a number that is not positive, and one that no model has: with the unit that it is likely in.

  >>> convert_count("tokens", 300e9), convert_count("tokens", 300, 1e9)
  (300000000000.0, 300000000000.0)
  """
  name = name or kind
  if not (math.isfinite(value) and value > 0):
    raise UserError(f"--{name} is {value:g}; it must be finite and above zero")
  count = value * parse_unit(f"--{kind}_unit", given_unit)
  low, high = usual or USUAL[kind]
  if not count <= high:
    hint = (
      f"give {_WORDS[kind]} in ones" if given_unit in (None, 1) else f"is --{kind}_unit={given_unit:g} meant?"
    )
    raise UserError(
      f"--{name}={value:g} is {count:.3g} {_WORDS[kind]}, more than any model or corpus has; {hint}"
    )
  if count < low and given_unit != 1:
    sizes = likely_units(kind, count)
    written = " or ".join(f"--{name}={value:g}{LETTERS[size]}" for size in sizes)
    names = " or ".join(NAMES[size] for size in sizes)
    raise UserError(
      f"--{name}={value:g} is {count:.3g} {_WORDS[kind]}, too few to plan with; for {names} write {written} "
      f"(or --{kind}_unit={sizes[0]:g}), and if the number is meant, add --{kind}_unit=1"
    )
  return count


def likely_units(kind: str, value: float) -> list[float]:
  """Returns the likely units of a number that is too small, the likeliest first.

  >>> likely_units("params", 70), likely_units("params", 175_000), likely_units("tokens", 300)
  ([1000000000.0, 1000000.0], [1000000.0], [1000000000.0])
  """
  low, high = _LIKELY[kind]
  return [size for size in _UNITS[kind] if low <= value * size <= high] or [_UNITS[kind][0]]


def of_ratio(ratio: float) -> tuple[str, float] | None:
  """Returns which count is likely in another unit, and the unit, of tokens a parameter; None for a usual ratio.

  >>> of_ratio(18.0), of_ratio(20e-9), of_ratio(20e6)
  (None, ('tokens', 1000000000.0), ('params', 1000000.0))
  """
  if not (math.isfinite(ratio) and ratio > 0) or RATIOS[0] <= ratio <= RATIOS[1]:
    return None
  kind = "tokens" if ratio < 1 else "params"
  off = abs(math.log10(ratio / _TOKENS_A_PARAMETER))
  return kind, min(NAMES, key=lambda size: abs(math.log10(size) - off))


def of_table(params: ArrayLike, tokens: ArrayLike, flops: ArrayLike | None = None) -> dict[str, float]:
  """Returns the units other than ones in which N and D of a table of runs are likely given; empty for sound counts.

  Args:
    params: N of each run.
    tokens: D of each run.
    flops: C of each run, where the table has it; units are then such that C is 2 to 60 FLOPs a parameter and token.

  >>> of_table([70e6, 1e9], [1.4, 20.0]), of_table([70.0, 1000.0], [1.4, 20.0]), of_table([7e7, 1e9], [1.4e9, 2e10])
  ({'tokens': 1000000000.0}, {'params': 1000000.0, 'tokens': 1000000000.0}, {})
  """
  n, d = _middle(params), _middle(tokens)
  if not (math.isfinite(n) and math.isfinite(d) and n > 0 and d > 0):
    return {}
  c = _middle(flops) if flops is not None else math.nan
  small = n < _SMALLEST["params"] or d < _SMALLEST["tokens"]
  if not small and of_ratio(d / n) is None:
    return {}
  sizes: Sequence[float] = (1.0, *NAMES)
  # Every pair of units that leaves counts of a model and a corpus.
  pairs = [(a, b) for a in sizes for b in sizes if n * a >= 1e3 and d * b >= _SMALLEST["tokens"]]
  if math.isfinite(c):
    pairs = [pair for pair in pairs if _FLOPS[0] < c / (n * pair[0] * d * pair[1]) < _FLOPS[1]] or pairs
  best = min(pairs, key=lambda pair: _surprise(n * pair[0], d * pair[1]), default=(1.0, 1.0))
  return {kind: size for kind, size in zip(("params", "tokens"), best, strict=True) if size != 1}


def convert_runs(
  runs: "RunsTable", source: str, params_unit: float | None, tokens_unit: float | None
) -> "RunsTable":
  """Returns runs in counts of ones.

  Args:
    runs: as their file gives them.
    source: what to call the file in messages.
    params_unit: unit of N in the file; None if the user gave none.
    tokens_unit: unit of D in the file; None if the user gave none.

  Raises:
    UserError: for counts that seem to be in a unit the user did not give, with the flags that convert them; for a
      unit given for counts of ones.
  """
  counted = bool(
    np.allclose(runs.flops, 6 * runs.params * runs.tokens, rtol=1e-9)
  )  # C is 6 N D of these N and D
  if params_unit is None and tokens_unit is None:
    _refuse(source, runs, counted)
    return runs
  n, d = parse_unit("--params_unit", params_unit), parse_unit("--tokens_unit", tokens_unit)
  converted = dataclasses.replace(runs, params=runs.params * n, tokens=runs.tokens * d)
  if not of_table(runs.params, runs.tokens) and not _is_possible(converted):
    raise UserError(
      f"{source} gives counts of ones already, of {_middle(runs.params):.3g} parameters and {_middle(runs.tokens):.3g} "
      f"tokens in its middle run; leave out --params_unit and --tokens_unit"
    )
  return converted.with_flops_6nd() if counted else converted


def _is_possible(runs: "RunsTable") -> bool:
  """Returns whether somebody may have trained the middle run."""
  n, d = _middle(runs.params), _middle(runs.tokens)
  return n <= USUAL["params"][1] / 10 and d <= USUAL["tokens"][1] / 10 and of_ratio(d / n) is None


def _refuse(source: str, runs: "RunsTable", counted: bool) -> None:
  unit_sizes = of_table(runs.params, runs.tokens, None if counted else runs.flops)
  if not unit_sizes:
    return
  description = " and ".join(f"{_WORDS[kind]} in {NAMES[size]}" for kind, size in unit_sizes.items())
  unit_flags = " ".join(f"--{kind}_unit={size:g}" for kind, size in unit_sizes.items())
  raise UserError(
    f"{source} seems to give {description}: its middle run has {_middle(runs.params):.3g} parameters and "
    f"{_middle(runs.tokens):.3g} tokens; add {unit_flags}, or --params_unit=1 if these are counts of ones"
  )


def _middle(values: ArrayLike) -> float:
  array = np.asarray(values, np.float64)
  return float(np.median(array)) if array.size else math.nan


def _surprise(params: float, tokens: float) -> float:
  """Returns how unusual N and D are: the distance in decades from 20 tokens per parameter and from 3e8 parameters."""
  # The ratio weighs most: sizes alone spread over many decades, so they only decide between equal ratios.
  return abs(math.log10(tokens / params / _TOKENS_A_PARAMETER)) + 0.3 * abs(math.log10(params) - 8.5)
