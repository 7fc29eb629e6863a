"""Functions of the user's own that a run calls: metrics with each evaluation, callbacks every n steps.

    metrics     function(module, params, batches) -> a number, or numbers by name
    callbacks   function(step, row, params)

Parameters are a tree of arrays; `batches` are those of the validation set. The next step reuses the memory of the
arrays, so a function that keeps parameters copies them. Every process of a run calls them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gen.batch import Batch
from gen.config import Run
from gen.errors import UserError
from gen.io import typed_json, user_code
from gen.models import language_model
from gen.training.run_log.rows import TrainRow
from gen.training.state_sharding import StateSharding


class OwnFunctions:
  """The metrics and callbacks of a run, imported once.

  Attributes:
    every: steps between two calls of the callbacks; 0 is at each row, or where there are none.
  """

  def __init__(self, run: Run, save: Callable[[], None]) -> None:
    """Imports them.

    Args:
      run: the run.
      save: called before an error of one of them ends the run, so that no step is lost.

    Raises:
      UserError: for a reference that cannot be imported, or is no function.
    """
    self._save = save
    # Built for metrics alone: a family of the user's own may be slow to construct.
    self._module = language_model.build_model(run.model) if run.metrics else None
    self._metrics = _load(run.metrics, "metrics")
    self._callbacks = _load(run.callbacks, "callbacks")
    self.every = run.callback_every if run.callbacks else 0

  def measure(
    self, params: Any, batches: Sequence[Batch], shardings: StateSharding | None
  ) -> dict[str, float] | None:
    """Returns the metrics of parameters by name, or None where a run has none.

    Args:
      params: the parameters.
      batches: of the validation set, as numpy arrays.
      shardings: where batches lie on a mesh; None without one.

    Raises:
      UserError: for a function that fails, or returns no numbers.
    """
    if not self._metrics:
      return None
    # On the mesh, as parameters are: a product of arrays on different devices is an error.
    placed = [batch if shardings is None else shardings.batch(batch) for batch in batches]
    metrics: dict[str, float] = {}
    for what, function in self._metrics.items():
      with self._saved_on_error(what):
        values = function(self._module, params, placed)
        # A function of one number gives the metric its own name.
        values = values if isinstance(values, dict) else {function.__name__: values}
        metrics |= {str(name): _number(value, what) for name, value in values.items()}
    return metrics

  def are_due(self, done: int) -> bool:
    """Returns whether the callbacks ask for a row of the journal after so many steps."""
    return bool(self.every) and done % self.every == 0

  def call(self, row: TrainRow, params: Any) -> None:
    """Calls each callback, unless the row is of a step between two calls.

    Args:
      row: of the journal.
      params: the parameters after its step.

    Raises:
      UserError: for one that fails.
    """
    if self.every and not self.are_due(row.step):
      return
    for what, function in self._callbacks.items():
      with self._saved_on_error(f"{what} after step {row.step}"):
        # Plain values, so that a callback depends on no class of this package.
        function(row.step, typed_json.encode_record(row), params)

  @contextlib.contextmanager
  def _saved_on_error(self, what: str) -> Iterator[None]:
    try:
      with user_code.errors_of(what):
        yield
    # The work so far is worth more than the metric that failed.
    except UserError:
      self._save()
      raise


def _load(references: tuple[str, ...], field: str) -> dict[str, Callable[..., object]]:
  """Returns the functions, by what errors call them."""
  functions = {}
  for index, reference in enumerate(references):
    function = user_code.load_object(reference, f"{field}[{index}]")
    if not callable(function):
      raise UserError(f"{field}[{index}] {reference} is a {type(function).__name__}; it must be a function")
    functions[f"{field}[{index}] {reference}"] = function
  return functions


def _number(value: Any, what: str) -> float:
  try:
    return float(value)
  except (TypeError, ValueError):
    raise UserError(
      f"{what} returns a {type(value).__name__}; return a number, or a dict of numbers"
    ) from None
