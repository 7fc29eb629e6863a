"""Parses the mesh of a run, such as data=4,tensor=2."""

from gen.config.families import MESH_AXES
from gen.errors import UserError


def mesh_shape(mesh: str) -> dict[str, int]:
  """Returns the number of devices along each axis of a mesh, outermost first; empty for no mesh.

  >>> mesh_shape("tensor=2,data=4")
  {'data': 4, 'tensor': 2}

  Raises:
    UserError: for an unknown or repeated axis, or an invalid number.
  """
  sizes: dict[str, int] = {}
  for part in filter(None, mesh.replace(" ", "").split(",")):
    name, _, number = part.partition("=")
    if name not in MESH_AXES or name in sizes:
      fault = "occurs twice" if name in sizes else f"is none of {', '.join(MESH_AXES)}"
      raise UserError(f"mesh {mesh!r}: axis {name!r} {fault}; write it as in data=4,tensor=2")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
      raise UserError(f"mesh {mesh!r}: {name} is {number!r}; it must be a number of devices, as in {name}=4")
    sizes[name] = int(number)
  return {name: sizes[name] for name in MESH_AXES if name in sizes}
