"""Measures one training step (forward, backward, clip, AdamW) as the trainer runs it, on random text.

    uv run scripts/benchmark_step.py --width=128 --depth=4 --heads=4 --length=128 --batch=16 --vocab=4096 \
      --family=decoder --steps=12 --threads=1 --json=-

The decoder is a GPT-2 without biases, the encoder a BERT, the encoder-decoder a T5; --set changes any field of
`gen.config.Model`, as in --set=positions=rotary,tied=False. What each number means:
`gen.costs.step_benchmark.measure_step`.
Half a minute, most of it compilation, which a second call finds in the cache.
"""

import ast
import json
import os
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import environment, launch
from gen.config import FAMILIES, Data, Model, Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

FAMILY = flags.DEFINE_enum("family", "decoder", FAMILIES, "Family of the model.")
WIDTH = quantities.DEFINE_integer(
  "width", 128, "Width of the residual stream.", lower_bound=1, upper_bound=1_048_576
)
DEPTH = quantities.DEFINE_integer(
  "depth", 4, "Layers; of both stacks in an encoder-decoder.", lower_bound=1, upper_bound=10_000
)
HEADS = quantities.DEFINE_integer(
  "heads", 0, "Attention heads; 0 makes them 32 wide.", lower_bound=0, upper_bound=1_048_576
)
LENGTH = quantities.DEFINE_integer(
  "length", 128, "Tokens of a row; of the source in an encoder-decoder.", lower_bound=1, upper_bound=2**31 - 1
)
BATCH = quantities.DEFINE_integer("batch", 16, "Rows of a step.", lower_bound=1, upper_bound=1_048_576)
VOCAB = quantities.DEFINE_integer("vocab", 4096, "Ids.", lower_bound=1, upper_bound=2**31 - 1)
STEPS = quantities.DEFINE_integer("steps", 12, "Steps that are timed.", lower_bound=1, upper_bound=1_000_000)
THREADS = quantities.DEFINE_integer(
  "threads", 0, "Cores to run on; 0 is all.", lower_bound=0, upper_bound=4_096
)
SET = flags.DEFINE_list("set", [], "Other fields of the model, as NAME=VALUE,NAME=VALUE.")
CACHE = flags.DEFINE_string("cache", "", "Folder of compiled programs; by default the trainer's.")
JSON = outputs.DEFINE_file(
  "json",
  "",
  "Also write the numbers as JSON to this file, or only to - (standard output).",
  standard_output=True,
)


def run_of_flags() -> Run:
  """Returns the run that the flags describe.

  Raises:
    UserError: for invalid flags.
  """
  for flag in (WIDTH, DEPTH, LENGTH, BATCH, VOCAB, STEPS):
    if flag.value < 1:
      raise UserError(f"--{flag.name} is {flag.value}; it must be greater than 0")
  heads = HEADS.value or max(1, WIDTH.value // 32)
  if heads < 0 or WIDTH.value % heads:
    raise UserError(f"--width={WIDTH.value} is not a multiple of --heads={heads}")
  sizes: dict[str, Any] = {
    "width": WIDTH.value,
    "depth": DEPTH.value,
    "heads": heads,
    "head_width": WIDTH.value // heads,
    "vocab": VOCAB.value,
    "context": LENGTH.value,
  }
  sizes |= dict(map(field, SET.value))
  from gen.costs import step_benchmark  # Imports jax, so mistakes above are reported first.

  model = step_benchmark.benchmark_model(FAMILY.value, **sizes)
  objective = step_benchmark.OBJECTIVES.get(model.family, "causal")
  data = Data(length=LENGTH.value, batch=BATCH.value, objective=objective, cache=CACHE.value)
  # Four dispatches or more, of as many steps as the trainer's at most.
  dispatch = min(Run().steps_per_dispatch, max(1, STEPS.value // 4))
  run = Run(model=model, data=data, steps=STEPS.value + 2, steps_per_dispatch=dispatch)
  validation.check_run(run)
  return run


def field(word: str) -> tuple[str, Any]:
  """Reads NAME=VALUE.

  Raises:
    UserError: for a name that is no field of the model, or a value of another type.
  """
  name, _, text = word.partition("=")
  if name not in Model.__dataclass_fields__:
    raise UserError(f"--set={word}: a model has no field {name!r}; see gen.config.Model")
  kind = type(getattr(Model(), name))
  if issubclass(kind, str):
    return name, text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = None
  if type(value) is not kind and not (kind is float and type(value) is int):
    raise UserError(f"--set={word}: the value must be of type {kind.__name__}")
  return name, value


def take_cores(count: int) -> None:
  """Limits this process's cores and XLA's threads; must run before jax is imported.

  Raises:
    UserError: if there are fewer.
  """
  if not count:
    return
  if not hasattr(os, "sched_setaffinity"):
    if count == 1:
      os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    return
  allowed = sorted(os.sched_getaffinity(0))
  if not 0 < count <= len(allowed):
    raise UserError(f"--threads={count}: this process may use {len(allowed)} cores")
  os.sched_setaffinity(0, set(allowed[-count:]))


def main() -> None:
  """Measures and reports."""
  take_cores(THREADS.value)
  run = run_of_flags()
  if JSON.value and not Path(JSON.value).parent.is_dir():
    raise UserError(f"--json={JSON.value}: the folder does not exist")
  from gen.costs import step_benchmark
  from gen.data import cache

  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  measured = step_benchmark.measure_step(run, STEPS.value)
  text = json.dumps(measured, indent=1)
  if JSON.value == "-":
    print(text, file=outputs.json_stream())
    return
  if JSON.value:
    Path(JSON.value).write_text(text + "\n")
  print(
    f"{measured['tokens_per_second']:,.0f} tokens/s, {measured['tokens_per_cpu_second']:,.0f} a CPU second; "
    f"{measured['cpu_seconds_per_step'] * 1e3:.1f} CPU ms a step"
    f" and {measured['input_cpu_seconds_per_step'] * 1e3:.1f} to make its batch\n"
    f"{measured['gflops']:.1f} of {measured['matmul_gflops']:.1f} GFLOP/s: utilization {measured['utilization']:.2f}\n"
    f"first step after {measured['first_step_seconds']:.1f} s; {measured['peak_bytes'] / 2**20:.1f} MiB"
  )


if __name__ == "__main__":
  launch.run_experiment(main)
