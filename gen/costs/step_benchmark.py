"""Benchmarks one training step: times the trainer's own programs on the trainer's own batches.

A rate is FLOPs of the step's matrix products (`gen.counts`; 6 N + 12 L D T a token for a plain decoder) over CPU
seconds of the process, and its limit is what one large matrix product does on the same cores between the steps.
"""

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from gen.config import Model, Run
from gen.data import batches, objectives
from gen.data.objectives import Specials
from gen.data.token_stream import TokenStream
from gen.errors import UserError
from gen.optimizers import schedule_params
from gen.training import compiled_step, loop

# Rows and columns of the large product; its matrices (16 MiB each in float32) exceed a core's caches.
PRODUCT = 2048
ROWS = 1024  # rows of random text; chosen: far more than a step reads, so that steps do not repeat a batch
OBJECTIVES = {"encoder": "masked", "encoder_decoder": "span_corruption"}  # of other families: causal

# The best-known member of each family, without dropout. The decoder is GPT-2 without biases.
ARCHITECTURES = {
  "decoder": Model(positions="learned", tied=True),
  "encoder": Model(
    positions="learned", tied=True, bias=True, norm_bias=True, norm_placement="post", embedding_norm=True,
    token_types=2, activation="gelu", head_transform=True, head_bias=True,
  ),
  "encoder_decoder": Model(
    positions="relative", tied=True, norm="rmsnorm", attention_scale=1.0, activation="relu",
  ),
}  # fmt: skip


def benchmark_model(family: str, **sizes: Any) -> Model:
  """Returns a GPT-2, BERT, T5 or recurrent model of these sizes; `sizes` can set any field of the model."""
  architecture = ARCHITECTURES.get(family, Model())
  fields: Any = {"family": family, "initializer_scale": 0.5} | sizes
  return dataclasses.replace(architecture, **fields)


class _Ids(NamedTuple):
  """The part of a tokenizer that batches need."""

  pad: int
  bos: int


def random_batches(run: Run) -> batches.Batches:
  """Returns batches of the run's objective on random ids, made by the trainer's own pipeline.

  Raises:
    UserError: if the vocabulary is too small for text and the special ids.
  """
  row, vocab = loop.row_length(run), run.model.vocab
  # T5's vocabulary has 100 sentinels, extra_id_0 to extra_id_99.
  markers = min(100, vocab // 4)
  end = vocab - 4 - markers  # end of the text ids; cls, sep, mask, bos and the sentinels follow
  if end < 4:
    raise UserError(f"a vocabulary of {vocab} is too small for text and the special ids; take at least 10")
  cls, sep, mask, bos = range(end, end + 4)
  sentinels = tuple(range(end + 4, vocab))
  specials = Specials(vocab, 2, end, 0, 1, bos, cls, sep, mask, sentinels)
  ids = np.random.default_rng(run.seed).integers(2, end, (run.data.batch + ROWS) * (row.tokens + 1))
  stream = TokenStream(ids.astype(np.uint32), np.zeros(1, np.int64), cast(Any, _Ids(0, bos)))
  objective = objectives.make_objective(run.data.objective, specials, run.data.length)
  return batches.Batches(stream, run.data, run.seed, objective)


class StepTrial:
  """A run whose steps are executed a few at a time, as in the training loop.

  Attributes:
    done: steps taken.
    input_seconds: CPU seconds per batch to make the batches, one entry per dispatch.
    first_step_seconds: wall seconds of initialization, compilation and the first step.
  """

  def __init__(self, run: Run) -> None:
    """Compiles, and runs the first step.

    Args:
      run: completed: its vocabulary and context are set.
    """
    self.run, self.batches = run, random_batches(run)
    self.programs = compiled_step.step_programs(run.model, run.optimizer)
    self.schedule = schedule_params(run.optimizer, run.steps)
    self.done = 0
    self.input_seconds: list[float] = []
    begun = time.perf_counter()
    self.state = self.programs.initialize(np.uint32(run.seed))
    self.steps(1)
    self.first_step_seconds = time.perf_counter() - begun

  def steps(self, count: int) -> tuple[float, float]:
    """Runs steps in one dispatch and returns (CPU seconds, wall seconds), without those of making the batches.

    Raises:
      UserError: if the loss is not finite.
    """
    begun = time.process_time()
    stack = self.batches.stack(self.done, self.run.steps_per_dispatch)
    # CPU seconds count what the process did, and not what other programs on a busy machine did beside it.
    cpu, wall = time.process_time(), time.perf_counter()
    self.input_seconds.append((cpu - begun) / self.run.steps_per_dispatch)
    self.state, sums = self.programs.train(self.state, stack, count, self.schedule)
    # Reading the loss waits for the dispatch to end; jax returns before.
    loss = float(sums.loss)
    spent = time.process_time() - cpu, time.perf_counter() - wall
    if not np.isfinite(loss):
      raise UserError("the loss is not finite, so the timed steps did not train; lower the learning rate")
    self.done += count
    return spent

  def memory(self) -> int:
    """Returns the bytes of the compiled steps: state, batches of a dispatch, results and temporaries."""
    stack = self.batches.stack(0, self.run.steps_per_dispatch)
    compiled = self.programs.train.lower(self.state, stack, 1, self.schedule).compile()  # type: ignore[attr-defined]
    sizes = compiled.memory_analysis()
    live = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return int(live + sizes.temp_size_in_bytes)


def matrix_product() -> Callable[[], float]:
  """Returns a function that multiplies two large matrices and returns the rate in FLOPs per CPU second."""
  left = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT), jnp.float32)
  multiply = jax.jit(jnp.matmul)
  # Compiled and run once before it is timed.
  multiply(left, left).block_until_ready()

  def rate() -> float:
    begun = time.process_time()
    multiply(left, left).block_until_ready()
    return 2 * PRODUCT**3 / (time.process_time() - begun)

  return rate


def measure_step(run: Run, steps: int) -> dict[str, float]:
  """Returns the cost of `steps` steps: medians over dispatches, with a large matrix product after each dispatch.

  Returns:
    tokens_per_second, tokens_per_cpu_second: corpus tokens, by the wall clock and by CPU seconds.
    cpu_seconds_per_step: of all threads of the process.
    input_cpu_seconds_per_step: of making a batch, which is not in the step.
    gflops: 1e9 FLOPs of a step's matrix products per CPU second.
    matmul_gflops: the same for one large product.
    utilization: gflops / matmul_gflops.
    first_step_seconds: initialization, compilation (or a cache's answer) and the first step.
    peak_bytes: the compiled program's arguments, results and temporaries.
    resident_bytes: growth of the process's peak resident memory since before initialization.
  """
  resident = peak_resident_bytes()
  trial, product = StepTrial(run), matrix_product()
  trial.steps(1)
  spent, rates = [], []
  while trial.done < steps + 2:
    count = min(run.steps_per_dispatch, steps + 2 - trial.done)
    cpu, wall = trial.steps(count)
    spent.append((cpu / count, wall / count))
    # After each dispatch and not once: a machine's speed drifts, and only neighbours in time compare.
    rates.append(product())
  # Medians: one dispatch that an interruption hit does not move them.
  cpu, wall = (statistics.median(column) for column in zip(*spent, strict=True))
  tokens = run.data.batch * loop.row_length(run).tokens
  gflops = run.data.batch * loop.flops_per_row(run) / cpu / 1e9
  limit = statistics.median(rates) / 1e9
  return {
    "tokens_per_second": tokens / wall,
    "tokens_per_cpu_second": tokens / cpu,
    "cpu_seconds_per_step": cpu,
    "input_cpu_seconds_per_step": statistics.median(trial.input_seconds),
    "gflops": gflops,
    "matmul_gflops": limit,
    "utilization": gflops / limit,
    "first_step_seconds": trial.first_step_seconds,
    "peak_bytes": trial.memory(),
    "resident_bytes": peak_resident_bytes() - resident,
  }


def peak_resident_bytes() -> int:
  """Returns the peak resident memory of this process in bytes."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  # getrusage reports bytes on macOS and KiB on Linux.
  return peak if sys.platform == "darwin" else peak * 1024
