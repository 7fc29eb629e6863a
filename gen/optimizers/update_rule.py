"""What the training step asks of an optimizer, and what any optax transformation needs to answer it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array


class UpdateRule(NamedTuple):
  """An optimizer as two pure functions.

  Attributes:
    init: params -> opt_state.
    update: (grads, opt_state, params, rate) -> (opt_state, apply). `rate` is the learning rate of this step, a traced
      scalar. `apply` maps (params, opt_state) to the new parameters. It is a function and not a tree, so that a
      compiled step can order it after the update of the state.
  """

  init: Callable[[Any], Any]
  update: Callable[[Any, Any, Any, Array], tuple[Any, Callable[[Any, Any], Any]]]


def from_optax(make: Callable[[Callable[[Any], Array]], optax.GradientTransformation]) -> UpdateRule:
  """Returns the rule of an optax optimizer.

  The schedule is the run's: whatever step count the transformation keeps, it is given the rate of the training step,
  which also counts steps that were skipped.

  Args:
    make: from a schedule, a function of the step count, to the optimizer.
  """

  def init(params: Any) -> Any:
    # Only shapes and types of the state matter here; the rate of 0 is never used.
    return make(lambda count: jnp.zeros_like(count, jnp.float32)).init(params)

  def update(grads: Any, opt_state: Any, params: Any, rate: Array) -> tuple[Any, Callable[[Any, Any], Any]]:
    # Made anew at each trace, because the schedule closes over this step's traced rate. optax's transformations are
    # pure functions, and all that they remember is in `opt_state`.
    updates, opt_state = make(lambda count: rate).update(grads, opt_state, params)
    return opt_state, lambda params, opt_state: optax.apply_updates(params, updates)

  return UpdateRule(init, update)
