"""The training step: loss, gradients, clipping and the optimizer's update, as pure functions.

K steps of a dispatch, M microbatches, B batch, T length, N tokens, D width.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen.batch import Batch
from gen.config import Model, Optimizer
from gen.kernels import losses
from gen.kernels.recurrence import RecurrentState
from gen.models import language_model, recurrent
from gen.optimizers import ScheduleParams, UpdateRule, learning_rate, make_update_rule, split_frozen
from gen.precision import loss_scaling, stochastic_rounding
from gen.training import state_sharding

Params = Mapping[str, Any]  # a tree of arrays by name


class TrainState(NamedTuple):
  """Everything that a run needs to continue.

  Attributes:
    step: steps done, int32.
    params: parameters, of `optimizer.param_dtype`.
    opt_state: the optimizer's state, of `optimizer.moment_dtype`.
    skipped: number of steps whose gradient was not finite and that changed nothing, int32.
    key: the run's random key as data, for dropout; each step folds in its number.
    recurrent_state: state of a recurrent model for each row, if `model.carry`; otherwise None.
    loss_scale: of float16; otherwise None.
  """

  step: Array
  params: Params
  opt_state: optax.OptState
  skipped: Array
  key: Array
  recurrent_state: RecurrentState | None = None
  loss_scale: loss_scaling.LossScale | None = None


class StepSums(NamedTuple):
  """Sums over the steps of a dispatch, for the journal.

  Attributes:
    loss: of what is minimized, smoothing and z-loss included, summed over tokens.
    nll: of the negative log likelihood, nats.
    weight: number of loss-bearing tokens.
    gradient_norm: of the last step, before clipping; it is not summed.
  """

  loss: Array
  nll: Array
  weight: Array
  gradient_norm: Array


class SummedLoss(Protocol):
  """Sums of a loss over a batch; their quotient is the mean."""

  @property
  def loss(self) -> Array:
    """Weighted sum of what is minimized."""

  @property
  def weight(self) -> Array:
    """Sum of the weights."""


Sums = TypeVar("Sums", bound=SummedLoss)


def zero_sums() -> StepSums:
  """Returns sums of no steps."""
  return StepSums(*(jnp.float32(0) for _ in StepSums._fields))


def initialize_state(model: Model, optimizer: Optimizer, seed: Any) -> TrainState:
  """Returns the state before the first step, a pure function of the seed.

  It has no recurrent state yet: see `with_recurrent_state`.
  """
  # Two streams: parameters (0) and dropout (1). The seed is an argument, so one program serves all seeds.
  key = jax.random.key(seed)
  params = language_model.initialize_parameters(model, jax.random.fold_in(key, 0))
  opt_state = stochastic_rounding.store_tree(make_update_rule(optimizer).init(params), optimizer.moment_dtype)
  params = stochastic_rounding.store_tree(params, optimizer.param_dtype)
  # As data: uint32 words have a sharding and a place in a checkpoint like every other array.
  data, scale = jax.random.key_data(jax.random.fold_in(key, 1)), loss_scaling.initial_scale(model.dtype)
  return TrainState(jnp.int32(0), params, opt_state, jnp.int32(0), data, loss_scale=scale)


def with_recurrent_state(state: TrainState, model: Model, batch: int) -> TrainState:
  """Returns the state for batches of `batch` rows, with a recurrent state of zeros if the model carries one."""
  zeros = recurrent.init_recurrent_state(model, batch) if model.carry else None
  return state._replace(recurrent_state=zeros)


def count_skipped(state: TrainState) -> int:
  """Returns the steps so far whose gradient was not finite, those included that a large scale of the loss spoiled."""
  return int(state.skipped) + (int(state.loss_scale.backoffs) if state.loss_scale else 0)


def step_key(state: TrainState) -> Array:
  """Returns the random key of the step that follows."""
  return jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)


def constrain_tree(tree: Any, shardings: Any) -> Any:
  """Returns the tree with its leaves' shardings constrained; unchanged where there are none."""
  return tree if shardings is None else jax.lax.with_sharding_constraint(tree, shardings)


def saved_state(model: Model, optimizer: Optimizer, batch: int) -> TrainState:
  """Returns the shapes of the state that a run with batches of `batch` rows saves; allocates nothing."""
  return jax.eval_shape(lambda: with_recurrent_state(initialize_state(model, optimizer, 0), model, batch))


def batch_loss(
  model: Model, terms: losses.LossTerms, params: Any, batch: Batch, key: Array | None = None
) -> losses.LossSums:
  """Returns the sums of a batch's loss; dropout is applied if a key is passed."""
  return recurrent_loss(model, terms, params, batch, None, key)[0]


def recurrent_loss(
  model: Model,
  terms: losses.LossTerms,
  params: Any,
  batch: Batch,
  recurrent_state: RecurrentState | None,
  key: Array | None = None,
) -> tuple[losses.LossSums, RecurrentState | None]:
  """Returns the sums of a batch whose rows continue from a recurrent state, and the state after them.

  No gradient flows into the state: back-propagation through time is truncated at the rows' first tokens.

  `recurrent_state` is None for a model without one; dropout is applied if a key is passed.
  """
  module = language_model.build_model(model)
  rngs = None if key is None or model.dropout == 0.0 else {"dropout": key}
  variables = {"params": params}
  arguments = language_model.batch_arguments(model, batch)
  if recurrent_state is None:
    hidden_btd = cast(Array, module.apply(variables, **arguments, method="hidden", rngs=rngs))
  else:
    arguments["state"] = jax.lax.stop_gradient(recurrent_state)
    result: Any = module.apply(variables, **arguments, method="carry_hidden", rngs=rngs)
    hidden_btd, recurrent_state = result
  kernel_dv, bias_v = cast(tuple[Array, Array | None], module.apply(variables, method="head_weights"))
  # The model returns hidden states, not logits: the loss makes the logits chunk by chunk.
  hidden_nd = hidden_btd.reshape(-1, model.width)
  targets_n, weights_n = (cast(Array, x).reshape(-1) for x in (batch.targets_bt, batch.weights_bt))
  return losses.cross_entropy(hidden_nd, kernel_dv, bias_v, targets_n, weights_n, terms), recurrent_state


def loss_terms(model: Model, optimizer: Optimizer) -> losses.LossTerms:
  """Returns the constants of the training loss."""
  cap, chunk = model.logits_soft_cap, model.loss_chunk
  return losses.LossTerms(optimizer.z_loss, optimizer.label_smoothing, cap, chunk)


def recurrent_gradients(
  model: Model,
  optimizer: Optimizer,
  state: TrainState,
  batch: Batch,
  key: Array,
  shardings: state_sharding.StateSharding | None = None,
) -> tuple[Any, losses.LossSums, RecurrentState | None]:
  """Returns what `batch_gradients` does, and the recurrent state for the next batch, or None."""
  if state.recurrent_state is None:
    return *batch_gradients(model, optimizer, state.params, batch, key, shardings, state.loss_scale), None
  terms = loss_terms(model, optimizer)
  trained, complete = (
    split_frozen(optimizer, state.params) if optimizer.frozen else (state.params, lambda tree: tree)
  )

  def loss(tree: Any) -> tuple[Array, Any]:
    sums, recurrent_state = recurrent_loss(model, terms, complete(tree), batch, state.recurrent_state, key)
    return loss_scaling.scale_loss(sums.loss, state.loss_scale), (sums, recurrent_state)

  grads, (sums, recurrent_state) = jax.grad(loss, has_aux=True)(trained)
  return grads, sums, recurrent_state


def batch_gradients(
  model: Model,
  optimizer: Optimizer,
  params: Any,
  batch: Batch,
  key: Array,
  shardings: state_sharding.StateSharding | None = None,
  scale: loss_scaling.LossScale | None = None,
) -> tuple[Any, losses.LossSums]:
  """Returns the gradients of the summed loss, and the sums, over all microbatches; frozen parameters have none.

  Args:
    model: shape of the model.
    optimizer: `microbatches` and the constants of the loss.
    params: the model's parameters.
    batch: rows [B, T].
    key: of dropout; each microbatch has its own.
    shardings: where gradients lie on a mesh; None without one.
    scale: of the loss, by which the gradients are then multiplied too; None for 1.
  """
  terms = loss_terms(model, optimizer)
  trained, complete = split_frozen(optimizer, params) if optimizer.frozen else (params, lambda tree: tree)

  def loss(tree: Any, part: Batch, part_key: Array) -> losses.LossSums:
    return batch_loss(model, terms, complete(tree), part, part_key)

  zero = losses.LossSums(*(jnp.float32(0),) * 3)
  return sum_gradients(loss, trained, batch, key, optimizer.microbatches, zero, scale, shardings)


def sum_gradients(
  loss: Callable[[Any, Batch, Array], Sums],
  params: Any,
  batch: Batch,
  key: Array,
  count: int,
  zero: Sums,
  scale: loss_scaling.LossScale | None = None,
  shardings: state_sharding.StateSharding | None = None,
) -> tuple[Any, Sums]:
  """Returns the gradients of a summed loss, times its scale, and its sums, over all microbatches.

  Args:
    loss: (params, rows, key) -> the sums over the rows.
    params: what is trained.
    batch: rows [B, T].
    key: of dropout; each microbatch has its own.
    count: number of microbatches.
    zero: the sums of no rows.
    scale: of the loss; None for 1.
    shardings: where gradients lie on a mesh; None without one.
  """

  def of_part(part: Batch, part_key: Array) -> tuple[Any, Sums]:
    def scaled_loss(tree: Any) -> tuple[Array, Sums]:
      sums = loss(tree, part, part_key)
      return loss_scaling.scale_loss(sums.loss, scale) if scale else sums.loss, sums

    grads, sums = jax.grad(scaled_loss, has_aux=True)(params)
    # Under ZeRO-2 and 3 this constraint makes the sum over devices a reduce-scatter instead of an all-reduce.
    return constrain_tree(grads, shardings and shardings.gradients), sums

  if count == 1:
    return of_part(batch, key)
  parts = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)
  parts = parts if shardings is None else shardings.microbatches(parts)

  # Sums and not means: microbatches may hold different numbers of loss-bearing tokens.
  def add(total: Any, inputs: tuple[Batch, Array]) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, of_part(*inputs)), None

  # The accumulator is split like the gradients: otherwise it would be replicated on each device.
  zeros = constrain_tree(jax.tree.map(jnp.zeros_like, params), shardings and shardings.gradients)
  return jax.lax.scan(add, (zeros, zero), (parts, jax.random.split(key, count)))[0]


def apply_gradients(
  state: TrainState,
  grads: Any,
  sums: SummedLoss,
  optimizer: Optimizer,
  rule: UpdateRule,
  rate: Array,
  min_weight: float = 1.0,
  shardings: state_sharding.StateSharding | None = None,
  stored: TrainState | None = None,
) -> tuple[TrainState, Array, Array]:
  """Returns the state after one update, the gradients' norm before clipping, and whether all was finite.

  Where the gradient is not finite, neither parameters nor opt_state change, and the step is counted in `skipped`. The
  recurrent state is the caller's.

  Args:
    state: before the step, in float32.
    grads: of the summed loss, times the state's scale of the loss.
    sums: the loss and its weight, by which the mean is taken once, over all microbatches.
    optimizer: its largest norm of the mean gradient (`clip`), and the type of its moments.
    rule: its update rule.
    rate: learning rate.
    min_weight: least divisor of the mean, so that a batch without weight has zero gradients, not 0 / 0.
    shardings: where each part of the state lies on a mesh; None without one.
    stored: the state as it is between steps, where that has fewer bits; new values are rounded to its types.
  """
  clip, scaling = optimizer.clip, state.loss_scale
  unscale = loss_scaling.unscale_factor(scaling) if scaling else 1.0
  per_weight = unscale / jnp.maximum(sums.weight, min_weight)
  # Of the mean loss's gradient, so that `optimizer.clip` means the same for every batch and number of microbatches.
  norm = optax.global_norm(grads) * per_weight
  finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
  # 1e-6 as in torch.nn.utils.clip_grad_norm_; it only guards against a norm of 0. Mean and clipping are one factor, so
  # gradients are read and written once.
  factor = per_weight * (jnp.minimum(1.0, clip / (norm + 1e-6)) if clip else 1.0)
  grads = jax.tree.map(lambda g: g * factor, grads)
  # A select instead of a branch: the program is the same whether or not the gradient is finite.
  if_finite = functools.partial(jnp.where, finite)
  new_opt_state, apply_update = rule.update(grads, state.opt_state, state.params, rate)
  opt_state = jax.tree.map(if_finite, new_opt_state, state.opt_state)
  if stored is not None:
    opt_state = stochastic_rounding.round_like(opt_state, stored.opt_state, step_key(state), 0)
  # The barrier orders the update of the moments before that of the parameters, so XLA can reuse the old moments'
  # buffers: 371 MiB in place of 383 for a decoder of width 256.
  opt_state = jax.lax.optimization_barrier(constrain_tree(opt_state, shardings and shardings.opt_state))
  moments = (
    stochastic_rounding.widen_tree(opt_state, optimizer.moment_dtype) if stored is not None else opt_state
  )
  params = jax.tree.map(if_finite, apply_update(state.params, moments), state.params)
  if stored is not None:
    params = stochastic_rounding.round_like(params, stored.params, step_key(state), 1)
  params = constrain_tree(params, shardings and shardings.parameters)
  # A step that a large scale of the loss spoils is no sign of divergence, and is counted there.
  skipped = jnp.where(finite, 0, 1 - loss_scaling.can_back_off(scaling) if scaling else 1)
  scaling = loss_scaling.adjust_scale(scaling, finite) if scaling else None
  after = state._replace(step=state.step + 1, params=params, opt_state=opt_state, loss_scale=scaling)
  return after._replace(skipped=state.skipped + skipped), norm, finite


def train_step(
  model: Model,
  optimizer: Optimizer,
  state: TrainState,
  batch: Batch,
  schedule: ScheduleParams,
  shardings: state_sharding.StateSharding | None = None,
  rule: UpdateRule | None = None,
) -> tuple[TrainState, StepSums]:
  """Returns the state after one step over a batch, and its sums.

  The mean over loss-bearing tokens is taken once, over the complete batch. A step whose gradient is not finite changes
  neither parameters nor opt_state, and is counted in `skipped`.

  Args:
    model: shape of the model.
    optimizer: its fields except the schedule's numbers.
    state: before the step.
    batch: rows [B, T].
    schedule: numbers of the schedule, traced.
    shardings: where each part of the state lies on a mesh; None without one.
    rule: update rule of the optimizer; None makes it from the config.
  """
  # Without this constraint XLA leaves parameters sharded between the steps of a dispatch under ZeRO-1 and 2, and
  # all-gathers them several times in each step.
  state = state._replace(params=constrain_tree(state.params, shardings and shardings.parameters))
  # Only a state of fewer bits is widened, so that the step of float32 is all that a reader has to follow.
  narrow = "bfloat16" in (optimizer.param_dtype, optimizer.moment_dtype)
  wide = stochastic_rounding.widen_state(state, optimizer) if narrow else state
  grads, sums, recurrent_state = recurrent_gradients(
    model, optimizer, wide, batch, step_key(state), shardings
  )
  rate = learning_rate(optimizer.schedule, state.step, schedule)
  rule = rule or make_update_rule(optimizer)
  after, norm, finite = apply_gradients(
    wide, grads, sums, optimizer, rule, rate, shardings=shardings, stored=state if narrow else None
  )

  def if_finite(new: Array, old: Array | float) -> Array:
    return jnp.where(finite, new, old)

  recurrent_state = jax.tree.map(if_finite, recurrent_state, state.recurrent_state)
  totals = StepSums(if_finite(sums.loss, 0.0), if_finite(sums.nll, 0.0), if_finite(sums.weight, 0.0), norm)
  return after._replace(recurrent_state=recurrent_state), totals


def train_steps(
  model: Model,
  optimizer: Optimizer,
  state: TrainState,
  batches: Batch,
  count: Array,
  schedule: ScheduleParams,
  shardings: state_sharding.StateSharding | None = None,
  rule: UpdateRule | None = None,
) -> tuple[TrainState, StepSums]:
  """Runs one step for each of the first `count` of K stacked batches [K, B, T].

  `count` is traced: one program serves dispatches of every length, also of none.
  """

  def body(i: Array, carry: tuple[TrainState, StepSums]) -> tuple[TrainState, StepSums]:
    state, total = carry
    batch = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), batches)
    state, sums = train_step(model, optimizer, state, batch, schedule, shardings, rule)
    # The norm is the last step's: a sum over a dispatch would depend on its length.
    added = StepSums(*(a + b for a, b in zip(total, sums, strict=True)))
    return state, added._replace(gradient_norm=sums.gradient_norm)

  return jax.lax.fori_loop(0, count, body, (state, zero_sums()))
