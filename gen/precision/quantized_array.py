"""The arrays that stand in a tree of parameters in the place of a kernel, and that products recognize.

`QuantizedArray` holds a kernel or a table of embeddings with fewer bits. Layers treat it as the array that it stands
for: `astype` and `reshape` return it with another shape at most, and `gen.kernels.quantized` multiplies with it. Other
code gets its float32 numbers, since jax.numpy accepts any object with `__jax_array__`.

Outputs come first, as a CPU reads weights fastest: a kernel [I, O] is stored as [O, I], and one with heads, [I, H, K],
as [H K, I]. A table of embeddings [V, D] is stored as it is, since each row is an output. Where layers are stacked,
every array has a first axis of layers; `shape` is that of one layer.

O outputs, I inputs, G groups of inputs that share a scale.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.precision.formats import NF4_LEVELS
from gen.precision.quantizing import QuantizedMatrix, pack_nibbles


class StoredKernel:
  """What is no array but stands for one in products; layers use its shape alone.

  Attributes:
    shape: of the array that it stands for.
  """

  shape: tuple[int, ...]

  @property
  def ndim(self) -> int:
    """Rank of the array that it stands for."""
    return len(self.shape)

  def astype(self, dtype: Any) -> "StoredKernel":
    """Returns itself: a product has the type of its activations."""
    del dtype
    return self

  def reshape(self, *shape: Any) -> Any:
    """Returns itself with another shape, which products do not read."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    size = math.prod(self.shape)
    sizes = tuple(-size // math.prod(sizes) if word == -1 else word for word in sizes)
    if math.prod(sizes) != size:
      raise ValueError(f"a kernel of shape {self.shape} has no shape {sizes}")
    # Only the shape changes: products flatten a kernel to [I, O] anyway, and `values` already are that matrix.
    return dataclasses.replace(self, shape=sizes)  # type: ignore[type-var]

  def __jax_array__(self) -> Array:
    """Returns the numbers, float32."""
    return self.dequantize()

  def dequantize(self) -> Array:
    """Returns the numbers, float32."""
    raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizedArray(StoredKernel):
  """A kernel or a table with fewer bits.

  Attributes:
    values: levels, int8 [O, I], or two of 4 bits in a byte, uint8 [O, I / 2].
    scales: float32 [O, G], or one scale [1, 1].
    zeros: zero points, int8 with the shape of `scales`; None if there are none.
    smoothing: factors on activations, float32 [I] (SmoothQuant); None if there are none.
    input_scale: the scale of activations, float32, known from calibration; None quantizes each row by its largest.
    shape: of the array that it stands for.
    input_size: I.
    format: int8 | int4 | nf4.
    activations: none | int8, in products.
    inputs_first: whether the array that it stands for has its inputs first.
  """

  values: Array
  scales: Array
  zeros: Array | None
  smoothing: Array | None
  input_scale: Array | None
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
  input_size: int = dataclasses.field(metadata={"static": True})
  format: str = dataclasses.field(metadata={"static": True})
  activations: str = dataclasses.field(metadata={"static": True})
  inputs_first: bool = dataclasses.field(metadata={"static": True})

  @property
  def T(self) -> "QuantizedArray":
    """The transpose of a matrix; nothing is moved."""
    return dataclasses.replace(self, shape=self.shape[::-1], inputs_first=not self.inputs_first)

  @property
  def outputs(self) -> int:
    """O."""
    return math.prod(self.shape) // self.input_size

  @property
  def nbytes(self) -> int:
    """Bytes of all arrays, those of all layers."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(self))

  def dequantize(self) -> Array:
    """Returns the float32 numbers, with the axis of layers where there is one; smoothing is not undone."""
    if self.values.ndim > 2:
      # Every leaf has the axis of layers first, so vmap over the pytree maps one layer after the other.
      return jax.vmap(QuantizedArray.dequantize)(self)
    weights_oi = dequantize_rows(self.values, self.scales, self.zeros, self.format, self.input_size)
    return (weights_oi.T if self.inputs_first else weights_oi).reshape(self.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AdaptedKernel(StoredKernel):
  """A frozen kernel of fewer bits with a low-rank adapter beside it: W + s A B (QLoRA, arXiv:2305.14314).

  Attributes:
    base: W, which has no gradient.
    a: A, [I, R].
    b: s B, [R, O]; layers are a first axis of all three where they are stacked.
    shape: of the kernel in one layer.
  """

  base: QuantizedArray
  a: Array
  b: Array
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

  def dequantize(self) -> Array:
    """Returns W + s A B, float32."""
    shape = (*self.base.values.shape[:-2], *self.shape)  # with the axis of layers where there is one
    return self.base.dequantize().reshape(shape) + jnp.matmul(self.a, self.b).reshape(shape)


def is_quantized(params: Any) -> bool:
  """Returns whether a tree holds kernels of fewer bits."""
  leaves = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, StoredKernel))
  return any(isinstance(leaf, StoredKernel) for leaf in leaves)


def parameter_shape(leaf: Any) -> tuple[int, ...]:
  """Returns the shape of a parameter, which may have fewer bits, with its axis of layers."""
  # `shape` is static and that of one layer, so the axis of layers is read off the array of levels.
  if not isinstance(leaf, QuantizedArray):
    return tuple(np.shape(leaf))
  return (*leaf.values.shape[:-2], *leaf.shape)


def dequantize_tree(params: Any) -> Any:
  """Returns a tree of parameters in float32, kernels of fewer bits included."""

  def widen(leaf: Any) -> Array:
    return leaf.dequantize() if isinstance(leaf, StoredKernel) else jnp.asarray(leaf, jnp.float32)

  # Without `is_leaf` the map would descend into a kernel's levels and scales, which are arrays too.
  return jax.tree.map(widen, params, is_leaf=lambda leaf: isinstance(leaf, StoredKernel))


def dequantize_rows(
  values: Array, scales_rg: Array, zeros_rg: Array | None, format: str, inputs: int, dtype: Any = jnp.float32
) -> Array:
  """Returns the weights of some outputs, [R, I].

  Args:
    values: int8 [R, I], or uint8 [R, I / 2].
    scales_rg: [R, G], or one scale [1, 1].
    zeros_rg: their zero points, or None.
    format: int8 | int4 | nf4.
    inputs: I.
    dtype: of the result.
  """
  levels = unpack_levels(values, format, inputs)
  if format == "nf4":
    # Indices lie in 0 to 15 by construction; "clip" saves the mask that jax's default mode computes for others.
    levels = jnp.take(jnp.asarray(NF4_LEVELS, jnp.float32), levels.astype(jnp.int32), mode="clip")
  groups = scales_rg.shape[-1]
  # Computed in float32 and cast at the end: a level times a scale rounded to bfloat16 first would round twice.
  grouped = levels.astype(jnp.float32).reshape(levels.shape[0], groups, -1)
  grouped = grouped if zeros_rg is None else grouped - zeros_rg[..., None].astype(jnp.float32)
  return (grouped * scales_rg[..., None]).reshape(levels.shape).astype(dtype)


def unpack_levels(values: Array, format: str, inputs: int) -> Array:
  """Returns the levels [R, I] as int8; of nf4 the indices."""
  if format == "int8":
    return values
  # Stacked on a last axis and flattened, so that even inputs come from low halves (`quantizing.pack_nibbles`).
  nibbles = jnp.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:-1], -1)[..., :inputs]
  # Cut to I, since rows of an odd number of inputs are padded by half a byte.
  codes = nibbles.astype(jnp.int8)
  return codes if format == "nf4" else (codes ^ 8) - 8  # the sign of 4 bits in two's complement


def store_matrices(
  matrices: Sequence[QuantizedMatrix],
  shape: tuple[int, ...],
  *,
  format: str,
  activations: str,
  inputs_first: bool,
  stacked: bool,
  smoothing: np.ndarray | None = None,
  input_scale: np.ndarray | None = None,
) -> QuantizedArray:
  """Returns the array of a parameter, packed.

  Args:
    matrices: of each layer, or of the one that there is.
    shape: of the parameter in one layer.
    format: int8 | int4 | nf4.
    activations: none | int8.
    inputs_first: whether inputs are its first axes.
    stacked: whether the result has an axis of layers.
    smoothing: factors on activations, [L, I] or [I].
    input_scale: static scale of activations, [L] or a number.
  """

  def stack(arrays: Sequence[np.ndarray | None]) -> Array | None:
    # Zero points are absent from all layers or from none, since the scheme is one.
    present = [array for array in arrays if array is not None]
    if not present:
      return None
    return jnp.asarray(np.stack(present) if stacked else present[0])

  levels = [matrix.levels_oi for matrix in matrices]
  return QuantizedArray(
    jnp.asarray(stack(levels if format == "int8" else [pack_nibbles(array) for array in levels])),
    jnp.asarray(stack([matrix.scales_og for matrix in matrices])),
    stack([matrix.zeros_og for matrix in matrices]),
    None if smoothing is None else jnp.asarray(smoothing, jnp.float32),
    None if input_scale is None else jnp.asarray(input_scale, jnp.float32),
    shape,
    levels[0].shape[-1],
    format,
    activations,
    inputs_first,
  )
