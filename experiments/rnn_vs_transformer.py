"""Why did the transformer replace the RNN? Loss against the words in sight, time and memory against the text's length.

  uv run experiments/rnn_vs_transformer.py
  uv run experiments/rnn_vs_transformer.py --recurrent=gru --workdir=runs/gru_vs_transformer

Trains the config's transformer and a recurrent model with as many parameters on the same tokens. Evaluates both at the
same targets with the last 1, 2, 4, ... 64 words in sight, and measures time and memory for texts of 64 to 4096 tokens.
Writes rnn_vs_transformer.json, .png and .pdf into the work folder. After an interruption the same command resumes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch, shared_flags, terminal
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.evaluation.context_length.loss_by_context import ComparedModel
  from gen.training.run_log.rows import RunResult

WORKDIR = shared_flags.define_workdir("Folder of runs and results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
RECURRENT = flags.DEFINE_enum("recurrent", "lstm", ("rnn", "lstm", "gru"), "Family of the recurrent model.")
RATE = quantities.DEFINE_float(
  "recurrent_rate", 0.0, "Peak learning rate of the recurrent model; 0: the transformer's.", lower_bound=0
)
WORDS = quantities.DEFINE_integers(
  "words", [1, 2, 4, 8, 16, 32, 64], "Numbers of words in sight.", lower_bound=1
)
LENGTHS = quantities.DEFINE_integers(
  "lengths", [64, 256, 1024, 4096], "Lengths in tokens of the texts that are timed.", lower_bound=1
)
TARGETS = quantities.DEFINE_integer("targets", 4096, "Targets at which both are evaluated.", lower_bound=2)


def main(run: Run) -> int:
  """Trains both models, evaluates and times them, and writes the results."""
  validation.check_run(run)
  if run.model.family != "decoder":
    raise UserError(f"config.model.family is {run.model.family}; this experiment needs a decoder")
  words, lengths = (sorted(set(flag.value)) for flag in (WORDS, LENGTHS))
  from gen.data import cache, dataset
  from gen.evaluation.context_length import loss_by_context, loss_by_context_report
  from gen.sharding import layouts
  from gen.training import compute_dtype, loop
  from gen.training.hooks import Interruptible, RunStopped

  layouts.layout_of_run(run)  # raises the error about missing devices before the corpus is built
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  compute_dtype.set_dtype(run, workdir / run.model.family, terminal.print_progress)
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  data = dataset.load_dataset(run.data, terminal.print_progress)
  run = loop.complete_run(run, data)
  windows = loss_by_context.draw_windows(data.validation, words, run.data.length, TARGETS.value)
  rows = []
  hooks = Interruptible(terminal.print_progress)
  for each in (run, loss_by_context.recurrent_run(run, RECURRENT.value, RATE.value)):
    try:
      result, params = _trained(each, workdir / each.model.family, data, hooks)
    except RunStopped as stopped:
      terminal.print_progress(f"{stopped}; the same command resumes")
      return launch.INTERRUPTED
    points = loss_by_context.loss_curve(each.model, params, words, windows)
    costs = [loss_by_context.measure_cost(each.model, length) for length in lengths]
    rows.append(loss_by_context_report.report_model(result, points, costs))
  _write(workdir, rows)
  return 0


def _trained(run: Run, folder: Path, data: Any, hooks: Any) -> tuple["RunResult", Any]:
  """Returns the result row and the parameters of a run, trained if it is not yet."""
  import numpy as np

  from gen.training import compiled_step, loop
  from gen.training.checkpointing.checkpoints import Checkpoints

  terminal.print_progress(f"{run.model.family}: {loop.count_steps(run):,} steps in {folder}")
  result = loop.train_run(run, folder, data, hooks)
  template = compiled_step.step_programs(run.model, run.optimizer).initialize(np.uint32(0))
  with Checkpoints(folder / "checkpoints") as checkpoints:
    return result, checkpoints.restore(template)[0].params


def _write(workdir: Path, rows: "list[ComparedModel]") -> None:
  from gen import versions
  from gen.evaluation.context_length import loss_by_context_figure, loss_by_context_report
  from gen.io import json_report, typed_json

  values = {"models": typed_json.encode_value(rows), "versions": versions.installed_versions()}
  try:
    results = json_report.write_sealed(values, workdir / "rnn_vs_transformer.json")
    loss_by_context_figure.draw_comparison(workdir, rows)
  except OSError as error:
    raise UserError(f"cannot write in {workdir}: {error.strerror}; both runs are done and saved") from error
  print("\n".join(loss_by_context_report.report_lines(rows)))
  print(f"{workdir / loss_by_context_figure.NAME}.png, .pdf and .json")
  json_report.write_report(results, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/rnn_vs_transformer.py")
