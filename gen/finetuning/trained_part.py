"""What a method trains: all parameters, the head, the last layers and the head, or low-rank adapters and the head.

The parameters are split into a trained and a frozen tree. Layers are stacked along a first axis, so of a stack whose
last N layers are trained, the frozen tree has the first ones and the trained tree the last.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gen.config import Model
from gen.config.heads import HeadConfig
from gen.errors import UserError

PARAMETERS, ADAPTERS = "params", "adapters"  # in the tree of what is trained
_STACK, _LAYERS = "stack", "layers"
Tree = Mapping[str, Any]


def split_parameters(
  params: Tree, model: Model, head: HeadConfig, method: str, layers: int = 0
) -> tuple[Any, Any]:
  """Returns the trained part of parameters, and the frozen part.

  Args:
    params: of the model with its head.
    model: its config.
    head: its head.
    method: full, head, last or lora.
    layers: of last; lora's adapters are not made here.

  Raises:
    UserError: for a method that leaves nothing to train, or more layers than there are.
  """
  new = head.kind != "none"
  constant = {} if new else _constants(params, model)
  if method == "full":
    return {PARAMETERS: _without(params, constant)}, constant
  if method == "head" and not new:
    raise UserError("method=head needs form=head, which has a new head; choose full, last:N or lora")
  if method == "last" and ":" in model.family:
    raise UserError(
      f"method=last:{layers} needs a stack of layers, and {model.family} is code of your own; choose full"
    )
  if method == "last" and not 1 <= layers <= model.target_depth:
    raise UserError(
      f"method=last:{layers} names more layers than the model's {model.target_depth}; choose at most those, or full"
    )
  # A new head starts from random values, so every method trains it; a language model's head only with the last layers.
  names = ("head", "pool") if new else ("head",) if method == "last" else ()
  # Of a model of two stacks these are layers of the one that predicts.
  own = {name: params[name] for name in names if name in params}
  rest = {name: value for name, value in params.items() if name not in own}
  if method != "last":
    return {PARAMETERS: own}, rest
  last, first = _cut(rest["target"], layers)
  return {PARAMETERS: _without(own, constant) | {"target": last}}, rest | {"target": first} | constant


def _constants(params: Tree, model: Model) -> dict[str, Any]:
  """Returns what no method trains: BART's bias of the logits, which is a constant in its published code."""
  if model.family != "encoder_decoder" or not model.head_bias:
    return {}
  return {"head": {"bias": params["head"]["bias"]}}


def _without(tree: Tree, constant: Tree) -> dict[str, Any]:
  """Returns a tree without some of its leaves; branches that are left empty stay out."""
  left = {
    name: _without(value, constant[name]) if name in constant and isinstance(value, Mapping) else value
    for name, value in tree.items()
    if name not in constant or isinstance(value, Mapping)
  }
  return {name: value for name, value in left.items() if not isinstance(value, Mapping) or value}


def _cut(tree: Tree, layers: int) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns the last layers of a stack with the norm after it, and all else."""
  stack = tree.get(_STACK, tree)  # a recurrent model has its layers in no stack
  last: dict[str, Any] = {
    name: jax.tree.map(lambda leaf: leaf[-layers:], value) if name == _LAYERS else value
    for name, value in stack.items()
  }
  # The norm after the stack reads the last layer's output, so it is trained with it.
  first: dict[str, Any] = {_LAYERS: jax.tree.map(lambda leaf: leaf[:-layers], stack[_LAYERS])}
  if stack is tree:
    return last, first
  rest = {name: value for name, value in tree.items() if name != _STACK}
  return {_STACK: last}, rest | {_STACK: first}


def complete_parameters(trained: Tree, frozen: Tree, adapt: Callable[[Any, Any], Any] | None = None) -> Any:
  """Returns the parameters of the complete model; the inverse of `split_parameters`.

  Args:
    trained: what is trained.
    frozen: the other parameters.
    adapt: applies trained adapters to parameters; None without.
  """
  params = _merged(frozen, trained[PARAMETERS])
  return params if adapt is None else adapt(params, trained[ADAPTERS])


def _merged(first: Tree, second: Tree) -> dict[str, Any]:
  merged = dict(first)
  for name, value in second.items():
    if name not in merged:
      merged[name] = value
    elif isinstance(value, Mapping):
      merged[name] = _merged(merged[name], value)
    else:
      # A stack whose first layers are frozen and whose last are trained: both parts along the axis of layers.
      merged[name] = jnp.concatenate([merged[name], value])
  return merged
