"""Tables of tensors: for each tensor of a checkpoint, the parameters that hold its values, and its layout."""

from typing import NamedTuple

from gen.interop.architectures import tensor_layouts
from gen.interop.architectures.tensor_layouts import TensorLayout


class TensorRow(NamedTuple):
  """One tensor: its name without the prefix, with "{}" for the layer; the paths of its parameters; its layout.

  Paths are those of the parameter tree; parameters of stacked layers have the layer as first axis. Layers before
  `first` have no such tensor; nothing reads their parameters, which are 1 for scales and 0 for others.
  """

  name: str
  paths: tuple[str, ...]
  layout: TensorLayout
  first: int = 0


TensorRows = tuple[TensorRow, ...]


def embedding_row(name: str, path: str) -> TensorRows:
  """Returns the row of an embedding."""
  return (TensorRow(name, (path,), tensor_layouts.TABLE),)


def norm_rows(name: str, path: str) -> TensorRows:
  """Returns the rows of a LayerNorm, or of an RMSNorm, which has no bias."""
  scale, bias = (f"{path}/scale",), (f"{path}/bias",)
  return (
    TensorRow(f"{name}.weight", scale, tensor_layouts.VECTOR),
    TensorRow(f"{name}.bias", bias, tensor_layouts.VECTOR),
  )


def dense_rows(name: str, path: str, layout: TensorLayout = tensor_layouts.LINEAR) -> TensorRows:
  """Returns the rows of a dense layer."""
  kernel, bias = (f"{path}/kernel",), (f"{path}/bias",)
  return (TensorRow(f"{name}.weight", kernel, layout), TensorRow(f"{name}.bias", bias, tensor_layouts.VECTOR))


def projection_rows(name: str, path: str, layout: TensorLayout = tensor_layouts.LINEAR) -> TensorRows:
  """Returns the rows of one projection of attention."""
  kernel, bias = (f"{path}/kernel",), (f"{path}_bias",)
  return (TensorRow(f"{name}.weight", kernel, layout), TensorRow(f"{name}.bias", bias, tensor_layouts.VECTOR))


def fused_rows(name: str, path: str, weight: TensorLayout, bias: TensorLayout) -> TensorRows:
  """Returns the rows of queries, keys and values in one tensor."""
  parts = ("query", "key", "value")
  kernels, biases = (tuple(f"{path}/{part}{end}" for part in parts) for end in ("/kernel", "_bias"))
  return (TensorRow(f"{name}.weight", kernels, weight), TensorRow(f"{name}.bias", biases, bias))
