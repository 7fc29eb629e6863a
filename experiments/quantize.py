"""What do fewer bits cost a trained model, and how much smaller does it become?

  uv run experiments/quantize.py --checkpoint=runs/decoder --weights=int8 --output=runs/decoder-int8
  uv run experiments/quantize.py --checkpoint=runs/decoder --weights=int4 --scheme=group:32,gptq --json=-

It prints bytes and error of each kernel, then loss, bits per byte and agreement of greedy texts before and after, with
paired bootstrap intervals. --output is a run that experiments/generate.py and the evaluations open. --scheme has words
separated by commas: symmetric or affine; tensor, channel or group[:N]; absmax, percentile[:P] or mse; round, gptq or
gptq:act_order; for int8 activations dynamic or static[:P], and smooth[:A].
"""

from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.evaluation import paired_task_flags
from gen.io import outputs, quantities
from gen.quantization import scheme_flags

CHECKPOINT = shared_flags.define_checkpoint("Folder of a run (the --workdir of experiments/pretrain.py).")
STEP = shared_flags.define_step()
scheme_flags.define_flags()
TEXT = flags.DEFINE_string(
  "text", "", "File of held-out text; empty: the validation side of the run's corpus."
)
CALIBRATION = flags.DEFINE_string(
  "calibration", "", "File of calibration text; empty: the training side, or the first half of --text."
)
ROWS = quantities.DEFINE_integer("rows", 128, "Rows of calibration text, at most.", 1, 1_000_000)
PROMPTS = quantities.DEFINE_integer(
  "prompts", 32, "Rows whose greedy texts are compared; 0: none.", 0, 65_536
)
NEW = quantities.DEFINE_integer("new", 32, "Tokens of each greedy text.", lower_bound=1, upper_bound=65_536)
COMPARE = flags.DEFINE_boolean("compare", True, "Compare losses and greedy texts before and after.")
paired_task_flags.define_flags()
SEED = shared_flags.define_seed("bootstrap")
OUTPUT = outputs.DEFINE_folder("output", "", "Folder of the quantized run; empty: none is written.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Quantizes, compares and writes."""
  shared_flags.require_checkpoint(CHECKPOINT.value)
  paired_task_flags.require_output(OUTPUT.value)
  scheme = scheme_flags.scheme_from_flags()
  from gen.generation import loaded_model
  from gen.io import json_report, typed_json
  from gen.quantization import model_quantization, quantization_report, quantization_text, quantized_run
  from gen.training.checkpointing import quantized_checkpoints
  from gen.training.checkpointing.checkpoints import Checkpoints
  from gen.training.run_folders.run_folder import CHECKPOINTS

  target = json_report.report_target(JSON.value)
  source, output = Path(CHECKPOINT.value), Path(OUTPUT.value) if OUTPUT.value else None
  run = loaded_model.read_run(source)
  if output:
    quantized_run.check_output(output)
  with Checkpoints(source / CHECKPOINTS) as checkpoints:
    steps = checkpoints.steps()
    meta = checkpoints.meta(steps[-1] if STEP.value is None and steps else STEP.value or 0)
  quantized_checkpoints.refuse_quantized(meta, "quantized again", str(source))
  loaded = loaded_model.load_model(source, STEP.value, None, terminal.print_progress)
  text = None
  if COMPARE.value or scheme.needs_calibration:
    text = quantization_text.open_text(
      run, loaded.tokenizer, TEXT.value, CALIBRATION.value, has_corpus="imported" not in meta and "head" not in meta,
      report=terminal.print_progress,
    )  # fmt: skip
  statistics = _calibrate(scheme, run, loaded, text) if scheme.needs_calibration else None
  made = model_quantization.quantize_model(
    loaded.params, run.model, scheme, statistics, quantization_report.print_kernels(print)
  )
  compared, agreement = _compare(run, loaded, made, text) if COMPARE.value else (None, None)
  report = quantization_report.build_report(scheme, made, compared, agreement)
  print("\n".join(quantization_report.summary_lines(report)))
  if output:
    changed = quantized_run.with_cache(run, flags.FLAGS.cache)
    words = quantization_report.scheme_words(scheme)
    quantized_run.save_quantized(source, output, changed, int(meta["step"]), made.params, meta, words)
    terminal.print_progress(f"wrote {output}")
  tasks = paired_task_flags.score_folders(source, OUTPUT.value, SEED.value)
  where = {"checkpoint": str(source), "output": OUTPUT.value or None}
  json_report.write_report({**where, **typed_json.encode_record(report), "tasks": tasks}, target)
  return 0


def _calibrate(scheme: Any, run: Any, loaded: Any, text: Any) -> Any:
  """Returns the statistics of calibration text."""
  from gen.quantization import calibration, quantization_text

  terminal.print_progress(f"calibrating on up to {ROWS.value} rows of text")
  rows = quantization_text.calibration_batches(run, text.calibration, ROWS.value)
  return calibration.observe_inputs(loaded.params, run.model, rows, hessians=scheme.method == "gptq")


def _compare(run: Any, loaded: Any, made: Any, text: Any) -> tuple[Any, Any]:
  """Returns the comparison of losses, and of greedy texts or None."""
  from gen.quantization import comparison, quantization_text, quantized_run

  held_out = quantization_text.comparison_batches(run, text.held_out)
  after = quantized_run.with_cache(run, flags.FLAGS.cache).model
  pair = comparison.ModelPair(run.model, after, loaded.params, made.params)
  compared = comparison.compare_losses(pair, held_out, SEED.value)
  if not PROMPTS.value:
    return compared, None
  return compared, comparison.compare_greedy(
    pair, held_out.batches, prompts=PROMPTS.value, new=NEW.value, seed=SEED.value
  )


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
