"""The devices of a run as a mesh with named axes: rows go along data and fsdp, heads and hidden units along tensor."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from gen.config import mesh_shape
from gen.errors import UserError

SIMULATED = (
  "XLA_FLAGS=--xla_force_host_platform_device_count"  # jax then splits the CPU into that many devices
)


def require_devices(mesh: str, count: int, platform: str) -> None:
  """Checks that the sizes of a mesh's axes multiply to the number of devices.

  Args:
    mesh: see `gen.config.mesh_shape`.
    count: number of devices.
    platform: cpu, gpu or tpu, for the message.

  Raises:
    UserError: if there are more or fewer devices than the axes multiply to.
  """
  needed = math.prod(mesh_shape(mesh).values())
  if needed != count:
    hint = f"; {SIMULATED}={needed} simulates them" if platform == "cpu" else ""
    raise UserError(f"mesh {mesh!r} needs {needed} devices, but jax has {count} ({platform}){hint}")


def build_mesh(mesh: str, devices: Sequence[Any] | None = None) -> Mesh:
  """Returns the mesh that a text such as data=4,tensor=2 describes.

  Args:
    mesh: see `gen.config.mesh_shape`.
    devices: the devices; None for all devices of all processes.

  Raises:
    UserError: if there are more or fewer devices than the axes multiply to.
  """
  sizes = mesh_shape(mesh)
  devices = jax.devices() if devices is None else devices
  require_devices(mesh, len(devices), devices[0].platform)
  names = tuple(sizes)
  # Auto: XLA propagates shardings from the constraints. With explicit types every operation would need one.
  types = (AxisType.Auto,) * len(names)
  # `make_mesh` orders devices by the topology where jax knows it.
  return jax.make_mesh(tuple(sizes.values()), names, axis_types=types, devices=devices)
