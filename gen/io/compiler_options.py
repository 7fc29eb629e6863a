"""Which compiler options this release of XLA has; several are called experimental and go again."""

import functools
from typing import Any


@functools.cache
def are_supported(**options: Any) -> bool:
  """Returns whether XLA has the options for a CPU."""
  import jax
  import jax.numpy as jnp

  # Compiles the smallest program: XLA raises an error for an unknown option.
  try:
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
      jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
