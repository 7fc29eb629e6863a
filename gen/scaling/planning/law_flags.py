"""Flags of an experiment that plans by a law: which law, how a file of runs is fitted, and counts in its units."""

from typing import TYPE_CHECKING

from absl import flags

from gen.cli import shared_flags, table_flags
from gen.errors import UserError
from gen.io import quantities
from gen.scaling.runs import conventions, units

if TYPE_CHECKING:
  from gen.scaling.planning.law_source import LawSource

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

_MIN_TOKENS = 1e5  # served or unique, that are believed without a unit


def define_flags() -> None:
  """Defines `--law` and the flags of how it is read, fitted and resampled."""
  flags.DEFINE_string(
    "law", "besiroglu2024", "A published law, or a file of runs or constants; 'list' lists the laws."
  )
  table_flags.define_units(
    "--params and of N in the file: 1e6 if they are in millions",
    "the token flags and of D in the file: 1e9 if they are in billions",
  )
  table_flags.define_columns()
  flags.DEFINE_enum("approach", "parametric", ["parametric", "isoflop", "envelope"], "How runs are fitted.")
  flags.DEFINE_string(
    "params_convention", "matrices", "Convention in which N of the file is counted (docs/planning.md)."
  )
  quantities.DEFINE_integer(
    "bootstraps", 1000, "Resamples for the intervals of a fitted file of runs.", 0, 1_000_000
  )
  shared_flags.define_seed("resampling")
  quantities.DEFINE_float("level", 0.95, "Coverage of the intervals.", 0, 1)


def law_from_flags() -> "LawSource":
  """Opens the law of the command line.

  Raises:
    UserError: for an unknown law or convention, or a file that holds neither runs nor constants.
  """
  from gen.scaling.planning import law_source

  values = flags.FLAGS
  if values.params_convention not in conventions.PARAMETERS:
    raise UserError(
      f"--params_convention={values.params_convention} is unknown; there are {', '.join(conventions.PARAMETERS)}"
    )
  columns = {name: values[f"{name}_column"].value for name in table_flags.LETTERS}
  return law_source.open_law(
    values.law, values.approach, values.params_convention,
    params_unit=values.params_unit, tokens_unit=values.tokens_unit,
    columns={name: column for name, column in columns.items() if column},
    bootstraps=values.bootstraps, seed=values.seed, level=values.level,
  )  # fmt: skip


def count_from_flag(name: str, law: "LawSource") -> float | None:
  """Returns a count of parameters or tokens in ones; small ones are believed where the law's runs are small.

  Args:
    name: of the flag; all but `params` count tokens.
    law: the law that the count is for.

  Raises:
    UserError: for a count that is probably in another unit.
  """
  value = flags.FLAGS[name].value
  if value is None:
    return None
  kind = "params" if name == "params" else "tokens"
  low, high = units.USUAL[kind]
  if name not in ("params", "tokens"):  # a model may serve few tokens, and a text may be short
    low = _MIN_TOKENS
  if law.runs is not None:
    low = min(low, float((law.runs.params if kind == "params" else law.runs.tokens).min()) / 100)
  return units.convert_count(kind, value, flags.FLAGS[f"{kind}_unit"].value, (low, high), name)
