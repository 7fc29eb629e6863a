"""The software and the machine that produced a result."""

import functools
import importlib.metadata
import platform
import sys

DISTRIBUTION = "gen-scaling"  # `gen` on the package index is another project
# Packages whose version may change a number of a result.
PACKAGES = (
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
def installed_versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
  """Returns the versions of Python and of packages; by default of those that may change a training's result."""
  versions = {"python": sys.version.split()[0]}
  for name in packages:
    try:
      versions[name] = importlib.metadata.version(DISTRIBUTION if name == "gen" else name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = "not installed"
  return versions


def describe_machine() -> dict[str, str | int | None]:
  """Returns the processor, number of cores and system, on which timings depend."""
  import os

  model = platform.processor() or platform.machine()
  try:
    with open("/proc/cpuinfo") as file:  # noqa: PTH123
      names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = names[0] if names else model
  except OSError:
    pass
  return {"processor": model, "cores": os.cpu_count() or 1, "system": platform.system()}
