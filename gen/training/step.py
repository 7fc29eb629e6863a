"""The training step: loss, gradients, clipping, the optimizer's update; pure, and several to a dispatch.

K steps of a dispatch, M microbatches, B batch, T length, N tokens, D width.
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen import config as configs
from gen.batch import Batch
from gen.io import user_code
from gen.kernels import losses
from gen.kernels.recurrence import RecurrentState
from gen.models import language_model, recurrent
from gen.optimizers import ScheduleParams, UpdateRule, learning_rate, make_update_rule
from gen.sharding.layouts import ShardingLayout
from gen.training import state_sharding, xla_options

Params = Mapping[str, Any]  # a tree of arrays by name


class TrainState(NamedTuple):
  """All that a run needs to go on.

  Attributes:
    step: steps done, int32.
    params: parameters, float32.
    opt_state: the optimizer's state.
    skipped: steps whose gradient was not finite and that changed nothing, int32.
    key: the run's random key as data, for dropout; a step folds its number in.
    recurrent_state: what a recurrent model remembers of each row, where it carries its state; else None.
  """

  step: Array
  params: Params
  opt_state: optax.OptState
  skipped: Array
  key: Array
  recurrent_state: RecurrentState | None = None


class StepSums(NamedTuple):
  """What steps add up for the journal; `gradient_norm` is the last one's."""

  loss: Array
  nll: Array
  weight: Array
  gradient_norm: Array


def zero_sums() -> StepSums:
  """Returns sums of no steps."""
  return StepSums(*(jnp.float32(0) for _ in StepSums._fields))


def initialize_state(model: configs.Model, optimizer: configs.Optimizer, seed: Any) -> TrainState:
  """Returns the state before the first step, a pure function of the seed.

  Nothing is recurrent_state yet: see `with_recurrent_state`.
  """
  key = jax.random.key(seed)
  params = language_model.initialize_parameters(model, jax.random.fold_in(key, 0))
  opt_state = make_update_rule(optimizer).init(params)
  data = jax.random.key_data(jax.random.fold_in(key, 1))
  return TrainState(jnp.int32(0), params, opt_state, jnp.int32(0), data)


def with_recurrent_state(state: TrainState, model: configs.Model, batch: int) -> TrainState:
  """Returns the state ready for batches of so many rows: where the model carries one, nothing is remembered yet."""
  return (
    state._replace(recurrent_state=recurrent.init_recurrent_state(model, batch)) if model.carry else state
  )


def constrain_tree(tree: Any, shardings: Any) -> Any:
  """Returns the tree with its leaves' shardings constrained; unchanged where there are none."""
  return tree if shardings is None else jax.lax.with_sharding_constraint(tree, shardings)


def saved_state(model: configs.Model, optimizer: configs.Optimizer, batch: int) -> TrainState:
  """Returns the shapes of the state that a run of batches of so many rows saves; nothing is allocated."""
  return jax.eval_shape(lambda: with_recurrent_state(initialize_state(model, optimizer, 0), model, batch))


def batch_loss(
  model: configs.Model, terms: losses.LossTerms, params: Any, batch: Batch, key: Array | None = None
) -> losses.LossSums:
  """Returns the sums of a batch's loss; dropout is on where a key is given."""
  return recurrent_loss(model, terms, params, batch, None, key)[0]


def recurrent_loss(
  model: configs.Model,
  terms: losses.LossTerms,
  params: Any,
  batch: Batch,
  recurrent_state: RecurrentState | None,
  key: Array | None = None,
) -> tuple[losses.LossSums, RecurrentState | None]:
  """Returns the sums of a batch whose rows go on from a state, and the state after them.

  No gradient flows into the state: back-propagation through time is truncated at the rows' first tokens.
  """
  module = language_model.build_model(model)
  rngs = None if key is None or model.dropout == 0.0 else {"dropout": key}
  variables = {"params": params}
  hidden_btd: Any
  if recurrent_state is None:
    hidden_btd = module.apply(
      variables, **language_model.batch_arguments(model, batch), method="hidden", rngs=rngs
    )
  else:
    others = language_model.batch_arguments(model, batch) | {"state": jax.lax.stop_gradient(recurrent_state)}
    hidden_btd, recurrent_state = cast(
      Any, module.apply(variables, **others, method="carry_hidden", rngs=rngs)
    )
  kernel_dv, bias_v = cast(tuple[Array, Array | None], module.apply(variables, method="head_weights"))
  hidden_nd = hidden_btd.reshape(-1, model.width)
  targets_n, weights_n = (cast(Array, x).reshape(-1) for x in (batch.targets_bt, batch.weights_bt))
  return losses.cross_entropy(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms), recurrent_state


def loss_terms(model: configs.Model, optimizer: configs.Optimizer) -> losses.LossTerms:
  """Returns the loss's constants."""
  return losses.LossTerms(
    optimizer.z_loss, optimizer.label_smoothing, model.logits_soft_cap, model.loss_chunk
  )


def recurrent_gradients(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: TrainState,
  batch: Batch,
  key: Array,
  place: state_sharding.StateSharding | None = None,
) -> tuple[Any, losses.LossSums, RecurrentState | None]:
  """Returns what `batch_gradients` does, and what the model carries on to the next batch, if it carries anything."""
  if state.recurrent_state is None:
    return *batch_gradients(model, optimizer, state.params, batch, key, place), None
  terms = loss_terms(model, optimizer)

  def loss(params: Any) -> tuple[Array, Any]:
    sums, recurrent_state = recurrent_loss(model, terms, params, batch, state.recurrent_state, key)
    return sums.loss, (sums, recurrent_state)

  grads, (sums, recurrent_state) = jax.grad(loss, has_aux=True)(state.params)
  return grads, sums, recurrent_state


def batch_gradients(
  model: configs.Model,
  optimizer: configs.Optimizer,
  params: Any,
  batch: Batch,
  key: Array,
  place: state_sharding.StateSharding | None = None,
) -> tuple[Any, losses.LossSums]:
  """Returns gradients of the summed loss, and the sums, over all microbatches; on a mesh where they shall lie."""
  terms = loss_terms(model, optimizer)

  def of_part(part: Batch, part_key: Array) -> tuple[Any, losses.LossSums]:
    def loss(tree: Any) -> tuple[Array, losses.LossSums]:
      sums = batch_loss(model, terms, tree, part, part_key)
      return sums.loss, sums

    grads, sums = jax.grad(loss, has_aux=True)(params)
    return constrain_tree(grads, place and place.gradients), sums

  count = optimizer.microbatches
  if count == 1:
    return of_part(batch, key)
  parts = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)
  parts = parts if place is None else place.microbatches(parts)

  def add(total: Any, inputs: tuple[Batch, Array]) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, of_part(*inputs)), None

  zeros = constrain_tree(jax.tree.map(jnp.zeros_like, params), place and place.gradients)
  zero = (zeros, losses.LossSums(*(jnp.float32(0),) * 3))
  return jax.lax.scan(add, zero, (parts, jax.random.split(key, count)))[0]


def train_step(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: TrainState,
  batch: Batch,
  schedule: ScheduleParams,
  place: state_sharding.StateSharding | None = None,
  rule: UpdateRule | None = None,
) -> tuple[TrainState, StepSums]:
  """Returns the state after one step over a batch, and its sums; on a mesh, each where `place` says.

  The mean over loss-bearing tokens is taken once, over the whole batch. A gradient that is not finite leaves
  parameters and opt_state as they were, and is counted. `rule` is the optimizer's; None makes it from the config.
  """
  # Without this constraint XLA leaves parameters sharded between the steps of a dispatch under ZeRO-1 and 2, and
  # all-gathers them several times in each step.
  state = state._replace(params=constrain_tree(state.params, place and place.parameters))
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
  grads, sums, recurrent_state = recurrent_gradients(model, optimizer, state, batch, key, place)
  per_token = 1 / jnp.maximum(sums.weight, 1.0)
  norm = optax.global_norm(grads) * per_token
  finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
  scale = per_token * (jnp.minimum(1.0, optimizer.clip / (norm + 1e-6)) if optimizer.clip else 1.0)
  grads = jax.tree.map(lambda g: g * scale, grads)

  def keep(new: Array, old: Array | float) -> Array:
    return jnp.where(finite, new, old)

  rate = learning_rate(optimizer.schedule, state.step, schedule)
  rule = rule or make_update_rule(optimizer)
  new_opt_state, apply_update = rule.update(grads, state.opt_state, state.params, rate)
  opt_state = jax.tree.map(keep, new_opt_state, state.opt_state)
  # The barrier orders the update of the moments before that of the parameters, so XLA can reuse the old moments'
  # buffers: 371 MiB in place of 383 for a decoder of width 256.
  opt_state = jax.lax.optimization_barrier(constrain_tree(opt_state, place and place.opt_state))
  params = jax.tree.map(keep, apply_update(state.params, opt_state), state.params)
  params = constrain_tree(params, place and place.parameters)
  recurrent_state = jax.tree.map(keep, recurrent_state, state.recurrent_state)
  skipped = state.skipped + jnp.where(finite, 0, 1)
  totals = StepSums(keep(sums.loss, 0.0), keep(sums.nll, 0.0), keep(sums.weight, 0.0), norm)
  return TrainState(state.step + 1, params, opt_state, skipped, state.key, recurrent_state), totals


def train_steps(
  model: configs.Model,
  optimizer: configs.Optimizer,
  state: TrainState,
  batches: Batch,
  count: Array,
  schedule: ScheduleParams,
  place: state_sharding.StateSharding | None = None,
  rule: UpdateRule | None = None,
) -> tuple[TrainState, StepSums]:
  """Runs the first `count` of K stacked batches in one program, whatever count is."""

  def body(i: Array, carry: tuple[TrainState, StepSums]) -> tuple[TrainState, StepSums]:
    state, total = carry
    batch = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), batches)
    state, sums = train_step(model, optimizer, state, batch, schedule, place, rule)
    added = StepSums(*(a + b for a, b in zip(total, sums, strict=True)))
    return state, added._replace(gradient_norm=sums.gradient_norm)

  return jax.lax.fori_loop(0, count, body, (state, zero_sums()))


class StepPrograms(NamedTuple):
  """The compiled functions of one shape; learning rate, horizon and seed are arguments.

  Attributes:
    initialize: seed -> State.
    train: (State, stacked Batch, count, Horizon) -> (State, Sums); the state is donated.
    evaluate: (params, Batch) -> losses.Sums.
    evaluate_carried: (params, Batch, recurrent_state) -> (losses.Sums, recurrent_state), for a model that carries its
    state.
    place: where everything lies, on a mesh; None without one.
  """

  initialize: Callable[..., TrainState]
  train: Callable[..., tuple[TrainState, StepSums]]
  evaluate: Callable[..., losses.LossSums]
  evaluate_carried: Callable[..., tuple[losses.LossSums, Any]]
  place: state_sharding.StateSharding | None = None


def step_programs(
  model: configs.Model, optimizer: configs.Optimizer, layout: ShardingLayout | None = None
) -> StepPrograms:
  """Returns the jitted functions of a shape, the same ones whenever the shape, and the layout, is the same."""
  fixed = configs.to_dict(optimizer)
  for name in ("peak_learning_rate", "warmup", "decay", "final", "max_skipped_steps"):
    fixed[name] = 0.0  # traced, or not read by the step
  own = user_code.is_reference(optimizer.name)
  source = user_code.source_checksum(optimizer.name, "optimizer.name") if own else ""
  return _programs(json.dumps(configs.to_dict(model)), json.dumps(fixed), layout, source)


@functools.lru_cache(maxsize=64)
def _programs(
  model_json: str, optimizer_json: str, layout: ShardingLayout | None, source: str
) -> StepPrograms:
  """Compiles a shape; `source` is the checksum of the user's own code that its config names."""
  del source
  model = configs.from_dict(configs.Model, json.loads(model_json))
  optimizer = configs.from_dict(configs.Optimizer, json.loads(optimizer_json))
  plain = losses.LossTerms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
  if layout is not None:
    return _placed(
      model,
      optimizer,
      plain,
      state_sharding.shard_state(model, layout, make_update_rule(optimizer).init),
    )
  here = jax.default_backend()
  return StepPrograms(
    jax.jit(
      functools.partial(initialize_state, model, optimizer), compiler_options=xla_options.options_once(here)
    ),
    jax.jit(
      functools.partial(train_steps, model, optimizer, rule=make_update_rule(optimizer)),
      donate_argnums=0,
      compiler_options=xla_options.step_options(model, here),
    ),
    jax.jit(functools.partial(batch_loss, model, plain)),
    jax.jit(functools.partial(recurrent_loss, model, plain)),
  )


def _placed(
  model: configs.Model,
  optimizer: configs.Optimizer,
  plain: losses.LossTerms,
  place: state_sharding.StateSharding,
) -> StepPrograms:
  """Returns the functions of a shape on a mesh: arguments and results lie where `place` says."""
  whole, rows, stack = place.everywhere, place.layout.rows(), place.layout.rows(1)
  shardings: tuple[Any, ...] = (whole, place.parameters, place.opt_state, whole, whole, place.recurrent_state)
  state = TrainState(*shardings)
  on_mesh = place.traced
  platform = place.layout.mesh.devices.flat[0].platform
  return StepPrograms(
    jax.jit(
      on_mesh(functools.partial(initialize_state, model, optimizer)),
      out_shardings=state._replace(recurrent_state=None),
      compiler_options=xla_options.options_once(platform),
    ),
    jax.jit(
      on_mesh(
        functools.partial(train_steps, model, optimizer, place=place, rule=make_update_rule(optimizer))
      ),
      donate_argnums=0,
      in_shardings=(state, stack, whole, whole),
      out_shardings=(state, whole),
      compiler_options=xla_options.step_options(model, platform),
    ),
    jax.jit(
      on_mesh(functools.partial(batch_loss, model, plain)),
      in_shardings=(place.parameters, rows),
      out_shardings=whole,
    ),
    jax.jit(
      on_mesh(functools.partial(recurrent_loss, model, plain)),
      in_shardings=(place.parameters, rows, place.recurrent_state),
      out_shardings=(whole, place.recurrent_state),
    ),
    place,
  )
