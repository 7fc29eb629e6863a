"""Absent accelerators: memory and peak rate of chips, and topologies for which XLA can compile without them.

A topology is a chip and its grid, as v5p:4x4x4: 64 chips; of GPUs a number, as h100:64: eight machines of eight. TPUs'
memory and peak rates are from cloud.google.com/tpu/docs (system architecture). GPUs' rates are dense; these and the
memory of an H200 are from NVIDIA's data sheets. The bytes of an A100 and an H100 are those that the driver reports, as
in XLA's own descriptions. Compiling needs libtpu or XLA's plugin for CUDA, but neither a TPU nor a GPU.
"""

import contextlib
import importlib.util
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from gen.costs import gpus
from gen.errors import UserError
from gen.sharding.chip_peaks import chip_peak

MACHINE = 8  # GPUs of one machine, as in NVIDIA's DGX and HGX boards


class Chip(NamedTuple):
  """One accelerator.

  Attributes:
    memory: bytes of high-bandwidth memory.
    flops_per_second: peak of bfloat16 products.
    axes: number of axes of the grid of chips.
    platform: tpu | cuda.
  """

  memory: int
  flops_per_second: float
  axes: int
  platform: str = "tpu"


# Bytes, peak and axes of the grid: v5e and v6e are wired in two dimensions, v4 and v5p in three.
CHIPS = {
  "v4": Chip(32 * 2**30, chip_peak("tpu-v4"), 3),
  "v5e": Chip(16 * 2**30, chip_peak("tpu-v5e"), 2),
  "v5p": Chip(95 * 2**30, chip_peak("tpu-v5p"), 3),
  "v6e": Chip(32 * 2**30, chip_peak("tpu-v6e"), 2),
  # Less than 80 GiB (85.9e9 bytes), because the driver keeps a part.
  "a100": Chip(85_100_068_864, chip_peak("a100"), 1, "cuda"),
  "h100": Chip(84_942_979_072, chip_peak("h100"), 1, "cuda"),
  "h200": Chip(141 * 10**9, chip_peak("h200"), 1, "cuda"),
}


class Topology(NamedTuple):
  """A grid of chips.

  Attributes:
    name: as the user wrote it.
    chip: the kind of chip.
    grid: chips along each axis.
  """

  name: str
  chip: Chip
  grid: tuple[int, ...]

  @property
  def chips(self) -> int:
    """Total number of chips."""
    return math.prod(self.grid)


def find_chip(name: str) -> Chip:
  """Returns the properties of a chip.

  >>> find_chip("v5p").memory // 2**30
  95

  Raises:
    UserError: for an unknown chip; the message lists the known ones.
  """
  if name not in CHIPS:
    chips = ", ".join(f"{chip} ({kind.memory / 2**30:.0f} GiB)" for chip, kind in CHIPS.items())
    raise UserError(f"unknown chip {name!r}; choose one of {chips}")
  return CHIPS[name]


def parse_topology(text: str) -> Topology:
  """Returns the topology that a text such as v5p:4x4x4 describes.

  >>> parse_topology("v5p:4x4x4").chips
  64

  Raises:
    UserError: for an unknown chip, or a grid with the wrong number of axes.
  """
  name, _, grid = text.partition(":")
  try:
    kind = find_chip(name)
  except UserError as error:
    raise UserError(f"topology {text!r}: {error}, as in v5p:4x4x4 or h100:8") from None
  sizes = grid.split("x")
  are_counts = all(size.isascii() and size.isdigit() and int(size) for size in sizes)
  # GPUs have no grid: links inside a machine join all with all.
  if kind.platform == "cuda" and not (are_counts and len(sizes) == 1):
    raise UserError(f"topology {text!r}: give the number of GPUs, as in {name}:8 or {name}:64")
  # All axes must be given, since XLA lays its rings along them and a guessed grid would have other traffic.
  if len(sizes) != kind.axes or not are_counts:
    example = f"{name}:" + "x".join("4" * kind.axes)
    raise UserError(
      f"topology {text!r}: the grid of {name} chips has {kind.axes} axes; give {kind.axes} whole numbers, as in"
      f" {example}"
    )
  topology = Topology(text, kind, tuple(map(int, sizes)))
  # A machine that is filled in part would make devices unequal, which the compiler's description cannot say.
  if kind.platform == "cuda" and topology.chips > MACHINE and topology.chips % MACHINE:
    raise UserError(f"topology {text!r}: give {MACHINE} GPUs or fewer, or a multiple of {MACHINE}")
  return topology


def topology_devices(topology: Topology) -> list[Any]:
  """Returns the devices of a topology, one per chip, for meshes to compile for.

  Call this before jax initializes its own devices; it restricts jax to the CPU.

  Raises:
    UserError: if the compiler is not installed, or does not support the grid.
  """
  of_gpus = topology.chip.platform == "cuda"
  compiler = "XLA's plugin for CUDA" if of_gpus else "libtpu"
  if of_gpus and not _has_cuda():
    raise UserError(
      "compiling for a GPU needs XLA's plugin for CUDA (175 MB); run with uv run --extra absent-gpus, or"
      " `pip install jax-cuda12-pjrt` in jax's version"
    )
  if not of_gpus and importlib.util.find_spec("libtpu") is None:
    raise UserError(
      "compiling for a TPU needs libtpu (130 MB); run with uv run --extra tpu, or `pip install libtpu`"
    )
  # Otherwise jax would take libtpu as its backend, and look for chips of this machine.
  os.environ["JAX_PLATFORMS"] = "cpu"
  # SKIP_MDS_QUERY keeps libtpu from asking a cloud machine's metadata server, which does not exist here.
  quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}
  for name, value in (quiet | {"TF_CPP_MIN_LOG_LEVEL": "3"} if of_gpus else quiet).items():
    os.environ.setdefault(name, value)
  import jax
  from jax.experimental import topologies

  jax.config.update("jax_platforms", "cpu")  # jax reads the variable only when it is imported.
  try:
    if of_gpus:
      with _quiet_plugin():
        description = topologies.get_topology_desc(topology.name, "cuda", **_machines(topology))
    else:
      description = topologies.get_topology_desc(topology.name, "tpu")
    devices = description.devices
  except Exception as error:  # the compilers raise errors of several types
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(f"{compiler} does not support topology {topology.name!r}: {reason}") from error
  # A chip whose two cores are separate, as of v2 and v3, would be two devices.
  if len(devices) != topology.chips:
    raise UserError(
      f"topology {topology.name!r} has {topology.chips} chips, but {compiler} gives it {len(devices)} devices; a mesh"
      " needs one device per chip"
    )
  return list(devices)


def _has_cuda() -> bool:
  """Returns whether a plugin that compiles for CUDA is installed; that of jax[cuda13] counts."""
  if importlib.util.find_spec("jax_plugins") is None:
    return False
  return any(importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13))


def _machines(topology: Topology) -> dict[str, str]:
  """Returns the description of a GPU topology: the target, and machines x GPUs in one domain of fast links."""
  name = topology.name.partition(":")[0]
  # Fewer than eight GPUs are one machine that has no more.
  per_machine = min(topology.chips, MACHINE)
  target = gpus.gpu_target(gpus.GPUS[name], topology.chip.memory)
  return {"target_config": target, "topology": f"1x{topology.chips // per_machine}x{per_machine}"}


@contextlib.contextmanager
def _quiet_plugin() -> Iterator[None]:
  """Suppresses the plugin's warning that no driver was found, which is expected here."""
  logging.getLogger("jax_plugins.xla_cuda12").setLevel(logging.ERROR)
  sys.stderr.flush()
  standard_error = os.dup(2)
  with tempfile.TemporaryFile() as sink:
    # The plugin writes from C++, so Python's `sys.stderr` cannot be redirected instead.
    os.dup2(sink.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(standard_error, 2)
      os.close(standard_error)
