"""Why did the transformer replace the RNN? Loss against the words in sight, time and memory against the text's length.

  uv run experiments/rnn_vs_transformer.py
  uv run experiments/rnn_vs_transformer.py --recurrent=gru --workdir=runs/gru_vs_transformer

Trains the config's transformer and a recurrent model of as many parameters on the same tokens, judges both at the same
targets with the latest 1, 2, 4, ... 64 words in sight, and measures what a text of 64 ... 4096 tokens costs each.
Writes rnn_vs_transformer.json, .png and .pdf into the work folder; stop it whenever you like: the same command goes on.
"""

import copy
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import environment, launch
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities, strict_json

if TYPE_CHECKING:
  from gen.training.rows import RunResult

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of runs and results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
RECURRENT = flags.DEFINE_enum("recurrent", "lstm", ("rnn", "lstm", "gru"), "Family of the recurrent model.")
RATE = quantities.DEFINE_float(
  "recurrent_rate", 0.0, "Its peak learning rate; 0: the transformer's.", lower_bound=0
)
WORDS = quantities.DEFINE_integers(
  "words", [1, 2, 4, 8, 16, 32, 64], "Numbers of words in sight.", lower_bound=1
)
LENGTHS = quantities.DEFINE_integers(
  "lengths", [64, 256, 1024, 4096], "Tokens of the texts that are timed.", lower_bound=1
)
TARGETS = quantities.DEFINE_integer("targets", 4096, "Targets that both are judged at.", lower_bound=2)


def main(run: Run) -> int:
  """Trains both models, judges and measures them, and writes everything down."""
  validation.check_run(run)
  if run.model.family != "decoder":
    raise UserError(f"the config's model is to be a decoder, and model.family is {run.model.family}")
  words, lengths = (sorted(set(flag.value)) for flag in (WORDS, LENGTHS))
  from gen.data import cache, dataset
  from gen.evaluation import loss_by_context
  from gen.sharding import layouts
  from gen.training import loop
  from gen.training.hooks import Interruptible, RunStopped

  layouts.layout_of_run(run)  # or says that there are other devices, before anything is built
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  data = dataset.load_dataset(run.data, lambda line: print(line, file=sys.stderr))
  run = loop.complete_run(run, data)
  seen = loss_by_context.draw_windows(data.validation, words, run.data.length, TARGETS.value)
  rows = []
  hooks = Interruptible(lambda line: print(line, file=sys.stderr))
  for each in (run, _recurrent(run)):
    try:
      result, params = _trained(each, workdir / each.model.family, data, hooks)
    except RunStopped as stopped:
      print(f"{stopped}; the same command goes on", file=sys.stderr)
      return launch.INTERRUPTED
    points = loss_by_context.loss_curve(each.model, params, words, seen)
    costs = [loss_by_context.measure_cost(each.model, length)._asdict() for length in lengths]
    rows.append(
      _row(result, [point._asdict() for point in points], loss_by_context.useful_context(points), costs)
    )
  _write(workdir, rows)
  return 0


def _recurrent(run: Run) -> Run:
  """Returns the run of the recurrent model: as many parameters, the same tokens in the same order."""
  from gen.evaluation import loss_by_context

  other = copy.deepcopy(run)
  other.model = loss_by_context.of_equal_size(run.model, RECURRENT.value)
  other.optimizer.peak_learning_rate = RATE.value or run.optimizer.peak_learning_rate
  return other


def _trained(run: Run, folder: Path, data: Any, hooks: Any) -> tuple["RunResult", Any]:
  """Returns the result row and the parameters of a run, trained if it is not yet."""
  import numpy as np

  from gen.training import loop, step
  from gen.training.checkpoints import Checkpoints

  print(f"{run.model.family}: {loop.count_steps(run):,} steps in {folder}", file=sys.stderr)
  result = loop.train_run(run, folder, data, hooks)
  template = step.step_programs(run.model, run.optimizer).initialize(np.uint32(0))
  with Checkpoints(folder / "checkpoints") as checkpoints:
    return result, checkpoints.restore(template)[0].params


def _row(
  result: "RunResult", curve: list[dict[str, Any]], reach: int, costs: list[dict[str, Any]]
) -> dict[str, Any]:
  names = ("family", "width", "depth", "params", "params_total", "tokens", "flops", "loss", "seconds")
  rest = {"learning_rate": result.learning_rate, "reach": reach, "by_words": curve, "by_length": costs}
  return {name: getattr(result, name) for name in names} | rest


def _write(workdir: Path, rows: list[dict[str, Any]]) -> None:
  from gen import versions
  from gen.evaluation import loss_by_context_figure
  from gen.io import formats, json_report, seals
  from gen.io.checksums import write_atomically

  values: dict[str, Any] = {"models": rows, "versions": versions.installed_versions()}
  plain = json.loads(strict_json.encode_json(formats.with_format(values, formats.RESULTS)))
  found = seals.with_seal(plain)
  try:
    write_atomically(workdir / "rnn_vs_transformer.json", json.dumps(found, indent=1).encode() + b"\n")
    loss_by_context_figure.draw_comparison(workdir, rows)
  except OSError as error:
    raise UserError(f"cannot write in {workdir}: {error.strerror}; both runs are done and saved") from error
  one, other = rows
  names = [loss_by_context_figure.name_of(row["family"]) for row in rows]
  for name, row in zip(names, rows, strict=True):
    print(
      f"{name}: {row['params_total']:,} parameters, {row['tokens']:,} tokens, rate {row['learning_rate']:g}, "
      f"validation loss {row['loss']:.3f}, {row['seconds']:.0f} s in steps"
    )
  print(
    f"\n{'words in sight':>15}  {names[0]:>20}  {names[1]:>20}   nats per token (gain since the row above)"
  )
  for a, b in zip(one["by_words"], other["by_words"], strict=True):
    print(f"{a['words']:>15}  {_loss(a):>20}  {_loss(b):>20}")
  print(f"\n{'tokens of text':>15}  {names[0]:>20}  {names[1]:>20}   µs per token, bytes kept to go on")
  for a, b in zip(one["by_length"], other["by_length"], strict=True):
    cells = [f"{c['seconds_per_token'] * 1e6:>8.1f} {c['remembered_bytes']:>11,}" for c in (a, b)]
    print(f"{a['length']:>15}  {cells[0]}  {cells[1]}")
  print(f"\n{_verdict(names, rows)}\n{workdir / loss_by_context_figure.NAME}.png, .pdf and .json")
  json_report.write_report(found, json_report.report_target(JSON.value))


def _loss(point: dict[str, Any]) -> str:
  gain = "" if point["gain"] is None else f" ({point['gain']:+.3f} ± {point['gain_error']:.3f})"
  return f"{point['loss']:.3f}{gain}"


def _verdict(names: list[str], rows: list[dict[str, Any]]) -> str:
  """Returns the verdict on the claim that the transformer makes better use of distant words."""
  most = rows[0]["by_words"][-1]["words"]
  reaches = [f"{name} up to {row['reach']}" for name, row in zip(names, rows, strict=True)]
  gap = rows[1]["by_words"][-1]["loss"] - rows[0]["by_words"][-1]["loss"]
  which = "below" if gap > 0 else "above"
  return (
    f"Words that still take more off the loss than twice their gain's error: {', '.join(reaches)}.\n"
    f"With {most} in sight the {names[0]} is {abs(gap):.3f} nats {which} the {names[1]}."
  )


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/rnn_vs_transformer.py")
