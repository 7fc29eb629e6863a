"""What a model's products read on calibration text: the range of each input, and for GPTQ their second moments.

Kernels are replaced by `ObservedKernel`s, whose products report their inputs while the loss is computed. So every
family is calibrated through its own forward pass.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen.batch import Batch
from gen.config import Model
from gen.errors import UserError
from gen.kernels import losses
from gen.kernels.quantized import ObservedKernel
from gen.quantization import kernel_places
from gen.quantization.kernel_places import KernelPlace
from gen.training import step

MAX_SAMPLES = 1 << 16  # magnitudes that are kept of each kernel, for percentiles


@dataclasses.dataclass
class InputStatistics:
  """The inputs of one kernel of one layer.

  Attributes:
    largest_i: the largest magnitude of each input.
    hessian_ii: X^T X, float64; None if it was not asked for.
    magnitudes: a sample of magnitudes of all inputs.
    rows: rows of activations that were read.
  """

  largest_i: np.ndarray
  hessian_ii: np.ndarray | None
  magnitudes: list[np.ndarray]
  rows: int = 0

  def add(self, x_ni: np.ndarray) -> None:
    """Adds rows of activations."""
    # For a maximum and a quantile the sign does not matter: activations are quantized symmetrically.
    magnitudes_ni = np.abs(x_ni)
    self.largest_i = np.maximum(self.largest_i, magnitudes_ni.max(0))
    if self.hessian_ii is not None:
      # The factor 2 of the paper's 2 X X^T is left out: it changes no ratio, and damping is relative to the diagonal.
      self.hessian_ii += x_ni.T.astype(np.float64) @ x_ni
    taken = sum(part.size for part in self.magnitudes)
    if taken < MAX_SAMPLES:
      flat = magnitudes_ni.reshape(-1)
      # A stride that is odd visits all inputs in turn.
      self.magnitudes.append(flat[:: (flat.size // 4096) | 1][: MAX_SAMPLES - taken].copy())
    self.rows += len(x_ni)

  def limit(self, percentile: float, factors_i: np.ndarray | None = None) -> float:
    """Returns the magnitude that a percentile of inputs does not exceed; 100 is the largest.

    Args:
      percentile: from 50 to 100.
      factors_i: of smoothing, which are applied to inputs.
    """
    # With smoothing each input has its factor, and the sample does not say which input a magnitude is of.
    if percentile >= 100 or factors_i is not None:
      largest_i = self.largest_i if factors_i is None else self.largest_i * factors_i
      return float(largest_i.max())
    return float(np.quantile(np.concatenate(self.magnitudes), percentile / 100))


Statistics = dict[tuple[str, int], InputStatistics]  # of each kernel by its path's text and its layer


def observe_inputs(params: Any, model: Model, batches: Iterable[Batch], *, hessians: bool) -> Statistics:
  """Returns the statistics of every kernel that is multiplied, over the tokens of some batches.

  Args:
    params: the model's float32 parameters.
    model: its config.
    batches: calibration text.
    hessians: whether second moments are summed too, I x I numbers for each kernel.

  Raises:
    UserError: for no batches, or activations that are not finite.
  """
  places = [place for place in kernel_places.find_places(params, model) if place.multiplied]
  keys = [(place.name, layer) for place in places for layer in range(place.layers or 1)]
  statistics: Statistics = {}

  def observe(number: Any, x_ni: Any) -> np.float32:
    key, rows = keys[int(number)], np.asarray(x_ni, np.float32)
    if key not in statistics:
      inputs = rows.shape[1]
      hessian = np.zeros((inputs, inputs)) if hessians else None
      statistics[key] = InputStatistics(np.zeros(inputs, np.float32), hessian, [])
    statistics[key].add(rows)
    return np.float32(0)

  observed = kernel_places.replace_leaves(params, dict(_observed(params, places, observe)))
  terms = losses.LossTerms(soft_cap=model.logits_soft_cap, chunk=model.loss_chunk)
  # The loss of training itself, so that every product that training runs is observed, the head's included.
  program = jax.jit(lambda tree, batch: step.batch_loss(model, terms, tree, batch).nll)
  empty = True
  for batch in batches:
    empty = False
    jax.block_until_ready(program(observed, batch))
  if empty:
    raise UserError("the calibration text has no tokens; give text for at least one row")
  broken = sorted({name for (name, _), found in statistics.items() if not np.isfinite(found.largest_i).all()})
  if broken:
    raise UserError(
      f"the inputs of {broken[0]} are not finite on the calibration text; the model gives NaN there"
    )
  return statistics


def _observed(params: Any, places: list[KernelPlace], observe: Any) -> Any:
  """Yields (path, observed kernel), numbered in the order of kernels and layers."""
  number = 0
  for place in places:
    count = place.layers or 1
    # An array of numbers along the axis of layers: a scan hands each layer its own number.
    numbers = np.arange(number, number + count, dtype=np.int32)
    array = jnp.asarray(kernel_places.read_leaf(params, place.path))
    numbered = jnp.asarray(numbers if place.layers is not None else numbers[0])
    yield place.path, ObservedKernel(array, numbered, observe, place.shape, place.inputs_first)
    number += count
