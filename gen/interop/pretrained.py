"""What a checkpoint of the Hugging Face format is beside its numbers, found in a directory.

Nothing here reads more of the files than their headers, small tensors without use, and pairs of equal ones.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen import counts
from gen.config import Model
from gen.errors import UserError
from gen.interop import generation_config, registry, tensor_files, wrappers
from gen.interop.architecture import Architecture, TensorContents, TensorRows
from gen.interop.tensor_files import TensorHeader, TensorListing
from gen.interop.tensor_layouts import TensorSlot

CONFIG = "config.json"


class StoredTensors(NamedTuple):
  """One tensor of the files.

  Attributes:
    name: as the files have it.
    file: in which it lies.
    dtype: the format's word for its type.
    shape: sizes of its axes.
    row: the name in the tables of the parameters that it holds; empty for one without use.
    content: bytes of one without use.
  """

  name: str
  file: str
  dtype: str
  shape: tuple[int, ...]
  row: str
  content: bytes = b""


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model of the Hugging Face format: how it is built here, and all that its files say beside the parameters.

  Attributes:
    config: the shape, as every other module of `gen` takes it: `language_model.build_model(model.config)`.
    architecture: the format's `model_type`.
    head: whether it gives logits; otherwise the last hidden states.
    hf: config.json as it was read or will be written.
    tensors: the tensors of the files in their order.
    metadata: what each file says of itself.
    index: what the index of several files says of them; None for one file.
    notes: what a user should know of the files, a sentence each.
    generation: content of generation_config.json, where there is one.
  """

  config: Model
  architecture: str
  head: bool
  hf: dict[str, Any]
  tensors: tuple[StoredTensors, ...]
  metadata: dict[str, dict[str, str]]
  index: dict[str, Any] | None = None
  notes: tuple[str, ...] = ()
  generation: bytes | None = None

  @property
  def table(self) -> Architecture:
    """The names and rules of its architecture."""
    return registry.ARCHITECTURES[self.architecture]

  @property
  def values(self) -> dict[str, Any]:
    """config.json with the values that it leaves out."""
    return self.table.complete(self.hf)


def find_checkpoint(directory: Path) -> tuple[Pretrained, TensorListing]:
  """Returns what a directory holds, and where its tensors lie.

  Raises:
    UserError: for anything that is not such a checkpoint, or not supported, in one sentence.
  """
  listed = tensor_files.list_tensors(directory) if not (directory / CONFIG).exists() else None
  hf = tensor_files.read_json(directory / CONFIG)
  found = registry.find_architecture(hf)
  kind = registry.class_name(found, hf)
  values = found.complete(hf)
  listed, notes = wrappers.unwrap_names(listed or tensor_files.list_tensors(directory), found)
  plain = _plain_names(found, listed)
  head = found.classes[kind] if kind else _has_head(found, plain, listed)
  rows, own_output = _resolve(directory, found, hf, head, plain)
  contents = TensorContents(frozenset(rows.values()), head, own_output, kind)
  try:
    config = found.model(values, contents)
    _check_size(config, listed)
  except (ArithmeticError, LookupError, TypeError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f"config.json describes a model that cannot be built ({error})") from error
  stored = []
  for name, tensor in plain.items():
    row = rows[name]
    content = b"" if row else tensor_files.read_bytes(directory, tensor)
    stored.append(StoredTensors(tensor.name, tensor.file, tensor.dtype, tensor.shape, row, content))
  beside = directory / generation_config.NAME
  generation = beside.read_bytes() if beside.is_file() else None
  tensors, metadata, index = tuple(stored), listed.metadata, listed.overview
  return Pretrained(config, found.name, head, hf, tensors, metadata, index, notes, generation), listed


def _check_size(config: Model, listed: TensorListing) -> None:
  """Checks that a model is about as large as its files, before anything of its size is made.

  Raises:
    UserError: if it is far larger.
  """
  there = sum(math.prod(tensor.shape) for tensor in listed.tensors.values())
  layers = max(config.depth, config.target_depth)
  if layers > len(listed.tensors):
    raise UserError(
      f"config.json gives {layers:,} layers, and the files hold {len(listed.tensors):,} tensors"
    )
  total = counts.count_parameters(config).total
  if total > 8 * there + 1_000_000:
    raise UserError(f"config.json describes {total:,} parameters, and the files hold {there:,} numbers")


def _plain_names(found: Architecture, listed: TensorListing) -> dict[str, TensorHeader]:
  """Returns the tensors by their names in the tables."""
  plain: dict[str, TensorHeader] = {}
  for tensor in listed.tensors.values():
    name = found.plain(tensor.name)
    if name in plain:
      raise UserError(f"{tensor.file}: {tensor.name} and {plain[name].name} are the same tensor")
    plain[name] = tensor
  return plain


def _has_head(found: Architecture, plain: Mapping[str, TensorHeader], listed: TensorListing) -> bool:
  """Says whether tensors whose class is not named give logits: a larger model's names begin with a prefix."""
  prefixed = bool(found.prefix) and any(name.startswith(found.prefix) for name in listed.tensors)
  return any(name.startswith(found.head_names) for name in plain) or (found.plain_head and prefixed)


def _resolve(
  directory: Path, found: Architecture, hf: dict[str, Any], head: bool, plain: Mapping[str, TensorHeader]
) -> tuple[dict[str, str], bool]:
  """Returns the row of each tensor ("" for one without use), and whether the output matrix is one of its own."""
  rows = {name: "" if found.is_unused(name) else name for name in plain}
  own_output = head and found.unties and hf.get("tie_word_embeddings") is False
  for group in found.twins:
    first, *others = [name for name in group if name in plain] or [""]
    if first:
      rows[first] = group[0]
    for other in others:
      if other == found.output and own_output:
        continue
      if tensor_files.same_tensors(directory, plain[first], plain[other]):
        rows[other] = group[0]
      elif other == found.output and head:
        own_output = True
      elif not found.is_unused(other):
        raise UserError(
          f"{plain[other].name} differs from {plain[first].name}; an embedding of its own is not supported"
        )
  return rows, own_output


def tensor_slots(rows: TensorRows, flat: Mapping[str, np.ndarray]) -> dict[str, TensorSlot]:
  """Returns where the numbers of each tensor are, by its name in the tables.

  Args:
    rows: the table of the architecture.
    flat: parameters by path; those of layers have the layer as first axis.
  """
  found = {}
  for row in rows:
    if not all(path in flat for path in row.paths):
      continue
    arrays = [flat[path] for path in row.paths]
    if "{}" not in row.name:
      found[row.name] = TensorSlot(row.layout, tuple(row.layout.view(array) for array in arrays))
      continue
    for layer in range(arrays[0].shape[0]):
      views = tuple(row.layout.view(array[layer]) for array in arrays)
      found[row.name.format(layer)] = TensorSlot(row.layout, views)
  return found


def check_tensors(model: Pretrained, wanted: Mapping[str, tuple[int, ...]]) -> None:
  """Checks that the files hold every tensor of the model, each in its shape, and no other.

  Raises:
    UserError: naming the first that is not so.
  """
  there = {stored.row for stored in model.tensors}
  for stored in model.tensors:
    if not stored.row:
      continue
    if stored.row not in wanted:
      kind = "with its head" if model.head else "without a head"
      raise UserError(f"{stored.file}: unexpected tensor {stored.name}; {model.architecture} {kind} has none")
    if stored.shape != wanted[stored.row]:
      shapes = f"{list(stored.shape)}, but config.json makes it {list(wanted[stored.row])}"
      raise UserError(f"{stored.file}: {stored.name} has the shape {shapes}")
    if stored.dtype not in tensor_files.DTYPES:
      known = ", ".join(tensor_files.DTYPES)
      raise UserError(f"{stored.file}: {stored.name} is of type {stored.dtype}; supported are {known}")
  for name in wanted:
    if name not in there:
      full = model.table.full(name, model.head)
      raise UserError(f"the tensor {full} is missing; the files have {len(model.tensors)} others")
