"""The description of one Hugging Face architecture: tensor names, config in both directions, positions."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gen.config import Model
from gen.errors import UserError
from gen.interop.architectures import task_heads
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.task_heads import TaskClass
from gen.interop.architectures.tensor_rows import TensorRows

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
LARGEST = 1 << 31  # upper bound of all sizes and ids of a config
TOKENS = "embedding/embedding"


class TensorContents(NamedTuple):
  """Facts about a checkpoint that follow from its tensors and class, not from its config."""

  names: frozenset[str]  # without prefix
  head: bool  # whether it has a language-model head
  own_output: bool  # whether the output matrix is not the embedding
  kind: str = ""  # the class; empty if none is named


@dataclasses.dataclass(frozen=True)
class Architecture:
  """One `model_type`.

  Attributes:
    name: the model type.
    prefix: prefix of tensor names of a model inside a larger one.
    defaults: values of the config that a file may omit.
    model: config.json, completed by the defaults, as a `Model`.
    describe: a `Model` as config.json, without the facts that follow from the tensors.
    rows: the tensors of a `Model`; those without parameters in the model are skipped.
    head_names: prefixes of the names of tensors outside `prefix`.
    classes: supported classes, and whether each has a head; the first of either kind is written.
    tasks: supported classes with a head for a task.
    output: name of the output matrix.
    plain_head: whether the head consists of the output matrix alone.
    spellings: names of tensors that some files have, and those of the rows.
    unties: whether the config can untie the output matrix from the embedding.
    twins: groups of names for one tensor; the first that exists has the values in use.
    unused: patterns of tensors that no logit depends on; they are copied unchanged.
    positions: (config.json, ids, mask) -> positions, or None for 0, 1, 2...
  """

  name: str
  prefix: str
  defaults: dict[str, object]
  model: Callable[[HfConfig, TensorContents], Model]
  describe: Callable[[Model], Mapping[str, object]]
  rows: Callable[[Model], TensorRows]
  head_names: tuple[str, ...]
  classes: dict[str, bool]
  output: str
  plain_head: bool
  twins: tuple[tuple[str, ...], ...]
  unused: tuple[str, ...] = ()
  tasks: dict[str, TaskClass] = dataclasses.field(default_factory=dict)
  spellings: dict[str, str] = dataclasses.field(default_factory=dict)
  unties: bool = True
  positions: Callable[[HfConfig, np.ndarray, np.ndarray], np.ndarray | None] = lambda *_: None

  def plain(self, name: str) -> str:
    """Returns a tensor's name without prefix, in its current spelling."""
    for old, new in {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}.items():
      name = name.replace(old, new)
    name = name.removeprefix(self.prefix)
    return self.spellings.get(name, name)

  def full(self, name: str, head: bool) -> str:
    """Returns the name that a tensor has in a file of the model with or without a head."""
    outside = (*self.head_names, *task_heads.NAMES)
    return name if not head or name.startswith(outside) else self.prefix + name

  def task_rows(self, hf: Mapping[str, object]) -> TensorRows:
    """Returns the tensors of the head that the class in a config.json has for a task; none for another class."""
    named = hf.get("architectures") or [""]
    kind = named[0] if isinstance(named, list) else named
    return self.tasks[kind].rows if kind in self.tasks else ()

  def is_unused(self, name: str) -> bool:
    """Returns whether no logit depends on a tensor."""
    return any(re.fullmatch(pattern, name) for pattern in self.unused)

  def complete(self, hf: Mapping[str, object]) -> HfConfig:
    """Returns config.json with default values for missing fields.

    Raises:
      UserError: for a value of the wrong type, or a size that is not positive.
    """
    for key, default in self.defaults.items():
      if key == "eos_token_id":  # may be a list; generation_config reads it
        continue
      value = hf.get(key, default)
      if not _fits(value, (0 if value is not None else None) if key.endswith("_id") else default):
        raise UserError(
          f"config.json: {key} = {_brief(value)} is not supported; use a value such as {default!r}"
        )
    return HfConfig(self.defaults | dict(hf))


def _fits(value: object, default: object) -> bool:
  if default is None:
    return value is None or _fits(value, 1)
  if isinstance(default, bool) or not isinstance(default, int | float):
    return isinstance(value, type(default))
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  if not 0 <= value < LARGEST:
    return default == 0 and -LARGEST < value < LARGEST  # some files write -1 for no id
  return isinstance(default, float) or (isinstance(value, int) and (value > 0 or default == 0))


def _brief(value: object) -> str:
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # more digits or depth than Python can write
    text = "this"
  return text if len(text) <= 60 else f"{text[:57]}..."


def activation_name(hf: HfConfig, key: str) -> str:
  """Returns our name of the config's activation.

  Raises:
    UserError: for an unknown one.
  """
  named = hf[key]
  if not isinstance(named, str) or named not in ACTIVATIONS:
    raise UserError(f"config.json: {key} {_brief(named)} is not one of {', '.join(ACTIVATIONS)}")
  return ACTIVATIONS[named]


def refuse_unsupported(hf: HfConfig, **only: object) -> None:
  """Raises UserError for a config with unsupported values.

  Raises:
    UserError: with the first field whose value is not the supported one.
  """
  for key, value in only.items():
    if hf.get(key) not in (None, value):
      raise UserError(f"config.json: {key} = {_brief(hf[key])} is not supported, only {value!r}")


def split_width(hf: HfConfig, width: str, heads: str) -> int:
  """Returns the head width.

  Raises:
    UserError: if the width is not a multiple of the heads.
  """
  if hf.integer(width) % hf.integer(heads):
    raise UserError(f"config.json: {width} {hf[width]} is not a multiple of {heads} {hf[heads]}")
  return hf.integer(width) // hf.integer(heads)
