"""Muon: momentum of each matrix, orthogonalized by Newton-Schulz iterations; AdamW for everything else.

The update of a matrix is scaled to the root mean square of AdamW's (arXiv:2502.16982, equation 4), so that one
learning rate and one weight decay serve both kinds of parameters, and both are tuned in AdamW's range.
"""

import math
from typing import Any

import jax
import optax
from jax import Array
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from gen.config import Optimizer
from gen.optimizers.adamw import decay_mask, layer_rank, path_names
from gen.optimizers.update_rule import UpdateRule, from_optax

NEWTON_SCHULZ_STEPS = 5  # of Jordan et al. 2024 and of arXiv:2502.16982
ADAMW_RMS = 0.2  # root mean square of AdamW's usual update (arXiv:2502.16982, section 2.2)
# Parameters that map ids or positions to vectors, or vectors to logits: their rows are used one at a time, and Muon's
# authors leave them to AdamW.
_TABLES = ("embedding", "logits")


def make_muon(config: Optimizer) -> UpdateRule:
  """Returns Muon; a stack of layers is seen as many matrices."""

  def make(schedule: Any) -> optax.GradientTransformation:
    matrices = optax.chain(
      # optax's coefficients of the iteration, (3.4445, -4.7750, 2.0315), are those of Jordan et al. 2024. They bring
      # singular values near 1 in few steps, and not to 1 in many.
      scale_by_muon(
        ns_steps=NEWTON_SCHULZ_STEPS,
        beta=config.momentum,
        weight_dimension_numbers=matrix_axes,
      ),
      optax.stateless(_scale_to_adamw),
    )
    others = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
    return optax.chain(
      optax.partition({"muon": matrices, "adamw": others}, _labels),
      optax.add_decayed_weights(config.weight_decay, decay_mask),
      optax.scale_by_learning_rate(schedule),
    )

  return from_optax(make)


def matrix_axes(params: Any) -> Any:
  """Returns for each parameter which axes are the inputs and outputs of its matrix; None where it has none.

  Heads and their width are one axis of a projection. The gates of a recurrent layer are matrices of their own.
  """
  return jax.tree_util.tree_map_with_path(_axes, params)


def _axes(path: tuple[Any, ...], value: Any) -> MuonDimensionNumbers | None:
  names = path_names(path)
  rank = layer_rank(names, value)
  # Axes before it (the stack of layers) are batch: each layer is orthogonalized by itself.
  first = value.ndim - rank
  if rank < 2 or names[-1].endswith("bias") or any(name in _TABLES for name in names):
    return None
  if rank == 2:
    return MuonDimensionNumbers(first, first + 1)
  if "attention" in names or "cross_attention" in names:
    # [H, K, D]: heads and their width are the inputs. Other projections are [D, H, K], where they are the outputs.
    if "out" in names:
      return MuonDimensionNumbers(tuple(range(first, value.ndim - 1)), value.ndim - 1)
    return MuonDimensionNumbers(first, tuple(range(first + 1, value.ndim)))
  return MuonDimensionNumbers(first, value.ndim - 1)  # axes between them are gates


def _labels(params: Any) -> Any:
  return jax.tree_util.tree_map_with_path(
    lambda path, value: "adamw" if _axes(path, value) is None else "muon", params
  )


def _scale_to_adamw(updates: Any, params: Any = None) -> Any:
  del params

  def scale(path: tuple[Any, ...], update: Array) -> Array:
    _, inputs, outputs = _matrix_sizes(update.shape, _axes(path, update))
    # An orthogonal matrix of sides m < n has a root mean square of 1 / sqrt(n), which this factor brings to 0.2.
    return ADAMW_RMS * math.sqrt(max(inputs, outputs)) * update

  return jax.tree_util.tree_map_with_path(scale, updates)


def _matrix_sizes(shape: tuple[int, ...], axes: MuonDimensionNumbers | None) -> tuple[int, int, int]:
  """Returns how many matrices a parameter holds, their inputs and their outputs."""
  assert axes is not None
  inputs, outputs = (math.prod(shape[axis] for axis in _tuple(group)) for group in axes)
  return math.prod(shape) // (inputs * outputs), inputs, outputs


def _tuple(axes: Any) -> tuple[int, ...]:
  return axes if isinstance(axes, tuple) else (axes,)


def count_flops(params: Any) -> float:
  """Returns the FLOPs of one step's Newton-Schulz products, for parameters or their shapes.

  With m the shorter side of a matrix and n the longer one, an iteration multiplies X X^T (2 m^2 n), its square (2 m^3)
  and the sum by X (2 m^2 n). Operations on single elements are not counted, as nowhere else.
  """
  total = 0.0
  for path, value in jax.tree_util.tree_leaves_with_path(params):
    axes = _axes(path, value)
    if axes is not None:
      count, inputs, outputs = _matrix_sizes(value.shape, axes)
      short, long = sorted((inputs, outputs))
      total += NEWTON_SCHULZ_STEPS * count * (4.0 * short**2 * long + 2.0 * short**3)
  return total
