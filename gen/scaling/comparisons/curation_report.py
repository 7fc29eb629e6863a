"""The tables of a study of a curation: texts, losses after each stage, repeated text, and the law of repetition."""

from typing import TYPE_CHECKING

from gen.scaling.comparisons.compute_worth import format_ratio
from gen.scaling.comparisons.curation_records import CurationResults
from gen.scaling.comparisons.paired import format_gap
from gen.scaling.laws import repetition
from gen.scaling.laws.repetition import FittedCoefficient
from gen.scaling.laws.repetition_penalty import PenaltyLaw
from gen.scaling.report import study_console
from gen.scaling.report.tables import ReportTable, TableCell, TableRow, format_count, format_flops

if TYPE_CHECKING:
  from rich.console import Console

MIN_COLUMNS = 160  # of the widest table


def print_results(console: "Console", results: CurationResults) -> None:
  """Prints the tables and the verdicts."""
  for table in (stage_table(results), arm_table(results), repeated_table(results)):
    if table.rows:
      console.print()
      study_console.draw_table(console, table, MIN_COLUMNS)
  console.print()
  for line in [*law_lines(results), *(verdict.sentence for verdict in results.verdicts)]:
    console.print(line)
  study_console.print_failures(console, results.failed)


def stage_table(results: CurationResults) -> ReportTable:
  """Returns what each stage leaves of the raw text."""
  table = ReportTable(
    "Text that each stage leaves.", ["Text after", "Documents", "MB", "Of the raw bytes", "Training tokens"]
  )
  for stage in results.stages:
    cells = [
      stage.stage,
      f"{stage.documents:,}",
      f"{stage.bytes / 1e6:,.2f}",
      f"{stage.share:.1%}",
      format_count(stage.train_tokens),
    ]
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def arm_table(results: CurationResults) -> ReportTable:
  """Returns bits per byte after each stage, and the FLOPs that would buy the same on raw text."""
  level = f"{100 * results.confidence:g} %"
  table = ReportTable(
    f"Bits per byte of the judging text at equal FLOPs; paired differences over seeds, {level} intervals. A star marks "
    "a loss beyond those of raw text.",
    [
      "Text after",
      "Budget C",
      "N",
      "Seeds",
      "Read",
      "Bits per byte",
      "Minus stage before",
      "Minus raw",
      "FLOPs on raw",
    ],
  )
  for arm in results.arms:
    cells = [
      arm.stage, format_flops(arm.budget), format_count(arm.params), str(len(arm.bits)), f"{arm.epochs:.2g} times",
      f"{arm.mean.mean:.4f}", "" if arm.over_previous is None else format_gap(arm.over_previous),
      "" if arm.over_raw is None else format_gap(arm.over_raw),
      "" if arm.over_raw is None else f"{format_ratio(arm.worth)} C",
    ]  # fmt: skip
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def repeated_table(results: CurationResults) -> ReportTable:
  """Returns what repetition costs."""
  table = ReportTable(
    "The final text repeated: bits per byte minus those of runs on the whole of it, paired.",
    ["Epochs", "Budget C", "Unique tokens", "Seeds", "Cost"],
  )
  for arm in results.repeated:
    cells = [
      f"{arm.epochs:g}", format_flops(arm.budget), format_count(arm.unique), str(len(arm.bits)), format_gap(arm.cost)
    ]  # fmt: skip
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def law_lines(results: CurationResults) -> list[str]:
  """Returns the fitted laws of repetition beside the published ones."""
  fits = results.repetition
  if fits.decay is None or fits.penalty is None:
    return [f"No law of repetition: {fits.error}."] if results.repeated else []
  decay = fits.decay
  # The search for R*_D has a range, and draws that lie at its end bound nothing.
  wide = (
    decay.low is not None
    and decay.high is not None
    and (decay.low < 1.01 * repetition.MIN_DECAY or decay.high > repetition.MAX_DECAY / 1.01)
  )
  open_end = "; these runs do not bound R*_D" if decay.at_bound or wide else ""
  lines = [
    f"R*_D = {_coefficient(fits.decay)} repetitions (published: {fits.published_decay:.1f}, arXiv:2305.16264), "
    f"error {fits.decay.error:.4f} bits per byte{open_end}",
    f"P = {_coefficient(fits.penalty)} bits per byte (loss + P R_D N / U, arXiv:2605.01640), "
    f"error {fits.penalty.error:.4f}",
  ]
  if (law := fits.exponents) is not None:
    lines.append(
      f"P = {_coefficient(law.coefficient)}, delta = {_coefficient(law.repeats)}, kappa = {_coefficient(law.capacity)} "
      f"(loss + P R_D^delta (N / U)^kappa), error {law.coefficient.error:.4f}{_identified(law)}"
    )
  return lines


def _identified(law: PenaltyLaw) -> str:
  """Returns which exponents the runs do not bound."""
  free = [
    name for name, fitted in (("delta", law.repeats), ("kappa", law.capacity))
    if fitted.at_bound or fitted.low is None or fitted.high is None
  ]  # fmt: skip
  return f"; these runs do not bound {' and '.join(free)}" if free else ""


def _coefficient(fitted: FittedCoefficient) -> str:
  """Writes an estimate with its interval, of which three dots mark an open end."""
  if fitted.low is None and fitted.high is None:
    return f"{fitted.value:.3g}"
  low, high = ("..." if end is None else f"{end:.3g}" for end in (fitted.low, fitted.high))
  return f"{fitted.value:.3g} [{low}, {high}]"
