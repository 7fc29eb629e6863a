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
from typing import TYPE_CHECKING, cast

from absl import flags

from gen.cli import launch, shared_flags, table_flags
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.scaling.laws.fit_options import FitKeywords

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
  "level", 0.95, "Coverage of the intervals; it names them in the JSON (ci95).", 0, 1
)
INTERVAL = flags.DEFINE_enum(
  "interval", "auto", ["auto", "percentile", "bca"], "Kind of intervals; auto: percentile."
)
CLUSTER = flags.DEFINE_enum("cluster", "run", ["run", "budget", "seed"], "Unit of resampling.")
CONVENTION = flags.DEFINE_string(
  "convention",
  "given",
  "What N and C count: given (as the file says), 6nd (6 N D), or names of docs/planning.md's tables, one of N, one of "
  "C, as in non_embedding,kaplan; these take the shape of each run from the file (see docs/fitting.md).",
)
OPTIONS = (DELTA, TIED, METHOD, EDGE, BOOTSTRAPS, SEED, LEVEL, INTERVAL, CLUSTER)  # of `fit.FitOptions`
EXCLUDE = table_flags.define_exclude_top_losses()
COLUMNS = table_flags.define_columns()


def main() -> int:
  """Reads the runs, fits them, and prints or writes what was found."""
  if not RUNS.value:
    raise UserError("no runs are given; name their table with --runs=FILE.csv (or a journal.jsonl)")
  from gen.io import json_report
  from gen.scaling.laws import fit, fit_summary
  from gen.scaling.report import audited_page
  from gen.scaling.report.fit_progress import FitProgress
  from gen.scaling.runs import fitted_runs, recount_conventions

  target = json_report.report_target(JSON.value)
  points, curves, notes = fitted_runs.read_fitted_runs(
    RUNS.value, table_flags.chosen_columns(COLUMNS), PARAMS_UNIT.value, TOKENS_UNIT.value, CONVENTION.value,
    EXCLUDE.value, APPROACH.value in ("envelope", "all"), lambda text: json_report.print_note(text, JSON.value),
  )  # fmt: skip
  why = recount_conventions.unequal_reason(points, CONVENTION.value)
  if why and APPROACH.value == "isoflop":
    raise UserError(why)
  options = cast("FitKeywords", {flag.name: flag.value for flag in OPTIONS})
  descents = audited_page.expected_descents(len(points), APPROACH.value, options, bool(HTML.value))
  with FitProgress(descents, silent=JSON.value == "-") as progress:
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
      interval = audited_page.exponent_interval(APPROACH.value, options, report)
      report["audit"] = audited_page.audit_table(points, BOOTSTRAPS.value, SEED.value, progress, interval)
      results = audited_page.fit_page(
        points, curves, RUNS.value, BOOTSTRAPS.value, SEED.value, LEVEL.value, report["audit"]
      )
      audited_page.write_page(Path(HTML.value), results, curves, progress)
  print("\n".join(fit_summary.summary_lines(report)))
  json_report.write_report(report, target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
