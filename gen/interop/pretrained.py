"""The description of a Hugging Face checkpoint in a directory, without its parameters.

Only headers, small unused tensors, and duplicate tensors are read here.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen import counts
from gen.config import Model
from gen.config.heads import HeadConfig
from gen.errors import UserError, summarize_error
from gen.interop import compressed_tensors, generation_config, parameters, tensor_files, wrappers
from gen.interop.architectures import registry, task_heads
from gen.interop.architectures.architecture import Architecture, TensorContents
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.tensor_layouts import TensorSlot
from gen.interop.architectures.tensor_rows import TensorRows
from gen.interop.tensor_files import TensorHeader, TensorListing
from gen.models import heads, language_model

CONFIG = "config.json"


class StoredTensors(NamedTuple):
  """One tensor of the files.

  Attributes:
    name: as in the files.
    file: that contains it.
    dtype: the format's name of its type.
    shape: sizes of its axes.
    row: its name in the architecture's table; empty for an unused tensor.
    content: bytes of an unused tensor.
  """

  name: str
  file: str
  dtype: str
  shape: tuple[int, ...]
  row: str
  content: bytes = b""


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model of the Hugging Face format: its config here, and everything in its files except the parameters.

  Attributes:
    config: as used by the rest of `gen`, for example `language_model.build_model(model.config)`.
    architecture: the format's `model_type`.
    head: whether outputs are logits; otherwise the last hidden states.
    hf: config.json as read or to be written.
    tensors: the tensors of the files in their order.
    metadata: of each file.
    index: metadata of the index of several files; None for one file.
    notes: sentences for the user about the files.
    generation: content of generation_config.json, if there is one.
    task: the head for a task that it has in the place of a language-model head, or None.
  """

  config: Model
  architecture: str
  head: bool
  hf: dict[str, object]
  tensors: tuple[StoredTensors, ...]
  metadata: dict[str, dict[str, str]]
  index: dict[str, object] | None = None
  notes: tuple[str, ...] = ()
  generation: bytes | None = None
  task: HeadConfig | None = None

  @functools.cached_property
  def rows(self) -> TensorRows:
    """The tables of its tensors."""
    return self.table.rows(self.config) + self.table.task_rows(self.hf)

  @functools.cached_property
  def parameter_shapes(self) -> dict[str, Any]:
    """The shapes of its parameters by path, without memory of their size."""
    if self.task is None:
      return parameters.flatten_tree(language_model.parameter_shapes(self.config))
    return parameters.flatten_tree(heads.headed_parameter_shapes(self.config, self.task))

  @property
  def has_prefix(self) -> bool:
    """Whether names of its tensors begin with its architecture's prefix."""
    return self.head or self.task is not None

  @property
  def table(self) -> Architecture:
    """Its architecture's description."""
    return registry.ARCHITECTURES[self.architecture]

  @property
  def values(self) -> HfConfig:
    """config.json with default values for missing fields."""
    return self.table.complete(self.hf)


def find_checkpoint(directory: Path) -> tuple[Pretrained, TensorListing]:
  """Returns the description of a directory's checkpoint, and the location of its tensors.

  Raises:
    UserError: for anything that is not such a checkpoint, or not supported, in one sentence.
  """
  listed = tensor_files.list_tensors(directory) if not (directory / CONFIG).exists() else None
  hf = tensor_files.read_json(directory / CONFIG)
  architecture = registry.find_architecture(hf)
  kind = registry.class_name(architecture, hf)
  values = architecture.complete(hf)
  # Names first: everything below goes by the names of the plain architecture.
  hf, listed, integer_notes = compressed_tensors.read_integers(
    directory, hf, listed or tensor_files.list_tensors(directory)
  )
  listed, notes = wrappers.unwrap_names(listed, architecture)
  notes += integer_notes
  plain = _plain_names(architecture, listed)
  head = _has_head(architecture, plain, listed) if not kind else architecture.classes.get(kind, False)
  rows, own_output = _resolve(directory, architecture, values, head, plain)
  contents = TensorContents(frozenset(rows.values()), head, own_output, kind)
  try:
    config = architecture.model(values, contents)
    task = _read_task(architecture, kind, values, plain)
    _check_size(config, listed)
  except (ArithmeticError, LookupError, TypeError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(
      f"config.json describes a model that cannot be built ({summarize_error(error)})"
    ) from error
  stored = []
  for name, tensor in plain.items():
    row = rows[name]
    content = b"" if row else tensor_files.read_bytes(directory, tensor)
    stored.append(StoredTensors(tensor.name, tensor.file, tensor.dtype, tensor.shape, row, content))
  beside = directory / generation_config.NAME
  generation = beside.read_bytes() if beside.is_file() else None
  tensors, metadata, index = tuple(stored), listed.metadata, listed.overview
  model = Pretrained(config, architecture.name, head, hf, tensors, metadata, index, notes, generation, task)
  return model, listed


def _read_task(
  architecture: Architecture, kind: str, values: Mapping[str, object], plain: Mapping[str, TensorHeader]
) -> HeadConfig | None:
  if kind not in architecture.tasks:
    return None
  shapes = {name: tensor.shape for name, tensor in plain.items()}
  return task_heads.read_head(architecture.tasks[kind], values, shapes)


def _check_size(config: Model, listed: TensorListing) -> None:
  """Checks that a model is about as large as its files, before memory of its size is allocated.

  Raises:
    UserError: if it is far larger.
  """
  there = sum(math.prod(tensor.shape) for tensor in listed.tensors.values())
  layers = max(config.depth, config.target_depth)
  if layers > len(listed.tensors):
    raise UserError(
      f"config.json gives {layers:,} layers, but the files hold only {len(listed.tensors):,} tensors"
    )
  total = counts.count_parameters(config).total
  # A wide margin for what files may leave out; it stops configs that describe terabytes.
  if total > 8 * there + 1_000_000:
    raise UserError(f"config.json describes {total:,} parameters, but the files hold only {there:,} numbers")


def _plain_names(architecture: Architecture, listed: TensorListing) -> dict[str, TensorHeader]:
  """Returns the tensors by their names in the tables."""
  plain: dict[str, TensorHeader] = {}
  for tensor in listed.tensors.values():
    name = architecture.plain(tensor.name)
    if name in plain:
      raise UserError(f"{tensor.file}: {tensor.name} and {plain[name].name} are the same tensor")
    plain[name] = tensor
  return plain


def _has_head(architecture: Architecture, plain: Mapping[str, TensorHeader], listed: TensorListing) -> bool:
  """Returns whether tensors without a named class include a head: then their names begin with the prefix."""
  prefixed = bool(architecture.prefix) and any(
    name.startswith(architecture.prefix) for name in listed.tensors
  )
  return any(name.startswith(architecture.head_names) for name in plain) or (
    architecture.plain_head and prefixed
  )


def _resolve(
  directory: Path,
  architecture: Architecture,
  values: Mapping[str, object],
  head: bool,
  plain: Mapping[str, TensorHeader],
) -> tuple[dict[str, str], bool]:
  """Returns the row of each tensor ("" for an unused one), and whether the output matrix is untied."""
  rows = {name: "" if architecture.is_unused(name) else name for name in plain}
  own_output = head and architecture.unties and values.get("tie_word_embeddings") is False
  for group in architecture.twins:
    first, *others = [name for name in group if name in plain] or [""]
    if first:
      rows[first] = group[0]
    for copy in others:
      if copy == architecture.output and own_output:
        continue
      # Some files hold a tied output matrix beside the embeddings; only equal numbers count as tied.
      if tensor_files.same_tensors(directory, plain[first], plain[copy]):
        rows[copy] = group[0]
      elif copy == architecture.output and head:
        own_output = True
      elif not architecture.is_unused(copy):
        raise UserError(
          f"{plain[copy].name} differs from {plain[first].name}; an untied copy is not supported"
        )
  return rows, own_output


def tensor_slots(rows: TensorRows, flat: Mapping[str, np.ndarray]) -> dict[str, TensorSlot]:
  """Returns the location of each tensor's values in the parameters, by its name in the table.

  Args:
    rows: the table of the architecture.
    flat: parameters by path; those of layers have the layer as first axis.
  """
  slots = {}
  for row in rows:
    if not all(path in flat for path in row.paths):
      continue
    arrays = [flat[path] for path in row.paths]
    if "{}" not in row.name:
      slots[row.name] = TensorSlot(row.layout, tuple(row.layout.view(array) for array in arrays))
      continue
    # Views, not copies: a tensor is read straight into its layer of the stacked array.
    for layer in range(row.first, arrays[0].shape[0]):
      views = tuple(row.layout.view(array[layer]) for array in arrays)
      slots[row.name.format(layer)] = TensorSlot(row.layout, views)
  return slots


def check_tensors(model: Pretrained, wanted: Mapping[str, tuple[int, ...]]) -> None:
  """Checks that the files hold every tensor of the model, each in its shape, and no other.

  Raises:
    UserError: with the first that is not.
  """
  there = {stored.row for stored in model.tensors}
  for stored in model.tensors:
    if not stored.row:
      continue
    if stored.row not in wanted:
      kind = "with its head" if model.has_prefix else "without a head"
      raise UserError(f"{stored.file}: unexpected tensor {stored.name}; {model.architecture} {kind} has none")
    if stored.shape != wanted[stored.row]:
      shapes = f"{list(stored.shape)}, but config.json gives {list(wanted[stored.row])}"
      raise UserError(f"{stored.file}: {stored.name} has the shape {shapes}")
    if stored.dtype not in tensor_files.DTYPES:
      known = ", ".join(tensor_files.DTYPES)
      raise UserError(f"{stored.file}: {stored.name} is of type {stored.dtype}; supported are {known}")
  for name in wanted:
    if name not in there:
      full = model.table.full(name, model.has_prefix)
      raise UserError(f"the tensor {full} is missing; the files have {len(model.tensors)} others")
