"""A model of `gen` in the Hugging Face format: tries architectures until one is equivalent."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from gen.config import Model, user_sources
from gen.config.heads import NO_HEAD, HeadConfig
from gen.errors import UserError
from gen.interop import equivalents, parameters, pretrained, tensor_files
from gen.interop.architectures import registry, task_heads
from gen.interop.architectures.architecture import Architecture, TensorContents
from gen.interop.pretrained import Pretrained, StoredTensors
from gen.models import heads

# Fields about initialization, training and execution, which do not change the function that a model computes.
_NOT_MEANING = ("dropout", "initializer_scale", "dtype", "scan", "remat", "loss_chunk", "attention")


def describe_model(
  model: Model, dtype: str = "F32", like: Mapping[str, object] | None = None, head: HeadConfig | None = None
) -> Pretrained:
  """Returns a model of `gen` as a model of the format.

  Where no architecture has exactly this model, an equivalent form is taken, if there is one: then `config` is the
  form, and `notes` say what it changes (`equivalents.convert_parameters`).

  Args:
    model: its config, with a vocabulary.
    dtype: the format's name of the parameters' type.
    like: config.json of a model whose class and other values are reused; None chooses.
    head: the head for a task that the model has in the place of its language-model head, or None.

  Raises:
    UserError: if no architecture is equivalent; with the nearest and the difference.
  """
  own = user_sources.own_references(model, "model.")
  if own:
    field, reference = next(iter(own.items()))
    raise UserError(
      f"no format holds {field} {reference}, which is code of your own; share its file with the run"
    )
  if head is not None and head.kind != "none":
    model = heads.body_config(model, head)
  else:
    head = None
  description = _describe_exactly(model, dtype, like, head)
  if isinstance(description, Pretrained):
    return description
  for equivalent, change in equivalents.find_equivalents(model) if like is None else ():
    form = _describe_exactly(equivalent, dtype, None, head)
    if isinstance(form, Pretrained):
      return dataclasses.replace(form, notes=(f"{form.architecture} is this model where {change}",))
  raise UserError(f"no Hugging Face architecture matches this model; the nearest, {description}")


def _describe_exactly(
  model: Model, dtype: str, like: Mapping[str, object] | None, task: HeadConfig | None
) -> Pretrained | str:
  """Returns the model in an architecture that has all of it, or the nearest and the first difference."""
  shapes = heads.headed_parameter_shapes(model, task or NO_HEAD)
  arrays = parameters.abstract_arrays(parameters.flatten_tree(shapes))
  tries = [
    (_difference(model, arrays, architecture, kind), architecture, kind)
    for architecture in registry.ARCHITECTURES.values()
    for kind in _classes(architecture, task)
    if like is None or (architecture.name == like.get("model_type") and _is_like(kind, like, task))
  ]
  if not tries and like is not None:
    return _describe_exactly(model, dtype, None, task)
  if not tries:
    raise UserError(_no_class(task or NO_HEAD))
  lacks, architecture, kind = min(tries, key=lambda each: len(each[0]))
  if lacks:
    return f"{architecture.name}, has {lacks[0]}"
  head = architecture.classes.get(kind, False)
  hf: dict[str, object] = {"architectures": [kind], "model_type": architecture.name}
  hf = hf | dict(architecture.describe(model)) | dict(like or {})
  if task is not None:
    hf = task_heads.with_head(hf, kind, architecture.tasks[kind], task)
  names = _names(model, arrays, architecture, kind)
  prefixed = head or task is not None
  hf.pop("torch_dtype", None)  # older name of dtype
  hf["dtype"] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]
  file = tensor_files.SINGLE
  stored = [
    StoredTensors(architecture.full(name, prefixed), file, dtype, shape, name)
    for name, shape in names.items()
  ]
  for group in architecture.twins:
    # Other readers may use fields that have no effect here.
    more = [name for name in group if group[0] in names and architecture.is_unused(name)]
    stored += [
      StoredTensors(architecture.full(name, prefixed), file, dtype, names[group[0]], group[0])
      for name in more
    ]
  return Pretrained(model, architecture.name, head, hf, tuple(stored), {file: {"format": "pt"}}, task=task)


def _classes(architecture: Architecture, task: HeadConfig | None) -> list[str]:
  """Returns an architecture's classes that have a model's head."""
  if task is None:
    return list(architecture.classes)
  return [kind for kind, each in architecture.tasks.items() if task_heads.matches_head(each, task)]


def _is_like(kind: str, like: Mapping[str, object], task: HeadConfig | None) -> bool:
  # A head for a task has a class of its own, whatever class the model came from.
  return task is not None or kind in _names_of_classes(like)


def _no_class(head: HeadConfig) -> str:
  what = f"head of kind {head.kind}"
  if head.kind == "classify":
    what += f" with pooling {head.pooling}, hidden {head.hidden} and {'a' if head.bias else 'no'} bias"
  return (
    f"no class of the Hugging Face format has a {what}; its encoders pool by first, its decoders by last "
    "without hidden layer and bias"
  )


def _names_of_classes(hf: Mapping[str, object]) -> list[object]:
  named = hf.get("architectures")
  return named if isinstance(named, list) else []


def _names(
  model: Model, arrays: Mapping[str, np.ndarray], architecture: Architecture, kind: str
) -> dict[str, tuple[int, ...]]:
  """Returns the tensors that a model of these parameters has in a class, with their shapes."""
  task_rows = architecture.tasks[kind].rows if kind in architecture.tasks else ()
  slots = pretrained.tensor_slots(architecture.rows(model) + task_rows, arrays)
  return {name: slot.shape for name, slot in slots.items()}


def _difference(
  model: Model, arrays: Mapping[str, np.ndarray], architecture: Architecture, kind: str
) -> list[str]:
  """Returns the differences between a model of these parameters and its form in an architecture."""
  names = _names(model, arrays, architecture, kind)
  head = architecture.classes.get(kind, False)
  contents = TensorContents(frozenset(names), head, architecture.output in names, kind)
  try:
    hf = architecture.complete(architecture.describe(model))
    theirs, ours = _meaning(architecture.model(hf, contents)), _meaning(model)
  except UserError as error:
    return [str(error)] * len(dataclasses.fields(Model))
  return [
    f"{name} {theirs[name]!r}, not {ours[name]!r}"
    for name in ours
    if name in theirs and not _equal(theirs[name], ours[name])
  ]


def _equal(first: object, second: object) -> bool:
  return first == second or (
    isinstance(first, float) and isinstance(second, int | float) and math.isclose(first, second, rel_tol=1e-9)
  )


def _meaning(model: Model) -> dict[str, object]:
  """Returns the fields that determine what a model computes, with derived sizes, without unused fields."""
  target = model.target
  values = dataclasses.asdict(model) | {
    "heads": model.n_heads,
    "key_value_heads": model.n_key_value_heads,
    "feed_forward": model.feed_forward_width,
    "decoder_heads": target.n_heads,
    "decoder_feed_forward": target.feed_forward_width,
    "decoder_depth": model.target_depth,
    "attention_scale": model.attention_scale or model.head_width**-0.5,
    "norm_bias": model.norm_bias and model.norm == "layernorm",
    "final_norm": model.final_norm and model.norm_placement != "post",
    "qkv_bias": model.bias or model.qkv_bias,
    "rotary_width": model.turned_width,
    "window_rotary_base": model.local.rotary_base,
    "qk_norm_joint": model.qk_norm_joint and model.qk_norm,
    "head_activation": model.head_transform and (model.head_activation or model.activation),
  }
  without = list(_NOT_MEANING)
  if model.positions != "learned":
    without += ["context", "position_offset"]
  if model.positions != "relative":
    without += ["relative_buckets", "relative_distance"]
  if model.positions != "rotary":
    without += ["rotary_base", "rotary_width", "rotary_factor"]
  if model.positions != "rotary" or not model.global_every:
    without += ["window_rotary_base"]
  if model.positions != "rotary" or not model.rotary_context:
    without += ["rotary_low", "rotary_high"]
  return {name: value for name, value in values.items() if name not in without}
