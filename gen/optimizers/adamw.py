"""AdamW (arXiv:1711.05101), and the schedule of the learning rate for all optimizers.

The peak and the length of a schedule are arguments of the compiled step, so one compiled step serves all learning rates
and run lengths of a sweep. Rates are per step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from gen.config import STABLE, Optimizer
from gen.errors import UserError
from gen.io import user_code
from gen.optimizers.update_rule import UpdateRule

SCHEDULES = ("linear", "cosine", "constant", *STABLE)


class ScheduleParams(NamedTuple):
  """Parameters of a schedule for one run, traced.

  Attributes:
    peak: peak learning rate.
    steps: length of the run.
    warmup: steps of linear warmup; the first step has the rate peak / warmup.
    decay: steps of the last, decaying part (wsd, wsd_sqrt).
    final: last learning rate as a fraction of the peak.
  """

  peak: Any
  steps: Any
  warmup: Any
  decay: Any
  final: Any


def schedule_params(optimizer: Optimizer, steps: int) -> ScheduleParams:
  """Returns the parameters of the schedule for a run of `steps` steps; fractions become steps."""
  warmup = round(optimizer.warmup * steps)
  # At least 1, because the rate divides by it.
  decay = max(1, round(optimizer.decay * steps))
  # Python floats: jit would compile again for an int.
  return ScheduleParams(
    *(float(x) for x in (optimizer.peak_learning_rate, steps, warmup, decay, optimizer.final))
  )


def learning_rate(schedule: str, step: Array | int, constants: ScheduleParams) -> Array:
  """Returns the learning rate of a step counted from 0, float32.

  It rises linearly to the peak in `warmup` steps. After that it depends on the schedule:

      linear     falls to final x peak at the end of the run
      cosine     the same along half a cosine, without restarts (arXiv:1608.03983)
      constant   stays at the peak
      wsd        stays at the peak, and falls linearly in the last `decay` steps (arXiv:2404.06395)
      wsd_sqrt   the same, with 1 - sqrt(fraction of the decay that is done) (arXiv:2405.18392)

  A function of the user's own is given the step and the constants, and returns the rate itself, warmup included.

  Raises:
    ValueError: for an unknown schedule.
    UserError: for a reference that cannot be imported, or whose function returns no number.
  """
  # Float32 because a traced step is int32; exact up to 2^24 steps.
  step = jnp.asarray(step, jnp.float32)
  # step + 1: a rate of 0 would waste the first step.
  rising = (step + 1) / jnp.maximum(constants.warmup, 1.0)
  after_warmup = constants.steps - constants.warmup
  # Linear and cosine schedules begin after the warmup: `done` is 0 at the peak, whatever the share of the warmup is.
  done = jnp.clip((step - constants.warmup) / jnp.maximum(after_warmup, 1.0), 0.0, 1.0)
  if schedule == "linear":
    shape = constants.final + (1 - constants.final) * (1 - done)
  elif schedule == "cosine":
    shape = constants.final + (1 - constants.final) * 0.5 * (1 + jnp.cos(jnp.pi * done))
  elif schedule in STABLE:
    # Counted from the end, so that the rate before the decay does not depend on the run's length. Runs of several
    # lengths then share one trunk.
    remaining = jnp.clip((constants.steps - step) / constants.decay, 0.0, 1.0)
    falling = remaining if schedule == "wsd" else 1 - jnp.sqrt(1 - remaining)
    shape = constants.final + (1 - constants.final) * falling
  elif schedule == "constant":
    shape = jnp.float32(1.0)
  elif user_code.is_reference(schedule):
    return _own_rate(schedule, step, constants)
  else:
    raise ValueError(f"schedule is {schedule!r}; it must be one of {', '.join(SCHEDULES)}")
  # Selected and not branched on: the step is traced, so both values are computed in one program.
  return constants.peak * jnp.where(step < constants.warmup, jnp.minimum(rising, 1.0), shape)


def _own_rate(schedule: str, step: Array, constants: ScheduleParams) -> Array:
  """Returns the rate of a schedule of the user's own, which is traced."""
  function = user_code.load_object(schedule, "optimizer.schedule")
  with user_code.errors_of(f"optimizer.schedule {schedule!r}"):
    rate = jnp.asarray(function(step, constants), jnp.float32)
  if rate.shape:
    raise UserError(
      f"optimizer.schedule {schedule!r} returns an array of shape {rate.shape}; return one number"
    )
  return rate


def make_adamw(config: Optimizer) -> UpdateRule:
  """Returns AdamW; its state is a counter and two moments, each with the structure of the parameters."""
  adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
  decay = optax.add_decayed_weights(config.weight_decay, decay_mask)

  def init(params: Any) -> Any:
    return adam.init(params), decay.init(params)

  def update(grads: Any, opt_state: Any, params: Any, rate: Array) -> tuple[Any, Callable[[Any, Any], Any]]:
    del params
    moments, decayed = opt_state

    # optax computes the update from the old moments while it makes the new ones. XLA then copies both moments before
    # each step of a dispatch: 383 MiB in place of 371 for a decoder of width 256. This update reads the new moments, so
    # XLA writes them over the old ones.
    def apply(params: Any, opt_state: Any) -> Any:
      steps = _direction(config, opt_state, params)
      # `rate` also multiplies the decay, as in PyTorch and optax. Algorithm 2 of arXiv:1711.05101 multiplies the decay
      # by the schedule alone, so a decay of that paper is this one times the peak rate.
      return jax.tree.map(lambda p, u: p - rate * u, params, steps)

    return (adam.update(grads, moments)[1], decayed), apply

  return UpdateRule(init, update)


def _direction(config: Optimizer, opt_state: Any, params: Any) -> Any:
  """Returns the update at learning rate 1: m / (sqrt(v) + epsilon) + weight_decay p, with bias-corrected m and v.

  Weight decay applies to matrices only, see `decay_mask`.
  """
  adam, decayed = opt_state
  # Moments start at 0: m / (1 - beta^t) removes that bias (arXiv:1412.6980, section 3).
  mean = optax.tree.bias_correction(adam.mu, config.beta1, adam.count)
  square = optax.tree.bias_correction(adam.nu, config.beta2, adam.count)
  # Epsilon stands outside the root, as in algorithm 1 of arXiv:1412.6980.
  steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + config.epsilon), mean, square)
  return optax.add_decayed_weights(config.weight_decay, decay_mask).update(steps, decayed, params)[0]


def decay_mask(params: Any) -> Any:
  """Returns a tree of booleans, true for parameters with weight decay: kernels and embeddings.

  Scales of norms and biases have none.
  """

  def is_matrix(path: tuple[Any, ...], value: Array) -> bool:
    names = path_names(path)
    # Biases of attention are [heads, head width], so rank alone does not exclude them.
    return layer_rank(names, value) >= 2 and not names[-1].endswith("bias")

  return jax.tree_util.tree_map_with_path(is_matrix, params)


def path_names(path: tuple[Any, ...]) -> list[str]:
  """Returns the names along a path into the parameters."""
  return [str(getattr(key, "key", key)) for key in path]


def layer_rank(names: list[str], value: Any) -> int:
  """Returns the rank that a parameter has in one layer: a stack of layers adds one axis."""
  # Otherwise a stack of norms, [L, D], would count as a matrix.
  return value.ndim - ("layers" in names)
