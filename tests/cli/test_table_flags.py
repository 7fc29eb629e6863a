"""Flags of a table of runs: the columns that the user named, and no others."""

from absl import flags

from gen.cli import table_flags


def test_only_the_columns_that_were_named_are_chosen():
  values = flags.FlagValues()
  columns = {
    name: flags.DEFINE_string(f"{name}_column", "", "Column.", flag_values=values)
    for name in table_flags.LETTERS
  }
  values(["program", "--loss_column=eval/loss", "--flops_column=compute"])
  assert table_flags.chosen_columns(columns) == {"loss": "eval/loss", "flops": "compute"}
