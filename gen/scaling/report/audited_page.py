"""The page of any table of runs with its audit: audits, fits, plans the next budget, and draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gen.errors import UserError
from gen.scaling.audits import audit
from gen.scaling.laws.fit import FitOptions
from gen.scaling.laws.fit_options import FitKeywords
from gen.scaling.laws.solvers import descents
from gen.scaling.report import table_report
from gen.scaling.report.fit_progress import FitProgress
from gen.scaling.runs.runs_table import RunsTable
from gen.training.run_log.rows import RowValues

# The audit and the page resample at least so often and at most so often, whatever the fit does.
MIN_BOOTSTRAPS, MAX_BOOTSTRAPS = 20, 300


def page_bootstraps(bootstraps: int) -> int:
  """Returns how often the audit and the page resample where a fit does so `bootstraps` times."""
  return max(MIN_BOOTSTRAPS, min(bootstraps, MAX_BOOTSTRAPS))


def expected_descents(runs: int, approach: str, options: FitKeywords, page: bool) -> int:
  """Returns about how many descents of the solver a fit takes, with an audited page if one is written.

  Args:
    runs: number of runs.
    approach: the one that is fitted, or "all".
    options: fields of `fit.FitOptions`, with tied, delta, bootstraps and interval.
    page: whether an audited page is written.
  """
  fitted, count = approach in ("parametric", "all"), 0
  if fitted:
    count += descents.search_descents(options["tied"]) + options["bootstraps"]
    count += runs if options["interval"] == "bca" else 0
  if page:
    # The audit and the page fit with the paper's delta; a search for the same optimum is not repeated.
    searched = fitted and not options["tied"] and options["delta"] == FitOptions.delta
    count += 0 if searched else descents.search_descents()
    count += 2 * page_bootstraps(options["bootstraps"]) + runs
  return count


def exponent_interval(approach: str, options: FitKeywords, report: Mapping[str, Any]) -> list[float] | None:
  """Returns the interval of a that a fit reports, if the audit would resample the same fit; else None.

  Args:
    approach: the one that was fitted, or "all".
    options: fields of `fit.FitOptions`.
    report: as of `fit_summary.summarize_fit`.
  """
  usual = {"tied": False, "delta": FitOptions.delta, "level": FitOptions.level, "cluster": "run"}
  same = approach in ("parametric", "all") and all(
    dict(options)[name] == value for name, value in usual.items()
  )
  pair = report.get("ci95", {}).get("a") if same and options["interval"] != "bca" else None
  return None if pair is None else list(pair)


def audit_table(
  points: RunsTable,
  bootstraps: int,
  seed: int,
  progress: FitProgress,
  interval: list[float] | None = None,
) -> dict[str, object]:
  """Returns the audit as plain values, or {"error": sentence} where it refuses the runs.

  Args:
    points: the runs.
    bootstraps: of the fit.
    seed: of the resampling.
    progress: where the audit's lines go.
    interval: of the exponent a, which the caller reports; None resamples.
  """
  progress.say("auditing the runs ...")
  try:
    report = audit.audit_runs(points, bootstraps=page_bootstraps(bootstraps), seed=seed, interval=interval)
  except UserError as error:
    progress.say(f"warning: {error}")
    return {"error": str(error)}
  for line in audit.audit_lines(report):
    progress.say(line)
  return report.as_dict()


def fit_page(
  points: RunsTable,
  curves: Sequence[RowValues],
  source: str,
  bootstraps: int,
  seed: int,
  level: float,
  audited: Mapping[str, object],
) -> table_report.TableStudy:
  """Fits the approaches for the page, and returns what it shows.

  Args:
    points: the runs.
    curves: rows of training curves, or none.
    source: file of the runs, whose name is the page's.
    bootstraps: of the fit.
    seed: of the resampling.
    level: coverage of the intervals.
    audited: as of `audit_table`.
  """
  return table_report.fit_results(
    points, curves, Path(source).name, page_bootstraps(bootstraps), seed, level, audited
  )


def write_page(
  path: Path, results: table_report.TableStudy, curves: Sequence[RowValues], progress: FitProgress
) -> None:
  """Prints the next budget by each approach, and draws the page.

  Args:
    path: of the page.
    results: as of `fit_page`.
    curves: rows of training curves, or none.
    progress: where lines go.

  Raises:
    UserError: if the disk is full or refuses.
  """
  for line in table_report.next_lines(results):
    progress.say(line)
  progress.say("drawing the page ...")
  table_report.write_page(path, results, curves)
  progress.say(f"the page is {path}")
