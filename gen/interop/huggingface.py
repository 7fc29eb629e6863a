"""Checkpoints of the Hugging Face format: read, run, written.

    model, params = huggingface.load_checkpoint(directory)  # config.json + *.safetensors, sharded or not
    logits_btv = huggingface.forward_pass(model, params, input_ids)
    huggingface.save_checkpoint(directory, model, params)   # the same tensors under the same names

BERT, RoBERTa, XLM-RoBERTa, ModernBERT, GPT-2, BLOOM, T5 (1.0 and 1.1, and its encoder alone), BART and decoders of
Llama's kind, with and without their language-model heads, and most with heads for tasks (`model.task`, see
gen/models/heads.py).
`model.config` is a `gen.config.Model`, and `params` is the tree of `language_model.build_model(model.config)`, or of
`heads.build_headed_model(model.config, model.task)`, in the types of the files. `save_checkpoint` also accepts a
`gen.config.Model`, for a model that was trained here.

Memory: files are read and written in blocks of a few megabytes, so little memory is needed besides the parameters;
`forward_pass` uses the parameters without copying them.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gen.config import Model, from_dict, to_dict
from gen.config.heads import NO_HEAD, HeadConfig
from gen.errors import UserError
from gen.interop import (
  compressed_tensors,
  description,
  equivalents,
  generation_config,
  inputs,
  parameters,
  pretrained,
  tensor_files,
)
from gen.interop.architectures.tensor_layouts import TensorSlot
from gen.interop.pretrained import CONFIG, Pretrained, StoredTensors
from gen.interop.tensor_files import DTYPES, NewTensor, TensorHeader, TensorListing
from gen.models import heads


def load_checkpoint(directory: str | Path) -> tuple[Pretrained, Any]:
  """Reads a checkpoint: config.json and *.safetensors, one file or several with an index.

  Args:
    directory: of the files.

  Returns:
    The model and its parameters, numpy arrays in the types of the files. Layers are stacked along a first axis; if
    their types differ, all of them are float32, and `save_checkpoint` restores the original types.

  Raises:
    UserError: for a missing, damaged or unsupported file, config value or tensor, in one sentence.
  """
  directory = Path(directory)
  model, listed = pretrained.find_checkpoint(directory)
  shapes, rows = model.parameter_shapes, model.rows
  wanted = {
    name: slot.shape
    for name, slot in pretrained.tensor_slots(rows, parameters.abstract_arrays(shapes)).items()
  }
  pretrained.check_tensors(model, wanted)
  types = _types(model, shapes)
  flat = {path: parameters.empty_array(leaf.shape, types[path]) for path, leaf in shapes.items()}
  for row in rows:
    for path in row.paths if row.first else ():
      if path in flat:
        flat[path][: row.first] = path.endswith("scale")
  slots = pretrained.tensor_slots(rows, flat)
  done = set()
  for stored in model.tensors:
    if stored.row and stored.row not in done:
      done.add(stored.row)
      _read(directory, listed, listed.tensors[stored.name], slots[stored.row])
  return model, parameters.unflatten_tree(flat)


def _read(directory: Path, listed: TensorListing, tensor: TensorHeader, slot: TensorSlot) -> None:
  packed = listed.packed.get((tensor.file, tensor.begin))
  blocks = (
    tensor_files.read_blocks(directory, tensor, slot.expanded)
    if packed is None
    else compressed_tensors.unpack_blocks(directory, packed, slot.expanded)
  )
  for rows, block in blocks:
    slot.put(rows, block)


def _types(model: Pretrained, shapes: dict[str, Any]) -> dict[str, np.dtype]:
  """Returns each parameter's type: that of its tensors, or float32 if they differ."""
  by_row: dict[str, set[str]] = {}
  for stored in model.tensors:
    by_row.setdefault(stored.row, set()).add(stored.dtype)
  dtypes: dict[str, set[str]] = {path: set() for path in shapes}
  for row in model.rows:
    for path in row.paths:
      if path in shapes:
        layers = range(row.first, shapes[path].shape[0]) if "{}" in row.name else range(1)
        dtypes[path] |= set().union(*(by_row[row.name.format(layer)] for layer in layers))
  return {path: DTYPES[next(iter(words)) if len(words) == 1 else "F32"] for path, words in dtypes.items()}


def save_checkpoint(
  directory: str | Path,
  model: Pretrained | Model,
  params: Any,
  head: HeadConfig | None = None,
  replaced: Mapping[str, list[NewTensor]] | None = None,
) -> None:
  """Writes a checkpoint that `load_checkpoint` and transformers read; creates the directory if absent.

  Names, types, files and tensors without parameters are those of the checkpoint that `model` was loaded from. If the
  parameters have another type now, that type is written.

  Args:
    directory: the output; an existing checkpoint is replaced.
    model: from `load_checkpoint`, or a `gen.config.Model` equivalent to one of the architectures.
    params: its parameters, arrays of numpy or jax.
    head: the head for a task that a `Model` has (`gen.models.heads`); None for its language-model head.
    replaced: tensors that are written in the place of one, by its row in the architecture's table.

  Raises:
    UserError: if no architecture is equivalent, the parameters do not fit it, or writing fails.
  """
  directory = Path(directory)
  flat = {path: np.asarray(leaf) for path, leaf in parameters.flatten_tree(params).items()}
  described = (
    model if isinstance(model, Pretrained) else description.describe_model(model, _word(flat), head=head)
  )
  if isinstance(model, Model):
    _check_parameters(
      parameters.flatten_tree(heads.headed_parameter_shapes(model, described.task or NO_HEAD)), flat
    )
    body = model if described.task is None else heads.body_config(model, described.task)
    flat = equivalents.convert_parameters(flat, body, described.config)
  _check_parameters(described.parameter_shapes, flat)
  rows = described.rows
  slots = pretrained.tensor_slots(rows, flat)
  # What types loading would have given: only a parameter that differs from it was changed since, and has a new type.
  loaded = pretrained.tensor_slots(rows, parameters.abstract_arrays(flat, _types(described, flat)))
  entries: dict[str, list[NewTensor]] = {file: [] for file in described.metadata}
  for stored in described.tensors:
    others = (replaced or {}).get(stored.row)
    entries[stored.file] += others or [_entry(stored, slots.get(stored.row), loaded.get(stored.row))]
  try:
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory, described, entries)
  except OSError as error:
    raise UserError(f"{directory} cannot be written: {error.strerror}") from error


def _check_parameters(shapes: dict[str, Any], flat: dict[str, np.ndarray]) -> None:
  for path in [*shapes, *flat]:
    if path not in flat or path not in shapes:
      raise UserError(
        f"the parameter {path} is {'missing' if path in shapes else 'not a parameter of this model'}"
      )
    if flat[path].shape != shapes[path].shape:
      wanted = list(shapes[path].shape)
      raise UserError(f"the parameter {path} has the shape {list(flat[path].shape)}; the model's is {wanted}")
    if flat[path].dtype not in DTYPES.values():
      known = ", ".join(str(dtype) for dtype in DTYPES.values())
      raise UserError(f"the parameter {path} is {flat[path].dtype}; supported are {known}")


def _word(flat: dict[str, np.ndarray]) -> str:
  """Returns the format's name of the type of all parameters."""
  words = {word for word, dtype in DTYPES.items() if any(array.dtype == dtype for array in flat.values())}
  return words.pop() if len(words) == 1 else "F32"


def _entry(stored: StoredTensors, slot: TensorSlot | None, loaded: TensorSlot | None) -> NewTensor:
  if slot is None or loaded is None:
    return NewTensor(stored.name, stored.dtype, stored.shape, len(stored.content), [stored.content])
  same = slot.dtype == loaded.dtype
  word = stored.dtype if same else next(word for word, dtype in DTYPES.items() if dtype == slot.dtype)
  size = math.prod(slot.shape) * DTYPES[word].itemsize
  # Computed as it is written: a large checkpoint would otherwise be in memory twice.
  return NewTensor(stored.name, word, slot.shape, size, _Pieces(slot, DTYPES[word]))


@dataclasses.dataclass
class _Pieces:
  """The blocks of a tensor, computed on demand."""

  slot: TensorSlot
  dtype: np.dtype

  def __iter__(self) -> Iterator[np.ndarray]:
    for rows in tensor_files.row_blocks(self.slot.expanded, self.dtype.itemsize):
      yield self.slot.get(rows, self.dtype)


def _write(directory: Path, model: Pretrained, entries: dict[str, list[NewTensor]]) -> None:
  for file, file_entries in entries.items():
    tensor_files.write_tensors(directory / file, file_entries, model.metadata[file])
  stale = tensor_files.SINGLE if model.index is not None else tensor_files.INDEX
  if model.index is not None:
    weight_map = {entry.name: file for file, file_entries in entries.items() for entry in file_entries}
    index = {"metadata": model.index, "weight_map": weight_map}
    (directory / tensor_files.INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
  if stale not in entries:  # otherwise readers would use the old files
    (directory / stale).unlink(missing_ok=True)
  if model.generation is None:  # otherwise transformers would use the old settings
    (directory / generation_config.NAME).unlink(missing_ok=True)
  else:
    (directory / generation_config.NAME).write_bytes(model.generation)
  (directory / CONFIG).write_text(json.dumps(model.hf, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def forward_pass(
  model: Pretrained | Model,
  params: Any,
  input_ids: Any,
  attention_mask: Any = None,
  token_type_ids: Any = None,
  decoder_input_ids: Any = None,
) -> np.ndarray:
  """Returns the outputs of transformers' model: logits, or the last hidden states without a head.

  Of a model with a head for a task, these are the head's logits.

  Args:
    model: from `load_checkpoint`, or a `gen.config.Model` equivalent to one of the architectures.
    params: its parameters.
    input_ids: ids [batch, length]; of the encoder in an encoder-decoder.
    attention_mask: 1 for visible ids, 0 for padding, [batch, length], in any pattern; None means all visible.
    token_type_ids: sentence of each id (BERT, RoBERTa); None is 0.
    decoder_input_ids: inputs of an encoder-decoder's decoder; None means `input_ids` after the start token, as in
      transformers for BART, and in T5 for labels.

  Returns:
    float32 [batch, length, vocab] or [batch, length, width]; of a head [batch, labels] for texts, [batch, length,
    labels] for tokens, or [batch, length, 2] for the ends of a span. Values at a position without visible keys
    (padding on the left of a decoder) are undefined.

  Raises:
    UserError: for ids outside the vocabulary, a text that is too long, or shapes that do not agree.
  """
  described = model if isinstance(model, Pretrained) else description.describe_model(model)
  arguments = inputs.prepare_inputs(described, input_ids, attention_mask, token_type_ids, decoder_input_ids)
  config = model if isinstance(model, Model) else described.config
  program = _program(json.dumps(to_dict(config)), described.head, described.task)
  # GPUs and TPUs would multiply float32 in fewer bits, and outputs are compared with those of transformers on a CPU.
  with jax.default_matmul_precision("highest"):
    return np.asarray(program(parameters.to_device(params), arguments))


@functools.lru_cache(maxsize=16)
def _program(
  config: str, head: bool, task: HeadConfig | None
) -> Callable[[Any, dict[str, np.ndarray]], jax.Array]:
  """Returns the compiled forward pass of a model, in float32; one layer is compiled and looped over."""
  model = from_dict(Model, json.loads(config))
  # scan: one layer is compiled, and layers of a checkpoint are stacked already.
  model = dataclasses.replace(model, dtype="float32", scan=True, remat="none", dropout=0.0)
  module = heads.build_headed_model(model, task or NO_HEAD)
  method = "__call__" if head or task else "states"

  def apply(params: Any, inputs: dict[str, np.ndarray]) -> jax.Array:
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    answer: Any = module.apply({"params": wide}, method=method, **inputs)  # type: ignore[arg-type]
    return answer.astype(np.float32)

  return jax.jit(apply)
