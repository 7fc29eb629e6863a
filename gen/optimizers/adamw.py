"""AdamW (arXiv:1711.05101), and the schedule of the learning rate that all optimizers follow.

A schedule's peak and length are arguments, not constants: one compiled step serves every learning rate and every
horizon of a sweep.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen.config import STABLE, Optimizer
from gen.optimizers.update_rule import UpdateRule

SCHEDULES = ("linear", "cosine", "constant", *STABLE)


class ScheduleParams(NamedTuple):
  """What a schedule needs to know of a run, traced.

  Attributes:
    peak: peak learning rate.
    steps: of the whole run.
    warmup: steps of linear warmup from 0; the first step already moves.
    decay: steps of the last, decaying part (wsd, wsd_sqrt).
    final: last learning rate as a fraction of the peak.
  """

  peak: Any
  steps: Any
  warmup: Any
  decay: Any
  final: Any


def schedule_params(optimizer: Optimizer, steps: int) -> ScheduleParams:
  """Returns the horizon of a run of so many steps."""
  warmup = round(optimizer.warmup * steps)
  decay = max(1, round(optimizer.decay * steps))
  return ScheduleParams(
    *(float(x) for x in (optimizer.peak_learning_rate, steps, warmup, decay, optimizer.final))
  )


def learning_rate(schedule: str, step: Array | int, constants: ScheduleParams) -> Array:
  """Returns the learning rate of a step counted from 0.

  Warmup rises to the peak constants `warmup` steps. Then `linear` and `cosine` (arXiv:1608.03983, no restarts) fall to
  final x peak at the last step, `constant` stays, and `wsd` (warmup-stable-decay, arXiv:2404.06395) stays until
  its last `decay` steps fall linearly; in `wsd_sqrt` (arXiv:2405.18392) they fall by the root of those done.
  """
  step = jnp.asarray(step, jnp.float32)
  rising = (step + 1) / jnp.maximum(constants.warmup, 1.0)
  left = constants.steps - constants.warmup
  done = jnp.clip((step - constants.warmup) / jnp.maximum(left, 1.0), 0.0, 1.0)
  if schedule == "linear":
    shape = constants.final + (1 - constants.final) * (1 - done)
  elif schedule == "cosine":
    shape = constants.final + (1 - constants.final) * 0.5 * (1 + jnp.cos(jnp.pi * done))
  elif schedule in STABLE:
    remaining = jnp.clip((constants.steps - step) / constants.decay, 0.0, 1.0)
    falling = remaining if schedule == "wsd" else 1 - jnp.sqrt(1 - remaining)
    shape = constants.final + (1 - constants.final) * falling
  elif schedule == "constant":
    shape = jnp.float32(1.0)
  else:
    raise ValueError(f"schedule {schedule!r} is none of {', '.join(SCHEDULES)}")
  return constants.peak * jnp.where(step < constants.warmup, jnp.minimum(rising, 1.0), shape)


def make_adamw(config: Optimizer) -> UpdateRule:
  """Returns AdamW; its state is a count, and zeros like the parameters twice.

  The new parameters are computed from the new state, and not by what optax returns beside it, so that a compiled step
  can have done with the old state before it begins with the parameters. Else XLA keeps a copy of both.
  """
  adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
  decay = optax.add_decayed_weights(config.weight_decay, decay_mask)

  def init(params: Any) -> Any:
    return adam.init(params), decay.init(params)

  def update(grads: Any, opt_state: Any, params: Any, rate: Array) -> tuple[Any, Callable[[Any, Any], Any]]:
    del params
    moments, decayed = opt_state

    def apply(params: Any, opt_state: Any) -> Any:
      steps = _direction(config, opt_state, params)
      return jax.tree.map(lambda p, u: p - rate * u, params, steps)

    return (adam.update(grads, moments)[1], decayed), apply

  return UpdateRule(init, update)


def _direction(config: Optimizer, opt_state: Any, params: Any) -> Any:
  """Returns the step of unit rate, m / (sqrt(v) + epsilon) + decay p, with m and v unbiased.

  Weight decay spares what is no matrix: norms and biases, by the rank that a parameter has in one layer.
  """
  adam, decayed = opt_state
  mean = optax.tree.bias_correction(adam.mu, config.beta1, adam.count)
  square = optax.tree.bias_correction(adam.nu, config.beta2, adam.count)
  steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + config.epsilon), mean, square)
  return optax.add_decayed_weights(config.weight_decay, decay_mask).update(steps, decayed, params)[0]


def decay_mask(params: Any) -> Any:
  """Returns which parameters decay: kernels and embeddings, not norms' scales nor biases."""

  def is_matrix(path: tuple[Any, ...], value: Array) -> bool:
    names = path_names(path)
    return layer_rank(names, value) >= 2 and not names[-1].endswith("bias")

  return jax.tree_util.tree_map_with_path(is_matrix, params)


def path_names(path: tuple[Any, ...]) -> list[str]:
  """Returns the names along a path into the parameters."""
  return [str(getattr(key, "key", key)) for key in path]


def layer_rank(names: list[str], value: Any) -> int:
  """Returns the rank that a parameter has in one layer: a stack of layers adds one axis."""
  return value.ndim - ("layers" in names)
