"""Finds the columns of N, D, loss, C and others in a table of runs by their usual names.

An exact name of gen's wins, then the others in the order below. Names compare without case, spaces and punctuation.
"run - eval/loss" of a Weights & Biases export counts as eval/loss; its __MIN and __MAX columns are ignored.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from gen.errors import UserError

NUMBERS = ("params", "tokens", "loss")
NAMES = {  # in order of preference
  "params": "params n n_params num_params parameters parameter n_parameters num_parameters parameter_count param_count "
  "model_size model_params total_params params_total non_embedding_params params_non_embedding "
  "non_embedding_parameters "
  "params_no_embed n_params_non_embedding",
  "tokens": "tokens d token train_tokens training_tokens n_tokens num_tokens tokens_seen tokens_processed "
  "tokens_trained total_tokens consumed_tokens seen_tokens dataset_tokens data_tokens num_train_tokens",
  "loss": "loss val_loss validation_loss eval_loss final_val_loss final_eval_loss final_validation_loss valid_loss "
  "test_loss final_loss loss_final final_train_loss train_loss training_loss l",
  "flops": "flops c compute total_flops train_flops training_flops flop total_compute train_compute training_compute "
  "compute_flops total_training_flops",
  "budget": "budget",
  "seed": "seed",
  "held_out": "held_out",
  "steps": "steps",
  "name": "name run_name run run_id",
}
# English magnitudes in the short scale, and the abbreviations that spreadsheets have for them.
_COUNTS = {
  "thousand": 1e3,
  "million": 1e6,
  "billion": 1e9,
  "trillion": 1e12,
  "mio": 1e6,
  "mln": 1e6,
  "bln": 1e9,
}
_UNITS: dict[str, dict[str, float]] = {  # words at the end of a column's name
  "counts": {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "g": 1e9, "t": 1e12}
  | {f"{word}{end}": size for word, size in _COUNTS.items() for end in ("", "s")}
  | {f"{base}{power}": 10.0**power for power in (3, 6, 9, 12) for base in ("1e", "e", "10_")},
  "flops": dict.fromkeys(("pf_days", "pfdays", "pf_day", "pf_s_days", "pflop_s_days", "petaflop_s_days"), 8.64e+19)
  | {f"{word}flop{end}": 10.0**power for word, power in
     {"giga": 9, "g": 9, "tera": 12, "t": 12, "peta": 15, "p": 15, "exa": 18, "e": 18, "zetta": 21, "z": 21}.items()
     for end in ("", "s")}
  | {f"{base}{power}": 10.0**power for power in (9, 12, 15, 18, 21) for base in ("1e", "e", "10_")},
}  # fmt: skip
_LETTERS = {"params": "N", "tokens": "D", "loss": "the loss", "flops": "C"}
# Suffixes of single numbers in a table; g is giga, for tables that write 1.5G tokens.
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_COUNT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kKmMbBgGtT]?)")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?\s*[kKmMbBgGtT]?")
_SHOWN, _SHOWN_OF_MANY = 40, 12  # columns up to which an error lists all, and how many it lists of more
_FAILED = ("crashed", "failed", "killed", "preempted", "cancelled", "canceled", "running", "diverged")


def find_columns(
  header: Sequence[str], columns: Mapping[str, str], rows: Sequence[Sequence[str]], source: str
) -> tuple[dict[str, int], list[str]]:
  """Returns the index of each quantity's column, and a sentence for each column with another name than gen's.

  Args:
    header: names of the columns.
    columns: names that the user gave, by gen's names.
    rows: cells, from which errors describe each column.
    source: what to call the table in messages.

  Raises:
    UserError: for a column that is absent or there twice; it lists all columns with what each looks like.
  """
  plain = [_plain(name) for name in header]
  bare = {kind: [split_unit(kind, name)[0] for name in header] for kind in NAMES}
  columns_of, notes = {}, []
  for name, words in NAMES.items():
    known = (
      [columns[name]] if name in columns else [header_name for header_name in [name] if header_name in header]
    )
    if known:
      if header.count(known[0]) > 1:
        raise UserError(f"{source} has {header.count(known[0])} columns {known[0]!r}; leave one")
      if known[0] not in header:
        raise UserError(f"{source} has no column {known[0]!r}{describe_missing(known[0], header, rows)}")
      columns_of[name] = header.index(known[0])
    matches = [
      i
      for word in words.split()
      for i, header_name in enumerate(plain)
      if word in (header_name, bare[name][i])
    ]
    if not known and matches:
      columns_of[name] = matches[0]
    rest = [header[i] for i in matches if i != columns_of.get(name)]
    if name in columns_of and name in _LETTERS and (header[columns_of[name]] != name or rest):
      notes.append(f"{header[columns_of[name]]!r} is taken for {_LETTERS[name]}{_instead(name, rest)}")
  missing = [name for name in NUMBERS if name not in columns_of]
  if not columns_of and not columns and _is_prose(header, rows):
    raise UserError(
      f"{source} is text, not a table of runs: its first line begins with {header[0][:40]!r}, and hardly any line "
      "below it holds numbers; give a table with columns such as params, tokens, loss, JSON lines, a journal.jsonl "
      "or a results.json"
    )
  if "loss" in missing or len(missing) > 1 or (missing and "flops" not in columns_of):
    raise UserError(f"{source} has no column {missing[0]!r}{describe_missing(missing[0], header, rows)}")
  if missing:
    third = {"params": "N = C / (6 D)", "tokens": "D = C / (6 N)"}[missing[0]]
    notes.append(f"no column gives {_LETTERS[missing[0]]}: {third}")
  elif "flops" not in columns_of:
    notes.append("no column gives C: C = 6 N D")
  return columns_of, notes


def _is_prose(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
  """Returns whether hardly any line below the first has the cells of the first and a number among them."""
  full = [
    row
    for row in rows
    if len(row) == len(header) and any(_any_number(cell) is not None for cell in row if cell)
  ]
  return len(full) < max(1, len(rows) // 4)


def split_unit(kind: str, name: str) -> tuple[str, float]:
  """Returns a column's plain name without the unit or the remark in brackets at its end, and the unit.

  Args:
    kind: the quantity: params, tokens, flops or another, which has no units.
    name: of the column.

  >>> split_unit("tokens", "Train Tokens (B)"), split_unit("flops", "FLOPs (total)"), split_unit("params", "N/1e6")
  (('train_tokens', 1000000000.0), ('flops', 1.0), ('n', 1000000.0))
  """
  plain = _plain(name)
  units = _UNITS["flops" if kind == "flops" else "counts"] if kind in ("params", "tokens", "flops") else {}
  endings = [word for word in units if plain.endswith(word)]
  for word in sorted(endings, key=len, reverse=True):
    if plain == word and kind == "flops":
      return "flops", units[word]
    if plain.endswith(f"_{word}"):
      return re.sub(r"_(in|x|of)$", "", plain.removesuffix(f"_{word}")), units[word]
  return _plain(re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", name)), 1.0


def is_loss(name: str) -> bool:
  """Returns whether a column or field of this name holds a loss.

  >>> is_loss("eval/loss"), is_loss("alpha")
  (True, False)
  """
  return _plain(name) in NAMES["loss"].split()


def _instead(name: str, rest: list[str]) -> str:
  return f", not {', '.join(map(repr, rest))} (--{name}_column chooses)" if rest else ""


def _plain(name: str) -> str:
  if name.endswith(("__MIN", "__MAX")):
    return ""
  return re.sub(r"[^a-z0-9]+", "_", name.rsplit(" - ", 1)[-1].lower()).strip("_")


def unfinished_rows(
  header: Sequence[str], rows: Sequence[Sequence[str]], places: Mapping[str, int], commas: bool
) -> list[int]:
  """Returns the rows whose column "state" or "status" says that the run failed, and which have no loss.

  Args:
    header: names of the columns.
    rows: cells.
    places: index of each quantity's column.
    commas: whether a comma is the decimal point.
  """
  states = [i for i, name in enumerate(header) if _plain(name) in ("state", "status")]
  if not states:
    return []
  unfinished = []
  for i, row in enumerate(rows):
    state = row[states[0]].strip().lower() if states[0] < len(row) else ""
    loss = parse_cell(row[places["loss"]], commas)
    if state in _FAILED and loss is not None and not math.isfinite(loss):
      unfinished.append(i)
  return unfinished


def describe_missing(column: str, header: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> str:
  """Returns the end of a sentence about a missing column: what the columns look like, and the nearest name."""
  names = list(header)
  near = difflib.get_close_matches(column, names, 1, 0.5)
  near = near or [name for name in names if column.lower() in name.lower()][:1]
  flag = f"--{column}_column"
  hint = (
    f"; the nearest is {near[0]!r} ({flag}={near[0]} reads it)" if near else f"; name it with {flag}=NAME"
  )
  shown = _SHOWN if len(names) <= _SHOWN else _SHOWN_OF_MANY
  listed = [
    repr(name[:60]) + (_looks([row[i] for row in rows if i < len(row)]) if rows else "")
    for i, name in enumerate(names[:shown])
  ]
  more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
  return f"; it has {', '.join(listed) or 'no column that all rows have'}{more}{hint}"


def _looks(cells: list[str]) -> str:
  """Describes a column: its numbers and their range, or its words."""
  cells = [cell.strip() for cell in cells if cell.strip()]
  if not cells:
    return " (empty)"
  values = [value for cell in cells if (value := _any_number(cell)) is not None]
  if len(values) == len(cells):
    return f" (numbers from {min(values):.4g} to {max(values):.4g})"
  return f" (words such as {cells[0][:20]!r})"


def _any_number(cell: str) -> float | None:
  value = parse_cell(cell)
  return parse_cell(cell, commas=True) if value is None else value


def parse_cell(text: str, commas: bool = False) -> float | None:
  """Reads a cell: a number, true or false, thousands separators, or a count such as 124M.

  Args:
    text: of the cell; an empty one is NaN.
    commas: whether a comma is the decimal point.

  Returns:
    The number, or None for anything else.

  >>> parse_cell("1.5B"), parse_cell("1,234,567"), parse_cell("3,25", commas=True), parse_cell("high")
  (1500000000.0, 1234567.0, 3.25, None)
  """
  text = text.strip()
  if not text:
    return math.nan
  if text.lower() in ("true", "false"):
    return float(text.lower() == "true")
  if commas:
    text = text.replace(".", "").replace(",", ".") if "," in text else text
  elif _GROUPED.fullmatch(text):
    text = text.replace(",", "")
  try:
    return float(text)
  except ValueError:
    match = _COUNT.fullmatch(text)
  return float(match[1]) * _SCALES[match[2].lower()] if match else None


def of_rows(rows: Iterable[Mapping[str, object]]) -> list[str]:
  """Returns the fields that all rows have, in the first one's order."""
  rows = list(rows)
  return [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]


def check_fields(rows: Sequence[Mapping[str, object]], fields: Sequence[str], source: str) -> None:
  """Checks that no run lacks a field that most runs have and that may be N, D or the loss.

  Raises:
    UserError: with the row and the field.
  """
  common = max(rows[:100], key=len)
  known = {word for name in NUMBERS for word in NAMES[name].split()}
  for name in common:
    if name not in fields and name.lower() in known:
      row = next(i for i, row in enumerate(rows, 1) if name not in row)
      raise UserError(
        f"{source}: row {row} has no {name!r}, which other rows have; add it, or delete the row"
      )
