"""The tables of an atlas, for its page and for the terminal: rows of cells that are words already."""

from collections.abc import Callable

from gen.scaling.atlas.atlas_records import AtlasResults, EqualLossCosts, MeasuredValue
from gen.scaling.atlas.comparable import family_title
from gen.scaling.atlas.comparison import MEANINGS
from gen.scaling.laws.three_fits import LawEntry
from gen.scaling.report.sections import finite_number
from gen.scaling.report.tables import (
  ReportTable,
  TableCell,
  TableRow,
  format_count,
  format_digits,
  format_flops,
  format_interval,
)

_SHORT = {"tokens": "corpus tokens", "positions": "positions", "loss_tokens": "loss-bearing"}


def law_table(results: AtlasResults) -> ReportTable:
  """Each family's exponents by approaches 2 and 3, and its verdict."""
  level = f"{100 * results.confidence:g} %"
  head = ["Family", "Runs", "a, approach 2", "a, approach 3", "Seed noise (nats)", "C / 6 N D", "Verdict"]
  table = ReportTable(f"Exponent a of N*(C) = k C^a, {level} intervals of each family alone.", head)
  for name, family in results.families.items():
    failed = sum(not reason.passed for reason in family.verdict.reasons)
    ratio = family.flops_over_6nd
    table.rows.append(TableRow([
      TableCell(family_title(name)),
      TableCell(str(len(family.points))),
      *(_exponent(law) for law in (family.laws.isoflop, family.laws.parametric)),
      TableCell(format_digits(finite_number(family.seed_noise), 3)),
      TableCell(f"{ratio[0]:.2f} to {ratio[1]:.2f}" if ratio else format_digits(None)),
      TableCell("credible" if family.verdict.credible else "not credible", f"{failed} criteria not met" if failed else
      ""),
    ]))  # fmt: skip
  return table


def _exponent(law: LawEntry) -> TableCell:
  reach = (law.ci90 or {}).get("a")
  return TableCell(
    format_digits(finite_number(law.a)), format_interval((reach[0], reach[1])) if reach else ""
  )


def difference_table(results: AtlasResults) -> ReportTable:
  """Differences of exponents, each two families."""
  table = ReportTable(
    "Differences of exponents over C, approach 2, with paired intervals: of N*, and of D* by each meaning.",
    [
      "Families",
      "N*",
      *(f"D*: {_SHORT[first]}" for first in MEANINGS),
      "Residuals' correlation",
      "Both credible",
    ],
  )
  for row in results.differences:
    first, second = row.families
    table.rows.append(TableRow([
      TableCell(f"{family_title(first)} − {family_title(second)}"), value_cell(row.a),
      *(value_cell(row.exponent(name)) for name in MEANINGS),
      TableCell(format_digits(finite_number(row.residual_correlation), 2)), TableCell("yes" if row.credible
      else "no"),
    ]))  # fmt: skip
  return table


def value_cell(
  entry: MeasuredValue | None, write: Callable[[float | None], str] = format_digits
) -> TableCell:
  """Writes a value with its interval."""
  if entry is None:
    return TableCell(write(None))
  reach = entry.interval
  return TableCell(
    write(finite_number(entry.value)), format_interval((reach[0], reach[1]), write) if reach else ""
  )


def optimum_table(results: AtlasResults) -> ReportTable:
  """Each family's optimum at each budget: N, loss, seconds, tokens per parameter."""
  table = ReportTable(
    "The optimum of each budget. A budget whose minimum is not between two of its sizes has none.",
    [
      "Family",
      "Budget C",
      "N*",
      "Least loss",
      "Seconds",
      *(f"{_SHORT[meaning]} / N" for meaning in MEANINGS),
    ],
  )
  for name, family in results.families.items():
    for row in family.optima or []:
      cells = [TableCell(family_title(name)), TableCell(format_flops(row.budget))]
      if row.N is None or row.per_parameter is None:
        table.rows.append(
          TableRow([*cells, TableCell("at the edge"), *(TableCell(format_digits(None)) for _ in range(5))])
        )
        continue
      ratios = [value_cell(row.per_parameter[meaning], _ratio) for meaning in MEANINGS]
      middle = [
        value_cell(row.N, format_count),
        value_cell(row.loss),
        value_cell(row.seconds, _ratio),
      ]
      table.rows.append(TableRow([*cells, *middle, *ratios]))
  return table


def _ratio(value: float | None) -> str:
  return format_digits(None) if value is None else f"{value:.3g}"


def equal_loss(results: AtlasResults) -> ReportTable | None:
  """What the LSTM pays over the decoder at equal loss; None where nothing was read."""
  entry = results.equal_loss
  if entry is None or not entry.flops:
    return None
  cheaper, dearer = family_title(entry.over), family_title(entry.of)
  caution = "" if entry.credible else " At least one of the two curves is not credible."
  table = ReportTable(
    f"What the {dearer} pays over what the {cheaper} pays at equal loss.{caution}",
    ["Loss (nats)", f"FLOPs, {cheaper}", f"FLOPs, {dearer}", "ratio of FLOPs", "ratio of seconds"],
  )
  seconds = {row.loss: row for row in entry.seconds}
  for row in entry.flops:
    time = seconds.get(row.loss)
    table.rows.append(TableRow([
      TableCell(format_digits(row.loss)), TableCell(format_flops(row.decoder)),
      TableCell(format_flops(row.lstm)), _ratio_of(row),
      TableCell(format_digits(None)) if time is None else _ratio_of(time),
    ]))  # fmt: skip
  return table


def _ratio_of(row: EqualLossCosts) -> TableCell:
  return value_cell(MeasuredValue(row.ratio, row.interval), lambda value: format_digits(value, 2))


def comparable_table(results: AtlasResults) -> ReportTable:
  """What may be compared and why."""
  table = ReportTable("What may be compared between families, and what not.", ["What", "May be", "Why"])
  for statement in results.comparable:
    table.rows.append(
      TableRow(
        [
          TableCell(statement.what),
          TableCell("yes" if statement.comparable else "no"),
          TableCell(statement.why),
        ]
      )
    )
  return table
