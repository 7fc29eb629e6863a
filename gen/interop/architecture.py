"""What one architecture of the Hugging Face format is: its names, its config both ways, its positions."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gen.config import Model
from gen.errors import UserError
from gen.interop import tensor_layouts
from gen.interop.tensor_layouts import TensorLayout

ACTIVATIONS = {
  "gelu": "gelu",
  "gelu_python": "gelu",
  "gelu_new": "gelu_tanh",
  "gelu_fast": "gelu_tanh",
  "gelu_pytorch_tanh": "gelu_tanh",
  "gelu_python_tanh": "gelu_tanh",
  "gelu_accurate": "gelu_tanh",
  "relu": "relu",
}
ACTIVATION_NAMES = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
LAYERS = "target/stack/layers"  # the layers of a model with one stack
LARGEST = 1 << 31  # no size or id of a config reaches it
SOURCE_LAYERS = "source/stack/layers"  # those of an encoder-decoder's encoder
TOKENS = "embedding/embedding"


class TensorRow(NamedTuple):
  """One tensor: its name without the prefix, "{}" for the layer; the parameters it holds; how.

  A path ends where the parameter lies in the tree; those of stacked layers have the layer as first axis.
  """

  name: str
  paths: tuple[str, ...]
  layout: TensorLayout


TensorRows = tuple[TensorRow, ...]


class TensorContents(NamedTuple):
  """What a checkpoint's tensors and class say that its config need not."""

  names: frozenset[str]  # without prefix
  head: bool  # whether it gives logits
  own_output: bool  # whether the output matrix is not the embedding
  kind: str = ""  # the class; empty if it is not named


@dataclasses.dataclass(frozen=True)
class Architecture:
  """One `model_type`.

  Attributes:
    name: the model type.
    prefix: what the names of a model inside a larger one begin with.
    defaults: values of the config that a file may leave out.
    model: config.json, completed by the defaults, as a `Model`.
    describe: a `Model` as config.json, without what the tensors say.
    rows: the tensors of a `Model`; those whose parameters it lacks are skipped.
    head_names: how the names of tensors begin that lie outside the prefix.
    classes: the classes that are read, and whether each gives logits; the first of either kind is written.
    output: name of the output matrix.
    plain_head: whether the head is no more than the output matrix.
    unties: whether the config can take the output matrix apart from the embedding.
    twins: groups of names for one tensor; the first that is there holds the numbers that count.
    unused: patterns of tensors that no logit depends on; they are kept as they are.
    positions: (config.json, ids, mask) -> positions, or None for 0, 1, 2...
  """

  name: str
  prefix: str
  defaults: dict[str, Any]
  model: Callable[[dict[str, Any], TensorContents], Model]
  describe: Callable[[Model], dict[str, Any]]
  rows: Callable[[Model], TensorRows]
  head_names: tuple[str, ...]
  classes: dict[str, bool]
  output: str
  plain_head: bool
  twins: tuple[tuple[str, ...], ...]
  unused: tuple[str, ...] = ()
  unties: bool = True
  positions: Callable[[dict[str, Any], np.ndarray, np.ndarray], np.ndarray | None] = lambda *_: None

  def plain(self, name: str) -> str:
    """Returns a tensor's name without prefix, in today's spelling."""
    for old, new in {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}.items():
      name = name.replace(old, new)
    return name.removeprefix(self.prefix)

  def full(self, name: str, head: bool) -> str:
    """Returns the name that a tensor has in a file of the model with or without its head."""
    return name if not head or name.startswith(self.head_names) else self.prefix + name

  def is_unused(self, name: str) -> bool:
    """Says whether no logit depends on a tensor."""
    return any(re.fullmatch(pattern, name) for pattern in self.unused)

  def complete(self, hf: dict[str, Any]) -> dict[str, Any]:
    """Returns config.json with the values that it leaves out.

    Raises:
      UserError: for a value of the wrong type, or a size that is not positive.
    """
    for key, default in self.defaults.items():
      if key == "eos_token_id":  # may be a list, which generation_config reads
        continue
      value = hf.get(key, default)
      if not _fits(value, (0 if value is not None else None) if key.endswith("_id") else default):
        raise UserError(f"config.json: {key} = {_brief(value)} is not supported; it must be like {default!r}")
    return self.defaults | hf


def _fits(value: Any, default: Any) -> bool:
  if default is None:
    return value is None or _fits(value, 1)
  if isinstance(default, bool) or not isinstance(default, int | float):
    return isinstance(value, type(default))
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  if not 0 <= value < LARGEST:
    return default == 0 and -LARGEST < value < LARGEST  # -1 is no id, which some files write
  return isinstance(default, float) or (isinstance(value, int) and (value > 0 or default == 0))


def _brief(value: Any) -> str:
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # digits or depth beyond what Python writes
    text = "this"
  return text if len(text) <= 60 else f"{text[:57]}..."


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


def activation_name(hf: dict[str, Any], key: str) -> str:
  """Returns the config's activation by its name here.

  Raises:
    UserError: for one that is not known here.
  """
  if not isinstance(hf[key], str) or hf[key] not in ACTIVATIONS:
    raise UserError(f"config.json: {key} {_brief(hf[key])} is not one of {', '.join(ACTIVATIONS)}")
  return ACTIVATIONS[hf[key]]


def refuse_unsupported(hf: dict[str, Any], **only: Any) -> None:
  """Refuses a config that asks for what is not built here.

  Raises:
    UserError: naming the first field that has another value than the one given.
  """
  for key, value in only.items():
    if hf.get(key) not in (None, value):
      raise UserError(f"config.json: {key} = {_brief(hf[key])} is not supported, only {value!r}")


def split_width(hf: dict[str, Any], width: str, heads: str) -> int:
  """Returns the head width.

  Raises:
    UserError: if the width is not a multiple of the heads.
  """
  if hf[width] % hf[heads]:
    raise UserError(f"config.json: {width} {hf[width]} is not a multiple of {heads} {hf[heads]}")
  return int(hf[width]) // int(hf[heads])
