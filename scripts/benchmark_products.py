"""Measures products with kernels of fewer bits against float32, as decoding computes them, on one core.

    taskset -c 0 uv run scripts/benchmark_products.py --sizes=768x3072,2048x8192 --rows=1,2,8,32,256 --json=-

Weights are [out, in]. Activations of int8 are quantized for each row on the way. Each number is the median of rounds in
which all variants take turns, in seconds of processor time. `int8 not padded` is the product of integers of one row.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import json_report, outputs, quantities

SIZES = flags.DEFINE_list("sizes", ["768x3072", "2048x8192"], "Kernels, as INPUTSxOUTPUTS.")
ROWS = quantities.DEFINE_integers("rows", (1, 2, 8, 32, 256), "Rows of activations.", 1, 65_536)
ROUNDS = quantities.DEFINE_integer("rounds", 9, "Rounds.", lower_bound=1, upper_bound=10_000)
JSON = outputs.DEFINE_json()


def main() -> None:
  """Measures each size and prints a table of how many times as fast as float32 each variant is."""
  sizes = [read_size(word) for word in SIZES.value]
  target = json_report.report_target(JSON.value)
  results = [measure(rows, *size, ROUNDS.value) for size in sizes for rows in ROWS.value]
  json_report.write_report({"products": results}, target)
  print("| rows | inputs x outputs | float32, us | " + " | ".join(list(results[0]["seconds"])[1:]) + " |")
  for each in results:
    first, *others = each["seconds"].values()
    cells = [f"{first / seconds:.2f}" if seconds else "" for seconds in others]
    print(
      f"| {each['rows']} | {each['inputs']:,} x {each['outputs']:,} | {first * 1e6:,.0f} | {' | '.join(cells)} |"
    )


def read_size(word: str) -> tuple[int, int]:
  """Reads INPUTSxOUTPUTS.

  Raises:
    UserError: for another text, or a size below 1.
  """
  inputs, _, outputs_ = word.partition("x")
  if not (inputs.isdecimal() and outputs_.isdecimal() and int(inputs) and int(outputs_)):
    raise UserError(f"--sizes={word[:40]}: write INPUTSxOUTPUTS, as in 768x3072")
  return int(inputs), int(outputs_)


def measure(rows: int, inputs: int, outputs_: int, rounds: int) -> dict[str, Any]:
  """Returns the seconds of each variant of one product; None where it does not apply."""
  calls = variants(rows, inputs, outputs_)
  times: dict[str, list[float]] = {name: [] for name in calls}
  for call in calls.values():
    call()
  repeats = max(1, 10**9 // (rows * inputs * outputs_ * 10))  # some 5 ms a variant and round
  for _ in range(rounds):
    for name, call in calls.items():
      begun = time.process_time()
      for _ in range(repeats):
        call()
      times[name].append((time.process_time() - begun) / repeats)
  seconds = {name: statistics.median(values) for name, values in times.items()}
  names = ("float32", "int8", "int8 weights alone", "bfloat16", "int8 not padded")
  return {"rows": rows, "inputs": inputs, "outputs": outputs_, "seconds": {n: seconds.get(n) for n in names}}


def variants(rows: int, inputs: int, outputs_: int) -> dict[str, Callable[[], Any]]:
  """Returns the compiled products, each of which waits for its result."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from gen.kernels import quantized
  from gen.precision import quantized_array, quantizing
  from gen.precision.quantizing import WeightScheme

  draw = np.random.default_rng(0)
  weights_oi = draw.normal(size=(outputs_, inputs)).astype(np.float32)
  x_ni = jnp.asarray(draw.normal(size=(rows, inputs)).astype(np.float32))
  matrix = quantizing.quantize_matrix(weights_oi, WeightScheme("int8"))

  def stored(activations: str) -> quantized_array.QuantizedArray:
    return quantized_array.store_matrices(
      [matrix], (inputs, outputs_), format="int8", activations=activations, inputs_first=True, stacked=False
    )

  def float_product(x: Any, w: Any) -> Any:
    return jax.lax.dot_general(x, w, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)

  def integer_product(x: Any, w: Any) -> Any:
    levels, scales = quantized.quantize_rows(x)
    sums = jax.lax.dot_general(levels, w, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)
    return sums.astype(jnp.float32) * scales

  operands: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "float32": (float_product, x_ni, jnp.asarray(weights_oi)),
    "int8": (quantized.multiply_stored, x_ni, stored("int8")),
    "int8 weights alone": (quantized.multiply_stored, x_ni, stored("none")),
    "bfloat16": (float_product, x_ni.astype(jnp.bfloat16), jnp.asarray(weights_oi, jnp.bfloat16)),
  }
  if rows == 1:
    operands["int8 not padded"] = (integer_product, x_ni, stored("int8").values)

  def waiting(function: Callable[..., Any], x: Any, w: Any) -> Callable[[], Any]:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(x, w))

  return {name: waiting(*each) for name, each in operands.items()}


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
