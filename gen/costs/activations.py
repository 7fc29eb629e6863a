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
from gen.kernels import losses
from gen.models import language_model, recurrent
from gen.training import run_length, step

# Of what one block keeps: how much of it a backward pass holds in other forms at its fullest; measured on compiled
# steps of the three families (docs/scaling_up.md), as is the next.
PASSING = 0.55
# Of what remat computes again for one block: how much is there at a time.
AGAIN = 0.82
# Copies of all gates of all steps that a recurrent layer's backward pass makes.
GATES = 5.6


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
    return size // tensor if size % tensor == 0 else size

  fields: dict[str, Any] = {"vocab": share(model.vocab)}
  if not model.recurrent:
    heads, groups = share(model.n_heads), share(model.n_key_value_heads)
    fields |= {"heads": heads, "key_value_heads": groups if heads % groups == 0 else heads}
    fields["feed_forward"] = share(model.feed_forward_width)
    if model.decoder_heads or model.decoder_feed_forward:
      fields["decoder_heads"] = share(model.target.n_heads)
      fields["decoder_feed_forward"] = share(model.target.feed_forward_width)
  return dataclasses.replace(model, **fields)


def example_batch(run: Run, rows: int) -> Batch:
  """Returns the shapes of a batch of the run's objective with the given number of rows."""
  one = dataclasses.replace(run, data=dataclasses.replace(run.data, batch=1, stream=False))
  batch = step_benchmark.random_batches(one).at(0)
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
  least = dataclasses.replace(device_activations(run.model, tensor), **_all_one(fields))

  def traced(rows: int, **depths: int) -> int:
    model = dataclasses.replace(least, **cast(Any, depths))
    return _kept(json.dumps(to_dict(model)), json.dumps(to_dict(run.data)), rows)

  whole = traced(rows)
  layers = []
  for name, depth in fields:
    one, two = (traced(count, **{name: 2}) - traced(count) for count in (1, 2))
    layers.append(LayerActivations(depth, 2 * one - two, rows * (two - one)))
  return KeptActivations(whole - sum(each.weights + each.rows for each in layers), tuple(layers))


def _all_one(fields: list[tuple[str, int]]) -> Any:
  """Returns one layer for each of the fields."""
  return {name: 1 for name, _ in fields}


@functools.lru_cache(maxsize=256)
def _kept(model_json: str, data_json: str, rows: int) -> int:
  """Returns the residual bytes of one traced forward pass."""
  run = Run(model=from_dict(Model, json.loads(model_json)), data=from_dict(Data, json.loads(data_json)))
  # A kernel for attention that is not here cannot be traced: what attention written out keeps is more.
  model = run.model if run.model.attention == "plain" else dataclasses.replace(run.model, attention="auto")
  terms = step.loss_terms(model, run.optimizer)
  state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, rows)) if model.carry else None

  def forward(params: Any, batch: Batch, key: Any, carried: Any) -> Any:
    def loss(params: Any) -> losses.LossSums:
      return step.recurrent_loss(model, terms, params, batch, carried, key)[0].loss

    return jax.vjp(loss, params)

  key = jax.eval_shape(lambda: jax.random.key(0))
  traced = jax.make_jaxpr(forward)(
    language_model.parameter_shapes(model), example_batch(run, rows), key, state
  ).jaxpr
  given = set(traced.invars)
  results = dict.fromkeys(v for v in traced.outvars if not isinstance(v, jax.extend.core.Literal))
  return array_bytes([jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in results if v not in given])


def working_bytes(run: Run, rows: int, tensor: int = 1) -> int:
  """Estimates the bytes that a backward pass needs beside residuals and gradients."""
  model = run.model
  if model.recurrent:
    row = run_length.row_length(run)
    return round(GATES * rows * row.target * counts.GATES[model.family] * model.width * 4)
  everything = dataclasses.replace(run, model=dataclasses.replace(model, remat="none"))
  blocks = [each.rows for each in kept_activations(everything, rows, tensor).layers]
  if model.remat == "none":
    return round(PASSING * max(blocks))
  stay = [each.rows for each in kept_activations(run, rows, tensor).layers]
  again = max(block - kept for block, kept in zip(blocks, stay, strict=True))
  return round(max(AGAIN * again, PASSING * max(blocks)))


def array_bytes(arrays: Any) -> int:
  """Returns the bytes of arrays."""
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(arrays))
