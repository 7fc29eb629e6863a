"""The tables of a study's report: rows of cells, already words, with the number behind each for sorting.

Letters: C budget in FLOPs, N parameters, D tokens, a and b the exponents of N*(C) and D*(C).
"""

import dataclasses
from typing import Any, NamedTuple

from gen.figures.style import short_count
from gen.scaling.laws.approaches import NAMES, TITLES
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.report.sections import Section, finite_number
from gen.scaling.report.view import ResultsView

_UNKNOWN = "–"


class TableCell(NamedTuple):
  """One cell: its words, a small addition, and the number to sort by."""

  text: str
  small: str = ""
  value: float | None = None


class TableRow(NamedTuple):
  """One row; `run` is the index of the run it tells of, `apart` marks what the fits did not see."""

  cells: list[TableCell]
  run: int | None = None
  apart: bool = False


@dataclasses.dataclass
class ReportTable:
  """A table with its caption."""

  caption: str
  head: list[str]
  rows: list[TableRow] = dataclasses.field(default_factory=list)


_NOTHING = TableCell("")


def format_value(value: Any) -> str:
  """Writes any JSON value for a reader.

  >>> [format_value(v) for v in (True, None, 3, 0.25, 1.5e13, "text")]
  ['yes', 'none', '3', '0.25', '1.5e13', 'text']
  """
  if value is None:
    return "none"
  if isinstance(value, bool):
    return "yes" if value else "no"
  known = finite_number(value)
  return str(value) if known is None else format_flops(known) if abs(known) >= 1e7 else f"{known:.6g}"


def format_flops(value: float | None) -> str:
  """Writes FLOPs or another large count.

  >>> format_flops(3e12), format_flops(123456.0)
  ('3e12', '1.23e5')
  """
  if value is None:
    return _UNKNOWN
  mantissa, exponent = f"{value:.2e}".split("e")
  return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_digits(value: float | None, places: int = 3) -> str:
  """Writes a number with so many decimals, or in powers of ten where that would say nothing."""
  if value is None:
    return _UNKNOWN
  return f"{value:.{places}f}" if 1e-2 <= abs(value) < 1e5 or value == 0 else f"{value:.3g}"


def format_interval(pair: tuple[float, float] | None, write: Any = format_digits) -> str:
  """Writes an interval, nothing for one that is not known."""
  return f"[{write(pair[0])}, {write(pair[1])}]" if pair else ""


def format_count(value: float | None) -> str:
  """Writes parameters or tokens."""
  return _UNKNOWN if value is None else short_count(value)


def runs_table(view: ResultsView) -> ReportTable:
  """Every run, the best of each budget marked."""
  unit = view.unit
  head = ["Run", "Budget C", "N", f"D ({unit})", f"{unit} / N", "Loss", "Bits / byte", "FLOPs", "Steps", "Rate",
          "Seed", "Seconds"]  # fmt: skip
  table = ReportTable("All runs; loss is validation, in nats. Held-out runs are in italics.", head)
  best = {spot.budget: spot for spot in sorted(view.spots, key=lambda candidate: -candidate.loss)}
  winners = {index for spot in best.values() for index in spot.members}
  for index, run in enumerate(view.runs):
    params, tokens = run.number("params"), run.number("tokens")
    ratio = tokens / params if params and tokens else None
    table.rows.append(TableRow(
      [
        TableCell(str(run.get("name", index)), "best" if index in winners else ""),
        _cell(run.get("budget"), format_flops), _cell(params, format_count), _cell(tokens, format_count),
        _cell(ratio, lambda value: format_digits(value, 1)), _cell(run.get("loss")), _cell(run.get("bits_per_byte")),
        _cell(run.get("flops"), format_flops), _cell(run.get("steps"), format_value),
        _cell(run.get("learning_rate"), format_value),
        _cell(run.get("seed"), format_value), _cell(run.get("seconds"), lambda value: format_digits(value, 1)),
      ],
      index, bool(run.get("held_out")),
    ))  # fmt: skip
  return table


def _cell(value: Any, write: Any = format_digits, small: str = "") -> TableCell:
  known = finite_number(value)
  return TableCell(_UNKNOWN if known is None else write(known), small, known)


def run_facts(view: ResultsView, run: Section) -> list[tuple[str, str]]:
  """Returns what the card beside a run's mark says."""
  params, tokens = run.number("params"), run.number("tokens")
  pairs = [
    (
      "budget C",
      format_flops(run.number("budget")) + (", held out" if run.get("held_out") else ""),
    ),
    ("parameters N", format_count(params)),
    (f"data D ({view.unit})", format_count(tokens)),
    (f"{view.unit} per parameter", format_digits(tokens / params, 1) if params and tokens else _UNKNOWN),
    ("loss (nats)", format_digits(run.number("loss"), 4)),
    ("bits per byte", format_digits(run.number("bits_per_byte"), 4)),
    ("width × depth", f"{run.get('width', _UNKNOWN)} × {run.get('depth', _UNKNOWN)}"),
  ]
  more = {
    "steps": "steps",
    "batch": "batch",
    "learning_rate": "learning rate",
    "seed": "seed",
    "gflops": "GFLOP/s",
  }
  for key, name in more.items():
    if run.number(key) is not None:
      pairs.append((name, f"{run.number(key):.5g}"))
  if run.get("trunk"):
    pairs.append(("FLOPs spent beyond its trunk", format_flops(run.number("flops_spent"))))
  if run.number("seconds") is not None:
    pairs.append(("seconds", format_digits(run.number("seconds"), 1)))
  return pairs


def prediction_table(view: ResultsView) -> ReportTable | None:
  """The optimum at the target by each approach."""
  if not view.predictions:
    return None
  head = [
    "Approach",
    "N*",
    f"{view.level} of N*",
    f"D* ({view.unit})",
    f"{view.level} of D*",
    f"{view.unit} / N",
    "Loss",
    f"{view.level} of loss",
  ]
  outside = [
    TITLES[name] for name in NAMES if view.results.section("prediction").section(name).get("outside_sizes")
  ]
  note = f" Beyond the sizes trained, where k(N) is extrapolated: {', '.join(outside)}." if outside else ""
  table = ReportTable(
    f"The optimum at {format_flops(view.target)} FLOPs, ten times the largest fitted budget.{note}", head
  )
  for name, guess in view.predictions.items():
    cells = [TableCell(TITLES[name])]
    for key, write in (("N", format_count), ("D", format_count), ("loss", format_digits)):
      cells += [
        _cell(guess.values.get(key), write),
        TableCell(format_interval(guess.intervals.get(key), write) or _UNKNOWN),
      ]
    ratio = guess.values["D"] / guess.values["N"]
    table.rows.append(TableRow([*cells[:5], _cell(ratio, lambda value: format_digits(value, 1)), *cells[5:]]))
  return table


def held_out_table(view: ResultsView) -> ReportTable | None:
  """What the fits said about a budget that they had not seen, and what was measured."""
  entry = view.results.section("held_out")
  valley, budget = entry.section("valley"), format_flops(entry.number("budget"))
  if not valley:
    return None
  head = ["", "N*", f"{view.level} of N*", "N* over measured", "Loss", f"{view.level} of loss", "Loss off by"]
  edge = "" if valley.get("inside", True) else " Its minimum is at the edge of its sizes."
  table = ReportTable(
    f"The held-out budget of {budget} FLOPs, which no fit saw: measured, and predicted.{edge}", head
  )
  measured = [
    _cell(valley.get("vertex_N"), format_count),
    _NOTHING,
    _NOTHING,
    _cell(valley.get("vertex_loss"), _fine),
  ]
  table.rows.append(TableRow([TableCell("measured"), *measured, _NOTHING, _NOTHING], None, True))
  for name in NAMES:
    guess = entry.section(name)
    if guess.number("N") is None:
      continue
    reach = guess.section("ci90")
    cells = [
      _cell(guess["N"], format_count),
      TableCell(format_interval(reach.interval("N"), format_count) or _UNKNOWN),
    ]
    cells += [_cell(guess.get("N_factor"), lambda value: f"{value:.2f}"), _cell(guess.get("loss"), _fine)]
    cells += [
      TableCell(format_interval(reach.interval("loss")) or _UNKNOWN),
      _cell(guess.get("loss_error"), _percent),
    ]
    table.rows.append(TableRow([TableCell(TITLES[name]), *cells]))
  return table


def _fine(value: float) -> str:
  return format_digits(value, 4)


def _percent(value: float) -> str:
  return f"{100 * value:+.2f} %"


def leave_out_table(view: ResultsView) -> ReportTable | None:
  """The exponent with each budget left out in turn."""
  entries = view.results.sections("leave_one_budget_out")
  if not entries:
    return None
  names = [name for name in ("isoflop", "parametric") if any(f"{name}_a" in entry for entry in entries)]
  head = ["Budget left out", *(f"{word} by {TITLES[name]}" for name in names for word in ("a", "moved"))]
  table = ReportTable("The exponent a with each budget left out in turn, and how far that moves it.", head)
  for entry in entries:
    cells = [_cell(entry.get("left_out"), format_flops)]
    for name in names:
      cells += [
        _cell(entry.get(f"{name}_a")),
        _cell(entry.get(f"{name}_shift"), lambda value: f"{value:+.3f}"),
      ]
    table.rows.append(TableRow(cells))
  return table


def interval_methods(view: ResultsView) -> list[str]:
  """Returns how each approach's intervals were made, and what the exponents are of."""
  sentences = [
    f"{TITLES[name]}: {view.level} intervals, {method}"
    for name in NAMES
    if name in view.laws and (method := view.part(name).get("interval_method"))
  ]
  cost = cost_model.cost_from_dict(view.part("parametric").get("cost"))
  if cost is not None:
    sentences.append(
      f"C = k N D training FLOPs with {cost}; N as the runs count it (gen's: all matrices, the head's too, no look-up "
      "tables). a and b of all approaches are those of N* and D* along this C, over the fitted budgets."
    )
  return sentences


def interval_table(view: ResultsView) -> ReportTable:
  """The exponents and coefficients of each approach."""
  head = ["Approach", "a", f"{view.level} of a", "b", f"{view.level} of b", "N* = k Cᵃ, k", "D* = k Cᵇ, k"]
  table = ReportTable(f"Exponents of N*(C) and D*(C), with {view.level} intervals.", head)
  for name in NAMES:
    law = view.laws.get(name)
    if law is None:
      table.rows.append(TableRow([TableCell(TITLES[name], "no law"), *[TableCell(_UNKNOWN)] * 6]))
      continue
    table.rows.append(TableRow([
      TableCell(TITLES[name]), _cell(law.a), TableCell(format_interval(law.intervals.get("a")) or _UNKNOWN),
      _cell(law.b),
      TableCell(format_interval(law.intervals.get("b")) or _UNKNOWN), _cell(law.coefficients["N"]),
      _cell(law.coefficients["D"]),
    ]))  # fmt: skip
  return table


def compute_table(view: ResultsView) -> ReportTable | None:
  """What a study of trunks and branches costs, charged and spent; None for any other."""
  entry = view.results.section("compute")
  if not entry.number("trunks"):
    return None
  table = ReportTable(
    "FLOPs charged (each run as if trained alone, the C of the laws) and spent (computed, each trunk once).",
    ["Runs", "Trunks", "Charged", "Spent", "of it in trunks", "Charged / spent"],
  )
  cells = [_cell(len(view.runs), format_value), _cell(entry["trunks"], format_value)]
  cells += [_cell(entry.get(name), format_flops) for name in ("charged_flops", "spent_flops", "trunk_flops")]
  table.rows.append(TableRow([*cells, _cell(entry.get("saving"), lambda value: f"{value:.2f}")]))
  return table


def constants_table(view: ResultsView) -> ReportTable | None:
  """The constants of L(N, D) and how the fit ended."""
  part = view.part("parametric")
  if view.constants is None:
    return None
  table = ReportTable(
    "L(N, D) = E + A / N^α + B / D^β, and how its fit ended.", ["Quantity", "Value", f"{view.level} interval"]
  )
  reach = part.section("ci90")
  for name in ("E", "A", "B", "alpha", "beta", "G"):
    if part.number(name) is not None:
      table.rows.append(
        TableRow(
          [
            TableCell(name),
            _cell(part[name]),
            TableCell(format_interval(reach.interval(name)) or _UNKNOWN),
          ]
        )
      )
  ends = {"objective": "objective (sum)", "gradient_norm": "gradient norm", "starts": "starts",
          "starts_at_best": "starts at the best"}  # fmt: skip
  for key, words in ends.items():
    if part.number(key) is not None:
      table.rows.append(TableRow([TableCell(words), TableCell(f"{part.number(key):.4g}"), TableCell("")]))
  return table


def valley_table(view: ResultsView) -> ReportTable | None:
  """The parabola of each budget."""
  if not view.valleys:
    return None
  head = ["Budget C", "N*", f"D* ({view.unit})", "Loss", "Curvature", "R²", "Minimum"]
  table = ReportTable("Each budget's parabola of loss in ln N.", head)
  for valley in view.valleys:
    cells = [_cell(valley.budget, format_flops), _cell(valley.params, format_count), _cell(valley.tokens, format_count),
             _cell(valley.loss), _cell(valley.curvature), _cell(valley.r_squared),
             TableCell("inside" if valley.inside else "at the edge: not used")]  # fmt: skip
    table.rows.append(TableRow(cells, None, valley.held_out))
  return table


def fit_warnings(view: ResultsView) -> list[str]:
  """Returns what the fits complained about, each with the approach's name."""
  sentences = []
  for name in NAMES:
    part = view.part(name)
    words = ([str(part["error"])] if part.get("error") else []) + part.texts("warnings")
    sentences += [f"{TITLES[name]}: {text}" for text in words]
  if view.results.section("compute").number("trunks"):
    sentences.append(
      "runs that branch off one trunk share its noise: intervals that take them for independent are too narrow, above "
      "all those of one seed"
    )
  return sentences
