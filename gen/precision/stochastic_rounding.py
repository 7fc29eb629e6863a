"""Parameters and moments in bfloat16 between steps, rounded stochastically (arXiv:1502.02551; arXiv:2010.06192).

bfloat16 has 8 bits, so an update smaller than 1/256 of a number is lost by rounding to nearest, in every step alike.
Stochastic rounding takes the number above with the probability that makes the mean exact:

    r(x) = x_low + ulp  with probability (x - x_low) / ulp,  else x_low        E r(x) = x

The update itself is computed in float32. Random bits are a pure function of the step's key and the array's number.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from gen.config import Optimizer

State = TypeVar("State", bound=Any)  # a training state: a NamedTuple with params and opt_state
STREAM = 2  # of a step's key; dropout draws from the key itself


def round_stochastically(x: Array, key: Array) -> Array:
  """Returns x, float32, as bfloat16 whose mean over keys is x; a bfloat16 number is itself, inf and NaN stay.

  Args:
    x: float32.
    key: of the random bits.
  """
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  # The lower half of float32 is what bfloat16 drops: adding 16 random bits carries with the wanted probability.
  noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
  # Sign and magnitude: the sum rounds away from zero for either sign, so the mean is exact for negative numbers too.
  rounded = jax.lax.bitcast_convert_type((bits + noise) & jnp.uint32(0xFFFF0000), jnp.float32)
  # Noise in the lower bits would turn inf into NaN.
  return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def store_tree(tree: Any, dtype: str) -> Any:
  """Returns a tree whose float32 arrays have a type, rounded to nearest; scalars and counters stay as they are."""
  if dtype == "float32":
    return tree

  def narrow(leaf: Any) -> Any:
    # Scalars save nothing, and a count of steps in bfloat16 would stand still at 256.
    return leaf.astype(dtype) if leaf.dtype == jnp.float32 and leaf.ndim else leaf

  return jax.tree.map(narrow, tree)


def widen_tree(tree: Any, dtype: str) -> Any:
  """Returns a tree of `store_tree` in float32; the tree itself where it was not changed.

  An optimizer of the user's own may have bfloat16 arrays by itself, which then stay what they are.
  """
  if dtype == "float32":
    return tree
  return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else leaf, tree)


def widen_state(state: State, optimizer: Optimizer) -> State:
  """Returns a training state with parameters and moments in float32, in which its update is computed."""
  return state._replace(
    params=widen_tree(state.params, optimizer.param_dtype),
    opt_state=widen_tree(state.opt_state, optimizer.moment_dtype),
  )


def round_like(tree: Any, stored: Any, key: Array, number: int) -> Any:
  """Returns a float32 tree rounded stochastically where another tree has bfloat16.

  Args:
    tree: new values.
    stored: tree of the same structure with the types between steps.
    key: of the step.
    number: of the tree: each has random bits of its own.
  """
  leaves, structure = jax.tree.flatten(tree)
  narrow = [
    new.dtype == jnp.float32 and old.dtype == jnp.bfloat16
    for new, old in zip(leaves, jax.tree.leaves(stored), strict=True)
  ]
  if not any(narrow):
    return tree
  own = jax.random.fold_in(jax.random.fold_in(key, STREAM), number)
  rounded = [
    round_stochastically(leaf, jax.random.fold_in(own, index)) if narrow[index] else leaf
    for index, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(structure, rounded)
