"""Optimizers by name, and those of the user's own code."""

import ast
from collections.abc import Callable
from typing import Any

import optax

from gen.config import Optimizer
from gen.config.optimizer import ELEMENTWISE
from gen.errors import UserError
from gen.io import user_code
from gen.optimizers import alternatives, muon
from gen.optimizers.adamw import make_adamw
from gen.optimizers.parameter_groups import group_parameters, select_trained
from gen.optimizers.update_rule import UpdateRule, from_optax

OPTIMIZERS: dict[str, Callable[[Optimizer], UpdateRule]] = {
  "adamw": make_adamw,
  "muon": muon.make_muon,
  "lion": alternatives.make_lion,
  "adafactor": alternatives.make_adafactor,
  "sgd": alternatives.make_sgd,
}


def make_update_rule(config: Optimizer) -> UpdateRule:
  """Returns the optimizer that a config names, for its groups of parameters.

  Raises:
    UserError: for a reference that cannot be imported, or options that its function does not take.
  """
  return group_parameters(config, _rule_of_all(config))


def _rule_of_all(config: Optimizer) -> UpdateRule:
  """Returns the optimizer for parameters that are all trained at one rate."""
  if config.name in OPTIMIZERS:
    return OPTIMIZERS[config.name](config)
  factory = user_code.load_object(config.name, "optimizer.name")
  options = read_options(config.options)

  def make(schedule: Callable[[Any], Any]) -> optax.GradientTransformation:
    try:
      # A schedule and not a number: the rate is traced, and one compiled step serves all rates of a sweep.
      transformation = factory(learning_rate=schedule, **options)
    except (TypeError, ValueError) as error:
      raise UserError(
        f"optimizer.name {config.name!r} cannot be called with learning_rate and optimizer.options "
        f"{config.options!r}: {error}"
      ) from error
    if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
      raise UserError(
        f"optimizer.name {config.name!r} returns a {type(transformation).__name__}; it must return an optax "
        "GradientTransformation"
      )
    return transformation

  return from_optax(make)


def read_options(text: str) -> dict[str, Any]:
  """Returns keyword arguments written as `momentum=0.9,nesterov=True`.

  Raises:
    UserError: for text that is no list of names with plain values.

  >>> read_options("b1=0.95, nesterov=True")
  {'b1': 0.95, 'nesterov': True}
  """
  try:
    # Parsed as the arguments of a call and read as literals: no code of the flag is run.
    call = ast.parse(f"options({text})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
      raise ValueError(text)
    return {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
  except (SyntaxError, ValueError):
    raise UserError(
      f"optimizer.options is {text[:60]!r}; write names with plain values, as b1=0.95,nesterov=True"
    ) from None


def count_update_flops(config: Optimizer, params: Any) -> float:
  """Returns the FLOPs of matrix products in one update, for parameters or their shapes.

  Frozen parameters are not updated. The optimizers of elementwise operations have none. A user's function says its own
  count with an attribute `count_flops`, a function of the parameters' shapes; without it the update counts as 0.
  """
  if config.name in ELEMENTWISE:
    return 0.0
  # Newton-Schulz is the only update with matrix products; counts leave out elementwise work everywhere.
  params = select_trained(config, params) if config.frozen else params
  if config.name == "muon":
    return muon.count_flops(params)
  count = getattr(user_code.load_object(config.name, "optimizer.name"), "count_flops", None)
  return float(count(params)) if count is not None else 0.0
