"""Which law do these runs follow, and how sure is it? Fits approaches 1, 2 and 3 of Hoffmann et al. 2022 to a table.

  uv run experiments/fit_scaling_law.py --runs=runs.csv
  uv run experiments/fit_scaling_law.py --runs=runs.csv --approach=all --bootstraps=4000 --json=laws.json
  uv run experiments/fit_scaling_law.py --runs=runs/chinchilla/journal.jsonl --approach=envelope --json=-

  uv run experiments/fit_scaling_law.py --runs=mine.csv --html=report.html

Reads a table, packed or not, whose columns may have the names that people give them (model_size, train_tokens,
eval/loss, compute, ...), JSON lines, a sweep's journal.jsonl, or its results.json. Says what it took for what. Prints a
table of the law, or writes JSON; --html also audits the runs, plans the next budget and writes a page of drawings.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch, shared_flags, table_flags
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.scaling.report.fit_progress import FitProgress
  from gen.scaling.runs.runs_table import RunsTable

RUNS = table_flags.define_runs()
APPROACH = flags.DEFINE_enum(
  "approach", "parametric", ["parametric", "isoflop", "envelope", "all"], "How to fit; see docs/fitting.md."
)
JSON = outputs.DEFINE_json()
HTML = outputs.DEFINE_file("html", "", "Audit the runs, plan the next budget, and write a page to this file.")
PARAMS_UNIT, TOKENS_UNIT = table_flags.define_units()
DELTA = shared_flags.define_delta("Parametric: ")
TIED = flags.DEFINE_bool("tied", False, "Parametric: fit one exponent, alpha = beta.")
METHOD = flags.DEFINE_enum(
  "method", "parabola", ["parabola", "akima"], "IsoFLOP: curve through the losses of a budget."
)
EDGE = flags.DEFINE_enum(
  "edge", "drop", ["drop", "keep"], "IsoFLOP: what to do with budgets whose minimum is at the edge."
)
BOOTSTRAPS = quantities.DEFINE_integer(
  "bootstraps", 1000, "Resamples for the intervals; 0: no intervals.", lower_bound=0, upper_bound=1_000_000
)
SEED = shared_flags.define_seed("resampling")
LEVEL = quantities.DEFINE_float(
  "level", 0.95, "Coverage of the intervals; it names them in the JSON (ci95).", lower_bound=0, upper_bound=1
)
INTERVAL = flags.DEFINE_enum(
  "interval",
  "auto",
  ["auto", "percentile", "bca"],
  "Kind of intervals; auto: percentile.",
)
CLUSTER = flags.DEFINE_enum("cluster", "run", ["run", "budget", "seed"], "Unit of resampling.")
CONVENTION = flags.DEFINE_string(
  "convention",
  "given",
  "What N and C count: given (as the file says), 6nd (6 N D), or names of docs/planning.md's tables, one of N, one of "
  "C, as in non_embedding,kaplan; these take the shape of each run from the file (see docs/fitting.md).",
)
EXCLUDE = table_flags.define_exclude_top_losses()
COLUMNS = table_flags.define_columns()


def main() -> int:
  """Reads the runs, fits them, and prints or writes what was found."""
  if not RUNS.value:
    raise UserError("no runs are given; name their table with --runs=FILE.csv (or a journal.jsonl)")
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  from gen.scaling.laws import fit, fit_summary
  from gen.scaling.report.fit_progress import FitProgress
  from gen.scaling.runs import recount_conventions

  points, curves, notes = _read()
  why = recount_conventions.unequal_reason(points, CONVENTION.value)
  if why and APPROACH.value == "isoflop":
    raise UserError(why)
  options = {
    "delta": DELTA.value,
    "tied": TIED.value,
    "method": METHOD.value,
    "edge": EDGE.value,
    "bootstraps": BOOTSTRAPS.value,
    "seed": SEED.value,
    "level": LEVEL.value,
    "interval": INTERVAL.value,
    "cluster": CLUSTER.value,
  }
  with FitProgress(_descents(len(points)), silent=JSON.value == "-") as progress:
    resampled = f" and {BOOTSTRAPS.value:,} resamples" if BOOTSTRAPS.value else ""
    progress.say(f"fitting {len(points):,} runs ({APPROACH.value}{resampled}) ...")
    if APPROACH.value == "all":
      report = fit_summary.summarize_fits(
        fit.fit_all(points, curves=curves, without={"isoflop": why} if why else None, **options), points
      )
    else:
      fitted = fit.fit_approach(points, APPROACH.value, curves=curves, **options)
      report = fit_summary.summarize_fit(APPROACH.value, fitted, points)
    report |= {"convention": CONVENTION.value, "columns": notes}
    if HTML.value:
      report["audit"] = _audit(points, progress)
      _write_page(Path(HTML.value), points, curves, report["audit"], progress)
  print("\n".join(fit_summary.summary_lines(report)))
  json_report.write_report(report, target)
  return 0


def _descents(runs: int) -> int:
  """Returns about how many descents of the solver the command takes."""
  from gen.scaling.laws import descents

  fitted, descent_count = APPROACH.value in ("parametric", "all"), 0
  if fitted:
    descent_count += descents.search_descents(TIED.value) + BOOTSTRAPS.value
    descent_count += runs if INTERVAL.value == "bca" else 0
  if HTML.value:
    # The audit and the page fit with the paper's delta; a search for the same optimum is not repeated.
    same = fitted and not TIED.value and DELTA.value == DELTA.default
    descent_count += 0 if same else descents.search_descents()
    descent_count += 2 * _page_bootstraps() + runs
  return descent_count


def _page_bootstraps() -> int:
  return max(20, min(BOOTSTRAPS.value, 300))


def _read() -> tuple["RunsTable", list[dict[str, Any]], list[str]]:
  """Returns the runs, the curves that the envelope needs, and which column was taken for what."""
  from gen.scaling.runs import recount_conventions, runs_table, units

  chosen = recount_conventions.parse_choice(CONVENTION.value)
  columns = table_flags.chosen_columns(COLUMNS)
  raw_runs, notes = runs_table.read_described(RUNS.value, columns)
  for text in notes:
    _tell(f"{RUNS.value}: {text}")
  raw_runs = units.convert_runs(raw_runs, RUNS.value, PARAMS_UNIT.value, TOKENS_UNIT.value)
  points = recount_conventions.recount_runs(raw_runs, chosen, RUNS.value)
  factors = dict(zip(raw_runs.names.tolist(), (points.flops / raw_runs.flops).tolist(), strict=True))
  if EXCLUDE.value:
    points = points.without_top_losses(EXCLUDE.value)
  wants_curves = APPROACH.value in ("envelope", "all")
  curves = runs_table.read_curves(RUNS.value, points.select(~points.held_out)) if wants_curves else []
  # C grows with D alone within a run, so a run's C is counted anew by one factor.
  counted = [
    {**row, "flops": row["flops"] * factors[row["run"]]} if row.get("flops") else row for row in curves
  ]
  return points, counted, notes


def _tell(text: str) -> None:
  """Prints on stderr how the table was read; prints nothing if JSON goes to standard output."""
  from gen.io import json_report

  json_report.print_note(text, JSON.value)


def _audit(points: "RunsTable", progress: "FitProgress") -> dict[str, Any]:
  """Returns the audit as plain values; the reason where it refuses the runs."""
  from gen.scaling.audits import audit

  progress.say("auditing the runs ...")
  try:
    report = audit.audit_runs(points, bootstraps=_page_bootstraps(), seed=SEED.value)
  except UserError as error:
    progress.say(f"warning: {error}")
    return {"error": str(error)}
  for line in audit.audit_lines(report):
    progress.say(line)
  return report.as_dict()


def _write_page(
  path: Path,
  points: "RunsTable",
  curves: list[dict[str, Any]],
  audited: dict[str, Any],
  progress: "FitProgress",
) -> None:
  """Fits the approaches for the page, plans the next budget, and draws."""
  from gen.scaling.report import table_report

  results = table_report.fit_results(
    points, curves, Path(RUNS.value).name, _page_bootstraps(), SEED.value, audited
  )
  for line in table_report.next_lines(results):
    progress.say(line)
  progress.say("drawing the page ...")
  table_report.write_page(path, results, curves)
  progress.say(f"the page is {path}")


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
