"""Can these runs carry a scaling law? Grades a study check by check, each with its reason.

  uv run experiments/audit.py --runs=runs.csv
  uv run experiments/audit.py --runs=runs/chinchilla/results.json --json=audit.json
  uv run experiments/audit.py --runs=runs.csv --other_params=params_total,params_no_embed

Reads what fit_scaling_law.py reads, and says which column it took for what. Looks at convergence, leverage of single
runs, patterns in the residuals, the places and sides of valleys, agreement of the approaches, budgets left out,
extrapolation from below, whether the runs can tell N and D apart, units, and conventions. A study that cannot identify
a law is refused: exit code 2.
"""

from absl import flags

from gen.cli import launch, shared_flags, table_flags
from gen.errors import UserError
from gen.io import outputs, quantities

RUNS = table_flags.define_runs()
OTHER = flags.DEFINE_list(
  "other_params", [], "Columns of N in other conventions; empty: those with known names."
)
BOOTSTRAPS = quantities.DEFINE_integer(
  "bootstraps",
  300,
  "Resamples for the standard errors; at least 20.",
  lower_bound=0,
  upper_bound=1_000_000,
)
SEED = shared_flags.define_seed("resampling")
DELTA = shared_flags.define_delta()
EXCLUDE = table_flags.define_exclude_top_losses()
CONVENTION = flags.DEFINE_enum(
  "convention", "given", ["given", "6nd"], "C: given (the flops column) or 6nd (6 N D)."
)
PARAMS_UNIT, TOKENS_UNIT = table_flags.define_units()
JSON = outputs.DEFINE_json()
COLUMNS = table_flags.define_columns()


def main() -> int:
  """Reads and audits the runs, and prints or writes the grade."""
  if not RUNS.value:
    raise UserError("no runs are given; name their table with --runs=FILE.csv (or a journal.jsonl)")
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  import numpy as np

  from gen.scaling.audits import audit
  from gen.scaling.laws.solvers import descents
  from gen.scaling.report.fit_progress import FitProgress
  from gen.scaling.runs import runs_table, units

  columns = table_flags.chosen_columns(COLUMNS)
  runs, notes = runs_table.read_described(RUNS.value, columns)
  runs = units.convert_runs(runs, RUNS.value, PARAMS_UNIT.value, TOKENS_UNIT.value)
  others = audit.other_params(RUNS.value, columns, OTHER.value)
  if CONVENTION.value == "6nd":
    runs = runs.with_flops_6nd()
  if EXCLUDE.value:
    left = runs.without_top_losses(EXCLUDE.value)
    rows = np.sort(np.argsort(runs.loss, kind="stable")[: len(left)])
    runs, others = left, {name: values[rows] for name, values in others.items()}
  expected = descents.search_descents() + BOOTSTRAPS.value + len(runs)
  with FitProgress(expected, silent=JSON.value == "-"):
    audited = audit.audit_runs(
      runs, other_params=others, bootstraps=BOOTSTRAPS.value, seed=SEED.value, delta=DELTA.value
    )
  for text in notes:
    json_report.print_note(f"{RUNS.value}: {text}", JSON.value)
  print("\n".join(audit.audit_lines(audited)))
  json_report.write_report(audited.as_dict() | {"columns": notes}, target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
