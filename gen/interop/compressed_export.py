"""Products of a quantized model as integers with scales, in the tensors of `gen.interop.compressed_tensors`.

Only `nn.Linear` modules have such tensors. Embeddings, GPT-2's Conv1D and kernels that an equivalent form changes are
written in float32, and `ignore` lists those of them that are `nn.Linear`.

O outputs, I inputs, G groups of inputs.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen.errors import UserError
from gen.interop import compressed_tensors, pretrained
from gen.interop.architectures import tensor_layouts
from gen.interop.architectures.tensor_layouts import TensorSlot
from gen.interop.architectures.tensor_rows import TensorRow
from gen.interop.compressed_tensors import INT_FORMAT, MIXED_FORMAT, PACK_FORMAT, PACKED, SCALE, SHAPE, WEIGHT
from gen.interop.pretrained import Pretrained
from gen.interop.tensor_files import NewTensor
from gen.precision.quantized_array import QuantizedArray, unpack_levels

# [O, I] of an nn.Linear; Conv1D has [I, O].
_LINEAR = (
  tensor_layouts.LINEAR,
  tensor_layouts.LINEAR_FROM_HEADS,
  tensor_layouts.LINEAR_SIDE_BY_SIDE,
  tensor_layouts.LINEAR_BY_HEAD,
)


# transformers 5.24 initializes T5's layers by the names of their weights, and fails where these are packed. So each
# level has a byte there.
_UNPACKED = ("t5",)


class IntegerModel(NamedTuple):
  """A model of the format whose products are integers.

  Attributes:
    model: with `quantization_config` in its config.json, and notes.
    tensors: by the row of the float tensor that they replace.
  """

  model: Pretrained
  tensors: dict[str, list[NewTensor]]


class _Kind(NamedTuple):
  """What products of one group of the config share."""

  bits: int
  group: int  # inputs that share a scale; 0: all
  activations: str
  packed: bool


def compress_products(model: Pretrained, params: Any, unchanged: Set[str], owner: str) -> IntegerModel:
  """Returns the tensors of a quantized model's products, and the model with their description.

  Args:
    model: as it would be written in float32.
    params: the quantized tree.
    unchanged: paths of the parameters that the model's form has as they are.
    owner: what errors call the checkpoint.

  Raises:
    UserError: for a quantization that the format lacks, or a class without a product that it can hold.
  """
  arrays = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(
      params, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray)
    )
    if isinstance(leaf, QuantizedArray)
  }
  products = {path: leaf for path, leaf in arrays.items() if leaf.inputs_first}
  for path, leaf in products.items():
    _check_form(leaf, f"{owner}: {path}")
  levels, scales = ({path: each(leaf) for path, leaf in products.items()} for each in (_levels, _scales))
  tensors: dict[str, list[NewTensor]] = {}
  kinds: dict[str, _Kind] = {}
  floats = []
  for row in model.rows:
    if row.layout not in _LINEAR or not row.name.endswith(WEIGHT):
      continue
    if not all(path in products and path in unchanged for path in row.paths):
      floats += _names(model, row)
      continue
    slots = zip(_slots(row, levels).items(), _slots(row, scales).values(), strict=True)
    for (name, of_levels), of_scales in slots:
      base = model.table.full(name, model.has_prefix).removesuffix(WEIGHT)
      kinds[base] = _kind([products[path] for path in row.paths], model.architecture)
      tensors[name] = _entries(base, of_levels, of_scales, kinds[base])
  if not any("." in base for base in kinds):
    raise UserError(
      f"{owner} cannot be written as integers: {model.architecture} has no nn.Linear layer that holds its products "
      "as they are; export the run that it was quantized from"
    )
  kept = [path for path in products if path not in unchanged]
  notes = [f"{len(kinds)} products are integers; all other weights are float32"]
  if kept:
    notes.append(f"{', '.join(kept)} are float32 too, because the form {model.architecture} changes them")
  hf = model.hf | {compressed_tensors.FIELD: _config(model, kinds, floats)}
  return IntegerModel(dataclasses.replace(model, hf=hf, notes=(*model.notes, *notes)), tensors)


def _check_form(leaf: QuantizedArray, where: str) -> None:
  lacks = {
    "nf4 levels": leaf.format == "nf4",
    "zero points": leaf.zeros is not None,
    "smoothing factors": leaf.smoothing is not None,
    "a static scale of activations": leaf.input_scale is not None,
    "int8 activations with int4 weights": leaf.activations == "int8" and leaf.format == "int4",
  }
  for what, has in lacks.items():
    if has:
      raise UserError(
        f"{where} has {what}, which is not written in the Hugging Face format; quantize with symmetric int8 or int4, "
        "or with int8 and dynamic activations"
      )


def _levels(leaf: QuantizedArray) -> np.ndarray:
  rows = np.asarray(leaf.values)
  levels = np.asarray(
    unpack_levels(jnp.asarray(rows.reshape(-1, rows.shape[-1])), leaf.format, leaf.input_size)
  )
  return _as_parameter(levels.reshape(*rows.shape[:-1], leaf.input_size), leaf)


def _scales(leaf: QuantizedArray) -> np.ndarray:
  """Returns the scale of each weight, in the shape of its parameter."""
  each = np.asarray(leaf.scales)
  if each.shape[-1] > 1:  # one scale for all inputs is broadcast without a copy
    each = np.repeat(each, leaf.input_size // each.shape[-1], axis=-1)
  return _as_parameter(np.broadcast_to(each, (*leaf.values.shape[:-1], leaf.input_size)), leaf)


def _as_parameter(rows: np.ndarray, leaf: QuantizedArray) -> np.ndarray:
  """Returns [L, O, I] in the axes of the parameter, which has inputs first."""
  return np.swapaxes(rows, -1, -2).reshape(*rows.shape[:-2], *leaf.shape)


def _slots(row: TensorRow, arrays: Mapping[str, np.ndarray]) -> dict[str, TensorSlot]:
  return pretrained.tensor_slots((row,), arrays)


def _names(model: Pretrained, row: TensorRow) -> list[str]:
  """Returns the modules of a row that the model has, as `ignore` lists them."""
  names = _layer_names(row, model.config.depth + model.config.target_depth)
  of_row = [stored.row for stored in model.tensors if stored.row in names]
  return [model.table.full(name, model.has_prefix).removesuffix(WEIGHT) for name in of_row]


def _layer_names(row: TensorRow, layers: int) -> set[str]:
  return {row.name.format(layer) for layer in range(layers)} if "{}" in row.name else {row.name}


def _kind(leaves: list[QuantizedArray], architecture: str) -> _Kind:
  first = leaves[0]
  groups = first.scales.shape[-1]
  packed = first.activations != "int8" and architecture not in _UNPACKED
  group = first.input_size // groups if groups > 1 else 0
  return _Kind(int(first.format[3:]), group, first.activations, packed)


def _entries(base: str, levels: TensorSlot, scales: TensorSlot, kind: _Kind) -> list[NewTensor]:
  levels_oi, scales_oi = (
    slot.get(slice(0, slot.expanded[0]), dtype).reshape(slot.shape)
    for slot, dtype in ((levels, np.dtype(np.int8)), (scales, np.dtype(np.float32)))
  )
  outputs, inputs = levels_oi.shape
  scales_og = np.ascontiguousarray(scales_oi[:, :: kind.group or inputs])
  assert (np.repeat(scales_og, kind.group or inputs, axis=1) == scales_oi).all(), base
  written = {SCALE: (scales_og, "F32")}
  if kind.packed:
    written[PACKED] = (compressed_tensors.pack_words(levels_oi, kind.bits), "I32")
    written[SHAPE] = (np.array([outputs, inputs], "<i8"), "I64")
  else:
    written[WEIGHT] = (levels_oi, "I8")
  return [
    NewTensor(base + end, word, array.shape, array.nbytes, [array]) for end, (array, word) in written.items()
  ]


def _config(model: Pretrained, kinds: Mapping[str, _Kind], floats: list[str]) -> dict[str, object]:
  """Returns `quantization_config`; the group of most products targets all of nn.Linear."""
  counted = Counter(kinds.values()).most_common()
  groups = {}
  for number, (kind, _) in enumerate(counted):
    targets = [base for base, each in kinds.items() if each == kind] if number else ["Linear"]
    groups[f"group_{number}"] = _group(kind, targets)
  formats = {group["format"] for group in groups.values()}
  # A tied output is an nn.Linear without a tensor of its own.
  tied = [model.table.full(model.table.output, True).removesuffix(WEIGHT)] if model.head else []
  return {
    "quant_method": compressed_tensors.METHOD,
    "format": formats.pop() if len(formats) == 1 else MIXED_FORMAT,
    "quantization_status": "compressed",
    "config_groups": groups,
    "ignore": [name for name in dict.fromkeys([*floats, *tied]) if name not in kinds],
  }


def _group(kind: _Kind, targets: list[str]) -> dict[str, Any]:
  shared = {"type": "int", "symmetric": True}
  weights = shared | {
    "num_bits": kind.bits,
    "strategy": "group" if kind.group else "channel",
    "group_size": kind.group or None,
    "dynamic": False,
  }
  rounded = shared | {"num_bits": 8, "strategy": "token", "dynamic": True}
  return {
    "targets": targets,
    "weights": weights,
    "input_activations": rounded if kind.activations == "int8" else None,
    "output_activations": None,
    "format": PACK_FORMAT if kind.packed else INT_FORMAT,
  }
