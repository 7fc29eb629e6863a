"""What do examples in the prompt make of a trained model? Questions about the first sentences of docstrings.

  uv run experiments/few_shot.py --checkpoint=runs/decoder
  uv run experiments/few_shot.py --checkpoint=runs/decoder --checkpoint=runs/encoder --tasks=kind --ks=0,8

Which package is a sentence from, does it tell of a class or of a function, how does it end? For checkpoints of any
family, runs of gen or directories of the Hugging Face format: decoders go on from the prompt, encoders fill a blank in
the answer's place. The sentences come from files that no run trains on, the examples from the other questions.
Writes few_shot.json, answers.jsonl (each prompt and its scores), .png and .pdf into the work folder.
"""

import json
import sys
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINTS = flags.DEFINE_multi_string(
  "checkpoint", [], "Folder of a run, or of a Hugging Face checkpoint; may be given several times."
)
TASKS = flags.DEFINE_list("tasks", ["package", "kind", "ending"], "What is asked.")
KS = quantities.DEFINE_integers("ks", [0, 1, 2, 4, 8], "Numbers of examples in the prompt.", lower_bound=0)
QUESTIONS = quantities.DEFINE_integer("questions", 200, "Questions of each task at most.", lower_bound=4)
WORDS = quantities.DEFINE_integer("words", 7, "Words of a sentence at most.", lower_bound=4)
NORMALIZE = flags.DEFINE_enum(
  "normalize", "tokens", ("none", "tokens", "bytes"), "What a choice's log-probability is divided by."
)
SEED = quantities.DEFINE_integer(
  "seed", 0, "Of the choice of questions and examples.", lower_bound=0, upper_bound=2**32 - 1
)
WORKDIR = outputs.DEFINE_folder(
  "workdir", "", "Folder of the results; empty: the first checkpoint's, with _few_shot."
)
JSON = outputs.DEFINE_json()


def main() -> int:
  """Evaluates each checkpoint on every task, and writes the results."""
  if not CHECKPOINTS.value:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  ks = sorted(set(KS.value))
  from gen.evaluation import held_out_sentences
  from gen.generation import loaded_model

  unknown = [name for name in TASKS.value if name not in held_out_sentences.TASKS]
  if unknown or not TASKS.value:
    raise UserError(f"--tasks={','.join(TASKS.value)}: choose of {', '.join(held_out_sentences.TASKS)}")
  models = [loaded_model.load_model(folder, report=_report) for folder in CHECKPOINTS.value]
  found = _held_out()
  tasks = [held_out_sentences.make_task(name, found, QUESTIONS.value, SEED.value) for name in TASKS.value]
  rows, answers = [], []
  for restored in models:
    for task in tasks:
      row, said = _asked(restored, task, ks)
      rows.append(row)
      answers += said
  _write(len(found), rows, answers)
  return 0


def _report(line: str) -> None:
  print(line, file=sys.stderr)


def _held_out() -> list[Any]:
  """Returns sentences that no run among the checkpoints was trained on."""
  from gen.config import Data
  from gen.data import corpus
  from gen.evaluation import held_out_sentences
  from gen.generation import loaded_model

  fraction, trained = Data().validation_fraction, list[str]()
  for folder in CHECKPOINTS.value:
    try:
      data = loaded_model.read_run(folder).data
    except UserError:  # of another project, whose text is not known
      _report(f"{folder} does not say what it was trained on; it may have met the sentences")
      continue
    fraction = min(fraction, data.validation_fraction)
    trained += corpus.build_corpus(data, _report).train
  return held_out_sentences.held_out_sentences(fraction, trained, WORDS.value)


def _asked(restored: Any, task: Any, ks: list[int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Returns a model's row of a task, and every question that it was asked."""
  from gen.evaluation import held_out_sentences

  curve = held_out_sentences.accuracy_curve(restored, task, ks, SEED.value, NORMALIZE.value)
  points = [{name: value for name, value in point._asdict().items() if name != "answers"} for point in curve]
  row = {
    "model": restored.where, "family": restored.model.family, "task": task.name, "chance": task.chance,
    "questions": len(task.items), "points": points,
    "beyond": {k: held_out_sentences.tokens_needed(restored, task, k, SEED.value) for k in ks[len(points) :]},
    "window": curve[0].answers[0].window,
  }  # fmt: skip
  said = [
    {"model": restored.where, "task": task.name, "k": point.k} | one._asdict()
    for point in curve
    for one in point.answers
  ]
  return row, said


def _write(sentences: int, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
  from gen import versions
  from gen.evaluation import few_shot_figure
  from gen.io import json_report

  workdir = Path(WORKDIR.value or f"{CHECKPOINTS.value[0].rstrip('/')}_few_shot")
  workdir.mkdir(parents=True, exist_ok=True)
  found = {"sentences": sentences, "rows": rows, "versions": versions.installed_versions()}
  (workdir / "few_shot.json").write_text(json.dumps(found, indent=1) + "\n")
  (workdir / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
  few_shot_figure.draw_accuracy(workdir, rows)
  print(f"{sentences:,} held-out sentences")
  for row in rows:
    print(f"\n{row['model']}, {row['task']}: {row['questions']} questions, chance {row['chance']:.2f}")
    for point in row["points"]:
      interval = f"{point['accuracy']:.3f} [{point['low']:.2f}, {point['high']:.2f}]"
      share = "" if point["share"] is None else f"examples take {point['share']:.0%} of the window"
      print(f"{point['k']:>4} examples  {interval:>20}  {share}")
    for k, tokens in row["beyond"].items():
      print(f"{k:>4} examples  need up to {tokens} tokens, and the window has {row['window']}")
  print(workdir / f"{few_shot_figure.NAME}.png, .pdf and .json; the prompts in answers.jsonl")
  json_report.write_report(found, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
