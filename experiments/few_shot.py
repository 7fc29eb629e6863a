"""How much do examples in the prompt help a trained model? Questions about the first sentences of docstrings.

  uv run experiments/few_shot.py --checkpoint=runs/decoder
  uv run experiments/few_shot.py --checkpoint=runs/decoder --checkpoint=runs/encoder --tasks=kind --ks=0,8

Which package is a sentence from, does it describe a class or a function, how does it end? Takes checkpoints of any
family, runs of gen or Hugging Face folders. Decoders continue the prompt; encoders fill a blank at the answer. The
sentences come from files that no run is trained on, the examples from the other questions.
Writes few_shot.json, answers.jsonl (each prompt and its scores), .png and .pdf into the work folder.
"""

import json
from typing import TYPE_CHECKING

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.evaluation.few_shot_tasks.few_shot_report import FewShotRow

CHECKPOINTS = flags.DEFINE_multi_string(
  "checkpoint", [], "Folder of a run, or of a Hugging Face checkpoint; may be given several times."
)
TASKS = flags.DEFINE_list("tasks", ["package", "kind", "ending"], "Tasks to evaluate.")
KS = quantities.DEFINE_integers("ks", [0, 1, 2, 4, 8], "Numbers of examples in the prompt.", lower_bound=0)
QUESTIONS = quantities.DEFINE_integer("questions", 200, "Max questions of each task.", lower_bound=4)
WORDS = quantities.DEFINE_integer("words", 7, "Max words of a sentence.", lower_bound=4)
NORMALIZE = flags.DEFINE_enum(
  "normalize", "tokens", ("none", "tokens", "bytes"), "Divisor of a choice's log-probability."
)
SEED = shared_flags.define_seed("choice of questions and examples")
WORKDIR = shared_flags.define_workdir("Folder of the results; empty: the first checkpoint's, with _few_shot.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Evaluates each checkpoint on every task, and writes the results."""
  shared_flags.require_checkpoint("".join(CHECKPOINTS.value[:1]))
  ks = sorted(set(KS.value))
  from gen.evaluation.few_shot_tasks import few_shot_report, held_out_sentences
  from gen.generation import loaded_model

  unknown = [name for name in TASKS.value if name not in held_out_sentences.TASKS]
  if unknown or not TASKS.value:
    raise UserError(f"--tasks={','.join(TASKS.value)}: choose from {', '.join(held_out_sentences.TASKS)}")
  models = [loaded_model.load_model(folder, report=terminal.print_progress) for folder in CHECKPOINTS.value]
  sentences = few_shot_report.unseen_sentences(CHECKPOINTS.value, WORDS.value, terminal.print_progress)
  tasks = [held_out_sentences.make_task(name, sentences, QUESTIONS.value, SEED.value) for name in TASKS.value]
  rows, answers = [], []
  for restored in models:
    for task in tasks:
      row, questions = few_shot_report.evaluate_task(restored, task, ks, SEED.value, NORMALIZE.value)
      rows.append(row)
      answers += questions
  _write(len(sentences), rows, answers)
  return 0


def _write(sentences: int, rows: "list[FewShotRow]", answers: list[dict[str, object]]) -> None:
  from gen import versions
  from gen.evaluation.few_shot_tasks import few_shot_figure, few_shot_report
  from gen.io import json_report

  workdir = shared_flags.result_folder(WORKDIR.value, f"{CHECKPOINTS.value[0].rstrip('/')}_few_shot")
  results = {"sentences": sentences, "rows": rows, "versions": versions.installed_versions()}
  (workdir / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
  few_shot_figure.draw_accuracy(workdir, rows)
  print(f"{sentences:,} held-out sentences")
  print("\n".join(few_shot_report.report_lines(rows)))
  print(workdir / f"{few_shot_figure.NAME}.png, .pdf and .json; the prompts in answers.jsonl")
  target = json_report.report_target(JSON.value)
  json_report.write_results(results, workdir / "few_shot.json", target)


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
