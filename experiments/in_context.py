"""Does a model learn from the examples in its prompt, and when is it better to fine-tune?

  uv run experiments/in_context.py
  uv run experiments/in_context.py --families=decoder --widths=32,64,128 --recurrent=gru --workdir=runs/in_context_gru

Trains decoders, encoders and encoder-decoders of some widths, and a recurrent model as large as the largest decoder, on
sequences of words and labels with a fresh mapping each, so that only the context can tell a label. A decoder goes on
from the prompt, an encoder reads a mask in the answer's place, an encoder-decoder has the prompt in its encoder. Then
asks them with k examples: of mappings of the trained kind (the letter decides), and of a kind that no training showed
(the digit decides). Beside them: the same model fine-tuned on the same k examples, for the FLOPs that reading them in
every prompt costs.
Writes in_context.json, answers.jsonl (each prompt and its scores), .png and .pdf into the work folder.
"""

import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import environment, launch
from gen.config import RECURRENT, TRANSFORMERS, Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
FAMILIES = flags.DEFINE_list(
  "families", ["decoder", "encoder", "encoder_decoder"], "Families of transformers, in this order."
)
WIDTHS = quantities.DEFINE_integers("widths", [32, 64], "Widths of each.", lower_bound=1)
FAMILY = flags.DEFINE_enum("recurrent", "lstm", ("none", *RECURRENT), "Family of the recurrent model.")
RATE_POWER = quantities.DEFINE_float(
  "rate_power",
  1.0,
  "A transformer's peak learning rate is the config's times (its width / width)^rate_power.",
  lower_bound=-10,
  upper_bound=10,
)
RECURRENT_RATE = quantities.DEFINE_float("recurrent_rate", 5e-3, "Its peak learning rate.", lower_bound=0)
LETTERS = quantities.DEFINE_integer(
  "letters", 4, "Letters, and as many labels.", lower_bound=1, upper_bound=26
)
PAIRS = quantities.DEFINE_integer(
  "pairs", 12, "Pairs of a training sequence, which is the window.", lower_bound=1, upper_bound=100_000
)
KS = quantities.DEFINE_integers("ks", [0, 1, 2, 4, 8], "Numbers of examples in the prompt.", lower_bound=0)
TUNED = quantities.DEFINE_integers(
  "tuned", [1, 2, 4, 8, 32], "Numbers of examples to fine-tune on.", lower_bound=1
)
QUESTIONS = quantities.DEFINE_integer(
  "questions", 200, "Questions, a mapping each; and how often a prompt with examples is read.", lower_bound=2
)
MAPPINGS = quantities.DEFINE_integer("mappings", 6, "Mappings to be fine-tuned on.", lower_bound=1)
RATE = quantities.DEFINE_float("tuning_rate", 3e-3, "Learning rate of fine-tuning.", lower_bound=0)


def main(run: Run) -> int:
  """Trains and asks each model, and writes everything down."""
  validation.check_run(run)
  validation.require_one_device(run)
  if run.model.family != "decoder" or not run.steps:
    raise UserError("the config's model is to be a decoder, and its length to be given in steps")
  unknown = [name for name in FAMILIES.value if name not in TRANSFORMERS]
  if unknown:
    raise UserError(f"--families: {unknown[0]!r} is no transformer; choose of {', '.join(TRANSFORMERS)}")
  widths, ks, tuned = (sorted(set(flag.value)) for flag in (WIDTHS, KS, TUNED))
  from gen.data import cache
  from gen.evaluation.synthetic.label_mapping_task import LabelMappingTask

  task = LabelMappingTask(LETTERS.value, PAIRS.value)
  if max(ks) >= task.pairs:
    raise UserError(
      f"--ks={max(ks)} examples and a question do not fit into --pairs={task.pairs}; take fewer"
    )
  if max(tuned) >= len(task.words):
    raise UserError(f"--tuned={max(tuned)} leaves no word to ask: there are {len(task.words)}; take fewer")
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  workdir.mkdir(parents=True, exist_ok=True)
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  rows, answers = [], []
  for one in _runs(run, widths, task):
    row, said = _asked(one, task, ks, tuned)
    rows.append(row)
    answers += said
  _write(workdir, task, rows, answers)
  return 0


def _runs(run: Run, widths: list[int], task: Any) -> list[Run]:
  """Returns the runs of all models: of each family and width, and a recurrent one as large as the last decoder."""
  from gen.evaluation import loss_by_context
  from gen.evaluation.synthetic import synthetic_training

  runs = [_transformer(run, family, width) for family in FAMILIES.value for width in widths]
  if FAMILY.value != "none":
    runs.append(copy.deepcopy(run))
    runs[-1].optimizer.peak_learning_rate = RECURRENT_RATE.value
    largest = _transformer(run, "decoder", widths[-1]).model
    runs[-1].model = loss_by_context.of_equal_size(
      synthetic_training.complete_model(largest, task.length), FAMILY.value
    )
  if not runs:
    raise UserError("there is no model to train; name some by --families or --recurrent")
  return runs


def _transformer(run: Run, family: str, width: int) -> Run:
  """Returns the run of a transformer of another family and width."""
  from gen.evaluation.synthetic import synthetic_training

  one = copy.deepcopy(run)
  one.model.family, one.model.width = family, width
  one.data.objective = synthetic_training.OBJECTIVES.get(family, "causal")
  if family not in synthetic_training.CAUSAL_FAMILIES:
    one.model.positions = (
      "relative"  # what stands next to a gap matters, and a bias of the distance says just that
    )
  one.optimizer.peak_learning_rate *= (run.model.width / width) ** RATE_POWER.value
  validation.check_run(one)
  return one


def _asked(
  run: Run, task: Any, ks: list[int], tuned: list[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Trains a model and returns its row, and every question that it was asked."""
  from gen import counts
  from gen.evaluation import in_context
  from gen.evaluation.synthetic import label_mapping_masked, label_mapping_task, synthetic_training

  rows = label_mapping_masked.rows_for(run.model.family, task)
  name, begun = f"{run.model.family} {run.model.width}", time.perf_counter()
  losses: list[tuple[int, float]] = []

  def report(step: int, loss: float) -> None:
    losses.append((step, loss))
    if step % 200 == 0:
      left = (time.perf_counter() - begun) / step * (run.steps - step)
      print(f"{name}: step {step:,}/{run.steps:,}  loss {loss:.3f}  {left:.0f} s left", file=sys.stderr)

  restored = synthetic_training.train_model(run, rows, report)
  seconds = time.perf_counter() - begun
  print(f"{name}: {run.steps:,} steps, {losses[-1][1]:.3f} nats per label, {seconds:.0f} s", file=sys.stderr)
  row: dict[str, Any] = {
    "name": name, "family": run.model.family, "width": run.model.width,
    "parameters": counts.count_parameters(restored.model).total,
    "flops": synthetic_training.training_flops(run, rows),
    "batch": run.data.batch, "steps": run.steps, "seconds": seconds, "losses": losses, "kinds": {},
  }  # fmt: skip
  answers = []
  for kind in label_mapping_task.GOES_BY:
    curve = in_context.accuracy_curve(restored, task, ks, QUESTIONS.value, kind, run.seed)
    learnt = [
      in_context.fine_tuned_accuracy(
        restored, task, k, kind, num_mappings=MAPPINGS.value, questions=QUESTIONS.value, rate=RATE.value,
        seed=run.seed, rows=max(tuned),
      )
      for k in tuned
    ]  # fmt: skip
    points = [
      {name: value for name, value in point._asdict().items() if name != "answers"} for point in curve
    ]
    row["kinds"][kind] = {"in_context": points, "tuned": [point._asdict() for point in learnt]}
    for point in curve:
      answers += [{"model": name, "kind": kind, "k": point.k} | one._asdict() for one in point.answers]
  return row, answers


def _write(workdir: Path, task: Any, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
  from gen import versions
  from gen.evaluation import in_context_figure
  from gen.io import json_report

  best = {k["k"]: task.best(k["k"]) for k in rows[0]["kinds"]["letter"]["in_context"]}
  found = {"models": rows, "best": best, "versions": versions.installed_versions()}
  (workdir / "in_context.json").write_text(json.dumps(found, indent=1) + "\n")
  (workdir / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
  in_context_figure.draw_accuracy(workdir, rows, best)
  for kind, title in in_context_figure.TITLES.items():
    print(f"{title}\n{'examples':>22}  {'in the prompt':>20}  {'fine-tuned on':>20}  {'of the window':>13}")
    for row in rows:
      _table(row, kind)
    print()
  for row in rows:
    print(_verdict(row))
  print(workdir / f"{in_context_figure.NAME}.png, .pdf and .json; the prompts in answers.jsonl")
  json_report.write_report(found, json_report.report_target(JSON.value))


def _table(row: dict[str, Any], kind: str) -> None:
  shown = {point["k"]: point for point in row["kinds"][kind]["in_context"]}
  learnt = {point["k"]: point for point in row["kinds"][kind]["tuned"]}
  for k in sorted({*shown, *learnt}):
    cells = [_cell(points.get(k)) for points in (shown, learnt)]
    share = shown[k]["share"] if k in shown else None
    part = "" if share is None else f"{share:.0%}"
    print(f"{row['name']:>18} {k:>3}  {cells[0]:>20}  {cells[1]:>20}  {part:>13}")


def _cell(point: dict[str, Any] | None) -> str:
  return "-" if point is None else f"{point['accuracy']:.3f} [{point['low']:.2f}, {point['high']:.2f}]"


def _verdict(row: dict[str, Any]) -> str:
  """Returns sentences on the gain from examples in the prompt, and the number from which fine-tuning is better."""
  parts = []
  for kind, words in (("letter", "of the trained kind"), ("digit", "of the other kind")):
    points = {point["k"]: point["accuracy"] for point in row["kinds"][kind]["in_context"]}
    better = [
      point["k"]
      for point in row["kinds"][kind]["tuned"]
      if point["low"] > points.get(point["k"], max(points.values()))
    ]
    gain = points[max(points)] - points[min(points)]
    since = (
      f"fine-tuning is surely better at {better} examples"
      if better
      else "fine-tuning is nowhere surely better"
    )
    parts.append(f"{words}, {max(points)} examples give {gain:+.3f} and {since}")
  return f"{row['name']}: {'; '.join(parts)}."


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/in_context.py")
