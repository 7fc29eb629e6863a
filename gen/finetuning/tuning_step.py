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
from gen.training import step
from gen.training.step import TrainState

MIN_WEIGHT = 1e-9  # of a batch: far below the weight of one example, and above 0, by which nothing is divided


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
    zero = TaskSums(jnp.float32(0), jnp.float32(0))
    grads, sums = step.sum_gradients(
      lambda trained, part, part_key: loss(trained, frozen, part, part_key),
      state.params, batch, step.step_key(state), optimizer.microbatches, zero, state.loss_scale,
    )  # fmt: skip
    rate = learning_rate(optimizer.schedule, state.step, schedule)
    # Weights of examples may be fractions, and so may the sum of a batch.
    return step.apply_gradients(state, grads, sums, optimizer, rule, rate, MIN_WEIGHT)[0], sums

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
