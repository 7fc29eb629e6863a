"""The tables of a study's report: rows of cells, already words, with the number behind each for sorting.

Letters: C budget in FLOPs, N parameters, D tokens, a and b the exponents of N*(C) and D*(C).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gen.figures.style import short
from gen.scaling import costs
from gen.scaling.plots.view import APPROACHES, View, interval, listed, number, section

NAMES = {"envelope": "1 envelope", "isoflop": "2 IsoFLOP", "parametric": "3 parametric"}
_UNKNOWN = "–"


class Cell(NamedTuple):
  """One cell: its words, a small addition, and the number to sort by."""

  text: str
  small: str = ""
  value: float | None = None


class Row(NamedTuple):
  """One row; `run` is the index of the run it tells of, `apart` marks what the fits did not see."""

  cells: list[Cell]
  run: int | None = None
  apart: bool = False


@dataclasses.dataclass
class Table:
  """A table with its caption."""

  caption: str
  head: list[str]
  rows: list[Row] = dataclasses.field(default_factory=list)


_NOTHING = Cell("")


def plain(value: Any) -> str:
  """Writes any JSON value for a reader.

  >>> [plain(v) for v in (True, None, 3, 0.25, 1.5e13, "text")]
  ['yes', 'none', '3', '0.25', '1.5e13', 'text']
  """
  if value is None:
    return "none"
  if isinstance(value, bool):
    return "yes" if value else "no"
  known = number(value)
  return str(value) if known is None else flops(known) if abs(known) >= 1e7 else f"{known:.6g}"


def flops(value: float | None) -> str:
  """Writes FLOPs or another large count.

  >>> flops(3e12), flops(123456.0)
  ('3e12', '1.23e5')
  """
  if value is None:
    return _UNKNOWN
  mantissa, exponent = f"{value:.2e}".split("e")
  return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def digits(value: float | None, places: int = 3) -> str:
  """Writes a number with so many decimals, or in powers of ten where that would say nothing."""
  if value is None:
    return _UNKNOWN
  return f"{value:.{places}f}" if 1e-2 <= abs(value) < 1e5 or value == 0 else f"{value:.3g}"


def spread(pair: tuple[float, float] | None, write: Any = digits) -> str:
  """Writes an interval, nothing for one that is not known."""
  return f"[{write(pair[0])}, {write(pair[1])}]" if pair else ""


def count(value: float | None) -> str:
  """Writes parameters or tokens."""
  return _UNKNOWN if value is None else short(value)


def points(view: View) -> Table:
  """Every run, the best of each budget marked."""
  unit = view.unit
  head = ["Run", "Budget C", "N", f"D ({unit})", f"{unit} / N", "Loss", "Bits / byte", "FLOPs", "Steps", "Rate",
          "Seed", "Seconds"]  # fmt: skip
  table = Table("All runs; loss is validation, in nats. Held-out runs are in italics.", head)
  best = {spot.budget: spot for spot in sorted(view.spots, key=lambda one: -one.loss)}
  winners = {index for spot in best.values() for index in spot.members}
  for index, run in enumerate(view.runs):
    params, tokens = number(run.get("params")), number(run.get("tokens"))
    ratio = tokens / params if params and tokens else None
    table.rows.append(Row(
      [
        Cell(str(run.get("name", index)), "best" if index in winners else ""),
        _cell(run.get("budget"), flops), _cell(params, count), _cell(tokens, count),
        _cell(ratio, lambda value: digits(value, 1)), _cell(run.get("loss")), _cell(run.get("bits_per_byte")),
        _cell(run.get("flops"), flops), _cell(run.get("steps"), plain), _cell(run.get("learning_rate"), plain),
        _cell(run.get("seed"), plain), _cell(run.get("seconds"), lambda value: digits(value, 1)),
      ],
      index, bool(run.get("held_out")),
    ))  # fmt: skip
  return table


def _cell(value: Any, write: Any = digits, small: str = "") -> Cell:
  known = number(value)
  return Cell(_UNKNOWN if known is None else write(known), small, known)


def facts(view: View, run: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Returns what the card beside a run's mark says."""
  params, tokens = number(run.get("params")), number(run.get("tokens"))
  pairs = [
    ("budget C", flops(number(run.get("budget"))) + (", held out" if run.get("held_out") else "")),
    ("parameters N", count(params)),
    (f"data D ({view.unit})", count(tokens)),
    (f"{view.unit} per parameter", digits(tokens / params, 1) if params and tokens else _UNKNOWN),
    ("loss (nats)", digits(number(run.get("loss")), 4)),
    ("bits per byte", digits(number(run.get("bits_per_byte")), 4)),
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
    if number(run.get(key)) is not None:
      pairs.append((name, f"{number(run[key]):.5g}"))
  if run.get("trunk"):
    pairs.append(("FLOPs spent beyond its trunk", flops(number(run.get("flops_spent")))))
  if number(run.get("seconds")) is not None:
    pairs.append(("seconds", digits(number(run["seconds"]), 1)))
  return pairs


def prediction(view: View) -> Table | None:
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
    NAMES[name]
    for name in APPROACHES
    if section(section(view.results, "prediction"), name).get("outside_sizes")
  ]
  said = f" Beyond the sizes trained, where k(N) is extrapolated: {', '.join(outside)}." if outside else ""
  table = Table(
    f"The optimum at {flops(view.target)} FLOPs, ten times the largest fitted budget.{said}", head
  )
  for name, guess in view.predictions.items():
    cells = [Cell(NAMES[name])]
    for key, write in (("N", count), ("D", count), ("loss", digits)):
      cells += [
        _cell(guess.values.get(key), write),
        Cell(spread(guess.intervals.get(key), write) or _UNKNOWN),
      ]
    ratio = guess.values["D"] / guess.values["N"]
    table.rows.append(Row([*cells[:5], _cell(ratio, lambda value: digits(value, 1)), *cells[5:]]))
  return table


def held_out(view: View) -> Table | None:
  """What the fits said about a budget that they had not seen, and what was measured."""
  entry = section(view.results, "held_out")
  valley, budget = section(entry, "valley"), flops(number(entry.get("budget")))
  if not valley:
    return None
  head = ["", "N*", f"{view.level} of N*", "N* over measured", "Loss", f"{view.level} of loss", "Loss off by"]
  edge = "" if valley.get("inside", True) else " Its minimum is at the edge of its sizes."
  table = Table(
    f"The held-out budget of {budget} FLOPs, which no fit saw: measured, and predicted.{edge}", head
  )
  measured = [
    _cell(valley.get("vertex_N"), count),
    _NOTHING,
    _NOTHING,
    _cell(valley.get("vertex_loss"), _fine),
  ]
  table.rows.append(Row([Cell("measured"), *measured, _NOTHING, _NOTHING], None, True))
  for name in APPROACHES:
    guess = section(entry, name)
    if number(guess.get("N")) is None:
      continue
    reach = section(guess, "ci90")
    cells = [_cell(guess["N"], count), Cell(spread(interval(reach.get("N")), count) or _UNKNOWN)]
    cells += [_cell(guess.get("N_factor"), lambda value: f"{value:.2f}"), _cell(guess.get("loss"), _fine)]
    cells += [Cell(spread(interval(reach.get("loss"))) or _UNKNOWN), _cell(guess.get("loss_error"), _percent)]
    table.rows.append(Row([Cell(NAMES[name]), *cells]))
  return table


def _fine(value: float) -> str:
  return digits(value, 4)


def _percent(value: float) -> str:
  return f"{100 * value:+.2f} %"


def leave_out(view: View) -> Table | None:
  """The exponent with each budget left out in turn."""
  entries = listed(view.results, "leave_one_budget_out")
  if not entries:
    return None
  names = [name for name in ("isoflop", "parametric") if any(f"{name}_a" in entry for entry in entries)]
  head = ["Budget left out", *(f"{word} by {NAMES[name]}" for name in names for word in ("a", "moved"))]
  table = Table("The exponent a with each budget left out in turn, and how far that moves it.", head)
  for entry in entries:
    cells = [_cell(entry.get("left_out"), flops)]
    for name in names:
      cells += [
        _cell(entry.get(f"{name}_a")),
        _cell(entry.get(f"{name}_shift"), lambda value: f"{value:+.3f}"),
      ]
    table.rows.append(Row(cells))
  return table


def methods(view: View) -> list[str]:
  """Returns how each approach's intervals were made, and what the exponents are of."""
  said = [
    f"{NAMES[name]}: {view.level} intervals, {method}"
    for name in APPROACHES
    if name in view.laws and (method := view.part(name).get("interval_method"))
  ]
  cost = costs.from_dict(view.part("parametric").get("cost"))
  if cost is not None:
    said.append(
      f"C = k N D training FLOPs with {cost}; N as the runs count it (gen's: all matrices, the head's too, no look-up "
      "tables). a and b of all approaches are those of N* and D* along this C, over the fitted budgets."
    )
  return said


def intervals(view: View) -> Table:
  """The exponents and coefficients of each approach."""
  head = ["Approach", "a", f"{view.level} of a", "b", f"{view.level} of b", "N* = k Cᵃ, k", "D* = k Cᵇ, k"]
  table = Table(f"Exponents of N*(C) and D*(C), with {view.level} intervals.", head)
  for name in APPROACHES:
    law = view.laws.get(name)
    if law is None:
      table.rows.append(Row([Cell(NAMES[name], "no law"), *[Cell(_UNKNOWN)] * 6]))
      continue
    table.rows.append(Row([
      Cell(NAMES[name]), _cell(law.a), Cell(spread(law.intervals.get("a")) or _UNKNOWN), _cell(law.b),
      Cell(spread(law.intervals.get("b")) or _UNKNOWN), _cell(law.coefficients["N"]), _cell(law.coefficients["D"]),
    ]))  # fmt: skip
  return table


def compute(view: View) -> Table | None:
  """What a study of trunks and branches costs, charged and spent; None for any other."""
  entry = section(view.results, "compute")
  if not number(entry.get("trunks")):
    return None
  table = Table(
    "FLOPs charged (each run as if trained alone, the C of the laws) and spent (computed, each trunk once).",
    ["Runs", "Trunks", "Charged", "Spent", "of it in trunks", "Charged / spent"],
  )
  cells = [_cell(len(view.runs), plain), _cell(entry["trunks"], plain)]
  cells += [_cell(entry.get(name), flops) for name in ("charged_flops", "spent_flops", "trunk_flops")]
  table.rows.append(Row([*cells, _cell(entry.get("saving"), lambda value: f"{value:.2f}")]))
  return table


def parametric(view: View) -> Table | None:
  """The constants of L(N, D) and how the fit ended."""
  part = view.part("parametric")
  if view.constants is None:
    return None
  table = Table(
    "L(N, D) = E + A / N^α + B / D^β, and how its fit ended.", ["Quantity", "Value", f"{view.level} interval"]
  )
  reach = section(part, "ci90")
  for name in ("E", "A", "B", "alpha", "beta", "G"):
    if number(part.get(name)) is not None:
      table.rows.append(
        Row([Cell(name), _cell(part[name]), Cell(spread(interval(reach.get(name))) or _UNKNOWN)])
      )
  ends = {"objective": "objective (sum)", "gradient_norm": "gradient norm", "starts": "starts",
          "starts_at_best": "starts at the best"}  # fmt: skip
  for key, words in ends.items():
    if number(part.get(key)) is not None:
      table.rows.append(Row([Cell(words), Cell(f"{number(part[key]):.4g}"), Cell("")]))
  return table


def valleys(view: View) -> Table | None:
  """The parabola of each budget."""
  if not view.valleys:
    return None
  head = ["Budget C", "N*", f"D* ({view.unit})", "Loss", "Curvature", "R²", "Minimum"]
  table = Table("Each budget's parabola of loss in ln N.", head)
  for valley in view.valleys:
    cells = [_cell(valley.budget, flops), _cell(valley.params, count), _cell(valley.tokens, count),
             _cell(valley.loss), _cell(valley.curvature), _cell(valley.r_squared),
             Cell("inside" if valley.inside else "at the edge: not used")]  # fmt: skip
    table.rows.append(Row(cells, None, valley.held_out))
  return table


def generic(caption: str, entries: Sequence[Mapping[str, Any]]) -> Table | None:
  """A list of dictionaries as it stands, its keys as the head."""
  keys = list(dict.fromkeys(key for entry in entries for key in entry))
  if not keys:
    return None
  rows = [Row([_any(entry.get(key)) for key in keys]) for entry in entries]
  return Table(caption, [key.replace("_", " ") for key in keys], rows)


def _any(value: Any) -> Cell:
  pair = interval(value)
  if pair:
    return Cell(spread(pair, plain))
  return Cell(_UNKNOWN) if value is None else Cell(plain(value), "", number(value))


def warnings(view: View) -> list[str]:
  """Returns what the fits complained about, each with the approach's name."""
  said = []
  for name in APPROACHES:
    part = view.part(name)
    words = ([str(part["error"])] if part.get("error") else []) + listed(part, "warnings", str)
    said += [f"{NAMES[name]}: {text}" for text in words]
  if number(section(view.results, "compute").get("trunks")):
    said.append(
      "runs that branch off one trunk share its noise: intervals that take them for independent are too narrow, above "
      "all those of one seed"
    )
  return said
