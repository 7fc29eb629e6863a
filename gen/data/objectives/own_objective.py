"""Objectives of the user's own code: subclasses of `Objective` that a config names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gen.batch import Batch
from gen.data.objectives.objective import Objective, RowLengths
from gen.errors import UserError
from gen.io import user_code

FIELD = "data.objective"


class OwnObjective(Objective):
  """An objective of the user's own, whose batches are checked."""

  def __init__(self, reference: str, own: Objective):
    """Wraps an objective."""
    super().__init__(own.specials, own.lengths)
    self._what, self._own = f"{FIELD} {reference}", own
    self.copies = own.copies
    self.start = getattr(own, "start", own.specials.pad)

  def corrupt(self, tokens_bn: np.ndarray, segments_bn: np.ndarray, keys_b: np.ndarray) -> Batch:
    """Returns the objective's batch.

    Raises:
      UserError: if it fails, or its arrays do not have the shapes that `row_lengths` says.
    """
    with user_code.errors_of(f"{self._what}: corrupt"):
      batch = Batch(*self._own.corrupt(tokens_bn, segments_bn, keys_b))
    # Checked at every batch: a wrong shape would compile another step, and end far from here in a product.
    for name, array in batch._asdict().items():
      length = self.lengths.source if name.startswith("source") else self.lengths.target
      if array is not None and np.shape(array) != (len(tokens_bn), length):
        raise UserError(
          f"{self._what}: {name} has the shape {np.shape(array)}; it must be {(len(tokens_bn), length)}"
        )
    return batch


def load_objective(reference: str) -> tuple[Any, Callable[[int], RowLengths]]:
  """Returns the class of an objective, and its function from a row's length to the row's sizes.

  Raises:
    UserError: if it cannot be imported, or lacks `families` or `row_lengths`.
  """
  loaded = user_code.load_object(reference, FIELD)
  kind: Any = loaded
  if not (isinstance(loaded, type) and issubclass(loaded, Objective)):
    raise UserError(f"{FIELD} {reference} is no subclass of gen.data.objectives.Objective")
  for attribute in ("families", "row_lengths"):
    if not hasattr(kind, attribute):
      raise UserError(f"{FIELD} {reference} has no attribute {attribute}; docs/extending.md shows one")

  def row_lengths(length: int) -> RowLengths:
    with user_code.errors_of(f"{FIELD} {reference}: row_lengths"):
      return RowLengths(*kind.row_lengths(length))

  return kind, row_lengths
