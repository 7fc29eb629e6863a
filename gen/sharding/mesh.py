"""The devices of a run as a mesh with named axes: rows go along data and fsdp, heads and hidden units along tensor."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from gen.config import mesh_shape
from gen.errors import UserError

SIMULATED = "XLA_FLAGS=--xla_force_host_platform_device_count"


def require_devices(mesh: str, count: int, platform: str) -> None:
  """Checks that a mesh multiplies to the devices that there are.

  Raises:
    UserError: if there are more or fewer devices than the axes multiply to.
  """
  wanted = math.prod(mesh_shape(mesh).values())
  if wanted != count:
    hint = f"; {SIMULATED}={wanted} simulates them" if platform == "cpu" else ""
    raise UserError(f"mesh {mesh!r} multiplies to {wanted} devices, but jax sees {count} ({platform}){hint}")


def build_mesh(mesh: str, devices: Sequence[Any] | None = None) -> Mesh:
  """Returns the mesh that a text such as data=4,tensor=2 describes.

  Args:
    mesh: see `gen.config.mesh_shape`.
    devices: what it is made of; None is all devices, of all processes.

  Raises:
    UserError: if there are more or fewer devices than the axes multiply to.
  """
  sizes = mesh_shape(mesh)
  devices = jax.devices() if devices is None else devices
  require_devices(mesh, len(devices), devices[0].platform)
  names = tuple(sizes)
  types = (AxisType.Auto,) * len(names)
  return jax.make_mesh(tuple(sizes.values()), names, axis_types=types, devices=devices)
