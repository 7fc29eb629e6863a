"""Options of XLA with which the programs that tests start compile in half the time (tests/programs.py).

jax's own switch, JAX_DISABLE_MOST_OPTIMIZATIONS, leaves LLVM's optimizations out. XLA's CPU backend still lowers each
fusion through MLIR, which takes longer than all that follows; its older emitter does not. With it the steps of three
tiny models took 2.5 in place of 6.4 s of processor time to compile. Drawing parameters asks for LLVM's level 1
(`gen/training/xla_options.py`), which tests do not need either.
"""

import functools
import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any

SWITCH = "JAX_DISABLE_MOST_OPTIMIZATIONS"
EMITTERS = "xla_cpu_use_fusion_emitters"
LEVEL = "xla_backend_optimization_level"
# XLA ends the process at an unknown option, and the older emitter will not stay.
HAS_OLDER_EMITTER = metadata.version("jaxlib").startswith("0.10.")


_runs_long = False  # whether the programs of this process run longer than they compile


def expect_long_runs(long: bool) -> None:
  """Leaves XLA's newer emitter in place for programs that run longer than they compile, as the fits of laws do.

  With the older one the tests of the parametric law, outliers, atlases and verdicts took 338 s of processor time in
  place of 105.
  """
  global _runs_long
  _runs_long = long


def is_quick(environment: Mapping[str, str] = os.environ) -> bool:
  """Returns whether an environment asks for quick compilation, and this jaxlib has the older emitter."""
  return HAS_OLDER_EMITTER and environment.get(SWITCH, "").lower() in ("1", "true")


def with_flags(environment: dict[str, str]) -> dict[str, str]:
  """Returns the environment of a program that a test starts, whose own programs shall compile quickly too."""
  if not is_quick(environment):
    return environment
  return environment | {"XLA_FLAGS": f"{environment.get('XLA_FLAGS', '')} --{EMITTERS}=false".strip()}


def apply_to_jax() -> None:
  """Gives all compilations of this process the options, as long as its environment asks for quick ones.

  The function is private to jax: without it, or with other arguments, everything compiles as before.
  """
  try:
    from jax._src import compiler

    original = compiler.get_compile_options
  except (ImportError, AttributeError):
    return
  if hasattr(original, "__wrapped__"):
    return

  @functools.wraps(original)
  def get_compile_options(
    *args: Any, env_options_overrides: dict[str, Any] | None = None, **options: Any
  ) -> Any:
    overrides = dict(env_options_overrides or {})
    if is_quick() and not _runs_long:
      overrides.pop(LEVEL, None)
      overrides[EMITTERS] = False
    return original(*args, env_options_overrides=overrides, **options)

  compiler.get_compile_options = get_compile_options
