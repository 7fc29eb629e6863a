"""Flags of the experiments that read a table of runs: where it is, its columns, its units, and the runs to leave out.

Each function defines flags of the experiment that calls it and returns their holders.
"""

from absl import flags

from gen.io import quantities

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

LETTERS = {"params": "N", "tokens": "D", "loss": "the loss", "flops": "C"}  # column -> what it holds


def define_runs() -> flags.FlagHolder[str]:
  """Defines `--runs`, the table."""
  return flags.DEFINE_string("runs", "", "The runs: a .csv, a journal.jsonl or a results.json.")


def define_units(
  params: str = "N in the file: 1e6 if N is in millions",
  tokens: str = "D in the file: 1e9 if D is in billions",
) -> tuple[flags.FlagHolder[float | None], flags.FlagHolder[float | None]]:
  """Defines `--params_unit` and `--tokens_unit`.

  Args:
    params: what the unit of N is for, in the help.
    tokens: what the unit of D is for.
  """
  return (
    quantities.DEFINE_float("params_unit", None, f"Unit of {params}.", lower_bound=0),
    quantities.DEFINE_float("tokens_unit", None, f"Unit of {tokens}.", lower_bound=0),
  )


def define_columns() -> dict[str, flags.FlagHolder[str]]:
  """Defines `--params_column`, `--tokens_column`, `--loss_column` and `--flops_column`, and returns them by name."""
  return {
    name: flags.DEFINE_string(f"{name}_column", "", f"Column of {letter}, if it is not {name}.")
    for name, letter in LETTERS.items()
  }


def chosen_columns(columns: dict[str, flags.FlagHolder[str]]) -> dict[str, str]:
  """Returns the columns that the user named, by what they hold."""
  return {name: flag.value for name, flag in columns.items() if flag.value}


def define_exclude_top_losses() -> flags.FlagHolder[int]:
  """Defines `--exclude_top_losses`, the number of runs to leave out."""
  return quantities.DEFINE_integer(
    "exclude_top_losses", 0, "Number of runs with the highest losses to leave out.", lower_bound=0
  )
