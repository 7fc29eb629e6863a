"""The tables of an atlas, for its page and for the terminal: rows of cells that are words already."""

from collections.abc import Mapping
from typing import Any

from gen.scaling.comparable import title
from gen.scaling.comparison import MEANINGS
from gen.scaling.plots.view import listed, number, section
from gen.scaling.report_tables import Cell, Row, Table, count, digits, flops, spread

_SHORT = {"tokens": "corpus tokens", "positions": "positions", "loss_tokens": "loss-bearing"}


def laws(results: Mapping[str, Any]) -> Table:
  """Each family's exponents by approaches 2 and 3, and its verdict."""
  level = f"{100 * results['confidence']:g} %"
  head = ["Family", "Runs", "a, approach 2", "a, approach 3", "Seed noise (nats)", "C / 6 N D", "Verdict"]
  table = Table(f"Exponent a of N*(C) = k C^a, {level} intervals of each family alone.", head)
  for name, family in section(results, "families").items():
    verdict = section(family, "verdict")
    failed = sum(not reason["passed"] for reason in listed(verdict, "reasons"))
    ratio = family.get("flops_over_6nd")
    table.rows.append(Row([
      Cell(title(name)),
      Cell(str(len(listed(family, "points")))),
      *(_exponent(section(section(family, "laws"), approach)) for approach in ("isoflop", "parametric")),
      Cell(digits(number(family.get("seed_noise")), 3)),
      Cell(f"{ratio[0]:.2f} to {ratio[1]:.2f}" if ratio else digits(None)),
      Cell("credible" if verdict.get("credible") else "not credible", f"{failed} criteria not met" if failed else ""),
    ]))  # fmt: skip
  return table


def _exponent(law: Mapping[str, Any]) -> Cell:
  reach = section(law, "ci90").get("a")
  return Cell(digits(number(law.get("a"))), spread(tuple(reach)) if reach else "")


def differences(results: Mapping[str, Any]) -> Table:
  """Differences of exponents, each two families."""
  table = Table(
    "Differences of exponents over C, approach 2, with paired intervals: of N*, and of D* by each meaning.",
    [
      "Families",
      "N*",
      *(f"D*: {_SHORT[one]}" for one in MEANINGS),
      "Residuals' correlation",
      "Both credible",
    ],
  )
  for row in listed(results, "differences"):
    one, other = row["families"]
    table.rows.append(Row([
      Cell(f"{title(one)} − {title(other)}"), valued(row["a"]),
      *(valued(row[f"exponent_of_{name}"]) for name in MEANINGS),
      Cell(digits(number(row.get("residual_correlation")), 2)), Cell("yes" if row["credible"] else "no"),
    ]))  # fmt: skip
  return table


def valued(entry: Mapping[str, Any], write: Any = digits) -> Cell:
  """Writes a value with its interval."""
  reach = entry.get("interval")
  return Cell(write(number(entry.get("value"))), spread(tuple(reach), write) if reach else "")


def optima(results: Mapping[str, Any]) -> Table:
  """Each family's optimum at each budget: N, loss, seconds, tokens per parameter."""
  table = Table(
    "The optimum of each budget. A budget whose minimum is not between two of its sizes has none.",
    ["Family", "Budget C", "N*", "Least loss", "Seconds", *(f"{_SHORT[one]} / N" for one in MEANINGS)],
  )
  for name, family in section(results, "families").items():
    for row in listed(family, "optima"):
      cells = [Cell(title(name)), Cell(flops(row["budget"]))]
      if "N" not in row:
        table.rows.append(Row([*cells, Cell("at the edge"), *(Cell(digits(None)) for _ in range(5))]))
        continue
      ratios = [valued(row["per_parameter"][one], _ratio) for one in MEANINGS]
      middle = [valued(row["N"], count), valued(row["loss"]), valued(row["seconds"], _ratio)]
      table.rows.append(Row([*cells, *middle, *ratios]))
  return table


def _ratio(value: float | None) -> str:
  return digits(None) if value is None else f"{value:.3g}"


def equal_loss(results: Mapping[str, Any]) -> Table | None:
  """What the LSTM pays over the decoder at equal loss; None where nothing was read."""
  entry = section(results, "equal_loss")
  by_cost = {cost: listed(entry, cost) for cost in ("flops", "seconds")}
  if not by_cost["flops"]:
    return None
  one, other = title(entry["over"]), title(entry["of"])
  said = "" if entry["credible"] else " At least one of the two curves is not credible."
  table = Table(
    f"What the {other} pays over what the {one} pays at equal loss.{said}",
    ["Loss (nats)", f"FLOPs, {one}", f"FLOPs, {other}", "ratio of FLOPs", "ratio of seconds"],
  )
  seconds = {row["loss"]: row for row in by_cost["seconds"]}
  for row in by_cost["flops"]:
    time = seconds.get(row["loss"])
    table.rows.append(Row([
      Cell(digits(row["loss"])), Cell(flops(row[entry["over"]])), Cell(flops(row[entry["of"]])), _ratio_of(row),
      Cell(digits(None)) if time is None else _ratio_of(time),
    ]))  # fmt: skip
  return table


def _ratio_of(row: Mapping[str, Any]) -> Cell:
  return valued({"value": row["ratio"], "interval": row.get("interval")}, lambda value: digits(value, 2))


def comparable(results: Mapping[str, Any]) -> Table:
  """What may be compared and why."""
  table = Table("What may be compared between families, and what not.", ["What", "May be", "Why"])
  for one in listed(results, "comparable"):
    table.rows.append(Row([Cell(one["what"]), Cell("yes" if one["comparable"] else "no"), Cell(one["why"])]))
  return table
