"""Layouts: the order of a parameter's elements in a checkpoint's tensor.

A layout is a view of a parameter in the checkpoint's order. Loading writes into the view and saving reads from it, so
the two cannot disagree. D width, H heads, K head width, O outputs, I inputs.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class TensorLayout(NamedTuple):
  """One tensor as one parameter, or as several parameters along an additional axis.

  Attributes:
    view: a layer's parameter in the order of the checkpoint.
    groups: how many axes of the view (with the parameters' own) make each axis of the tensor; empty: one each.
    axis: of several parameters, never the first; None for one parameter.
  """

  view: Callable[[np.ndarray], np.ndarray]
  groups: tuple[int, ...] = ()
  axis: int | None = None


TABLE = TensorLayout(lambda x: x)  # unchanged
VECTOR = TensorLayout(lambda x: x.reshape(-1))  # biases by head too
ROW = TensorLayout(lambda x: x.reshape(1, -1))
LINEAR = TensorLayout(lambda x: x.reshape(x.shape[0], -1).T)  # [O, I]
LINEAR_FROM_HEADS = TensorLayout(lambda x: x.reshape(-1, x.shape[-1]).T)  # [D, H K]
COLUMNS = TensorLayout(lambda x: x.reshape(x.shape[0], -1))  # [I, O]
COLUMNS_FROM_HEADS = TensorLayout(lambda x: x.reshape(-1, x.shape[-1]))  # [H K, D]
# Queries, keys and values in one tensor: concatenated (GPT-2), or interleaved by head (BLOOM).
COLUMNS_SIDE_BY_SIDE = TensorLayout(COLUMNS.view, (1, 2), 1)  # [D, 3 H K]
VECTORS_SIDE_BY_SIDE = TensorLayout(ROW.view, (3,), 1)  # [3 H K]
LINEAR_SIDE_BY_SIDE = TensorLayout(
  lambda x: x.reshape(1, x.shape[0], -1).swapaxes(1, 2), (3, 1), 1
)  # [3 H K, D]
LINEAR_BY_HEAD = TensorLayout(lambda x: x.transpose(1, 2, 0), (3, 1), 1)  # [H 3 K, D]
VECTORS_BY_HEAD = TensorLayout(lambda x: x, (3,), 1)  # [H 3 K]


class TensorSlot(NamedTuple):
  """The location of one tensor's values: views of its parameters, in the layout's order."""

  layout: TensorLayout
  views: tuple[np.ndarray, ...]

  @property
  def expanded(self) -> tuple[int, ...]:
    """The tensor's shape with an additional axis for several parameters."""
    shape, axis = self.views[0].shape, self.layout.axis
    return shape if axis is None else (*shape[:axis], len(self.views), *shape[axis:])

  @property
  def shape(self) -> tuple[int, ...]:
    """The tensor's shape in the checkpoint."""
    expanded = self.expanded
    sizes, first = [], 0
    for count in self.layout.groups or (1,) * len(expanded):
      sizes.append(math.prod(expanded[first : first + count]))
      first += count
    return tuple(sizes)

  @property
  def dtype(self) -> np.dtype:
    """The parameters' type."""
    return self.views[0].dtype

  def put(self, rows: slice, block: np.ndarray) -> None:
    """Writes rows of the expanded tensor into the parameters."""
    for index, view in enumerate(self.views):
      view[rows] = block if self.layout.axis is None else block[self._part(index)]

  def get(self, rows: slice, dtype: np.dtype) -> np.ndarray:
    """Returns rows of the expanded tensor, a copy in another type."""
    # Cast while it is copied, block by block, so that no second copy of a tensor exists in another type.
    block = np.empty((rows.stop - rows.start, *self.expanded[1:]), dtype)
    for index, view in enumerate(self.views):
      block[() if self.layout.axis is None else self._part(index)] = view[rows]
    return block

  def _part(self, index: int) -> tuple[slice | int, ...]:
    return (*((slice(None),) * (self.layout.axis or 0)), index)
