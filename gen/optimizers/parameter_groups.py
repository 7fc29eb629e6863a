"""Frozen parameters, and learning rates by group: one update rule for each group of parameters.

A frozen parameter is in no group: it has no moments, no weight decay and no update. Groups are told apart by the
multiple of the learning rate that they are trained at; each has an optimizer state of its own, as in optax's
`multi_transform`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from jax import Array

from gen.config import Optimizer
from gen.config.parameter_patterns import assign_multipliers
from gen.optimizers.update_rule import UpdateRule

Tree = Mapping[str, "Array | Tree"]
"""Parameters, gradients or updates by name, nested."""


def group_parameters(config: Optimizer, rule: UpdateRule) -> UpdateRule:
  """Returns the rule applied to each group of parameters; the rule itself if the config has no groups.

  The rule's functions raise UserError for a pattern that matches no parameter.
  """
  # The state then has the tree of the parameters, so that checkpoints without groups have no level for them.
  if not config.frozen and not config.rate_multipliers:
    return rule

  def init(params: Tree) -> dict[str, object]:
    return {
      name: rule.init(select_paths(params, paths)) for name, (_, paths) in _groups(config, params).items()
    }

  def update(grads: Tree, opt_state: Any, params: Tree, rate: Array) -> tuple[Any, Callable[[Any, Any], Any]]:
    # Groups are found from paths while the step is traced, so they cost nothing in the compiled program.
    groups = _groups(config, params)
    results = {
      name: rule.update(
        select_paths(grads, paths),
        opt_state[name],
        select_paths(params, paths),
        rate if multiplier == 1 else rate * multiplier,
      )
      for name, (multiplier, paths) in groups.items()
    }

    def apply(params: Tree, opt_state: Any) -> Tree:
      for name, (_, paths) in groups.items():
        part = results[name][1](select_paths(params, paths), opt_state[name])
        params = merge_trees(params, part)
      return params

    return {name: state for name, (state, _) in results.items()}, apply

  return UpdateRule(init, update)


def split_frozen(config: Optimizer, params: Tree) -> tuple[Tree, Callable[[Tree], Tree]]:
  """Returns the parameters that are trained, and a function that puts the frozen ones beside them.

  Raises:
    UserError: for a pattern that matches no parameter.
  """
  trained = select_trained(config, params)
  return trained, lambda tree: merge_trees(params, tree)


def select_trained(config: Optimizer, tree: Tree) -> Tree:
  """Returns a tree in the form of the parameters without the frozen ones.

  Raises:
    UserError: for a pattern that matches no parameter.
  """
  return select_paths(tree, assign_multipliers(tree_paths(tree), config.frozen, config.rate_multipliers))


def _groups(config: Optimizer, params: Tree) -> dict[str, tuple[float, list[str]]]:
  """Returns the multiplier and the paths of each group, by a name that a checkpoint can hold."""
  groups: dict[str, tuple[float, list[str]]] = {}
  multipliers = assign_multipliers(tree_paths(params), config.frozen, config.rate_multipliers)
  for path, multiplier in multipliers.items():
    # repr of a float is exact, so two multipliers never share a name.
    groups.setdefault(f"rate_{multiplier!r}", (multiplier, []))[1].append(path)
  return groups


def tree_paths(tree: Tree) -> list[str]:
  """Returns the path of each parameter."""
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  ]


def select_paths(tree: Tree, paths: Collection[str], prefix: str = "") -> Tree:
  """Returns the part of a tree with these paths; what is empty then is left out."""
  wanted = paths if isinstance(paths, set | frozenset) else frozenset(paths)
  selected: dict[str, Array | Tree] = {}
  for name, value in tree.items():
    path = f"{prefix}{name}"
    if isinstance(value, Mapping):
      if below := select_paths(value, wanted, f"{path}/"):
        selected[name] = below
    elif path in wanted:
      selected[name] = value
  return selected


def merge_trees(tree: Tree, part: Tree) -> Tree:
  """Returns a tree with the leaves of another in place of its own."""
  merged = dict(tree)
  for name, value in part.items():
    own = merged.get(name)
    merged[name] = (
      merge_trees(own, value) if isinstance(value, Mapping) and isinstance(own, Mapping) else value
    )
  return merged
