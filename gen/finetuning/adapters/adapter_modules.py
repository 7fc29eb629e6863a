"""The matrices of a Hugging Face architecture in which adapters can stand, by the names that they have there."""

from collections.abc import Iterator
from typing import NamedTuple

from gen.finetuning.adapters.lora import KERNEL, MatrixShape, matrix_shape
from gen.interop.architectures import tensor_layouts
from gen.interop.architectures.tensor_rows import TensorRow
from gen.interop.pretrained import Pretrained

_COLUMNS = (
  tensor_layouts.COLUMNS,
  tensor_layouts.COLUMNS_FROM_HEADS,
  tensor_layouts.COLUMNS_SIDE_BY_SIDE,
)


class AdaptedModule(NamedTuple):
  """One matrix of the architecture: its name there, and the adapters in it.

  Attributes:
    name: of the module, with the prefix of its class.
    suffix: the part of the name that all layers share.
    row: of the table of tensors.
    layer: of a stack; None for one matrix.
    folders: paths of its parameters without the kernel, in order.
  """

  name: str
  suffix: str
  row: TensorRow
  layer: int | None
  folders: tuple[str, ...]


def list_modules(model: Pretrained) -> Iterator[AdaptedModule]:
  """Yields the matrices that adapters can stand in."""
  shapes = model.parameter_shapes
  for row in model.rows:
    if not all(path in shapes and path.endswith(f"/{KERNEL}") for path in row.paths):
      continue
    folders = tuple(path.removesuffix(f"/{KERNEL}") for path in row.paths)
    suffix = row.name.rpartition("{}.")[2].removesuffix(".weight")
    layers = range(shapes[row.paths[0]].shape[0]) if "{}" in row.name else (None,)
    for layer in layers:
      full = model.table.full(row.name.format(layer), model.has_prefix)
      yield AdaptedModule(full.removesuffix(".weight"), suffix, row, layer, folders)


def is_columns(module: AdaptedModule) -> bool:
  """Returns whether the architecture holds a matrix as [I, O], which `peft` calls fan_in_fan_out."""
  return module.row.layout in _COLUMNS


def matrix_of(module: AdaptedModule, model: Pretrained, folder: str) -> MatrixShape:
  """Returns the shape of one parameter of a module as a matrix."""
  path = f"{folder}/{KERNEL}"
  return matrix_shape(path, tuple(model.parameter_shapes[path].shape))
