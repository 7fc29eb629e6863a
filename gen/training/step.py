"""The training step: loss, gradients, clipping, AdamW; pure, and several to a dispatch.

K steps of a dispatch, M microbatches, B batch, T length, N tokens, D width.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen import config as configs
from gen.batch import Batch
from gen.models import families, recurrent
from gen.parallel.layouts import Layout
from gen.training import compiling, losses
from gen.training import placement as placing
from gen.training.optimizer import Horizon, advance, direction, initial_moments, learning_rate


class State(NamedTuple):
  """All that a run needs to go on.

  Attributes:
    step: steps done, int32.
    params: parameters, float32.
    moments: AdamW's state.
    skipped: steps whose gradient was not finite and that changed nothing, int32.
    key: the run's random key as data, for dropout; a step folds its number in.
    carried: what a recurrent model remembers of each row, where it carries its state; else None.
  """

  step: Any
  params: Any
  moments: Any
  skipped: Any
  key: Any
  carried: Any = None


class Sums(NamedTuple):
  """What steps add up for the journal; `gradient_norm` is the last one's."""

  loss: Any
  nll: Any
  weight: Any
  gradient_norm: Any


def zero_sums() -> Sums:
  """Returns sums of no steps."""
  return Sums(*(jnp.float32(0) for _ in Sums._fields))


def initialize(model: configs.Model, optimizer: configs.Optimizer, seed: Any) -> State:
  """Returns the state before the first step, a pure function of the seed.

  Nothing is carried yet: see `carrying`.
  """
  key = jax.random.key(seed)
  params = families.initialize(model, jax.random.fold_in(key, 0))
  moments = initial_moments(optimizer, params)
  data = jax.random.key_data(jax.random.fold_in(key, 1))
  return State(jnp.int32(0), params, moments, jnp.int32(0), data)


def carrying(state: State, model: configs.Model, batch: int) -> State:
  """Returns the state ready for batches of so many rows: where the model carries one, nothing is remembered yet."""
  return state._replace(carried=recurrent.initial_state(model, batch)) if model.carry else state


def batch_loss(
  model: configs.Model, terms: losses.Terms, params: Any, batch: Batch, key: Array | None = None
) -> losses.Sums:
  """Returns the sums of a batch's loss; dropout is on where a key is given."""
  return carried_loss(model, terms, params, batch, None, key)[0]


def carried_loss(
  model: configs.Model,
  terms: losses.Terms,
  params: Any,
  batch: Batch,
  carried: recurrent.State | None,
  key: Array | None = None,
) -> tuple[losses.Sums, recurrent.State | None]:
  """Returns the sums of a batch whose rows go on from a state, and the state after them.

  No gradient flows into the state: back-propagation through time is truncated at the rows' first tokens.
  """
  module = families.build(model)
  rngs = None if key is None or model.dropout == 0.0 else {"dropout": key}
  variables = {"params": params}
  hidden_btd: Any
  if carried is None:
    hidden_btd = module.apply(variables, **families.arguments(model, batch), method="hidden", rngs=rngs)
  else:
    others = families.arguments(model, batch) | {"state": jax.lax.stop_gradient(carried)}
    hidden_btd, carried = cast(Any, module.apply(variables, **others, method="carry_hidden", rngs=rngs))
  kernel_dv, bias_v = cast(tuple[Array, Array | None], module.apply(variables, method="head_weights"))
  hidden_nd = hidden_btd.reshape(-1, model.width)
  targets_n, weights_n = batch.targets_bt.reshape(-1), batch.weights_bt.reshape(-1)
  return losses.cross_entropy(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms), carried


def terms_of(model: configs.Model, optimizer: configs.Optimizer) -> losses.Terms:
  """Returns the loss's constants."""
  return losses.Terms(optimizer.z_loss, optimizer.label_smoothing, model.logits_soft_cap, model.loss_chunk)


def carried_gradients(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: State,
  batch: Batch,
  key: Array,
  place: placing.Placement | None = None,
) -> tuple[Any, losses.Sums, recurrent.State | None]:
  """Returns what `gradients` does, and what the model carries on to the next batch, if it carries anything."""
  if state.carried is None:
    return *gradients(model, optimizer, state.params, batch, key, place), None
  terms = terms_of(model, optimizer)

  def loss(params: Any) -> tuple[Array, Any]:
    sums, carried = carried_loss(model, terms, params, batch, state.carried, key)
    return sums.loss, (sums, carried)

  grads, (sums, carried) = jax.grad(loss, has_aux=True)(state.params)
  return grads, sums, carried


def gradients(
  model: configs.Model,
  optimizer: configs.Optimizer,
  params: Any,
  batch: Batch,
  key: Array,
  place: placing.Placement | None = None,
) -> tuple[Any, losses.Sums]:
  """Returns gradients of the summed loss, and the sums, over all microbatches; on a mesh where they shall lie."""
  terms = terms_of(model, optimizer)

  def of_part(part: Batch, part_key: Array) -> tuple[Any, losses.Sums]:
    def loss(tree: Any) -> tuple[Array, losses.Sums]:
      sums = batch_loss(model, terms, tree, part, part_key)
      return sums.loss, sums

    grads, sums = jax.grad(loss, has_aux=True)(params)
    return placing.constrain(grads, place and place.gradients), sums

  count = optimizer.microbatches
  if count == 1:
    return of_part(batch, key)
  parts = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)
  parts = parts if place is None else place.microbatches(parts)

  def add(total: Any, inputs: tuple[Batch, Array]) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, of_part(*inputs)), None

  zeros = placing.constrain(jax.tree.map(jnp.zeros_like, params), place and place.gradients)
  zero = (zeros, losses.Sums(*(jnp.float32(0),) * 3))
  return jax.lax.scan(add, zero, (parts, jax.random.split(key, count)))[0]


def train_step(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: State,
  batch: Batch,
  over: Horizon,
  place: placing.Placement | None = None,
) -> tuple[State, Sums]:
  """Returns the state after one step over a batch, and its sums; on a mesh, each where `place` says.

  The mean over loss-bearing tokens is taken once, over the whole batch. A gradient that is not finite leaves
  parameters and moments as they were, and is counted.
  """
  # Else XLA keeps them apart between steps under ZeRO-1 and 2, and puts them together more than once in each.
  state = state._replace(params=placing.constrain(state.params, place and place.parameters))
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
  grads, sums, carried = carried_gradients(model, optimizer, state, batch, key, place)
  per_token = 1 / jnp.maximum(sums.weight, 1.0)
  norm = optax.global_norm(grads) * per_token
  finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
  scale = per_token * (jnp.minimum(1.0, optimizer.clip / (norm + 1e-6)) if optimizer.clip else 1.0)
  grads = jax.tree.map(lambda g: g * scale, grads)

  def keep(new: Array, old: Array | float) -> Array:
    return jnp.where(finite, new, old)

  moments = jax.tree.map(keep, advance(optimizer, state.moments, grads), state.moments)
  # The barrier has the old moments done with, so that the new ones are written over them.
  moments = jax.lax.optimization_barrier(placing.constrain(moments, place and place.moments))
  rate = learning_rate(optimizer.schedule, state.step, over)
  steps = direction(optimizer, moments, state.params)
  params = jax.tree.map(lambda p, u: keep(p - rate * u, p), state.params, steps)
  params = placing.constrain(params, place and place.parameters)
  carried = jax.tree.map(keep, carried, state.carried)
  skipped = state.skipped + jnp.where(finite, 0, 1)
  totals = Sums(keep(sums.loss, 0.0), keep(sums.nll, 0.0), keep(sums.weight, 0.0), norm)
  return State(state.step + 1, params, moments, skipped, state.key, carried), totals


def train_steps(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: State,
  batches: Batch,
  count: Array,
  over: Horizon,
  place: placing.Placement | None = None,
) -> tuple[State, Sums]:
  """Runs the first `count` of K stacked batches in one program, whatever count is."""

  def body(i: Array, carry: tuple[State, Sums]) -> tuple[State, Sums]:
    state, total = carry
    batch = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), batches)
    state, sums = train_step(model, optimizer, state, batch, over, place)
    added = Sums(*(a + b for a, b in zip(total, sums, strict=True)))
    return state, added._replace(gradient_norm=sums.gradient_norm)

  return jax.lax.fori_loop(0, count, body, (state, zero_sums()))


class Programs(NamedTuple):
  """The compiled functions of one shape; learning rate, horizon and seed are arguments.

  Attributes:
    initialize: seed -> State.
    train: (State, stacked Batch, count, Horizon) -> (State, Sums); the state is donated.
    evaluate: (params, Batch) -> losses.Sums.
    evaluate_carried: (params, Batch, carried) -> (losses.Sums, carried), for a model that carries its state.
    place: where everything lies, on a mesh; None without one.
  """

  initialize: Callable[..., State]
  train: Callable[..., tuple[State, Sums]]
  evaluate: Callable[..., losses.Sums]
  evaluate_carried: Callable[..., tuple[losses.Sums, Any]]
  place: placing.Placement | None = None


def programs(model: configs.Model, optimizer: configs.Optimizer, layout: Layout | None = None) -> Programs:
  """Returns the jitted functions of a shape, the same ones whenever the shape, and the layout, is the same."""
  fixed = configs.to_dict(optimizer)
  for name in ("peak_learning_rate", "warmup", "decay", "final", "most_skipped"):
    fixed[name] = 0.0  # traced, or not read by the step
  return _programs(json.dumps(configs.to_dict(model)), json.dumps(fixed), layout)


@functools.lru_cache(maxsize=64)
def _programs(model_json: str, optimizer_json: str, layout: Layout | None) -> Programs:
  model = configs.from_dict(configs.Model, json.loads(model_json))
  optimizer = configs.from_dict(configs.Optimizer, json.loads(optimizer_json))
  plain = losses.Terms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
  if layout is not None:
    return _placed(
      model, optimizer, plain, placing.place(model, layout, functools.partial(initial_moments, optimizer))
    )
  here = jax.default_backend()
  return Programs(
    jax.jit(functools.partial(initialize, model, optimizer), compiler_options=compiling.once(here)),
    jax.jit(
      functools.partial(train_steps, model, optimizer),
      donate_argnums=0,
      compiler_options=compiling.steps(model, here),
    ),
    jax.jit(functools.partial(batch_loss, model, plain)),
    jax.jit(functools.partial(carried_loss, model, plain)),
  )


def _placed(
  model: configs.Model, optimizer: configs.Optimizer, plain: losses.Terms, place: placing.Placement
) -> Programs:
  """Returns the functions of a shape on a mesh: arguments and results lie where `place` says."""
  whole, rows, stack = place.everywhere, place.layout.rows(), place.layout.rows(1)
  state = State(whole, place.parameters, place.moments, whole, whole, place.carried)
  on_mesh = place.traced
  platform = place.layout.mesh.devices.flat[0].platform
  return Programs(
    jax.jit(
      on_mesh(functools.partial(initialize, model, optimizer)),
      out_shardings=state._replace(carried=None),
      compiler_options=compiling.once(platform),
    ),
    jax.jit(
      on_mesh(functools.partial(train_steps, model, optimizer, place=place)),
      donate_argnums=0,
      in_shardings=(state, stack, whole, whole),
      out_shardings=(state, whole),
      compiler_options=compiling.steps(model, platform),
    ),
    jax.jit(
      on_mesh(functools.partial(batch_loss, model, plain)),
      in_shardings=(place.parameters, rows),
      out_shardings=whole,
    ),
    jax.jit(
      on_mesh(functools.partial(carried_loss, model, plain)),
      in_shardings=(place.parameters, rows, place.carried),
      out_shardings=(whole, place.carried),
    ),
    place,
  )
