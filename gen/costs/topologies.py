"""Absent accelerators: memory and peak rate of chips, and topologies for which XLA can compile without them.

A topology is a chip and its grid, as v5p:4x4x4: 64 chips; of GPUs a number, as h100:64: eight machines of eight. TPUs'
memory and peak rates are their maker's (cloud.google.com/tpu/docs, system architecture), and so are GPUs' rates, which
are dense, and the memory of an H200 (NVIDIA's data sheets); an A100 and an H100 have the bytes that their driver tells
(as in XLA's own descriptions of them). Needs the compiler, libtpu or XLA's plugin for CUDA; neither TPU nor GPU.
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

MACHINE = 8  # GPUs that one has


class Chip(NamedTuple):
  """One accelerator.

  Attributes:
    memory: bytes of high-bandwidth memory.
    flops_per_second: peak of bfloat16 products.
    axes: of the grid that chips are wired in.
    platform: tpu | cuda.
  """

  memory: int
  flops_per_second: float
  axes: int
  platform: str = "tpu"


CHIPS = {
  "v4": Chip(32 * 2**30, 275e12, 3),
  "v5e": Chip(16 * 2**30, 197e12, 2),
  "v5p": Chip(95 * 2**30, 459e12, 3),
  "v6e": Chip(32 * 2**30, 918e12, 2),
  "a100": Chip(85_100_068_864, 312e12, 1, "cuda"),
  "h100": Chip(84_942_979_072, 989e12, 1, "cuda"),
  "h200": Chip(141 * 10**9, 989e12, 1, "cuda"),
}


class Topology(NamedTuple):
  """A grid of chips.

  Attributes:
    name: as it was asked for.
    chip: what each is.
    grid: chips along each axis.
  """

  name: str
  chip: Chip
  grid: tuple[int, ...]

  @property
  def chips(self) -> int:
    """All of them."""
    return math.prod(self.grid)


def find_chip(name: str) -> Chip:
  """Returns the properties of a chip.

  >>> find_chip("v5p").memory // 2**30
  95

  Raises:
    UserError: for one that is not known, naming those that are.
  """
  if name not in CHIPS:
    known = ", ".join(f"{each} ({kind.memory / 2**30:.0f} GiB)" for each, kind in CHIPS.items())
    raise UserError(f"no chip {name!r} is known; there are {known}")
  return CHIPS[name]


def parse_topology(text: str) -> Topology:
  """Returns the topology that a text such as v5p:4x4x4 describes.

  >>> parse_topology("v5p:4x4x4").chips
  64

  Raises:
    UserError: for a chip that is not known, or a grid that its chips do not make.
  """
  name, _, grid = text.partition(":")
  try:
    kind = find_chip(name)
  except UserError as error:
    raise UserError(f"topology {text!r}: {error}, as in v5p:4x4x4 or h100:8") from None
  sizes = grid.split("x")
  whole = all(size.isascii() and size.isdigit() and int(size) for size in sizes)
  if kind.platform == "cuda" and not (whole and len(sizes) == 1):
    raise UserError(f"topology {text!r}: GPUs are counted, as in {name}:8 or {name}:64")
  if len(sizes) != kind.axes or not whole:
    example = f"{name}:" + "x".join("4" * kind.axes)
    raise UserError(
      f"topology {text!r}: chips of {name} make a grid of {kind.axes} whole numbers, as in {example}"
    )
  found = Topology(text, kind, tuple(map(int, sizes)))
  if kind.platform == "cuda" and found.chips > MACHINE and found.chips % MACHINE:
    raise UserError(f"topology {text!r}: more than {MACHINE} GPUs come in whole machines of {MACHINE}")
  return found


def topology_devices(topology: Topology) -> list[Any]:
  """Returns the devices of a topology, one a chip, for meshes to compile for.

  Call this before jax initializes its own devices; it restricts jax to the CPU.

  Raises:
    UserError: without the compiler, or for a grid that is not built.
  """
  of_gpus = topology.chip.platform == "cuda"
  compiler = "XLA's plugin for CUDA" if of_gpus else "libtpu"
  if of_gpus and not _has_cuda():
    raise UserError(
      "compiling for a GPU needs its compiler, XLA's plugin for CUDA (175 MB): uv run --extra absent-gpus, or"
      " `pip install jax-cuda12-pjrt` of jax's version"
    )
  if not of_gpus and importlib.util.find_spec("libtpu") is None:
    raise UserError(
      "compiling for a TPU needs its compiler, libtpu (130 MB): uv run --extra tpu, or `pip install libtpu`"
    )
  os.environ["JAX_PLATFORMS"] = "cpu"
  quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}
  for name, value in (quiet | {"TF_CPP_MIN_LOG_LEVEL": "3"} if of_gpus else quiet).items():
    os.environ.setdefault(name, value)
  import jax
  from jax.experimental import topologies

  jax.config.update("jax_platforms", "cpu")  # The variable is read once, as jax is imported.
  try:
    if of_gpus:
      with _without_a_word():
        description = topologies.get_topology_desc(topology.name, "cuda", **_machines(topology))
    else:
      description = topologies.get_topology_desc(topology.name, "tpu")
    found = description.devices
  except Exception as error:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(f"topology {topology.name!r} is not one that {compiler} knows: {said}") from error
  if len(found) != topology.chips:
    raise UserError(
      f"topology {topology.name!r} has {topology.chips} chips, but {compiler} makes {len(found)} devices of it; meshes"
      " here want one a chip"
    )
  return list(found)


def _has_cuda() -> bool:
  """Returns whether a plugin that compiles for CUDA is installed; that of jax[cuda13] counts."""
  if importlib.util.find_spec("jax_plugins") is None:
    return False
  return any(importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13))


def _machines(topology: Topology) -> dict[str, str]:
  """Returns the description of a GPU topology: the target, and machines x GPUs in one domain of fast links."""
  name = topology.name.partition(":")[0]
  here = min(topology.chips, MACHINE)
  target = gpus.gpu_target(gpus.GPUS[name], topology.chip.memory)
  return {"target_config": target, "topology": f"1x{topology.chips // here}x{here}"}


@contextlib.contextmanager
def _without_a_word() -> Iterator[None]:
  """Suppresses the plugin's warning that no driver was found, which is expected here."""
  logging.getLogger("jax_plugins.xla_cuda12").setLevel(logging.ERROR)
  sys.stderr.flush()
  shown = os.dup(2)
  with tempfile.TemporaryFile() as aside:
    os.dup2(aside.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(shown, 2)
      os.close(shown)
