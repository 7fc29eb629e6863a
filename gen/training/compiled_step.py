"""The training step compiled: one program for each shape, with or without a mesh."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from gen.config import Model, Optimizer, from_dict, to_dict, user_sources
from gen.kernels import losses
from gen.optimizers import make_update_rule
from gen.precision import loss_scaling
from gen.sharding.layouts import ShardingLayout
from gen.training import state_sharding, step, xla_options


class StepPrograms(NamedTuple):
  """The compiled functions of one shape; learning rate, horizon and seed are arguments.

  Attributes:
    initialize: seed -> TrainState.
    train: (TrainState, stacked Batch, count, ScheduleParams) -> (TrainState, StepSums); the state is donated.
    evaluate: (params, Batch) -> LossSums.
    evaluate_carried: (params, Batch, recurrent state) -> (LossSums, recurrent state), for a model with `model.carry`.
    shardings: of the state on a mesh; None without one.
  """

  initialize: Callable[..., step.TrainState]
  train: Callable[..., tuple[step.TrainState, step.StepSums]]
  evaluate: Callable[..., losses.LossSums]
  evaluate_carried: Callable[..., tuple[losses.LossSums, Any]]
  shardings: state_sharding.StateSharding | None = None


def step_programs(model: Model, optimizer: Optimizer, layout: ShardingLayout | None = None) -> StepPrograms:
  """Returns the jitted functions of a shape; the same objects for the same shape and layout, so none compiles twice."""
  fixed = to_dict(optimizer)
  for name in ("peak_learning_rate", "warmup", "decay", "final", "max_skipped_steps"):
    fixed[name] = 0.0  # traced, or not read by the step: runs of a sweep that differ in these share a program
  sources = user_sources.program_sources(model, optimizer)
  return _programs(json.dumps(to_dict(model)), json.dumps(fixed), layout, sources)


# Keyed by JSON, because configs are mutable and have no hash.
# 64: more shapes than a sweep usually has. Bounded, because each entry holds compiled programs.
@functools.lru_cache(maxsize=64)
def _programs(
  model_json: str, optimizer_json: str, layout: ShardingLayout | None, sources: tuple[str, ...]
) -> StepPrograms:
  """Compiles a shape; `sources` are the checksums of the user's own code that its config names."""
  del sources
  model = from_dict(Model, json.loads(model_json))
  optimizer = from_dict(Optimizer, json.loads(optimizer_json))
  # Evaluation reports the plain negative log likelihood: without smoothing, z-loss and dropout.
  plain = losses.LossTerms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
  if layout is not None:
    return _sharded_programs(model, optimizer, plain, state_sharding.shard_state(model, layout, optimizer))
  platform = jax.default_backend()
  once = xla_options.options_once(platform)
  return StepPrograms(
    jax.jit(functools.partial(step.initialize_state, model, optimizer), compiler_options=once),
    jax.jit(
      functools.partial(step.train_steps, model, optimizer, rule=make_update_rule(optimizer)),
      donate_argnums=0,  # the new state is written over the old one
      compiler_options=xla_options.step_options(model, platform),
    ),
    jax.jit(functools.partial(step.batch_loss, model, plain)),
    jax.jit(functools.partial(step.recurrent_loss, model, plain)),
  )


def _sharded_programs(
  model: Model,
  optimizer: Optimizer,
  plain: losses.LossTerms,
  shardings: state_sharding.StateSharding,
) -> StepPrograms:
  """Returns the functions of a shape on a mesh, with explicit shardings of arguments and results."""
  replicated, rows, stack = shardings.replicated, shardings.layout.rows(), shardings.layout.rows(1)
  # Counters and the key are replicated: each device reads them in every step.
  of_state: tuple[Any, ...] = (
    replicated, shardings.parameters, shardings.opt_state, replicated, replicated, shardings.recurrent_state,
  )  # fmt: skip
  state = step.TrainState(*of_state)._replace(loss_scale=loss_scaling.scale_sharding(model.dtype, replicated))
  on_mesh = shardings.traced
  platform = shardings.layout.mesh.devices.flat[0].platform
  rule = make_update_rule(optimizer)
  return StepPrograms(
    jax.jit(
      on_mesh(functools.partial(step.initialize_state, model, optimizer)),
      # Parameters are drawn where they will lie: a model that one device cannot hold is never on one device.
      out_shardings=state._replace(recurrent_state=None),
      compiler_options=xla_options.options_once(platform),
    ),
    jax.jit(
      on_mesh(functools.partial(step.train_steps, model, optimizer, shardings=shardings, rule=rule)),
      # The state is donated here too. `initialize` and `evaluate` donate nothing: their arguments are used again.
      donate_argnums=0,
      in_shardings=(state, stack, replicated, replicated),
      # Equal to the state's input shardings, which donation needs.
      out_shardings=(state, replicated),
      compiler_options=xla_options.step_options(model, platform),
    ),
    jax.jit(
      on_mesh(functools.partial(step.batch_loss, model, plain)),
      in_shardings=(shardings.parameters, rows),
      out_shardings=replicated,
    ),
    jax.jit(
      on_mesh(functools.partial(step.recurrent_loss, model, plain)),
      in_shardings=(shardings.parameters, rows, shardings.recurrent_state),
      out_shardings=(replicated, shardings.recurrent_state),
    ),
    shardings,
  )
