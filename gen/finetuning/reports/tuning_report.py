"""What a fine-tuning prints: lines of progress, and the table of its scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gen.cli import signals, terminal
from gen.evaluation.metrics.score import Score
from gen.finetuning.reports.results import FinetuneResult
from gen.finetuning.reports.seed_means import mean_over_seeds
from gen.io.quantities import format_seconds
from gen.training.run_log.rows import RowValues

if TYPE_CHECKING:  # it imports the workers of scaling sweeps
  from gen.finetuning.sweep_members import MemberRow


class TuningConsole:
  """Hooks that print the rows of progress, and stop a fine-tuning at the first interrupt."""

  def __init__(self) -> None:
    """Installs the signal handlers; to be created in the main thread."""
    self.stop = signals.StopRequest(terminal.print_progress).stop

  def progress(self, row: RowValues) -> None:
    """Prints the line of a row."""
    line = progress_line(row)
    if line is not None:
      terminal.print_progress(line)


# A bootstrap of fewer examples gives intervals that are far too narrow, [1, 1] where all are right.
FEW_EXAMPLES = 20


def progress_line(row: Mapping[str, Any]) -> str | None:
  """Returns the line of a row of progress, or None for one without."""
  if row["kind"] == "train":
    skipped = f"  {row['skipped']} skipped" if row["skipped"] else ""
    return (
      f"step {row['step']:>6,}/{row['steps']:,}  epoch {row['epoch']:.2f}  loss {row['loss']:.4f}  "
      f"rate {row['learning_rate']:.2e}{skipped}{_time_left(row)}"
    )
  if row["kind"] == "evaluation":
    best = (
      "best so far"
      if row["best_step"] == row["step"]
      else f"best {row['best']:.4f} at step {row['best_step']:,}"
    )
    return f"step {row['step']:>6,}  development {row['score']:.4f}, {best}"
  if row["kind"] == "resume":
    return f"resumes after step {row['step']:,}"
  return str(row["text"]) if row["kind"] == "note" else None


def _time_left(row: Mapping[str, Any]) -> str:
  """Returns the end of a line of training: the time that is left, once a step was timed."""
  if row.get("seconds") is None:
    return ""
  untimed = row["untimed_evaluations"]
  more = f" and {untimed} evaluation{'' if untimed == 1 else 's'}" if untimed else ""
  return f"  {format_seconds(row['seconds'])}{more} left"


def score_lines(result: FinetuneResult) -> list[str]:
  """Returns the table of the scores, each with its 95 % interval, and sentences on how they were reached."""
  prompted = [
    (f"prompted, {count} example{'' if count == '1' else 's'}", score)
    for count, score in result.prompted.items()
  ]
  rows = [("fine-tuned", result.score), *prompted, ("baseline", result.baseline)]
  lines = [f"{'':>22}  {result.score.name:>10}  95 % interval", *map(_row, rows)]
  others = ", ".join(
    f"{name} {value:.4f}" for name, value in result.score.values.items() if name != result.score.name
  )
  lines.append("")
  if others:
    lines.append(f"also: {others}")
  if result.score.signature:
    lines.append(f"signature: {result.score.signature}")
  lines.append(f"prompted before fine-tuning: {prompted_sentence(result)}")
  stopped = f" of {result.planned_steps:,} (stopped early)" if result.steps < result.planned_steps else ""
  lines.append(
    f"{result.trained_parameters:,} of {result.parameters:,} parameters trained ({result.settings.method}) for "
    f"{result.steps:,} steps{stopped}, {format_seconds(result.seconds)} in steps; the best step is {result.best_step:,}"
  )
  if result.state_bytes:
    base = f", base in {result.settings.base_format}" if result.settings.base_format else ""
    lines.append(f"{result.state_bytes / 1e6:,.2f} MB of parameters and moments between steps{base}")
  return lines


def prompted_sentence(result: FinetuneResult) -> str:
  """Returns on what the untrained model was asked, or why it was not."""
  return result.prompted_note or "on all test examples"


def verdict_line(result: FinetuneResult) -> str:
  """Returns whether fine-tuning was worth it: its interval against what is beside it."""
  beside = {"the baseline": result.baseline} | {
    f"the same model with {count} examples in its prompt": score for count, score in result.prompted.items()
  }
  name, best = max(beside.items(), key=lambda item: item[1].value)
  count = result.examples.get("test", FEW_EXAMPLES)
  if count < FEW_EXAMPLES:
    gain = result.score.value - best.value
    side = "more than" if gain > 0 else "less than" if gain < 0 else "as much as"
    return (
      f"fine-tuning scores {side} {name} ({best.value:.4f}), but {count} test examples are too few to be sure; "
      "--test_share sets how many are split off"
    )
  if result.score.low > best.value:
    return f"fine-tuning is better than {name} ({best.value:.4f}), which lies below its interval"
  if result.score.high < best.value:
    return f"fine-tuning is worse than {name} ({best.value:.4f}): train longer, or give more examples"
  return f"fine-tuning is not clearly better than {name} ({best.value:.4f}), which lies inside its interval"


def _row(row: tuple[str, Score]) -> str:
  name, score = row
  return f"{name:>22}  {score.value:>10.4f}  [{score.low:.4f}, {score.high:.4f}]"


def sweep_lines(rows: Sequence["MemberRow"]) -> list[str]:
  """Returns the table of a sweep: the scores of each learning rate and seed, and the mean of each rate's seeds."""
  lines = [f"{'rate':>10}  {'seed':>5}  {'development':>11}  {'test':>8}"]
  lines += [
    f"{row['learning_rate']:>10.2e}  {row['seed']:>5}  {row['development']:>11.4f}  {row['score']:>8.4f}"
    for row in rows
  ]
  by_rate = defaultdict(list)
  for row in rows:
    by_rate[row["learning_rate"]].append(row)
  for rate, of_rate in by_rate.items():
    if len(of_rate) > 1:
      mean = mean_over_seeds(of_rate)
      lines.append(
        f"rate {rate:.2e}: mean {of_rate[0]['metric']} of {len(of_rate)} seeds {mean.score:.4f} "
        f"[{mean.low:.4f}, {mean.high:.4f}] on the test part, from {mean.by_seed[0]:.4f} to {mean.by_seed[-1]:.4f}"
      )
  return lines
