"""Grades a study: do its runs determine the law that is fitted to them?

    from gen.scaling.audits import audit
    from gen.scaling.laws import fit

    report = audit.audit_runs({"params": params, "tokens": tokens, "loss": loss, "flops": flops})
    report.grade, [finding.sentence for finding in report.alarms]

Each check gives pass, alarm or skip (its data are missing) with one sentence. A study whose runs cannot identify the
law at all, such as one with all runs at one D / N, is refused with the reason. N parameters, D tokens, C FLOPs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gen.errors import UserError
from gen.scaling.audits import fit_checks, unit_checks, valley_checks
from gen.scaling.audits.findings import ALARM, Finding, StudyFacts
from gen.scaling.laws import fit, isoflop, parametric
from gen.scaling.runs import runs_table, table_files
from gen.scaling.runs.runs_table import RunsTable

OTHER_PARAMS = ("params_total", "params_no_embed", "params_no_embedding", "params_non_embedding")
GRADES = ((0, "A"), (1, "B"), (3, "C"))  # most alarms of each grade; more are a D


@dataclasses.dataclass(frozen=True, repr=False)
class AuditReport:
  """The result of an audit.

  Attributes:
    grade: A (no alarm), B (one), C (up to three) or D.
    findings: the findings of all checks, in order.
    runs: number of audited runs.
    a: exponents of N* over C by approach.
    warnings: warnings of the fits.
  """

  grade: str
  findings: list[Finding]
  runs: int
  a: dict[str, float]
  warnings: list[str]

  @property
  def alarms(self) -> list[Finding]:
    """Findings that speak against the study."""
    return [finding for finding in self.findings if finding.status == ALARM]

  def __repr__(self) -> str:
    """Returns one line: the grade and the alarms."""
    names = ", ".join(finding.name for finding in self.alarms) or "none"
    return f"<AuditReport grade {self.grade} of {self.runs} runs, alarms: {names}>"

  def __str__(self) -> str:
    """Returns the grade and every check, one a line."""
    return "\n".join(audit_lines(self))

  def as_dict(self) -> dict[str, Any]:
    """Returns the report as plain values for JSON."""
    return {
      "grade": self.grade,
      "runs": self.runs,
      "a": self.a,
      "alarms": [finding.name for finding in self.alarms],
      "findings": [dataclasses.asdict(finding) for finding in self.findings],
      "warnings": self.warnings,
    }


def audit_runs(
  runs: RunsTable | Mapping[str, ArrayLike],
  *,
  other_params: Mapping[str, ArrayLike] | None = None,
  bootstraps: int = 300,
  seed: int = 0,
  delta: float = parametric.DELTA,
  interval: list[float] | None = None,
) -> AuditReport:
  """Grades a study.

  Args:
    runs: points, or a mapping as `fit.fit_approach` takes it; runs held out are left out.
    other_params: N of the same runs in other conventions, by name.
    bootstraps: resamples from which standard errors are estimated.
    seed: seed of the resampling.
    delta: delta of the Huber loss in the parametric fit.
    interval: 95 % percentile interval of the exponent a from a fit of the same runs with the same delta, so that a
      caller reports one interval; None resamples.

  Raises:
    UserError: for runs that cannot identify a law, with the reason.
  """
  points = fit.not_held_out(runs)
  # Quartiles of fewer draws are too rough for a standard error.
  if bootstraps < 20:
    raise UserError(f"bootstraps is {bootstraps}; an audit needs at least 20 for its standard errors")
  units = unit_checks.check_before_fit(points)
  try:
    # BCa, because it leaves out each run in turn, which the check of leverage reads.
    law = parametric.fit(points, delta=delta, bootstraps=bootstraps, seed=seed, method="bca")
  except UserError as error:
    raise UserError(_refusal(str(error), units)) from None
  made_so = valley_checks.is_isoflop_design(points)
  valleys = _valleys(points, bootstraps, seed) if made_so else None
  facts = StudyFacts(points, law, made_so, valleys, _others(runs, points, other_params), interval)
  findings = [*units, *(finding for check in fit_checks.CHECKS for finding in check(facts))]
  findings += unit_checks.check_after_fit(points, law)
  count = sum(finding.status == ALARM for finding in findings)
  grade = next((letter for max_findings, letter in GRADES if count <= max_findings), "D")
  exponents = {"parametric": law.a} | ({} if valleys is None else {"isoflop": valleys.a})
  warnings = [f"parametric: {text}" for text in law.warnings]
  warnings += [] if valleys is None else [f"isoflop: {text}" for text in valleys.warnings]
  return AuditReport(grade, findings, len(points), exponents, warnings)


def other_params(
  path: str | Path, columns: Mapping[str, str], names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
  """Returns N in other conventions from a file of runs, by column.

  Args:
    path: of the file.
    columns: names of its columns by ours, as `runs_table.read_runs` takes them.
    names: columns that must be there; without, those of `OTHER_PARAMS` that are.

  Raises:
    UserError: for a named column that is missing or has a value that is not a number above zero.
  """
  counts = {}
  text = "" if names else table_files.text_of(Path(path))
  for name in names or [name for name in OTHER_PARAMS if name in text]:
    try:
      counts[name] = runs_table.read_runs(path, {**columns, "params": name}).params
    except UserError:
      if names:
        raise
  return counts


def audit_lines(report: AuditReport) -> list[str]:
  """Returns an audit as text: the grade, every check, the warnings of the fits."""
  exponents = ", ".join(f"a {value:.3f} ({name})" for name, value in report.a.items())
  count = len(report.alarms)
  alarms = f"{count} alarm{'s' * (count != 1)}"
  text = [
    f"grade {report.grade}: {alarms} in {len(report.findings)} checks of {report.runs} runs; {exponents}",
    "",
  ]
  text += [f"  {finding.status:6} {finding.name:20} {finding.sentence}" for finding in report.findings]
  lines = [f"warning: {warning}" for warning in report.warnings]
  return [*text, *([""] if lines else []), *lines]


def _refusal(why: str, units: list[Finding]) -> str:
  """Returns the reason, with what units would explain it."""
  alarms = [finding.sentence for finding in units if finding.status == ALARM]
  return f"the study is refused: {why}" + (f" ({alarms[0]})" if alarms else "")


def _valleys(points: RunsTable, bootstraps: int, seed: int) -> isoflop.IsoflopFit | None:
  try:
    return isoflop.fit(points, bootstraps=bootstraps, seed=seed)
  except UserError:
    return None


def _others(
  runs: RunsTable | Mapping[str, ArrayLike], points: RunsTable, counts: Mapping[str, ArrayLike] | None
) -> dict[str, np.ndarray]:
  """Returns N in other conventions, of the runs that are not held out."""
  checked = {}
  seen = ~runs.held_out if isinstance(runs, RunsTable) else np.ones(len(points), bool)
  for name, values in (counts or {}).items():
    array = np.asarray(values, np.float64)
    if len(array) != len(seen) or not np.all(np.isfinite(array) & (array > 0)):
      raise UserError(f"{name} must have a number above zero for each of the {len(seen)} runs")
    checked[name] = array[seen]
  return checked
