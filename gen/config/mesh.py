"""The mesh of a run as text, such as data=4,tensor=2."""

from gen.config.families import MESH_AXES
from gen.errors import UserError


def mesh_shape(mesh: str) -> dict[str, int]:
  """Returns how many devices each axis of a mesh has, outermost first; nothing for no mesh.

  >>> mesh_shape("tensor=2,data=4")
  {'data': 4, 'tensor': 2}

  Raises:
    UserError: for an axis that there is not, or is named twice, and for a number that is none.
  """
  sizes: dict[str, int] = {}
  for part in filter(None, mesh.replace(" ", "").split(",")):
    name, _, number = part.partition("=")
    if name not in MESH_AXES or name in sizes:
      what = "names each axis once" if name in sizes else f"has the axes {', '.join(MESH_AXES)}"
      raise UserError(f"mesh {mesh!r}: axis {name!r} cannot be; a mesh {what}, as in data=4,tensor=2")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
      raise UserError(f"mesh {mesh!r}: {name} is {number!r}; it must be a number of devices, as in {name}=4")
    sizes[name] = int(number)
  return {name: sizes[name] for name in MESH_AXES if name in sizes}
