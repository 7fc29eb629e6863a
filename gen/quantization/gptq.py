"""GPTQ (arXiv:2210.17323): inputs are rounded one after the other, and later ones make up for the error.

The error of a layer's result on the calibration text is tr((W - Q) H (W - Q)^T) with H = X^T X. After input i is
rounded, the inputs after it change by the least squares solution, which the Cholesky factor U of H^-1 = U^T U gives:

    e = (w_i - q_i) / U_ii,    w_j = w_j - e U_ij    for j > i

O outputs, I inputs, G groups of inputs.
"""

import numpy as np

from gen.errors import UserError
from gen.precision import quantizing
from gen.precision.quantizing import QuantizedMatrix, WeightScheme

BLOCK = 128  # inputs whose later updates are one product
DAMPING = 0.01  # share of the mean diagonal of H that is added to it


def quantize_gptq(
  weights_oi: np.ndarray,
  hessian_ii: np.ndarray,
  scheme: WeightScheme,
  *,
  act_order: bool = False,
  name: str = "a matrix",
) -> QuantizedMatrix:
  """Returns a matrix quantized by GPTQ.

  Args:
    weights_oi: float32, outputs first.
    hessian_ii: X^T X of the inputs on calibration text.
    scheme: how weights are quantized.
    act_order: whether inputs are taken in falling order of H's diagonal; scales are then those of the given weights.
    name: what errors call the matrix.

  Raises:
    UserError: for weights that are not finite, a group that does not divide, or a Hessian that is not finite.
  """
  scales_og, zeros_og = quantizing.find_scales(weights_oi, scheme, name)
  if not np.isfinite(hessian_ii).all():
    raise UserError(f"the inputs of {name} on the calibration text are not finite; the model gives NaN there")
  # float64: H is nearly singular where inputs are correlated, and its inverse is factored again below.
  hessian_ii = hessian_ii.astype(np.float64)
  outputs, inputs = weights_oi.shape
  size = scheme.group_size(inputs, name)
  weights_oi = weights_oi.astype(np.float64)
  diagonal_i = np.diagonal(hessian_ii).copy()
  # An input that is always 0 has no error; it keeps its own rounding.
  hessian_ii[diagonal_i == 0, diagonal_i == 0] = 1
  # The authors' option: large inputs first, whose rounding errors can still be made up for by all others.
  order_i = np.argsort(-diagonal_i, kind="stable") if act_order else np.arange(inputs)
  factor_ii = _inverse_factor(hessian_ii[np.ix_(order_i, order_i)])
  weights_oi = weights_oi[:, order_i]
  levels_oi = np.empty((outputs, inputs), np.int8)
  scales_og, zeros_og = scales_og.copy(), None if zeros_og is None else zeros_og.copy()
  # Reordered inputs of a group do not follow each other, so its scale is that of the weights before any update.
  refits = scheme.granularity == "group" and not act_order
  # Updates beyond a block wait and become one product at its end (arXiv:2210.17323, 3.3, lazy batch updates). The
  # result is the same: a column's weights are read only when its turn comes.
  for begin in range(0, inputs, BLOCK):
    end = min(begin + BLOCK, inputs)
    errors_oi = np.zeros((outputs, end - begin))
    for column in range(begin, end):
      place = order_i[column]
      group = place // size if scales_og.shape[1] > 1 else 0
      if refits and column % size == 0:
        # The group's weights have changed by the errors of those before; within the block, not beyond it.
        scale_o1, zero_o1 = quantizing.find_scales(
          _current(weights_oi, errors_oi, factor_ii, begin, end, column, size), _one_group(scheme), name
        )
        scales_og[:, group : group + 1] = scale_o1
        if zeros_og is not None and zero_o1 is not None:
          zeros_og[:, group : group + 1] = zero_o1
      scale_o1 = scales_og[:, group : group + 1]
      zero_o1 = None if zeros_og is None else zeros_og[:, group : group + 1]
      # Rounded in float32, as `quantize_matrix` does, so that both give the same levels where nothing was updated.
      column_o1 = weights_oi[:, column : column + 1].astype(np.float32)
      level_o1 = quantizing.round_to_levels(column_o1, scale_o1, zero_o1, scheme)
      levels_oi[:, place] = level_o1[:, 0]
      back_o = quantizing.dequantize_matrix(QuantizedMatrix(level_o1, scale_o1, zero_o1), scheme.format)[:, 0]
      error_o = (weights_oi[:, column] - back_o) / factor_ii[column, column]
      weights_oi[:, column + 1 : end] -= error_o[:, None] * factor_ii[column, column + 1 : end]
      errors_oi[:, column - begin] = error_o
    weights_oi[:, end:] -= errors_oi @ factor_ii[begin:end, end:]
  return QuantizedMatrix(levels_oi, scales_og, zeros_og)


def _current(
  weights_oi: np.ndarray,
  errors_oi: np.ndarray,
  factor_ii: np.ndarray,
  begin: int,
  end: int,
  column: int,
  size: int,
) -> np.ndarray:
  """Returns the weights of the group that begins at a column, with all errors so far, float32."""
  last = min(column + size, weights_oi.shape[1])
  group_oi = weights_oi[:, column:last].copy()
  if last > end:  # columns beyond the block have not received the block's errors yet
    done = column - begin
    group_oi[:, end - column :] -= errors_oi[:, :done] @ factor_ii[begin:column, end:last]
  return group_oi.astype(np.float32)


def _one_group(scheme: WeightScheme) -> WeightScheme:
  """Returns the scheme of the weights of one group alone."""
  return WeightScheme(scheme.format, scheme.symmetric, "channel", 0, scheme.clipping, scheme.percentile)


def _inverse_factor(hessian_ii: np.ndarray) -> np.ndarray:
  """Returns the upper factor U of H^-1 = U^T U, damped."""
  # Without damping H of fewer rows than inputs is singular.
  mean = float(np.mean(np.diagonal(hessian_ii)))
  damped_ii = hessian_ii + DAMPING * mean * np.eye(len(hessian_ii))
  inverse_ii = np.linalg.inv(damped_ii)
  # Made symmetric again: the inverse is so only up to rounding, and Cholesky reads one triangle.
  return np.linalg.cholesky((inverse_ii + inverse_ii.T) / 2).T
