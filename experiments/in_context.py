"""Does a model learn from the examples in its prompt, and when is it better to fine-tune?

  uv run experiments/in_context.py
  uv run experiments/in_context.py --families=decoder --widths=32,64,128 --recurrent=gru --workdir=runs/in_context_gru

Trains decoders, encoders and encoder-decoders of some widths, and a recurrent model as large as the largest decoder.
The data are sequences of words and labels, each with a new mapping, so only the context determines the label. Each
model is then evaluated with k examples in its prompt, of mappings of the trained kind (by the letter) and of a new kind
(by the digit). For comparison the same model is fine-tuned on k examples.
Writes in_context.json, answers.jsonl (each prompt and its scores), .png and .pdf into the work folder.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch, shared_flags, terminal
from gen.config import RECURRENT, TRANSFORMERS, Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.finetuning.in_context_learning.in_context_study import InContextRow

WORKDIR = shared_flags.define_workdir("Folder of the results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
FAMILIES = flags.DEFINE_list(
  "families", ["decoder", "encoder", "encoder_decoder"], "Families of transformers to train."
)
WIDTHS = quantities.DEFINE_integers("widths", [32, 64], "Widths of each family.", lower_bound=1)
FAMILY = flags.DEFINE_enum("recurrent", "lstm", ("none", *RECURRENT), "Family of the recurrent model.")
RATE_POWER = quantities.DEFINE_float(
  "rate_power",
  1.0,
  "A transformer's peak learning rate is the config's times (its width / width)^rate_power.",
  -10,
  10,
)
RECURRENT_RATE = quantities.DEFINE_float(
  "recurrent_rate", 5e-3, "The recurrent model's peak learning rate.", lower_bound=0
)
LETTERS = quantities.DEFINE_integer("letters", 4, "Number of letters, and of labels.", 1, 26)
PAIRS = quantities.DEFINE_integer(
  "pairs", 12, "Pairs of a training sequence; they fill the context window.", 1, 100_000
)
KS = quantities.DEFINE_integers("ks", [0, 1, 2, 4, 8], "Numbers of examples in the prompt.", lower_bound=0)
TUNED = quantities.DEFINE_integers(
  "tuned", [1, 2, 4, 8, 32], "Numbers of examples to fine-tune on.", lower_bound=1
)
QUESTIONS = quantities.DEFINE_integer(
  "questions", 200, "Questions per number of examples, each with its own mapping.", lower_bound=2
)
MAPPINGS = quantities.DEFINE_integer("mappings", 6, "Mappings to fine-tune on.", lower_bound=1)
RATE = quantities.DEFINE_float("tuning_rate", 3e-3, "Learning rate of fine-tuning.", lower_bound=0)


def main(run: Run) -> int:
  """Trains and evaluates each model, and writes the results."""
  validation.check_run(run)
  validation.require_one_device(run)
  if run.model.family != "decoder" or not run.steps:
    raise UserError("the config must have model.family decoder, and steps above 0")
  if unknown := [name for name in FAMILIES.value if name not in TRANSFORMERS]:
    raise UserError(
      f"--families: {unknown[0]!r} is not a transformer family; choose from {', '.join(TRANSFORMERS)}"
    )
  widths, ks, tuned = (sorted(set(flag.value)) for flag in (WIDTHS, KS, TUNED))
  from gen.data import cache
  from gen.evaluation.synthetic.label_mapping_task import LabelMappingTask
  from gen.finetuning.in_context_learning import in_context_study

  task = LabelMappingTask(LETTERS.value, PAIRS.value)
  if max(ks) >= task.pairs:
    raise UserError(
      f"--ks={max(ks)} examples and a question do not fit into --pairs={task.pairs}; give fewer examples"
    )
  if max(tuned) >= len(task.words):
    raise UserError(
      f"--tuned={max(tuned)} leaves no word for the question: there are {len(task.words)}; give fewer"
    )
  workdir = shared_flags.result_folder(WORKDIR.value, f"runs/{run.name}")
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  rows, answers = [], []
  settings = in_context_study.TuningSettings(ks, tuned, QUESTIONS.value, MAPPINGS.value, RATE.value)
  for variant in in_context_study.make_runs(
    run, FAMILIES.value, widths, FAMILY.value, RECURRENT_RATE.value, RATE_POWER.value, task
  ):
    row, questions = in_context_study.evaluate_model(variant, task, settings, terminal.print_progress)
    rows.append(row)
    answers += questions
  _write(workdir, task, rows, answers)
  return 0


def _write(workdir: Path, task: Any, rows: "list[InContextRow]", answers: list[dict[str, object]]) -> None:
  from gen import versions
  from gen.finetuning.in_context_learning import in_context_figure, in_context_study
  from gen.io import json_report

  best = {k["k"]: task.best(k["k"]) for k in rows[0]["kinds"]["letter"]["in_context"]}
  results = {"models": rows, "best": best, "versions": versions.installed_versions()}
  (workdir / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
  in_context_figure.draw_accuracy(workdir, rows, best)
  print("\n".join(in_context_study.report_lines(rows, in_context_figure.TITLES)))
  print(workdir / f"{in_context_figure.NAME}.png, .pdf and .json; the prompts in answers.jsonl")
  target = json_report.report_target(JSON.value)
  json_report.write_results(results, workdir / "in_context.json", target)


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/in_context.py")
