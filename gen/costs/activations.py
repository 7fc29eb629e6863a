"""Activations that one device keeps for the backward pass, read from the traced step without compiling it.

Autodiff chooses its residuals when a step is traced. A loop over layers (`model.scan`) keeps exactly these, one copy
per layer; an unrolled loop lets the compiler keep less. The program is traced with one and two layers, and with one
and two rows. What grows with layers alone are copies of weights, which are sharded if the layout shards weights.
"""

import dataclasses
import functools
import json
import math
from typing import Any, NamedTuple, cast

import jax
import jax.extend

from gen import counts
from gen.batch import Batch
from gen.config import Data, Model, Run, from_dict, to_dict
from gen.costs import step_benchmark
from gen.models import language_model, recurrent
from gen.training import step
from gen.training.run_folders import run_length

# Peak temporaries of the backward pass, fitted to compiled steps of all families (docs/scaling_up.md, "temporaries").
BACKWARD_SHARE = 0.55  # of one block's residuals
RECOMPUTED_SHARE = 0.82  # of what remat recomputes for one block
GATE_COPIES = 5.6  # copies of all gates of all steps, in a recurrent layer's backward pass


class LayerActivations(NamedTuple):
  """Residuals of one block of a stack.

  Attributes:
    depth: number of blocks.
    weights: bytes that do not depend on the rows.
    rows: bytes that depend on the rows.
  """

  depth: int
  weights: int
  rows: int


class KeptActivations(NamedTuple):
  """Residual bytes for the backward pass: outside the blocks, and per block of each stack."""

  outside: int
  layers: tuple[LayerActivations, ...]

  def total(self, parts: int = 1) -> int:
    """Returns the total bytes if weights are sharded into the given number of parts."""
    return self.outside + sum(each.depth * (each.weights // parts + each.rows) for each in self.layers)


def device_activations(model: Model, tensor: int) -> Model:
  """Returns the model that one of `tensor` devices computes: its heads, hidden units and part of the vocabulary.

  Axes that do not divide are replicated, as in `gen.sharding.layouts`. Recurrent layers are replicated.
  """
  if tensor == 1:
    return model

  def share(size: int) -> int:
    # What does not divide is replicated, as `layouts.split_tensor` leaves it.
    return size // tensor if size % tensor == 0 else size

  part = dataclasses.replace(model, vocab=share(model.vocab))
  if not model.recurrent:
    heads, groups = share(model.n_heads), share(model.n_key_value_heads)
    # Repeated key heads where tensor parallelism does not divide them, as in `fused_dot_product_attention`.
    part.heads, part.key_value_heads = heads, groups if heads % groups == 0 else heads
    part.feed_forward = share(model.feed_forward_width)
    if model.decoder_heads or model.decoder_feed_forward:
      part.decoder_heads = share(model.target.n_heads)
      part.decoder_feed_forward = share(model.target.feed_forward_width)
  return part


def example_batch(run: Run, rows: int) -> Batch:
  """Returns the shapes of a batch of the run's objective with the given number of rows."""
  # One row of random ids goes through the objective, whose lengths then are exact; other rows only repeat its shapes.
  one_row = dataclasses.replace(run, data=dataclasses.replace(run.data, batch=1, stream=False))
  batch = step_benchmark.random_batches(one_row).at(0)
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), batch)


def kept_activations(run: Run, rows: int, tensor: int = 1) -> KeptActivations:
  """Returns the bytes that the forward pass keeps for the backward pass, without its arguments.

  Args:
    run: the completed run.
    rows: rows of a microbatch on one device.
    tensor: devices of tensor parallelism.
  """
  fields = [("depth", run.model.depth)]
  if run.model.family == "encoder_decoder":
    fields.append(("decoder_depth", run.model.target_depth))
  one_layer = dataclasses.replace(device_activations(run.model, tensor), **_all_one(fields))

  def traced(rows: int, **depths: int) -> int:
    model = dataclasses.replace(one_layer, **cast(Any, depths))
    return _residual_bytes(json.dumps(to_dict(model)), json.dumps(to_dict(run.data)), rows)

  # Traced and not compiled: a trace allocates nothing, and needs no device of the mesh.
  total = traced(rows)
  layers = []
  for name, depth in fields:
    # Bytes of one more layer, for one row and for two: linear in the rows, so both parts follow.
    one_row, two_rows = (traced(count, **{name: 2}) - traced(count) for count in (1, 2))
    layers.append(LayerActivations(depth, 2 * one_row - two_rows, rows * (two_rows - one_row)))
  return KeptActivations(total - sum(each.weights + each.rows for each in layers), tuple(layers))


def _all_one(fields: list[tuple[str, int]]) -> Any:
  """Returns one layer for each of the fields."""
  return {name: 1 for name, _ in fields}


# Keyed by JSON, because configs are mutable and have no hash.
@functools.lru_cache(maxsize=256)
def _residual_bytes(model_json: str, data_json: str, rows: int) -> int:
  """Returns the residual bytes of one traced forward pass."""
  run = Run(model=from_dict(Model, json.loads(model_json)), data=from_dict(Data, json.loads(data_json)))
  # Fused attention of an absent device cannot be traced. Plain attention keeps more, so the count is an upper bound.
  model = run.model if run.model.attention == "plain" else dataclasses.replace(run.model, attention="auto")
  terms = step.loss_terms(model, run.optimizer)
  state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, rows)) if model.carry else None

  def forward(params: Any, batch: Batch, key: Any, recurrent_state: Any) -> Any:
    def loss(params: Any) -> jax.Array:
      # The step's own loss, so that fused losses and custom gradients keep exactly what training keeps.
      return step.recurrent_loss(model, terms, params, batch, recurrent_state, key)[0].loss

    return jax.vjp(loss, params)

  key = jax.eval_shape(lambda: jax.random.key(0))
  traced = jax.make_jaxpr(forward)(
    language_model.parameter_shapes(model), example_batch(run, rows), key, state
  ).jaxpr
  arguments = set(traced.invars)
  # `jax.vjp` returns a pytree of residuals. An array that two operations keep is one variable, and counts once.
  results = dict.fromkeys(v for v in traced.outvars if not isinstance(v, jax.extend.core.Literal))
  return array_bytes(
    # Arguments are parameters and the batch, which live through the step anyway.
    [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in results if v not in arguments]
  )


def working_bytes(run: Run, rows: int, tensor: int = 1) -> int:
  """Estimates the bytes that a backward pass needs in addition to residuals and gradients."""
  model = run.model
  if model.recurrent:
    row = run_length.row_length(run)
    # A recurrence has no block whose residuals could be the measure: gates of all steps dominate.
    return round(GATE_COPIES * rows * row.target * counts.GATES[model.family] * model.width * 4)
  without_remat = dataclasses.replace(run, model=dataclasses.replace(model, remat="none"))
  blocks = [each.rows for each in kept_activations(without_remat, rows, tensor).layers]
  if model.remat == "none":
    return round(BACKWARD_SHARE * max(blocks))
  residuals = [each.rows for each in kept_activations(run, rows, tensor).layers]
  recomputed = max(block - residual for block, residual in zip(blocks, residuals, strict=True))
  return round(max(RECOMPUTED_SHARE * recomputed, BACKWARD_SHARE * max(blocks)))


def array_bytes(arrays: Any) -> int:
  """Returns the bytes of arrays."""
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(arrays))
