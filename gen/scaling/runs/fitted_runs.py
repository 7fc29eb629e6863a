"""A table of runs as a fit takes it: read, in ones, recounted in a convention, without the highest losses."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gen.scaling.runs import recount_conventions, runs_table, units
from gen.scaling.runs.runs_table import RunsTable

if TYPE_CHECKING:
  from gen.training.run_log.rows import RowValues


class FittedRuns(NamedTuple):
  """The runs of a fit.

  Attributes:
    points: the runs.
    curves: rows of their training curves, for the envelope; empty unless asked for.
    notes: sentences on what was taken for what in the file.
  """

  points: RunsTable
  curves: list["RowValues"]
  notes: list[str]


def read_fitted_runs(
  path: str,
  columns: Mapping[str, str],
  params_unit: float | None,
  tokens_unit: float | None,
  convention: str,
  exclude: int,
  with_curves: bool,
  say: Callable[[str], None],
) -> FittedRuns:
  """Reads the runs of a fit.

  Args:
    path: of the table.
    columns: names of columns that the user gave, by what they hold.
    params_unit: of N in the file; None detects it.
    tokens_unit: of D in the file; None detects it.
    convention: as of `recount_conventions.parse_choice`.
    exclude: number of runs with the highest losses to leave out.
    with_curves: whether training curves are read too.
    say: called with each note before the numbers are checked.

  Raises:
    UserError: for a file that is not a table of runs, or numbers that cannot be.
  """
  chosen = recount_conventions.parse_choice(convention)
  raw_runs, notes = runs_table.read_described(path, columns)
  for text in notes:
    say(f"{path}: {text}")
  raw_runs = units.convert_runs(raw_runs, path, params_unit, tokens_unit)
  points = recount_conventions.recount_runs(raw_runs, chosen, path)
  factors = dict(zip(raw_runs.names.tolist(), (points.flops / raw_runs.flops).tolist(), strict=True))
  if exclude:
    points = points.without_top_losses(exclude)
  curves = runs_table.read_curves(path, points.select(~points.held_out)) if with_curves else []
  # C grows with D alone within a run, so a run's C is counted anew by one factor.
  recounted: list[RowValues] = [
    {**row, "flops": row["flops"] * factors[row["run"]]} if row.get("flops") else row for row in curves
  ]
  return FittedRuns(points, recounted, notes)
