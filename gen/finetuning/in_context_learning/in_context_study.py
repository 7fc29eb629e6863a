"""In-context learning of several models against fine-tuning: the runs, each model's row, and the table."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict, cast

from gen import counts
from gen.config import Run, validation
from gen.errors import UserError
from gen.evaluation.context_length import loss_by_context
from gen.evaluation.few_shot_tasks import few_shot
from gen.evaluation.few_shot_tasks.few_shot import AccuracyValues
from gen.evaluation.synthetic import label_mapping_masked, label_mapping_task, synthetic_training
from gen.finetuning.in_context_learning import in_context

PROGRESS_STEPS = 200  # steps between two lines of progress


class TuningSettings(NamedTuple):
  """How models are asked and fine-tuned.

  Attributes:
    ks: numbers of examples in the prompt, ascending.
    tuned: numbers of examples to fine-tune on, ascending.
    questions: questions per number of examples.
    mappings: label mappings to fine-tune on, each with a model of its own.
    rate: learning rate of fine-tuning.
  """

  ks: list[int]
  tuned: list[int]
  questions: int
  mappings: int
  rate: float


def make_runs(
  run: Run,
  families: Sequence[str],
  widths: Sequence[int],
  recurrent: str,
  recurrent_rate: float,
  rate_power: float,
  task: Any,
) -> list[Run]:
  """Returns the runs of all models: of each family and width, and of a recurrent model as large as the last decoder.

  Args:
    run: of a decoder; the others are variants of it.
    families: of transformers.
    widths: of each family, ascending.
    recurrent: family of the recurrent model; "none" leaves it out.
    recurrent_rate: its peak learning rate.
    rate_power: a transformer's peak learning rate is the run's times (run's width / width)^rate_power.
    task: a label-mapping task.

  Raises:
    UserError: if there is no run.
  """
  runs = [_transformer(run, family, width, rate_power) for family in families for width in widths]
  if recurrent != "none":
    runs.append(copy.deepcopy(run))
    runs[-1].optimizer.peak_learning_rate = recurrent_rate
    largest = _transformer(run, "decoder", widths[-1], rate_power).model
    runs[-1].model = loss_by_context.of_equal_size(
      synthetic_training.complete_model(largest, task.length), recurrent
    )
  if not runs:
    raise UserError("no model to train; name some with --families or --recurrent")
  return runs


def _transformer(run: Run, family: str, width: int, rate_power: float) -> Run:
  """Returns the run of a transformer of another family and width."""
  variant = copy.deepcopy(run)
  variant.model.family, variant.model.width = family, width
  variant.data.objective = synthetic_training.OBJECTIVES.get(family, "causal")
  if family not in synthetic_training.CAUSAL_FAMILIES:
    # The answer depends on what is next to the mask, which a bias by distance expresses directly.
    variant.model.positions = "relative"
  variant.optimizer.peak_learning_rate *= (run.model.width / width) ** rate_power
  validation.check_run(variant)
  return variant


class KindAccuracies(TypedDict):
  """Accuracies on questions of one kind: with examples in the prompt, and after fine-tuning on them."""

  in_context: list[AccuracyValues]
  tuned: list[AccuracyValues]


class InContextRow(TypedDict):
  """A model of the study, as its JSON has it; `losses` are (step, nats per label), `kinds` by the kind of question."""

  name: str
  family: str
  width: int
  parameters: int
  flops: float
  batch: int
  steps: int
  seconds: float
  losses: list[tuple[int, float]]
  kinds: dict[str, KindAccuracies]


def evaluate_model(
  run: Run, task: Any, settings: TuningSettings, report: Callable[[str], None]
) -> tuple[InContextRow, list[dict[str, object]]]:
  """Trains a model and returns its row, and each question with its prompt and answer.

  Args:
    run: of the model.
    task: a label-mapping task.
    settings: how it is asked and fine-tuned.
    report: called with lines of progress.
  """
  rows = label_mapping_masked.rows_for(run.model.family, task)
  name, begun = f"{run.model.family} {run.model.width}", time.perf_counter()
  losses: list[tuple[int, float]] = []

  def on_loss(step: int, loss: float) -> None:
    losses.append((step, loss))
    if step % PROGRESS_STEPS == 0:
      left = (time.perf_counter() - begun) / step * (run.steps - step)
      report(f"{name}: step {step:,}/{run.steps:,}  loss {loss:.3f}  {left:.0f} s left")

  restored = synthetic_training.train_model(run, rows, on_loss)
  seconds = time.perf_counter() - begun
  report(f"{name}: {run.steps:,} steps, {losses[-1][1]:.3f} nats per label, {seconds:.0f} s")
  row: InContextRow = {
    "name": name, "family": run.model.family, "width": run.model.width,
    "parameters": counts.count_parameters(restored.model).total,
    "flops": synthetic_training.training_flops(run, rows),
    "batch": run.data.batch, "steps": run.steps, "seconds": seconds, "losses": losses, "kinds": {},
  }  # fmt: skip
  answers: list[dict[str, object]] = []
  for kind in label_mapping_task.GOES_BY:
    curve = in_context.accuracy_curve(restored, task, settings.ks, settings.questions, kind, run.seed)
    fine_tuned = [
      in_context.fine_tuned_accuracy(
        restored, task, k, kind, num_mappings=settings.mappings, questions=settings.questions, rate=settings.rate,
        seed=run.seed, rows=max(settings.tuned),
      )
      for k in settings.tuned
    ]  # fmt: skip
    tuned = [cast(AccuracyValues, point._asdict()) for point in fine_tuned]
    row["kinds"][kind] = {"in_context": few_shot.accuracy_values(curve), "tuned": tuned}
    for point in curve:
      answers += [{"model": name, "kind": kind, "k": point.k} | answer._asdict() for answer in point.answers]
  return row, answers


def report_lines(rows: Sequence[InContextRow], titles: dict[str, str]) -> list[str]:
  """Returns the accuracies of all models as one table per kind of mapping, and a sentence on each model.

  Args:
    rows: of `evaluate_model`.
    titles: of each kind of mapping.
  """
  lines = []
  for kind, title in titles.items():
    lines += [title, f"{'examples':>22}  {'in the prompt':>20}  {'fine-tuned on':>20}  {'of the window':>13}"]
    for row in rows:
      lines += _table(row, kind)
    lines.append("")
  return lines + [_verdict(row) for row in rows]


def _table(row: InContextRow, kind: str) -> list[str]:
  lines = []
  by_examples = {point["k"]: point for point in row["kinds"][kind]["in_context"]}
  fine_tuned = {point["k"]: point for point in row["kinds"][kind]["tuned"]}
  for k in sorted({*by_examples, *fine_tuned}):
    cells = [_cell(points.get(k)) for points in (by_examples, fine_tuned)]
    share = by_examples[k]["share"] if k in by_examples else None
    part = "" if share is None else f"{share:.0%}"
    lines.append(f"{row['name']:>18} {k:>3}  {cells[0]:>20}  {cells[1]:>20}  {part:>13}")
  return lines


def _cell(point: AccuracyValues | None) -> str:
  return "-" if point is None else f"{point['accuracy']:.3f} [{point['low']:.2f}, {point['high']:.2f}]"


def _verdict(row: InContextRow) -> str:
  """Returns sentences on the gain from examples in the prompt, and the number from which fine-tuning is better."""
  parts = []
  for kind, words in (("letter", "of the trained kind"), ("digit", "of the new kind")):
    points = {point["k"]: point["accuracy"] for point in row["kinds"][kind]["in_context"]}
    better = [
      point["k"]
      for point in row["kinds"][kind]["tuned"]
      if point["low"] > points.get(point["k"], max(points.values()))
    ]
    gain = points[max(points)] - points[min(points)]
    comparison = (
      f"fine-tuning is significantly better at {better} examples"
      if better
      else "fine-tuning is not significantly better anywhere"
    )
    parts.append(f"{words}, {max(points)} examples give {gain:+.3f} and {comparison}")
  return f"{row['name']}: {'; '.join(parts)}."
