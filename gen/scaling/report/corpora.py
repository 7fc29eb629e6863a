"""The table of a study on a mixture: validation loss of each corpus, run by run."""

from gen.scaling.report.tables import ReportTable, TableCell, TableRow, format_digits
from gen.scaling.report.view import ResultsView


def corpora_table(view: ResultsView) -> ReportTable | None:
  """Returns the loss of each corpus in each run; None if no run read a mixture."""
  names = list(dict.fromkeys(name for run in view.runs for name in run.section("corpora")))
  if not names:
    return None
  table = ReportTable(
    "Validation loss of each corpus in nats per token; small: its share of the rows, and epochs.",
    ["Run", *names],
  )
  for index, run in enumerate(view.runs):
    corpora = run.section("corpora")
    cells = [TableCell(str(run.get("name", index)))]
    for name in names:
      values = corpora.section(name)
      loss, share, epochs = (values.number(field) for field in ("loss", "share", "epochs"))
      small = "" if share is None or epochs is None else f"{share:.1%}, {epochs:.2g}"
      cells.append(TableCell("–" if loss is None else format_digits(loss, 4), small, loss))
    table.rows.append(TableRow(cells, index, bool(run.get("held_out"))))
  return table
