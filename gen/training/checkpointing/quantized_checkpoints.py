"""How a checkpoint records that parameters are quantized, and the tree of shapes that it is restored into.

The entry `quantization` of its meta has a version, the scheme's words, and for each quantized parameter what its arrays
do not say. Values, scales and zero points are arrays of the checkpoint like all others, with checksums.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gen.config import Model
from gen.errors import UserError
from gen.io import formats, json_reading
from gen.models import language_model
from gen.precision.quantized_array import QuantizedArray
from gen.sharding.layouts import ShardingLayout
from gen.training.checkpointing.checkpoint_records import CheckpointMeta, require_tokenizer

ENTRY = "quantization"  # of a checkpoint's meta
REMEDY = "quantize the original checkpoint again"
_FIELDS = {
  "format": str,
  "groups": int,
  "shared": bool,
  "zeros": bool,
  "smoothing": bool,
  "static": bool,
  "activations": str,
}


def quantization_meta(params: Any, words: dict[str, Any]) -> dict[str, Any]:
  """Returns the entry of a checkpoint's meta for a tree with quantized arrays.

  Args:
    params: the tree.
    words: plain values that describe the scheme, for people.
  """
  arrays = {
    _name(path): {
      "format": leaf.format,
      "groups": leaf.scales.shape[-1],
      # One scale for all outputs; with a single output both have one row, and nothing is shared.
      "shared": leaf.scales.shape[-2] == 1 != leaf.values.shape[-2],
      "zeros": leaf.zeros is not None,
      "smoothing": leaf.smoothing is not None,
      "static": leaf.input_scale is not None,
      "activations": leaf.activations,
    }
    for path, leaf in _leaves(params)
    if isinstance(leaf, QuantizedArray)
  }
  narrow = [_name(path) for path, leaf in _leaves(params) if getattr(leaf, "dtype", None) == jnp.bfloat16]
  return formats.with_format({"scheme": words, "arrays": arrays, "bfloat16": narrow}, formats.QUANTIZATION)


def parameter_template(model: Model, meta: Mapping[str, object], owner: str) -> Any:
  """Returns the tree of shapes of a checkpoint's parameters, quantized where its meta says so.

  Args:
    model: its config.
    meta: of the checkpoint.
    owner: what errors call the checkpoint.

  Raises:
    UserError: for an entry of another version, or one that does not fit the model.
  """
  shapes = language_model.parameter_shapes(model)
  if ENTRY not in meta:
    return shapes
  entry = formats.without_format(
    _object(meta[ENTRY], owner), formats.QUANTIZATION, f"{owner}: {ENTRY}", REMEDY
  )
  arrays = _object(entry.get("arrays"), f"{owner}: {ENTRY}: arrays")
  narrow = set(json_reading.require_kind(entry.get("bfloat16") or [], list, f"{owner}: {ENTRY}: bfloat16"))
  names = {_name(path) for path, _ in _leaves(shapes)}
  unknown = sorted(set(arrays) - names)
  if unknown:
    raise UserError(f"{owner}: {ENTRY} names {unknown[0]}, which is no parameter of the model; {REMEDY}")

  def template(path: Any, leaf: Any) -> Any:
    name = _name(path)
    if name in arrays:
      return _array_template(name, leaf.shape, _object(arrays[name], f"{owner}: {ENTRY}: {name}"), owner)
    return jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16) if name in narrow else leaf

  return jax.tree_util.tree_map_with_path(template, shapes)


def _array_template(name: str, shape: tuple[int, ...], entry: dict[str, Any], owner: str) -> QuantizedArray:
  where = f"{owner}: {ENTRY}: {name}"
  for field, kind in _FIELDS.items():
    json_reading.require_field(entry, field, kind, where)
  words = name.split("/")
  # Shapes follow from the model's own, so the entry cannot contradict the arrays of the checkpoint.
  stack = shape[:1] if "layers" in words else ()
  own = tuple(shape[len(stack) :])
  table = words[-1] == "embedding"
  heads_in = words[-2:-1] == ["out"] and len(own) == 3
  inputs = own[-1] if table else math.prod(own[: 2 if heads_in else 1])
  outputs = math.prod(own) // inputs
  # Two levels of four bits to a byte, rounded up.
  bytes_of_row = inputs if entry["format"] == "int8" else -(-inputs // 2)
  of_scales = (*stack, 1 if entry["shared"] else outputs, entry["groups"])

  def shaped(sizes: tuple[int, ...], dtype: Any, present: bool = True) -> Any:
    return jax.ShapeDtypeStruct(sizes, dtype) if present else None

  return QuantizedArray(
    shaped((*stack, outputs, bytes_of_row), jnp.int8 if entry["format"] == "int8" else jnp.uint8),
    shaped(of_scales, jnp.float32),
    shaped(of_scales, jnp.int8, entry["zeros"]),
    shaped((*stack, inputs), jnp.float32, entry["smoothing"]),
    shaped(stack, jnp.float32, entry["static"]),
    own,
    inputs,
    entry["format"],
    entry["activations"],
    not table,
  )


def quantized_axes(names: Any, params: Any) -> Any:
  """Returns the logical axes of a tree with quantized arrays, so that values and scales are split together.

  Args:
    names: PartitionSpecs of the float parameters (`language_model.logical_axes`).
    params: the tree, or its template.
  """

  def axes_of(leaf: Any, spec: Any) -> Any:
    if not isinstance(leaf, QuantizedArray):
      return spec
    words = tuple(spec)
    stack, words = (words[:1], words[1:]) if leaf.values.ndim == 3 else ((), words)
    heads_in = leaf.inputs_first and len(leaf.shape) == 3 and leaf.input_size != leaf.shape[0]
    ends = 1 if not heads_in else 2
    first, last = (words[:ends], words[ends:]) if leaf.inputs_first else (words[1:], words[:1])
    input_axis, output_axis = first[0], last[0]
    # A shared scale has one row, which cannot be split.
    scale_axis = None if leaf.scales.shape[-2] == 1 else output_axis
    of_scales = PartitionSpec(*stack, scale_axis, None if leaf.scales.shape[-1] == 1 else input_axis)
    return QuantizedArray(
      PartitionSpec(*stack, output_axis, input_axis),  # type: ignore[arg-type]
      of_scales,  # type: ignore[arg-type]
      None if leaf.zeros is None else of_scales,  # type: ignore[arg-type]
      # Factors on activations are split as the inputs that they multiply.
      None if leaf.smoothing is None else PartitionSpec(*stack, input_axis),  # type: ignore[arg-type]
      None if leaf.input_scale is None else PartitionSpec(*stack),  # type: ignore[arg-type]
      leaf.shape,
      leaf.input_size,
      leaf.format,
      leaf.activations,
      leaf.inputs_first,
    )

  return jax.tree.map(axes_of, params, names, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))


def split_template(template: Any, model: Model, layout: ShardingLayout) -> Any:
  """Returns a tree of shapes with the shardings of a layout; values and scales of a kernel are split together.

  Args:
    template: of `parameter_template`.
    model: its config.
    layout: the mesh, and what is split over it.
  """
  names = quantized_axes(language_model.logical_axes(model), template)
  shardings = layout.shardings(layout.specs(names, template, "parameters"))
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    template,
    shardings,
  )


def refuse_quantized(meta: Mapping[str, object], what: str, owner: str) -> None:
  """Checks that a checkpoint is not quantized, for work that needs its float32 parameters.

  Args:
    meta: of the checkpoint.
    what: the work, as the end of "cannot be".
    owner: what the error calls the checkpoint.

  Raises:
    UserError: if it is.
  """
  if ENTRY in meta:
    source = _object(meta[ENTRY], owner).get("scheme") or {}
    origin = source.get("checkpoint") if isinstance(source, dict) else None
    raise UserError(
      f"{owner} holds quantized weights, which cannot be {what}; take the checkpoint that it was quantized from"
      + (f", {origin}" if origin else "")
    )


def require_trainable(meta: Mapping[str, object], tokenizer: str, path: Any) -> None:
  """Checks that a run can train on from a checkpoint: not quantized, and of the tokenizer with a hash.

  Raises:
    UserError: if it cannot.
  """
  refuse_quantized(meta, "trained further", f"checkpoint {path}")
  require_tokenizer(cast(CheckpointMeta, meta), tokenizer, path)


def _object(value: Any, owner: str) -> dict[str, Any]:
  json_reading.require_kind(value, dict, owner)
  return dict(value)


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
  return list(
    jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  )


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")
