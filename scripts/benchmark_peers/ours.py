"""Steps of `gen`, as `scripts/benchmark_step.py` runs them, or of a fine-tuning, for `compare.py`."""

import dataclasses
import time
from typing import Any

import bursts
import jax
import numpy as np

from gen.batch import Batch
from gen.config import Data, Model, Run
from gen.config.heads import published_head
from gen.costs import step_benchmark
from gen.finetuning import trained_part, tuning_step
from gen.finetuning.settings import FinetuneSettings
from gen.models import heads, language_model
from gen.optimizers import schedule_params


class TuningTrial:
  """A fine-tuning to two classes on random rows.

  Attributes:
    first_step_seconds: wall seconds of initialization, compilation and the first step.
  """

  def __init__(self, model: Model, rows: int, length: int) -> None:
    """Compiles, and runs the first step."""
    begun = time.perf_counter()
    head = published_head(model, "classify", ("no", "yes"), model.dropout)
    optimizer = FinetuneSettings("classify", "start", "data").optimizer_config
    self._programs = tuning_step.tuning_programs(model, head, optimizer, None)
    self._schedule = schedule_params(optimizer, 1000)
    ids_bt, targets_b1 = random_examples(model.vocab, rows, length)
    ones_bt = np.ones_like(ids_bt)
    positions_bt = np.broadcast_to(np.arange(length, dtype=np.int32), ids_bt.shape)
    self._batch = Batch(ids_bt, targets_b1, np.ones((rows, 1), np.float32), ones_bt, positions_bt)
    body = language_model.initialize_parameters(model, jax.random.key(0))
    params = heads.attach_head(body, model, head, jax.random.key(1))
    self._state = self._programs.initialize({trained_part.PARAMETERS: params}, 0)
    self.steps(1)
    self.first_step_seconds = time.perf_counter() - begun

  def steps(self, count: int) -> None:
    """Runs so many steps to their end."""
    for _ in range(count):
      self._state, sums = self._programs.train(self._state, {}, self._batch, self._schedule)
    assert np.isfinite(float(sums.loss))

  def memory(self) -> int:
    """Returns the bytes of the compiled step: state, batch, results and temporaries."""
    program: Any = self._programs.train
    sizes = program.lower(self._state, {}, self._batch, self._schedule).compile().memory_analysis()
    live = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return int(live + sizes.temp_size_in_bytes)


def random_examples(vocab: int, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids of random rows and the class of each."""
  random = np.random.default_rng(0)
  return random.integers(0, vocab, (rows, length), np.int32), random.integers(0, 2, (rows, 1), np.int32)


def main() -> None:
  """Serves bursts of steps."""
  options = bursts.arguments(__doc__ or "", family="decoder", dropout="0", tuning="False")
  sizes = {"width": options.width, "depth": options.depth, "heads": options.heads, "vocab": options.vocab}
  shape = {"head_width": options.width // options.heads, "context": options.length}
  model = step_benchmark.benchmark_model(options.family, **sizes, **shape, dropout=float(options.dropout))
  before = bursts.peak_bytes()
  trial: Any
  if options.tuning == "True":
    trial = TuningTrial(model, options.batch, options.length)
  else:
    objective = step_benchmark.OBJECTIVES.get(options.family, "causal")
    data = Data(length=options.length, batch=options.batch, objective=objective)
    run = dataclasses.replace(Run(model=model, data=data), steps=1000, steps_per_dispatch=4)
    trial = step_benchmark.StepTrial(run)
  bursts.serve(trial.steps, before, trial.first_step_seconds, trial.memory)


if __name__ == "__main__":
  main()
