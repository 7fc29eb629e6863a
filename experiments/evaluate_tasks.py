"""How does a model score on the field's tasks? Those of lm-evaluation-harness, or one's own in its format.

  uv run --extra harness experiments/evaluate_tasks.py --checkpoint=runs/decoder --tasks=arc_easy,hellaswag
  uv run --extra harness experiments/evaluate_tasks.py --checkpoint=FOLDER --tasks=mine --include_path=FOLDER --json=-

The checkpoint is a run's folder or a Hugging Face directory, of a decoder or a recurrent model. The harness's own
command line knows the same model: uv run --extra harness python -m gen.evaluation.harness run --model gen ...
"""

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Folder of a run, or of a Hugging Face checkpoint.")
STEP = quantities.DEFINE_integer(
  "step", None, "Step of a run's checkpoint; by default the latest.", lower_bound=0
)
TOKENIZER = flags.DEFINE_string("tokenizer", "", "Folder of the model's tokenizer, if it is another.")
TASKS = flags.DEFINE_list("tasks", [], "Names, or patterns, of tasks and groups.")
INCLUDE_PATH = flags.DEFINE_string("include_path", "", "Folder with YAML files of more tasks.")
SHOTS = quantities.DEFINE_integer(
  "num_fewshot", None, "Examples before each question; by default the task's.", lower_bound=0
)
LIMIT = quantities.DEFINE_integer("limit", None, "Maximum number of questions of each task.", lower_bound=1)
BATCH = flags.DEFINE_string("batch_size", "auto", "Rows of a batch.")
MAX_LENGTH = quantities.DEFINE_integer(
  "max_length", None, "Maximum tokens of a row; by default the context window.", lower_bound=1
)
MAX_NEW = quantities.DEFINE_integer(
  "max_gen_toks", 256, "Maximum new tokens where the task sets none.", lower_bound=1, upper_bound=1_000_000
)
SEED = quantities.DEFINE_integer(
  "seed",
  1234,
  "Random seed of the examples' choice and of sampled texts.",
  lower_bound=0,
  upper_bound=2**32 - 1,
)
SAMPLES = flags.DEFINE_bool("log_samples", False, "Keep every question with its exact prompts in the JSON.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Evaluates, and prints or writes the scores."""
  if not CHECKPOINT.value:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  if not TASKS.value:
    raise UserError("--tasks=NAME,... is missing; lm_eval ls tasks lists the harness's own")
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  if SAMPLES.value and target is None:
    raise UserError("--log_samples keeps questions in the JSON; name the file with --json=FILE")
  from gen.evaluation import harness, harness_tasks

  model = harness.language_model()(
    CHECKPOINT.value, step=STEP.value, tokenizer=TOKENIZER.value or None, batch_size=BATCH.value,
    max_length=MAX_LENGTH.value, max_gen_toks=MAX_NEW.value, seed=SEED.value,
  )  # fmt: skip
  report = harness_tasks.evaluate_tasks(
    model, TASKS.value, include_path=INCLUDE_PATH.value or None, shots=SHOTS.value, limit=LIMIT.value,
    seed=SEED.value, log_samples=SAMPLES.value,
  )  # fmt: skip
  print("\n".join(harness_tasks.report_lines(report)))
  json_report.write_report(report, target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
