"""The tables of an atlas, for its page and for the terminal: rows of cells that are words already."""

from collections.abc import Mapping
from typing import Any

from gen.scaling.atlas.comparable import family_title
from gen.scaling.atlas.comparison import MEANINGS
from gen.scaling.report.tables import (
  ReportTable,
  TableCell,
  TableRow,
  format_count,
  format_digits,
  format_flops,
  format_interval,
)
from gen.scaling.report.view import finite_number, read_list, read_section

_SHORT = {"tokens": "corpus tokens", "positions": "positions", "loss_tokens": "loss-bearing"}


def law_table(results: Mapping[str, Any]) -> ReportTable:
  """Each family's exponents by approaches 2 and 3, and its verdict."""
  level = f"{100 * results['confidence']:g} %"
  head = ["Family", "Runs", "a, approach 2", "a, approach 3", "Seed noise (nats)", "C / 6 N D", "Verdict"]
  table = ReportTable(f"Exponent a of N*(C) = k C^a, {level} intervals of each family alone.", head)
  for name, family in read_section(results, "families").items():
    verdict = read_section(family, "verdict")
    failed = sum(not reason["passed"] for reason in read_list(verdict, "reasons"))
    ratio = family.get("flops_over_6nd")
    table.rows.append(TableRow([
      TableCell(family_title(name)),
      TableCell(str(len(read_list(family, "points")))),
      *(_exponent(read_section(read_section(family, "laws"), approach)) for approach in ("isoflop", "parametric")),
      TableCell(format_digits(finite_number(family.get("seed_noise")), 3)),
      TableCell(f"{ratio[0]:.2f} to {ratio[1]:.2f}" if ratio else format_digits(None)),
      TableCell("credible" if verdict.get("credible") else "not credible", f"{failed} criteria not met" if failed else
      ""),
    ]))  # fmt: skip
  return table


def _exponent(law: Mapping[str, Any]) -> TableCell:
  reach = read_section(law, "ci90").get("a")
  return TableCell(format_digits(finite_number(law.get("a"))), format_interval(tuple(reach)) if reach else "")


def difference_table(results: Mapping[str, Any]) -> ReportTable:
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
  for row in read_list(results, "differences"):
    first, second = row["families"]
    table.rows.append(TableRow([
      TableCell(f"{family_title(first)} − {family_title(second)}"), value_cell(row["a"]),
      *(value_cell(row[f"exponent_of_{name}"]) for name in MEANINGS),
      TableCell(format_digits(finite_number(row.get("residual_correlation")), 2)), TableCell("yes" if row["credible"]
      else "no"),
    ]))  # fmt: skip
  return table


def value_cell(entry: Mapping[str, Any], write: Any = format_digits) -> TableCell:
  """Writes a value with its interval."""
  reach = entry.get("interval")
  return TableCell(
    write(finite_number(entry.get("value"))), format_interval(tuple(reach), write) if reach else ""
  )


def optimum_table(results: Mapping[str, Any]) -> ReportTable:
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
  for name, family in read_section(results, "families").items():
    for row in read_list(family, "optima"):
      cells = [TableCell(family_title(name)), TableCell(format_flops(row["budget"]))]
      if "N" not in row:
        table.rows.append(
          TableRow([*cells, TableCell("at the edge"), *(TableCell(format_digits(None)) for _ in range(5))])
        )
        continue
      ratios = [value_cell(row["per_parameter"][meaning], _ratio) for meaning in MEANINGS]
      middle = [
        value_cell(row["N"], format_count),
        value_cell(row["loss"]),
        value_cell(row["seconds"], _ratio),
      ]
      table.rows.append(TableRow([*cells, *middle, *ratios]))
  return table


def _ratio(value: float | None) -> str:
  return format_digits(None) if value is None else f"{value:.3g}"


def equal_loss(results: Mapping[str, Any]) -> ReportTable | None:
  """What the LSTM pays over the decoder at equal loss; None where nothing was read."""
  entry = read_section(results, "equal_loss")
  by_cost = {cost: read_list(entry, cost) for cost in ("flops", "seconds")}
  if not by_cost["flops"]:
    return None
  cheaper, dearer = family_title(entry["over"]), family_title(entry["of"])
  caution = "" if entry["credible"] else " At least one of the two curves is not credible."
  table = ReportTable(
    f"What the {dearer} pays over what the {cheaper} pays at equal loss.{caution}",
    ["Loss (nats)", f"FLOPs, {cheaper}", f"FLOPs, {dearer}", "ratio of FLOPs", "ratio of seconds"],
  )
  seconds = {row["loss"]: row for row in by_cost["seconds"]}
  for row in by_cost["flops"]:
    time = seconds.get(row["loss"])
    table.rows.append(TableRow([
      TableCell(format_digits(row["loss"])), TableCell(format_flops(row[entry["over"]])),
      TableCell(format_flops(row[entry["of"]])), _ratio_of(row),
      TableCell(format_digits(None)) if time is None else _ratio_of(time),
    ]))  # fmt: skip
  return table


def _ratio_of(row: Mapping[str, Any]) -> TableCell:
  return value_cell(
    {"value": row["ratio"], "interval": row.get("interval")}, lambda value: format_digits(value, 2)
  )


def comparable_table(results: Mapping[str, Any]) -> ReportTable:
  """What may be compared and why."""
  table = ReportTable("What may be compared between families, and what not.", ["What", "May be", "Why"])
  for statement in read_list(results, "comparable"):
    table.rows.append(
      TableRow(
        [
          TableCell(statement["what"]),
          TableCell("yes" if statement["comparable"] else "no"),
          TableCell(statement["why"]),
        ]
      )
    )
  return table
