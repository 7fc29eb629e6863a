"""FLOPs of a training step as XLA counts them in a compiled program without loops; tests check `gen.counts` with it.

XLA sees the body of a loop once, so every loop is unrolled here: layers, chunks of the loss, steps of a recurrence.
Compiles for seconds and runs nothing; B rows of T target and S source positions.
"""

from typing import Any

import jax
import numpy as np

from gen.batch import Batch
from gen.config import Model
from gen.kernels import losses, recurrence
from gen.models import language_model
from gen.training import step


def count_xla_flops(model: Model, target: int, source: int = 0, batch: int = 3) -> float:
  """Returns XLA's count of the loss and its gradient, forward and backward.

  Args:
    model: its layers are not scanned (`model.scan` is False).
    target: positions of a row that predict.
    source: positions of an encoder-decoder's encoder, else 0.
    batch: rows.
  """
  row = _row(model, target, source, batch)
  terms = losses.LossTerms(chunk=batch * target)  # one chunk: no loop over chunks

  def loss(params: object) -> jax.Array:
    return step.batch_loss(model, terms, params, row).loss  # type: ignore[arg-type]

  # The machine code is not run, so it need not be optimized; XLA optimizes the graph, which it counts, all the same.
  options = {"xla_backend_optimization_level": 0}
  with recurrence.unrolled_steps(target):
    compiled = jax.jit(jax.grad(loss)).lower(language_model.parameter_shapes(model)).compile(options)  # type: ignore[arg-type]
  analysis: Any = compiled.cost_analysis()
  return float((analysis[0] if isinstance(analysis, list) else analysis)["flops"])


def _row(model: Model, target: int, source: int, batch: int) -> Batch:
  # Values do not change a count; any ids will do.
  random = np.random.default_rng(0)

  def ids(length: int) -> np.ndarray:
    return random.integers(0, model.vocab, (batch, length)).astype(np.int32)

  def ones(length: int) -> np.ndarray:
    return np.ones((batch, length), np.int32)

  def positions(length: int) -> np.ndarray:
    return np.tile(np.arange(length, dtype=np.int32), (batch, 1))

  row = Batch(ids(target), ids(target), np.ones((batch, target), np.float32), ones(target), positions(target))
  if model.family != "encoder_decoder":
    return row
  return row._replace(
    source_bs=ids(source), source_segments_bs=ones(source), source_positions_bs=positions(source)
  )
