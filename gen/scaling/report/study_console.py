"""The tables and the verdict of a study on a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gen.io import typed_json
from gen.scaling.report import corpora, tables, view
from gen.scaling.report.sections import Section
from gen.scaling.report.tables import (
  ReportTable,
  TableCell,
  TableRow,
  format_count,
  format_digits,
  format_flops,
)
from gen.scaling.verdicts.criteria import Reason, Verdict

if TYPE_CHECKING:
  from rich.console import Console

MIN_COLUMNS = 160  # columns of the widest table of a study


def print_study(console: "Console", results: Mapping[str, object]) -> None:
  """Prints the tables, the fits, the prediction and the verdict of a study.

  Args:
    console: where to print.
    results: the contents of results.json.
  """
  results_view = view.read_results(results)
  drawn = (
    size_table(results_view),
    tables.compute_table(results_view),
    tables.interval_table(results_view),
    tables.constants_table(results_view),
    tables.prediction_table(results_view),
    tables.held_out_table(results_view),
    corpora.corpora_table(results_view),
  )
  for table in drawn:
    if table is not None:
      console.print()
      draw_table(console, table, MIN_COLUMNS)
  for text in tables.fit_warnings(results_view):
    console.print(f"warning: {text}")
  share = Section(results).section("utilization").number("share") or 0.0
  console.print(f"\n{100 * share:.0f} % of the workers' wall time was inside training steps")
  failed = Section(results).section("failed")
  print_failures(console, {name: str(reason) for name, reason in failed.items()})
  verdict = typed_json.decode_record(Verdict, results.get("verdict"), "verdict")
  console.print("\ncredible" if verdict.credible else "\nnot credible")
  print_reasons(console, verdict.reasons)


def print_failures(console: "Console", failed: Mapping[str, str], indent: str = "") -> None:
  """Prints each run that has no result, with the reason."""
  for name, reason in failed.items():
    console.print(f"{indent}{name} has no result: {reason}")


def print_reasons(console: "Console", reasons: Sequence[Reason]) -> None:
  """Prints each criterion of a verdict and whether it is met."""
  for reason in reasons:
    console.print(f"  {'met    ' if reason.passed else 'NOT MET'}  {reason.sentence}")


def size_table(results_view: view.ResultsView) -> ReportTable:
  """Returns the table of sizes within budgets; a star marks the best size of each budget."""
  best = {spot.budget: spot for spot in sorted(results_view.spots, key=lambda spot: -spot.loss)}
  table = ReportTable(
    "Loss in nats, seeds averaged.", ["Budget C", "N", f"D ({results_view.unit})", "Seeds", "Loss", "Best"]
  )
  for spot in results_view.spots:
    cells = [
      format_flops(spot.budget) + (" held out" if spot.held_out else ""),
      format_count(spot.params),
      format_count(spot.tokens),
      str(len(spot.members)),
      format_digits(spot.loss, 4),
      "*" if best[spot.budget] is spot else "",
    ]
    table.rows.append(TableRow([TableCell(text) for text in cells]))
  return table


def draw_table(console: "Console", table: ReportTable, min_columns: int, small: bool = False) -> None:
  """Prints a table with a left-aligned first column and no box.

  Args:
    console: where to print.
    table: the table.
    min_columns: columns to assume on narrower terminals, so that no number is cut; a pipe reports only 80.
    small: whether the cells' secondary texts are printed too.
  """
  from rich.table import Table as RichTable

  drawn = RichTable(title=table.caption, title_justify="left", box=None, pad_edge=False)
  for number, heading in enumerate(table.head):
    drawn.add_column(heading, justify="right" if number else "left", no_wrap=True)
  for row in table.rows:
    drawn.add_row(*(f"{cell.text} {cell.small}".strip() if small else cell.text for cell in row.cells))
  # rich ignores a width that is passed without a height.
  width, height = max(console.width, min_columns), console.height
  type(console)(file=console.file, highlight=False, width=width, height=height).print(drawn)
