"""Which software a result was made with."""

import functools
import importlib.metadata
import platform
import sys

DISTRIBUTION = "gen-scaling"  # `gen` on the package index is another project
NAMED = (
  "gen",
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "numpy",
  "scipy",
  "sentencepiece",
)


@functools.cache
def installed_versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages that decide numbers."""
  found = {"python": sys.version.split()[0]}
  for name in NAMED:
    try:
      found[name] = importlib.metadata.version(DISTRIBUTION if name == "gen" else name)
    except importlib.metadata.PackageNotFoundError:
      found[name] = "not installed"
  return found


def describe_machine() -> dict[str, str | int]:
  """Returns what a timing depends on: processor, cores, system."""
  import os

  model = platform.processor() or platform.machine()
  try:
    with open("/proc/cpuinfo") as file:  # noqa: PTH123
      names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = names[0] if names else model
  except OSError:
    pass
  return {"processor": model, "cores": os.cpu_count() or 1, "system": platform.system()}
