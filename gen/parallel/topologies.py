"""Accelerators that are not there: what a chip holds and does, and topologies that XLA compiles for all the same.

A topology is a chip and its grid, as v5p:4x4x4: 64 chips. Chips' memory and peak rates are their maker's
(cloud.google.com/tpu/docs, system architecture). Needs libtpu, which is the TPU's compiler; no TPU.
"""

import importlib.util
import math
import os
from typing import Any, NamedTuple

from gen.errors import UserError


class Chip(NamedTuple):
  """One accelerator.

  Attributes:
    memory: bytes of high-bandwidth memory.
    flops_per_second: peak of bfloat16 products.
    axes: of the grid that chips are wired in.
  """

  memory: int
  flops_per_second: float
  axes: int


CHIPS = {
  "v4": Chip(32 * 2**30, 275e12, 3),
  "v5e": Chip(16 * 2**30, 197e12, 2),
  "v5p": Chip(95 * 2**30, 459e12, 3),
  "v6e": Chip(32 * 2**30, 918e12, 2),
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


def parse(text: str) -> Topology:
  """Returns the topology that a text such as v5p:4x4x4 describes.

  >>> parse("v5p:4x4x4").chips
  64

  Raises:
    UserError: for a chip that is not known, or a grid that its chips do not make.
  """
  name, _, grid = text.partition(":")
  if name not in CHIPS:
    known = ", ".join(f"{each} ({chip.memory / 2**30:.0f} GiB)" for each, chip in CHIPS.items())
    raise UserError(f"topology {text!r}: no chip {name!r} is known; there are {known}, as in v5p:4x4x4")
  sizes, chip = grid.split("x"), CHIPS[name]
  if len(sizes) != chip.axes or not all(size.isascii() and size.isdigit() and int(size) for size in sizes):
    example = f"{name}:" + "x".join("4" * chip.axes)
    raise UserError(
      f"topology {text!r}: chips of {name} make a grid of {chip.axes} whole numbers, as in {example}"
    )
  return Topology(text, chip, tuple(map(int, sizes)))


def devices(topology: Topology) -> list[Any]:
  """Returns the devices of a topology, one a chip, for meshes to compile for.

  Must come before jax has looked for devices of its own, which it is told to seek on the CPU alone.

  Raises:
    UserError: without libtpu, or for a grid that is not built.
  """
  if importlib.util.find_spec("libtpu") is None:
    raise UserError(
      "compiling for a TPU needs its compiler, libtpu (130 MB): put --extra tpu behind `uv run`, or"
      " `pip install libtpu`"
    )
  os.environ["JAX_PLATFORMS"] = "cpu"
  quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}
  for name, value in quiet.items():
    os.environ.setdefault(name, value)
  from jax.experimental import topologies

  try:
    found = topologies.get_topology_desc(platform="tpu", topology_name=topology.name).devices
  except Exception as error:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(f"topology {topology.name!r} is not one that libtpu knows: {said}") from error
  if len(found) != topology.chips:
    raise UserError(
      f"topology {topology.name!r} has {topology.chips} chips, but libtpu makes {len(found)} devices of it; meshes"
      " here want one a chip"
    )
  return list(found)
