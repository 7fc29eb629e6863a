"""Parameters and moments in bfloat16 between steps, rounded stochastically (arXiv:1502.02551; arXiv:2010.06192).

bfloat16 has 8 bits, so an update smaller than 1/256 of a number is lost by rounding to nearest, in every step alike.
Stochastic rounding takes the number above with the probability that makes the mean exact:

    r(x) = x_low + ulp  with probability (x - x_low) / ulp,  else x_low        E r(x) = x

The update itself is computed in float32. Random bits are a pure function of the step's key and the array's number.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

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
  rounded = jax.lax.bitcast_convert_type((bits + noise) & jnp.uint32(0xFFFF0000), jnp.float32)
  return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def store_tree(tree: Any, dtype: str) -> Any:
  """Returns a tree whose float32 arrays have a type, rounded to nearest; scalars and counters stay as they are."""
  if dtype == "float32":
    return tree

  def narrow(leaf: Any) -> Any:
    return leaf.astype(dtype) if leaf.dtype == jnp.float32 and leaf.ndim else leaf

  return jax.tree.map(narrow, tree)


def widen_tree(tree: Any) -> Any:
  """Returns a tree whose bfloat16 arrays are float32; other leaves are the same."""
  return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else leaf, tree)


def round_like(tree: Any, stored: Any, key: Array, number: int) -> Any:
  """Returns a float32 tree rounded stochastically where another tree has bfloat16.

  Args:
    tree: new values.
    stored: tree of the same structure with the types between steps.
    key: of the step.
    number: of the tree: each has random bits of its own.
  """
  leaves, structure = jax.tree.flatten(tree)
  types = [leaf.dtype for leaf in jax.tree.leaves(stored)]
  if jnp.bfloat16 not in types:
    return tree
  own = jax.random.fold_in(jax.random.fold_in(key, STREAM), number)
  rounded = [
    round_stochastically(leaf, jax.random.fold_in(own, index)) if dtype == jnp.bfloat16 else leaf
    for index, (leaf, dtype) in enumerate(zip(leaves, types, strict=True))
  ]
  return jax.tree.unflatten(structure, rounded)
