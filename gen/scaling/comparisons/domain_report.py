"""The tables of a study of a domain: what each arm reaches on both texts, what adapting forgets, and vocabularies."""

from typing import TYPE_CHECKING

from gen.scaling.comparisons.domain_design import arm_title
from gen.scaling.comparisons.domain_records import DomainResults, DomainTask, TaskArm
from gen.scaling.comparisons.paired import PairedGap, format_gap
from gen.scaling.report import study_console
from gen.scaling.report.tables import ReportTable, TableCell, TableRow, format_count, format_flops

if TYPE_CHECKING:
  from rich.console import Console

MIN_COLUMNS = 190  # of the widest table


def print_results(console: "Console", results: DomainResults) -> None:
  """Prints the tables and the verdicts."""
  for table in (vocabulary_table(results), overlap_table(results), arm_table(results)):
    console.print()
    study_console.draw_table(console, table, MIN_COLUMNS)
  console.print()
  for verdict in results.verdicts:
    console.print(verdict.sentence)
  console.print(results.summary)
  if results.task is not None:
    console.print()
    study_console.draw_table(console, task_table(results.task, results.confidence), MIN_COLUMNS)
    study_console.print_failures(console, results.task.failed)
  study_console.print_failures(console, results.failed)


def arm_table(results: DomainResults) -> ReportTable:
  """Returns bits per byte of each arm on both texts."""
  level = f"{100 * results.confidence:g} %"
  table = ReportTable(
    f"Bits per byte of held-out text at equal FLOPs, means over seeds; differences are paired, with {level} intervals.",
    [
      "Arm", "Budget C", "N", "Seeds", "FLOPs spent", "Domain read", "Domain", "Minus general model's", "General",
      "Forgotten",
    ],
  )  # fmt: skip
  for arm in results.arms:
    spent = [run.flops for run in arm.runs]
    cells = [
      arm_title(arm.arm),
      format_flops(arm.budget),
      format_count(arm.params),
      str(len(arm.runs)),
      format_flops(sum(spent) / len(spent)),
      f"{max(run.domain_epochs for run in arm.runs):.2g} times",
      f"{arm.domain.mean:.4f}",
      _gap(arm.over_general_model),
      f"{arm.general.mean:.4f}",
      _gap(arm.forgetting),
    ]
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def task_table(task: DomainTask, confidence: float) -> ReportTable:
  """Returns the scores of a task of the domain."""
  level = f"{100 * confidence:g} %"
  baseline = ", ".join(f"{name} {value:.3f}" for name, value in task.baseline.items())
  table = ReportTable(
    f"{task.data}: {task.metric} of {task.test_examples:,} test examples after {task.examples:,} labelled ones, for "
    f"models of {format_flops(task.budget)} FLOPs; means over seeds, paired differences, {level} intervals. "
    f"Baseline: {baseline}.",
    ["Arm", "Seeds", task.metric, "95 % of the test examples", "Minus general model's"],
  )
  for arm in task.arms:
    cells = [
      arm_title(arm.arm), str(len(arm.scores)), _score(arm.mean), _ends(arm), _gap(arm.over_general_model)
    ]  # fmt: skip
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def _score(mean: PairedGap) -> str:
  ends = "" if mean.low is None or mean.high is None else f" [{mean.low:.3f}, {mean.high:.3f}]"
  return f"{mean.mean:.3f}{ends}"


def _ends(arm: TaskArm) -> str:
  """Returns the interval of the test examples."""
  return "" if arm.test_low is None or arm.test_high is None else f"[{arm.test_low:.3f}, {arm.test_high:.3f}]"


def _gap(gap: PairedGap | None) -> str:
  return "" if gap is None else format_gap(gap)


def vocabulary_table(results: DomainResults) -> ReportTable:
  """Returns the bytes a token of each tokenizer on each text."""
  table = ReportTable("Bytes a token on held-out text.", ["Tokenizer trained on", "Ids", "Domain", "General"])
  for cost in results.vocabulary:
    cells = [cost.tokenizer, f"{cost.vocab:,}", f"{cost.domain:.2f}", f"{cost.general:.2f}"]
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table


def overlap_table(results: DomainResults) -> ReportTable:
  """Returns how much of each held-out text stands in each training text."""
  table = ReportTable(
    "Held-out text, and the share of its characters whose lines stand in the training texts.",
    ["Held-out text", "Bytes", "In the domain's", "In the general"],
  )
  for text in results.held_out:
    cells = [text.name, f"{text.bytes:,}", f"{text.in_domain:.1%}", f"{text.in_general:.1%}"]
    table.rows.append(TableRow([TableCell(cell) for cell in cells]))
  return table
