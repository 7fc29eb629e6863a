"""How XLA is asked to compile the programs of a step, where that differs from its defaults: on a CPU alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from gen.config import Model

# Products and sums of rows go to YNNPACK by default, each product by itself. So said, a product takes with it what is
# done to its result alone.
_WITH_WHAT_FOLLOWS = {
  "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}


def options_once(platform: str) -> dict[str, Any]:
  """Returns options for a program that runs once: on a CPU random draws compile in half the time, to the same bits."""
  return {"xla_backend_optimization_level": 1} if platform == "cpu" else {}


def step_options(model: Model, platform: str) -> dict[str, Any]:
  """Returns options for a program of training steps.

  A transformer's relu then never leaves its product: the number before it, which its gradient does not ask for, is
  written nowhere. Other activations are not helped, for their gradients want the number before. The same option in
  XLA_FLAGS is overruled.
  """
  wanted = platform == "cpu" and model.activation == "relu" and not model.recurrent
  return dict(_WITH_WHAT_FOLLOWS) if wanted and are_understood(**_WITH_WHAT_FOLLOWS) else {}


@functools.cache
def are_understood(**options: str) -> bool:
  """Returns whether this release of XLA has the options for a CPU; some are called experimental."""
  try:
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
      jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
