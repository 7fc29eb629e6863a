"""One step of fine-tuning: the gradient of a task's loss, over microbatches, and the optimizer's update.

What is trained is a tree of its own: parts of the parameters, and adapters. What is frozen is an argument of the step,
and neither copied nor updated.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from gen.batch import Batch
from gen.config import Model, Optimizer, from_dict, to_dict
from gen.config.heads import HeadConfig
from gen.finetuning import trained_part
from gen.finetuning.adapters import lora
from gen.finetuning.adapters.lora import LoraConfig
from gen.finetuning.task_forms import task_loss
from gen.finetuning.task_forms.task_loss import TaskSums
from gen.optimizers import ScheduleParams, learning_rate, make_update_rule
from gen.precision import loss_scaling
from gen.training.step import TrainState


class TuningPrograms(NamedTuple):
  """The compiled functions of one model, head and method; a batch of another shape compiles again.

  Attributes:
    train: (state, frozen parameters, Batch, ScheduleParams) -> (state, TaskSums); the state is donated.
    evaluate: (trained, frozen, Batch) -> TaskSums, without dropout.
    logits: (trained, frozen, Batch) -> logits of the head.
    complete: (trained, frozen) -> the parameters of the complete model.
    initialize: (trained, seed) -> the state before the first step.
  """

  train: Callable[..., tuple[TrainState, TaskSums]]
  evaluate: Callable[..., TaskSums]
  logits: Callable[..., Array]
  complete: Callable[..., Any]
  initialize: Callable[[Any, int], TrainState]


def tuning_programs(
  model: Model, head: HeadConfig, optimizer: Optimizer, adapters: LoraConfig | None
) -> TuningPrograms:
  """Returns the functions of a model, the same objects for the same arguments, so none compiles twice."""
  fixed = to_dict(optimizer) | {"peak_learning_rate": 1.0, "warmup": 0.0}  # traced: sweeps share a program
  return _programs(json.dumps(to_dict(model)), head, json.dumps(fixed), adapters)


@functools.lru_cache(maxsize=16)
def _programs(
  model_json: str, head: HeadConfig, optimizer_json: str, adapters: LoraConfig | None
) -> TuningPrograms:
  model = from_dict(Model, json.loads(model_json))
  # A second config for evaluation, so that no key has to be passed to switch dropout off.
  plain = from_dict(Model, json.loads(model_json) | {"dropout": 0.0})
  optimizer = from_dict(Optimizer, json.loads(optimizer_json))
  rule = make_update_rule(optimizer)
  adapt = None if adapters is None else functools.partial(lora.apply_adapters, lora=adapters)

  def complete(trained: Any, frozen: Any) -> Any:
    return trained_part.complete_parameters(trained, frozen, adapt)

  def loss(trained: Any, frozen: Any, batch: Batch, key: Array | None) -> TaskSums:
    return task_loss.batch_loss(model, head, optimizer, complete(trained, frozen), batch, key)

  make_opt_state = jax.jit(rule.init)

  def initialize(trained: Any, seed: int) -> TrainState:
    key = jax.random.key_data(jax.random.fold_in(jax.random.key(np.uint32(seed)), 1))  # stream 1 is dropout's
    # A copy, because the step writes over the buffers of the state that it is given.
    trained = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), trained)
    scale = loss_scaling.initial_scale(model.dtype)
    return TrainState(jnp.int32(0), trained, make_opt_state(trained), jnp.int32(0), key, loss_scale=scale)

  def train(
    state: TrainState, frozen: Any, batch: Batch, schedule: ScheduleParams
  ) -> tuple[TrainState, TaskSums]:
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    grads, sums = _sum_gradients(
      lambda trained, part, part_key: loss(trained, frozen, part, part_key),
      state, batch, key, optimizer.microbatches,
    )  # fmt: skip
    rate = learning_rate(optimizer.schedule, state.step, schedule)
    return _update(state, grads, sums, rule, rate, optimizer.clip), sums

  def evaluate(trained: Any, frozen: Any, batch: Batch) -> TaskSums:
    return task_loss.batch_loss(plain, head, optimizer, complete(trained, frozen), batch)

  def logits(trained: Any, frozen: Any, batch: Batch) -> Array:
    return task_loss.head_logits(plain, head, complete(trained, frozen), batch)

  return TuningPrograms(
    # The frozen tree is an argument that is not donated: it is the same array in every step.
    jax.jit(train, donate_argnums=0),
    jax.jit(evaluate),
    jax.jit(logits),
    jax.jit(complete),
    initialize,
  )


def _sum_gradients(
  loss: Callable[[Any, Batch, Array], TaskSums], state: TrainState, batch: Batch, key: Array, count: int
) -> tuple[Any, TaskSums]:
  """Returns the gradient of the summed loss, times its scale, and the sums, over `count` parts of the batch's rows."""

  def of_part(part: Batch, part_key: Array) -> tuple[Any, TaskSums]:
    def summed(tree: Any) -> tuple[Array, TaskSums]:
      sums = loss(tree, part, part_key)
      return loss_scaling.scale_loss(sums.loss, state.loss_scale), sums

    return jax.grad(summed, has_aux=True)(state.params)

  if count == 1:
    return of_part(batch, key)
  parts = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)
  zero = (jax.tree.map(jnp.zeros_like, state.params), TaskSums(jnp.float32(0), jnp.float32(0)))

  def add(total: Any, inputs: tuple[Batch, Array]) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, of_part(*inputs)), None

  return jax.lax.scan(add, zero, (parts, jax.random.split(key, count)))[0]


def _update(state: TrainState, grads: Any, sums: TaskSums, rule: Any, rate: Array, clip: float) -> TrainState:
  """Returns the state after the update; a gradient that is not finite changes nothing and is counted."""
  # The mean is taken once, over all microbatches, so a batch in parts has the gradient of the batch as one.
  mean = loss_scaling.unscale_factor(state.loss_scale) / jnp.maximum(sums.weight, 1e-9)
  norm = optax.global_norm(grads) * mean
  finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
  # 1e-6 and one factor for mean and clipping, as in `gen.training.step.train_step`.
  scale = mean * (jnp.minimum(1.0, clip / (norm + 1e-6)) if clip else 1.0)
  grads = jax.tree.map(lambda grad: grad * scale, grads)
  opt_state, apply_update = rule.update(grads, state.opt_state, state.params, rate)
  opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), opt_state, state.opt_state)
  params = apply_update(state.params, opt_state)
  params = jax.tree.map(lambda new, old: jnp.where(finite, new, old), params, state.params)
  # A step that a large scale of the loss spoils is no sign of divergence, and is counted there.
  skipped = state.skipped + jnp.where(finite, 0, 1 - loss_scaling.can_back_off(state.loss_scale))
  scaling = loss_scaling.adjust_scale(state.loss_scale, finite)
  return TrainState(state.step + 1, params, opt_state, skipped, state.key, loss_scale=scaling)
