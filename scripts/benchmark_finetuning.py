"""Measures an epoch of fine-tuning in few padded lengths, beside one in which all rows are padded to the longest.

    uv run scripts/benchmark_finetuning.py --start_from=FOLDER --data=wiki_topics --max_length=256 --long=truncate

FOLDER is a run or a Hugging Face checkpoint. The steps of each padded length are timed in turn, a few at a time, and an
epoch costs as many of each as it has. `scripts/benchmark_peers/compare.py --tuning` compares one step with PyTorch's.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

START = flags.DEFINE_string("start_from", "", "Folder of a run, or of a Hugging Face checkpoint.")
DATA = flags.DEFINE_string("data", "", "Labelled texts: a file, or the name of a set.")
BATCH = quantities.DEFINE_integer("batch", 32, "Rows of a step.", lower_bound=1, upper_bound=65_536)
MAX_LENGTH = quantities.DEFINE_integer(
  "max_length",
  0,
  "Most tokens of a row; 0 is the model's window, at most 512.",
  lower_bound=0,
  upper_bound=2**31 - 1,
)
LONG = flags.DEFINE_enum("long", "error", ("error", "truncate", "windows"), "What happens to longer texts.")
MAX_SHAPES = quantities.DEFINE_integer("max_shapes", 4, "Most padded lengths.", lower_bound=1, upper_bound=64)
STEPS = quantities.DEFINE_integer(
  "steps", 2, "Steps that are timed together.", lower_bound=1, upper_bound=10_000
)
ROUNDS = quantities.DEFINE_integer("rounds", 5, "Rounds of timing.", lower_bound=1, upper_bound=10_000)
JSON = outputs.DEFINE_file(
  "json",
  "",
  "Also write the numbers as JSON to this file, or only to - (standard output).",
  standard_output=True,
)


@dataclasses.dataclass(frozen=True)
class EpochCost:
  """What an epoch costs with some padded lengths.

  Attributes:
    lengths: the padded lengths.
    steps: batches of each length.
    padded_tokens: tokens with padding.
    cpu_seconds: of all steps, by the median of each length.
  """

  lengths: tuple[int, ...]
  steps: tuple[int, ...]
  padded_tokens: int
  cpu_seconds: float


def main() -> int:
  """Measures and reports."""
  for flag in (START, DATA):
    if not flag.value:
      raise UserError(f"--{flag.name} is missing; give a folder of a model, and labelled texts")
  from gen.finetuning import finetune, length_batches
  from gen.finetuning.settings import FinetuneSettings
  from gen.finetuning.task_model import open_task_model
  from gen.generation import loaded_model

  settings = FinetuneSettings(
    "classify",
    START.value,
    DATA.value,
    batch=BATCH.value,
    max_length=MAX_LENGTH.value,
    long=LONG.value,
    form="head",
  )
  settings.check()
  data = finetune.read_data(settings, terminal.print_progress)
  model = open_task_model(loaded_model.load_model(START.value), settings, data)
  rows = model.form.rows(data.train, "training")
  tokens = [row.length for row in rows]
  orders = [length_batches.LengthBatches(tokens, BATCH.value, 0, shapes) for shapes in (MAX_SHAPES.value, 1)]
  seconds = _time_lengths(model, rows, sorted({length for order in orders for length in order.lengths}))
  costs = [_epoch_cost(order, seconds) for order in orders]
  report = {
    "data": DATA.value,
    "batch": BATCH.value,
    "rows": len(rows),
    "tokens": sum(tokens),
    "cpu_seconds_per_step": seconds,
    "sorted": dataclasses.asdict(costs[0]),
    "longest": dataclasses.asdict(costs[1]),
    "ratio": costs[1].cpu_seconds / costs[0].cpu_seconds,
  }
  if JSON.value == "-":
    print(json.dumps(report, indent=1), file=outputs.json_stream())
    return 0
  if JSON.value:
    Path(JSON.value).write_text(json.dumps(report, indent=1) + "\n")
  for cost in costs:
    print(
      f"padded to {', '.join(map(str, cost.lengths))}: {sum(cost.steps):,} steps, {cost.padded_tokens:,} tokens for "
      f"{sum(tokens):,}, {cost.cpu_seconds:,.1f} CPU s an epoch"
    )
  print(f"{report['ratio']:.2f} times as fast")
  return 0


def _time_lengths(model: Any, rows: list[Any], lengths: list[int]) -> dict[int, float]:
  """Returns the median CPU seconds of a step of each padded length."""
  from gen.finetuning import tuning_step
  from gen.finetuning.task_forms import encoded_rows
  from gen.optimizers import schedule_params

  optimizer = model.settings.optimizer_config
  programs = tuning_step.tuning_programs(model.model, model.head, optimizer, None)
  trained, frozen = model.split()
  schedule = schedule_params(optimizer, 1000)
  state = programs.initialize(trained, 0)
  by_length = sorted(rows, key=lambda row: row.length)
  batches = []
  for length, shape in zip(
    lengths, encoded_rows.padded_shapes(rows, lengths, model.form.targets), strict=True
  ):
    fitting = [row for row in by_length if row.length <= length][-BATCH.value :]
    batches.append(encoded_rows.stack_rows(fitting, BATCH.value, shape))

  def run(batch: Any, count: int) -> float:
    nonlocal state
    begun = time.process_time()
    for _ in range(count):
      state, sums = programs.train(state, frozen, batch, schedule)
    float(sums.loss)
    return (time.process_time() - begun) / count

  return _measure_in_turn(run, dict(zip(lengths, batches, strict=True)))


def _measure_in_turn(run: Callable[[Any, int], float], batches: dict[int, Any]) -> dict[int, float]:
  """Returns the median over rounds of what `run` measures, after compiling each batch's shape."""
  measured: dict[int, list[float]] = {length: [] for length in batches}
  for batch in batches.values():
    run(batch, 1)
  for number in range(ROUNDS.value):
    terminal.print_progress(f"round {number + 1} of {ROUNDS.value}")
    for length, batch in batches.items():
      measured[length].append(run(batch, STEPS.value))
  return {length: statistics.median(each) for length, each in measured.items()}


def _epoch_cost(order: Any, seconds: dict[int, float]) -> EpochCost:
  """Returns the cost of an epoch from that of a step of each length."""
  buckets = [order.at(step)[1] for step in range(order.steps_per_epoch)]
  steps = tuple(buckets.count(bucket) for bucket in range(len(order.lengths)))
  total = sum(count * seconds[length] for count, length in zip(steps, order.lengths, strict=True))
  return EpochCost(order.lengths, steps, order.padded_tokens, total)


if __name__ == "__main__":
  launch.run_experiment(main)
