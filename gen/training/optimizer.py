"""AdamW (arXiv:1711.05101) under a schedule whose peak and length are arguments, not constants.

One compiled step thus serves every learning rate and every horizon of a sweep.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen.config import STABLE, Optimizer

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


def init_moments(optimizer: Optimizer, params: Any) -> Any:
  """Returns the state of AdamW before its first step: a count, and zeros like the parameters twice."""
  adam, decay = _adam(optimizer), _decay(optimizer)
  return adam.init(params), decay.init(params)


def update_moments(optimizer: Optimizer, opt_state: Any, grads: Any) -> Any:
  """Returns the opt_state with one more gradient in them."""
  adam, decay = opt_state
  return _adam(optimizer).update(grads, adam)[1], decay


def update_direction(optimizer: Optimizer, opt_state: Any, params: Any) -> Any:
  """Returns the step of unit rate that the opt_state ask for, m / (sqrt(v) + epsilon) + decay p, m and v unbiased.

  It is a function of its own, and not what optax returns beside the opt_state, so that a compiled step can have done
  with the old opt_state before it begins with the parameters. Else XLA keeps a copy of both for it.
  Weight decay spares what is no matrix: norms and biases, by the rank that a parameter has in one layer.
  """
  adam, decay = opt_state
  mean = optax.tree.bias_correction(adam.mu, optimizer.beta1, adam.count)
  square = optax.tree.bias_correction(adam.nu, optimizer.beta2, adam.count)
  steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + optimizer.epsilon), mean, square)
  return _decay(optimizer).update(steps, decay, params)[0]


def _adam(optimizer: Optimizer) -> optax.GradientTransformation:
  return optax.scale_by_adam(optimizer.beta1, optimizer.beta2, optimizer.epsilon)


def _decay(optimizer: Optimizer) -> optax.GradientTransformation:
  return optax.add_decayed_weights(optimizer.weight_decay, decay_mask)


def decay_mask(params: Any) -> Any:
  """Returns which parameters decay: kernels and embeddings, not norms' scales nor biases."""

  def is_matrix(path: tuple[Any, ...], value: Array) -> bool:
    names = [str(getattr(key, "key", key)) for key in path]
    rank = value.ndim - ("layers" in names)  # a stack of layers adds one axis
    return rank >= 2 and not names[-1].endswith("bias")

  return jax.tree_util.tree_map_with_path(is_matrix, params)
