"""Reads adapters in the layout of the `peft` library (see `lora_files`); the files may be anybody's.

I inputs of a matrix, O its outputs, R rank.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.finetuning.adapters import adapter_modules
from gen.finetuning.adapters.adapter_modules import AdaptedModule
from gen.finetuning.adapters.lora import FIRST, KERNEL, SECOND, LoraConfig
from gen.finetuning.adapters.lora_files import CONFIG, PREFIX, TENSORS
from gen.interop import pretrained, safetensors_header, tensor_files
from gen.interop.architectures.tensor_layouts import TensorSlot
from gen.interop.parameters import abstract_arrays, unflatten_tree
from gen.interop.pretrained import Pretrained
from gen.interop.tensor_files import DTYPES, TensorHeader
from gen.io import json_reading

# Fields of adapter_config.json whose other values change what an adapter computes.
_ONLY: dict[str, tuple[Any, ...]] = {
  "bias": ("none",),
  "use_dora": (False,),
  "lora_bias": (False,),
  "use_qalora": (False,),
  "alora_invocation_tokens": (None,),
  "trainable_token_indices": (None,),
  "layer_replication": (None,),
  "target_parameters": (None, []),
  "use_bdlora": (None, False),
  "kasa_config": (None,),
  "arrow_config": (None,),
  "monteclora_config": (None,),
  # Other initializers change the matrices that the adapter is added to.
  "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),
}


class LoadedAdapters(NamedTuple):
  """Adapters from files.

  Attributes:
    lora: their config.
    adapters: their tree.
    whole: parameters that were trained as they are, a part of the model's tree.
  """

  lora: LoraConfig
  adapters: dict[str, Any]
  whole: dict[str, Any]


class _PeftConfig(NamedTuple):
  """What adapter_config.json says of the adapters' numbers."""

  path: Path
  rank: int
  alpha: float
  alphas: dict[str, float]
  dropout: float
  rank_stabilized: bool

  def scale_of(self, name: str, rank: int) -> float:
    """Returns the factor s of a module's adapter."""
    alpha = next((value for key, value in self.alphas.items() if _names_module(key, name)), self.alpha)
    # alpha / r (arXiv:2106.09685, section 4.1), or alpha / sqrt(r) of rsLoRA (arXiv:2312.03732).
    return alpha / (rank**0.5 if self.rank_stabilized else rank)


def _names_module(key: str, name: str) -> bool:
  return name == key or name.endswith(f".{key}")


def load_adapters(folder: str | Path, model: Pretrained) -> LoadedAdapters:
  """Reads adapters that `lora_files.save_adapters` or `peft` wrote for a model.

  Args:
    folder: of the files.
    model: what they adapt.

  Raises:
    UserError: for files that are missing or damaged, a kind of adapter that is not supported, or adapters of
      another model.
  """
  folder = Path(folder)
  config = _read_config(folder / CONFIG)
  headers, _ = safetensors_header.read_header(folder / TENSORS)
  tensors = {header.name: header for header in headers}
  flat: dict[str, np.ndarray] = {}
  for modules in _by_row(adapter_modules.list_modules(model)):
    pairs: dict[str, list[_Pair]] = {}
    for module in modules:
      for part, pair in _read_module(folder, tensors, module, config, model).items():
        pairs.setdefault(part, []).append(pair)
    for part, of_layers in pairs.items():
      _stack_layers(part, of_layers, modules[0].layer is not None, flat)
  if not flat:
    raise UserError(
      f"{folder / TENSORS} holds no adapter of this {model.architecture}; give adapters of this model"
    )
  whole = _read_whole(folder, tensors, model)
  # Readers take from `tensors` what they know, so what is left belongs to another model.
  if tensors:
    name = next(iter(tensors))[:80]
    raise UserError(f"{folder / TENSORS}: {name} belongs to no matrix of this {model.architecture}")
  targets = tuple(sorted({f"{path.rpartition('/')[0]}/{KERNEL}" for path in flat}))
  lora = LoraConfig(config.rank, config.alpha, targets, config.dropout, config.rank_stabilized)
  return LoadedAdapters(lora, unflatten_tree(flat), whole)


class _Pair(NamedTuple):
  """A [I, R] and B [R, O] of one layer's parameter."""

  a_ir: np.ndarray
  b_ro: np.ndarray


def _by_row(modules: Iterator[AdaptedModule]) -> list[list[AdaptedModule]]:
  """Returns the modules of each row of the table, one a layer."""
  rows: dict[str, list[AdaptedModule]] = {}
  for module in modules:
    rows.setdefault(module.row.name, []).append(module)
  return list(rows.values())


def _read_module(
  folder: Path,
  tensors: dict[str, TensorHeader],
  module: AdaptedModule,
  config: _PeftConfig,
  model: Pretrained,
) -> dict[str, _Pair]:
  """Returns the adapters of a module's parameters, by path; takes the tensors out of the dictionary.

  A module without an adapter has those of rank 0.
  """
  first, second = (f"{PREFIX}{module.name}.lora_{letter}.weight" for letter in "AB")
  shapes = [adapter_modules.matrix_of(module, model, part) for part in module.folders]
  if first not in tensors and second not in tensors:
    return {
      part: _Pair(np.zeros((shape.inputs, 0), np.float32), np.zeros((0, shape.outputs), np.float32))
      for part, shape in zip(module.folders, shapes, strict=True)
    }
  outputs = sum(shape.outputs for shape in shapes)
  a_ri = _read_tensor(folder, tensors, first, (-1, shapes[0].inputs))
  rank = len(a_ri)
  b_or = _read_tensor(folder, tensors, second, (outputs, rank))
  parts = [np.zeros((rank, *shape.output_axes), np.float32) for shape in shapes]
  slot = TensorSlot(module.row.layout, tuple(map(module.row.layout.view, parts)))
  given = b_or.T if adapter_modules.is_columns(module) else b_or
  slot.put(slice(0, slot.expanded[0]), given.reshape(slot.expanded))
  # The tree has one factor s. Another one of a module goes into its B, exactly where the two are equal.
  ratio = config.scale_of(module.name, rank) / config.scale_of("", config.rank)
  factor = np.float32(1 if math.isclose(ratio, 1, rel_tol=1e-6) else ratio)
  pairs = [_Pair(a_ri.T, factor * part.reshape(rank, -1)) for part in parts]
  return dict(zip(module.folders, _split_blocks(pairs, config.rank), strict=True))


def _split_blocks(pairs: list[_Pair], rank: int) -> list[_Pair]:
  """Returns the parameters' own adapters, where they stand side by side in one of their common rank."""
  count = len(pairs)
  if count == 1 or len(pairs[0].b_ro) != count * rank:
    return pairs
  blocks = [slice(number * rank, (number + 1) * rank) for number in range(count)]
  for block, pair in zip(blocks, pairs, strict=True):
    # Zeros outside its own block are what `save_adapters` wrote for adapters with an A each.
    others_ro = pair.b_ro.copy()
    others_ro[block] = 0
    if others_ro.any():
      return pairs
  return [_Pair(pair.a_ir[:, block], pair.b_ro[block]) for block, pair in zip(blocks, pairs, strict=True)]


def _read_tensor(
  folder: Path, tensors: dict[str, TensorHeader], name: str, shape: tuple[int, int]
) -> np.ndarray:
  """Returns a matrix as float32, and takes it out of the dictionary; -1 in its shape is any size."""
  path = folder / TENSORS
  tensor = tensors.pop(name, None)
  if tensor is None:
    raise UserError(f"{path} lacks {name}, but holds the other matrix of that adapter")
  if tensor.dtype not in DTYPES:
    raise UserError(f"{path}: {name} is of type {tensor.dtype}; supported are {', '.join(DTYPES)}")
  there = tensor.shape
  if len(there) != 2 or any(size not in (-1, got) or not got for size, got in zip(shape, there, strict=True)):
    wanted = " x ".join("rank" if size < 0 else str(size) for size in shape)
    raise UserError(f"{path}: {name} has the shape {list(there)}; the model's matrix needs {wanted}")
  content = tensor_files.read_bytes(folder, tensor)
  return np.frombuffer(content, DTYPES[tensor.dtype]).reshape(there).astype(np.float32)


def _stack_layers(part: str, pairs: list[_Pair], stacked: bool, flat: dict[str, np.ndarray]) -> None:
  """Adds a parameter's adapters to the tree; layers of a smaller rank get zeros, and no adapter none at all."""
  rank = max(pair.a_ir.shape[1] for pair in pairs)
  if not any(pair.a_ir.any() for pair in pairs):
    return
  first, second = [], []
  for pair in pairs:
    # Stacked layers need one rank. Zeros in both matrices add nothing to the product.
    more = rank - pair.a_ir.shape[1]
    first.append(np.pad(pair.a_ir, ((0, 0), (0, more))))
    second.append(np.pad(pair.b_ro, ((0, more), (0, 0))))
  flat[f"{part}/{FIRST}"] = np.stack(first) if stacked else first[0]
  flat[f"{part}/{SECOND}"] = np.stack(second) if stacked else second[0]


def _read_whole(folder: Path, tensors: dict[str, TensorHeader], model: Pretrained) -> dict[str, Any]:
  """Returns the parameters that were trained as they are; takes their tensors out of the dictionary."""
  rows, shapes = model.rows, model.parameter_shapes
  slots = pretrained.tensor_slots(rows, abstract_arrays(shapes))
  names = {PREFIX + model.table.full(name, model.has_prefix): name for name in slots}
  wanted = {names[name] for name in tensors if name in names}
  paths = [path for row in rows if row.name in wanted for path in row.paths]
  flat = {path: np.zeros(shapes[path].shape, np.float32) for path in paths}
  for name, slot in pretrained.tensor_slots(rows, flat).items():
    full = PREFIX + model.table.full(name, model.has_prefix)
    tensor = tensors.pop(full, None)
    if tensor is None or tensor.shape != slot.shape or tensor.dtype not in DTYPES:
      raise UserError(f"{folder / TENSORS}: {full} is missing, or not of the shape {list(slot.shape)}")
    block = np.frombuffer(tensor_files.read_bytes(folder, tensor), DTYPES[tensor.dtype])
    slot.put(slice(0, slot.expanded[0]), block.astype(np.float32).reshape(slot.expanded))
  return unflatten_tree(flat)


def _read_config(path: Path) -> _PeftConfig:
  values = json_reading.read_json(path)
  if values.get("peft_type") != "LORA":
    raise UserError(f"{path}: peft_type is {str(values.get('peft_type'))[:40]!r}; only LORA is supported")
  for key, known in _ONLY.items():
    if key in values and values[key] not in known:
      raise UserError(f"{path}: {key} = {str(values[key])[:40]} is not supported, only {known[0]!r}")
  rank = json_reading.require_field(values, "r", int, str(path))
  alpha = json_reading.require_field(values, "lora_alpha", float, str(path))
  dropout = json_reading.require_kind(values.get("lora_dropout", 0.0), float, f"{path}: lora_dropout")
  stabilized = json_reading.require_kind(values.get("use_rslora", False), bool, f"{path}: use_rslora")
  checked = LoraConfig(rank, float(alpha), ("*",), float(dropout), stabilized)
  alphas = _read_pattern(values, path)
  return _PeftConfig(path, rank, checked.alpha, alphas, checked.dropout, stabilized)


def _read_pattern(values: Mapping[str, object], path: Path) -> dict[str, float]:
  """Returns values of alpha by the end of a module's name; ranks follow from the tensors."""
  key = "alpha_pattern"
  pattern = json_reading.require_kind(values.get(key) or {}, dict, f"{path}: {key}")
  numbers = {}
  for name, value in pattern.items():
    # `peft` takes regular expressions here. Those of a stranger's file are not run.
    if not re.fullmatch(r"[\w.]+", name):
      raise UserError(
        f"{path}: {key} has {name[:40]!r}; only names of modules are supported, no other patterns"
      )
    numbers[name] = float(json_reading.require_kind(value, float, f"{path}: {key} {name}"))
  return numbers
