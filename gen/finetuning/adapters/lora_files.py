"""Adapters alone in the layout of the `peft` library: adapter_config.json and adapter_model.safetensors.

Names are those that `peft` gives to the modules of the Hugging Face architecture that a model is. Where that
architecture holds queries, keys and values in one matrix (GPT-2, BLOOM, GPT-NeoX), it has one adapter for all of them:
adapters with one A are written as they are, others side by side, at three times the rank. Parameters that are trained
whole, a head for a task and its pooler, are `modules_to_save`.

I inputs of a matrix, O its outputs, R rank.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen.errors import UserError
from gen.finetuning.adapters import adapter_modules
from gen.finetuning.adapters.adapter_modules import AdaptedModule
from gen.finetuning.adapters.lora import FIRST, KERNEL, SECOND, LoraConfig
from gen.interop import pretrained, tensor_files
from gen.interop.architectures.tensor_layouts import TensorSlot
from gen.interop.parameters import flatten_tree
from gen.interop.pretrained import Pretrained
from gen.interop.tensor_files import NewTensor
from gen.io import checksums

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_WHOLE = ("head", "pool")
_TASKS = {"classify": "SEQ_CLS", "tag": "TOKEN_CLS", "span": "QUESTION_ANS"}
_FAMILIES = {"decoder": "CAUSAL_LM", "encoder_decoder": "SEQ_2_SEQ_LM", "encoder": "FEATURE_EXTRACTION"}


def save_adapters(
  folder: str | Path,
  model: Pretrained,
  lora: LoraConfig,
  adapters: Mapping[str, Any],
  whole: Mapping[str, Any] | None = None,
  base: str = "",
) -> None:
  """Writes adapters in the layout of `peft`; creates the folder if absent.

  Args:
    folder: the output; adapters in it are replaced.
    model: what they adapt, from `huggingface.load_checkpoint` or `description.describe_model`.
    lora: their config.
    adapters: their tree.
    whole: parameters that were trained as they are: of the head of a task, and its pooler.
    base: name or folder of the model without adapters, which `peft` loads.

  Raises:
    UserError: for adapters of matrices that the architecture has not, or a folder that cannot be written.
  """
  flat = {path: np.asarray(leaf, np.float32) for path, leaf in flatten_tree(adapters).items()}
  tensors: dict[str, np.ndarray] = {}
  names: dict[tuple[str, int], list[str]] = {}  # of modules, by their common end and the rank
  columns = False
  done: set[str] = set()
  shared = _shared_rows(model, flat)
  for module in adapter_modules.list_modules(model):
    if not any(f"{each}/{FIRST}" in flat for each in module.folders):
      continue
    a_ir, parts = _joined(module, model, flat, module.row.name in shared)
    slot = TensorSlot(module.row.layout, tuple(map(module.row.layout.view, parts)))
    b_ro = slot.get(slice(0, slot.expanded[0]), np.dtype(np.float32)).reshape(slot.shape)
    columns |= adapter_modules.is_columns(module)
    # `peft` stores both as torch's Linear does, [outputs, inputs].
    tensors[f"{PREFIX}{module.name}.lora_A.weight"] = a_ir.T
    tensors[f"{PREFIX}{module.name}.lora_B.weight"] = b_ro.T if adapter_modules.is_columns(module) else b_ro
    names.setdefault((module.suffix, a_ir.shape[1]), []).append(module.name)
    done.update(module.folders)
  # An adapter that no module took would be lost without a word, and the exported model would compute something else.
  lost = sorted({path.rpartition("/")[0] for path in flat} - done)
  if lost:
    raise UserError(
      f"{model.architecture} has no matrix of its own for the adapter of {lost[0]}; export it merged"
    )
  config = _describe(model, lora, names, columns, base)
  if whole:
    saved = _whole_tensors(model, whole)
    tensors |= saved
    config["modules_to_save"] = sorted({_module_to_save(name, model) for name in saved})
  _write(Path(folder), config, tensors)


def _shared_rows(model: Pretrained, flat: Mapping[str, np.ndarray]) -> set[str]:
  """Returns the rows whose adapters can be written as one: single matrices, and several with one A."""
  shared = set()
  for row in model.rows:
    first = [flat.get(path.removesuffix(KERNEL) + FIRST) for path in row.paths]
    head = first[0]
    if head is not None and all(a is not None and np.array_equal(a, head) for a in first):
      shared.add(row.name)
  return shared


def _joined(
  module: AdaptedModule, model: Pretrained, flat: Mapping[str, np.ndarray], shared: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
  """Returns A [I, R] of a module, and B of each of its parameters, in that one's own axes [R, ...].

  Parameters with an A of their own have a block of the rank each, so the product of another's A with its B is 0.
  """
  shapes, pairs = [], []
  for folder in module.folders:
    matrix = adapter_modules.matrix_of(module, model, folder)
    shapes.append(matrix.output_axes)
    at = slice(None) if module.layer is None else module.layer
    if f"{folder}/{FIRST}" in flat:
      pairs.append((flat[f"{folder}/{FIRST}"][at], flat[f"{folder}/{SECOND}"][at]))
    else:
      pairs.append((np.zeros((matrix.inputs, 0), np.float32), np.zeros((0, matrix.outputs), np.float32)))
  if shared:
    return pairs[0][0], [b_ro.reshape(-1, *axes) for (_, b_ro), axes in zip(pairs, shapes, strict=True)]
  rank = max(a_ir.shape[1] for a_ir, _ in pairs)
  inputs = pairs[0][0].shape[0]
  # Block-diagonal: the A side by side, and each B in the rows of its own A, so no adapter meets another's.
  a_ir = np.zeros((inputs, rank * len(pairs)), np.float32)
  parts = []
  for number, ((one_ir, one_ro), axes) in enumerate(zip(pairs, shapes, strict=True)):
    begin, size = number * rank, one_ir.shape[1]
    a_ir[:, begin : begin + size] = one_ir
    b_ro = np.zeros((rank * len(pairs), one_ro.shape[1]), np.float32)
    b_ro[begin : begin + size] = one_ro
    parts.append(b_ro.reshape(-1, *axes))
  return a_ir, parts


def _describe(
  model: Pretrained,
  lora: LoraConfig,
  names: Mapping[tuple[str, int], list[str]],
  columns: bool,
  base: str,
) -> dict[str, object]:
  """Returns adapter_config.json."""
  every = [module.name for module in adapter_modules.list_modules(model)]
  power = 0.5 if lora.rank_stabilized else 1.0
  ranks = {
    key: rank for (suffix, rank), of_rank in names.items() for key in _pattern_keys(suffix, of_rank, every)
  }
  # Only ranks that differ from the config's own need a pattern.
  other = {key: rank for key, rank in ranks.items() if rank != lora.rank}
  head = model.task
  kind = _TASKS[head.kind] if head is not None else _FAMILIES.get(model.config.family, "FEATURE_EXTRACTION")
  return {
    # The factor s is one for all adapters here, and `peft` divides alpha by each module's rank: alpha grows with the
    # rank.
    "alpha_pattern": {key: lora.scale * rank**power for key, rank in other.items()},
    "base_model_name_or_path": base or None,
    "bias": "none",
    "fan_in_fan_out": columns,
    "inference_mode": True,
    "init_lora_weights": True,
    "lora_alpha": lora.alpha,
    "lora_dropout": lora.dropout,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": lora.rank,
    "rank_pattern": other,
    "target_modules": sorted(ranks),
    "task_type": kind if head is not None or model.head else "FEATURE_EXTRACTION",
    "use_rslora": lora.rank_stabilized,
  }


def _pattern_keys(suffix: str, names: list[str], every: list[str]) -> list[str]:
  """Returns keys of `peft` that match these modules and no other: their common end, or all names."""
  matched = [name for name in every if name == suffix or name.endswith(f".{suffix}")]
  return [suffix] if sorted(matched) == sorted(names) else names


def _whole_tensors(model: Pretrained, whole: Mapping[str, Any]) -> dict[str, np.ndarray]:
  flat = {path: np.array(leaf, np.float32) for path, leaf in flatten_tree(whole).items()}
  tensors = {}
  for name, slot in pretrained.tensor_slots(model.rows, flat).items():
    block = slot.get(slice(0, slot.expanded[0]), np.dtype(np.float32)).reshape(slot.shape)
    tensors[PREFIX + model.table.full(name, model.has_prefix)] = block
  lost = [path for path in flat if not path.startswith(tuple(f"{each}/" for each in _WHOLE))]
  if lost:
    raise UserError(f"{lost[0]} is neither of the head nor of the pooler; adapters alone cannot hold it")
  return tensors


def _module_to_save(name: str, model: Pretrained) -> str:
  """Returns the module that a tensor outside the adapters belongs to: the head, or the pooler."""
  return name.removeprefix(PREFIX).removeprefix(model.table.prefix).split(".")[0]


def _write(folder: Path, config: Mapping[str, object], tensors: Mapping[str, np.ndarray]) -> None:
  entries = [
    NewTensor(name, "F32", array.shape, array.nbytes, [np.ascontiguousarray(array)])
    for name, array in sorted(tensors.items())
  ]
  try:
    folder.mkdir(parents=True, exist_ok=True)
    tensor_files.write_tensors(folder / TENSORS, entries, {"format": "pt"})
    checksums.write_atomically(
      folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n"
    )
  except OSError as error:
    raise UserError(f"{folder} cannot be written: {error.strerror}") from error
