"""Quantizes a whole model: a tree of float32 parameters becomes one with `QuantizedArray`s, with a report.

O outputs, I inputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen.config import Model
from gen.errors import UserError
from gen.precision import quantizing
from gen.precision.quantized_array import QuantizedArray, is_quantized, store_matrices
from gen.precision.quantizing import QuantizedMatrix, WeightScheme
from gen.quantization import gptq, kernel_places
from gen.quantization.calibration import InputStatistics, Statistics
from gen.quantization.kernel_places import KernelPlace
from gen.quantization.model_scheme import ModelScheme

VECTORS = ("scale", "bias")  # endings of the names of norms and biases


class KernelReport(NamedTuple):
  """What quantization made of a parameter.

  Attributes:
    name: its path.
    format: of its weights, float32 if it stays as it was.
    weights: their number.
    bytes_before: in float32.
    bytes_after: with scales, zero points and factors.
    error: root of the mean squared error over that of the weights.
    output_error: the same of its results on calibration text; None without second moments.
  """

  name: str
  format: str
  weights: int
  bytes_before: int
  bytes_after: int
  error: float
  output_error: float | None = None


class QuantizedModel(NamedTuple):
  """A quantized model.

  Attributes:
    params: the tree.
    reports: of each kernel and table, in the tree's order.
    bytes_before: of all parameters.
    bytes_after: of all parameters.
  """

  params: Any
  reports: list[KernelReport]
  bytes_before: int
  bytes_after: int


def quantize_model(
  params: Any,
  model: Model,
  scheme: ModelScheme,
  statistics: Statistics | None = None,
  report: Callable[[KernelReport], None] | None = None,
) -> QuantizedModel:
  """Returns a model with fewer bits.

  Args:
    params: its float32 parameters.
    model: its config.
    scheme: how.
    statistics: of `calibration.observe_inputs`, where the scheme needs calibration.
    report: called with each kernel's report as soon as it is known.

  Raises:
    UserError: for a model that is quantized already, weights that are not finite, a group that does not divide, a
      model without a kernel that can be quantized, or a scheme that needs calibration without statistics.
  """
  if is_quantized(params):
    raise UserError("the model is quantized already; give the checkpoint that it was quantized from")
  if scheme.needs_calibration and statistics is None:
    raise UserError("static activations, smoothing and gptq need calibration text; give some")
  # int8 is the flag's default, which a user need not have chosen.
  if model.tied and scheme.head not in (scheme.embeddings, "int8"):
    raise UserError(
      "the output kernel of this model is its table of embeddings; set --embeddings in place of --head"
    )
  found_places = [(place, weight_scheme(place, scheme)) for place in kernel_places.find_places(params, model)]
  places = [(place, weights) for place, weights in found_places if weights is not None]
  for place, weights in places:
    weights.group_size(place.input_size, place.name)  # before anything is reported
  # Place by place and not by a map over the tree, so that only one matrix exists in float64 at a time.
  leaves, reports = {}, []
  for place, weights in places:
    array, found = _quantize_place(
      kernel_places.read_leaf(params, place.path), place, weights, scheme, statistics
    )
    leaves[place.path] = array
    reports.append(found)
    if report:
      report(found)
  if not leaves:
    raise UserError("the model has no kernel that can be quantized; code of your own keeps its numbers")
  made = kernel_places.replace_leaves(params, leaves)
  if scheme.vectors == "bfloat16":
    made = narrow_vectors(made)
  return QuantizedModel(made, reports, count_bytes(params), count_bytes(made))


def count_bytes(params: Any) -> int:
  """Returns the bytes of all arrays of a tree."""
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))


def weight_scheme(place: KernelPlace, scheme: ModelScheme) -> WeightScheme | None:
  """Returns how a parameter is quantized, or None if it stays as it is."""
  format = {"embedding": scheme.embeddings, "head": scheme.head}.get(place.role)
  if format is None or (format == scheme.weights.format and place.role == "head"):
    return scheme.weights
  return None if format == "float32" else scheme.table_scheme(format)


def _quantize_place(
  parameter: Any,
  place: KernelPlace,
  weights: WeightScheme,
  scheme: ModelScheme,
  statistics: Statistics | None,
) -> tuple[QuantizedArray, KernelReport]:
  # A table that is only looked up has no activations, and nf4's levels are no integers.
  integers = scheme.activations == "int8" and place.multiplied and weights.format != "nf4"
  # Layers alone: the rows of a tied table are also looked up, where no activation would undo the factors.
  smooths = integers and scheme.smoothing > 0 and place.role == "layer"
  matrices: list[QuantizedMatrix] = []
  factors: list[np.ndarray] = []
  limits: list[float] = []
  squares = np.zeros(4)  # of errors and of weights, then both of results
  for layer, weights_oi in enumerate(place.matrices(parameter)):
    name = f"{place.name}, layer {layer}" if place.layers is not None else place.name
    seen = _statistics_of(place, layer, scheme, statistics)
    factors_i = None
    if smooths and seen is not None:
      factors_i = smoothing_factors(seen.largest_i, weights_oi, scheme.smoothing)
      factors.append(factors_i)
      # f is the paper's 1 / s: inputs are multiplied by it when the model runs, so weights are divided by it here.
      weights_oi = weights_oi / factors_i
    matrix = _quantize_layer(weights_oi, weights, scheme, seen, factors_i, place.role, name)
    matrices.append(matrix)
    if integers and scheme.static and seen is not None:
      # 127 levels on each side. 1e-30 stands for inputs that were always 0, so that no division by 0 follows.
      limits.append(max(seen.limit(scheme.static_percentile, factors_i) / 127, 1e-30))
    # Sums over layers, so that one root at the end gives the error of the whole stacked parameter.
    squares += _squares(weights_oi, matrix, weights.format, seen, factors_i)
  array = store_matrices(
    matrices,
    place.shape,
    format=weights.format,
    activations="int8" if integers else "none",
    inputs_first=place.inputs_first,
    stacked=place.layers is not None,
    smoothing=_stacked(factors, place),
    input_scale=_stacked([np.float32(limit) for limit in limits], place),
  )
  count = sum(matrix.levels_oi.size for matrix in matrices)
  output_error = float(np.sqrt(squares[2] / squares[3])) if squares[3] else None
  error = float(np.sqrt(squares[0] / squares[1])) if squares[1] else 0.0
  return array, KernelReport(place.name, weights.format, count, 4 * count, array.nbytes, error, output_error)


def _statistics_of(
  place: KernelPlace, layer: int, scheme: ModelScheme, statistics: Statistics | None
) -> InputStatistics | None:
  if statistics is None or not place.multiplied or not scheme.needs_calibration:
    return None
  found = statistics.get((place.name, layer))
  if found is None and place.role == "layer":
    return None  # such as BERT's pooler, which the loss does not read
  return found


def _quantize_layer(
  weights_oi: np.ndarray,
  weights: WeightScheme,
  scheme: ModelScheme,
  seen: InputStatistics | None,
  factors_i: np.ndarray | None,
  role: str,
  name: str,
) -> QuantizedMatrix:
  if scheme.method != "gptq" or role != "layer" or seen is None or seen.hessian_ii is None:
    return quantizing.quantize_matrix(weights_oi, weights, name)
  # Smoothed inputs are x f, so their second moments are f H f.
  hessian_ii = seen.hessian_ii if factors_i is None else seen.hessian_ii * np.outer(factors_i, factors_i)
  return gptq.quantize_gptq(weights_oi, hessian_ii, weights, act_order=scheme.act_order, name=name)


def smoothing_factors(largest_i: np.ndarray, weights_oi: np.ndarray, share: float) -> np.ndarray:
  """Returns SmoothQuant's factor on each input, float32: max|w|^(1 - a) / max|x|^a (arXiv:2211.10438, equation 4).

  Args:
    largest_i: largest magnitude of each input.
    weights_oi: the matrix that multiplies them.
    share: a, of the range that moves to the weights.
  """
  # Over outputs: a factor belongs to an input, whose column of weights is divided by it.
  of_weights_i = np.abs(weights_oi).max(0)
  usable_i = (largest_i > 0) & (of_weights_i > 0)
  with np.errstate(divide="ignore", invalid="ignore"):
    factors_i = of_weights_i ** (1 - share) / largest_i**share
  # Bounded, so that an input which the calibration text hardly used cannot overflow on other text.
  return np.where(usable_i, np.clip(factors_i, 1e-4, 1e4), 1).astype(np.float32)


def _squares(
  weights_oi: np.ndarray,
  matrix: QuantizedMatrix,
  format: str,
  seen: InputStatistics | None,
  factors_i: np.ndarray | None,
) -> np.ndarray:
  error_oi = (quantizing.dequantize_matrix(matrix, format) - weights_oi).astype(np.float64)
  squares = [np.square(error_oi).sum(), np.square(weights_oi, dtype=np.float64).sum(), 0.0, 0.0]
  if seen is not None and seen.hessian_ii is not None:
    hessian_ii = seen.hessian_ii if factors_i is None else seen.hessian_ii * np.outer(factors_i, factors_i)
    for place, array_oi in ((2, error_oi), (3, weights_oi.astype(np.float64))):
      # tr(E H E^T), the squared error of all results on calibration text. Rounding may bring it just below 0.
      squares[place] = max(float(np.einsum("oi,oi->", array_oi @ hessian_ii, array_oi)), 0.0)
  return np.array(squares)


def _stacked(arrays: list[Any], place: KernelPlace) -> Any:
  if not arrays:
    return None
  return np.stack(arrays) if place.layers is not None else arrays[0]


def narrow_vectors(tree: Any) -> Any:
  """Returns the tree with norms and biases in bfloat16."""

  def narrow(path: Any, leaf: Any) -> Any:
    # Quantized kernels are dataclasses and leaves here; their scales stay float32.
    if not (isinstance(path[-1], jax.tree_util.DictKey) and str(path[-1].key).endswith(VECTORS)):
      return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
      return jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16)
    return jnp.asarray(leaf, jnp.bfloat16)

  return jax.tree_util.tree_map_with_path(narrow, tree, is_leaf=lambda leaf: dataclasses.is_dataclass(leaf))
