"""The tables, comparisons and verdicts of an atlas on a terminal."""

from typing import TYPE_CHECKING

from gen.scaling.atlas import atlas_tables
from gen.scaling.atlas.atlas_records import AtlasResults
from gen.scaling.report import study_console

if TYPE_CHECKING:
  from rich.console import Console

MIN_COLUMNS = 200  # columns of the widest table of an atlas


def print_atlas(console: "Console", results: AtlasResults) -> None:
  """Prints the tables, which comparisons are valid, and each family's verdict.

  Args:
    console: where to print.
    results: of the atlas.
  """
  drawn = (
    atlas_tables.law_table(results),
    atlas_tables.optimum_table(results),
    atlas_tables.difference_table(results),
    atlas_tables.equal_loss(results),
  )
  for table in drawn:
    if table is not None and table.rows:
      console.print()
      study_console.draw_table(console, table, MIN_COLUMNS, small=True)
  for comparison in results.comparable:
    answer = "may be" if comparison.comparable else "MAY NOT BE"
    console.print(f"{answer} compared: {comparison.what}: {comparison.why}")
  for family in results.families.values():
    verdict = family.verdict
    console.print(f"\n{family.title}: {'credible' if verdict.credible else 'not credible'}")
    study_console.print_reasons(console, verdict.reasons)
    study_console.print_failures(console, family.failed, indent="  ")
  console.print(f"\n{results.caution}")
