"""Counts the files and functions of `gen` that one training step of a plain decoder passes through.

  uv run scripts/count_step_files.py
  uv run scripts/count_step_files.py --family=encoder_decoder

The step is the trainer's own program, traced, compiled and run once; `sys.setprofile` notes each call of Python. A
reader who follows the step opens these files and no others.
"""

import argparse
import collections
import os
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp

import gen
from gen.batch import Batch
from gen.config import TRANSFORMERS, Model, Optimizer
from gen.optimizers import schedule_params
from gen.training import compiled_step

ROOT = str(Path(gen.__file__).parent) + os.sep
# The first stores programs that were long to compile; the second listens to jax, once any code of the process has
# asked it to.
NO_PART_OF_A_STEP = ("io/compiled_programs.py", "cli/compile_clock.py")


def functions_by_file(model: Model, rows: int = 2, length: int = 129) -> dict[str, set[str]]:
  """Returns the functions of each file of `gen` that are called while one step is traced and run.

  Args:
    model: shape of what is trained.
    rows: of its one batch.
    length: tokens of a row. More than 128 of them go in blocks, and would go through a chip's attention kernel.
  """
  optimizer = Optimizer()
  programs = compiled_step.step_programs(model, optimizer)
  ids_kbt = jnp.ones((1, rows, length), jnp.int32)
  places_kbt = jnp.broadcast_to(jnp.arange(length), ids_kbt.shape)
  source = (ids_kbt, ids_kbt, places_kbt) if model.family == "encoder_decoder" else ()
  batches = Batch(ids_kbt, ids_kbt, jnp.ones(ids_kbt.shape), ids_kbt, places_kbt, *source)
  state, schedule = programs.initialize(0), schedule_params(optimizer, 1)
  calls: dict[str, set[str]] = collections.defaultdict(set)

  def note(frame: types.FrameType, event: str, argument: object) -> None:
    del argument
    file = frame.f_code.co_filename
    path = file.removeprefix(ROOT)
    if event == "call" and path != file and path not in NO_PART_OF_A_STEP:
      calls[path].add(frame.f_code.co_qualname)

  sys.setprofile(note)
  try:
    jax.block_until_ready(programs.train(state, batches, jnp.int32(1), schedule))
  finally:
    sys.setprofile(None)
  return dict(calls)


def main() -> None:
  """Prints each file with its functions, and both numbers."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument(
    "--family", default="decoder", choices=TRANSFORMERS, help="of the model that is trained"
  )
  model = Model(family=parser.parse_args().family, vocab=64, width=32, depth=1, head_width=16)
  calls = functions_by_file(model)
  for path in sorted(calls):
    print(f"gen/{path}: {', '.join(sorted(calls[path]))}")
  print(f"{len(calls)} files, {sum(map(len, calls.values()))} functions")


if __name__ == "__main__":
  main()
