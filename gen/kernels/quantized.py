"""Products with kernels and tables of fewer bits (`gen.precision.quantized_array`), and their look-ups.

With int8 activations, x W is a product of integers with 32-bit sums, and the scales are applied once to its result:

    x W = s_x s_w (sum q_x q_w - z sum q_x)

Each row of x has a scale of its own, its largest magnitude / 127, or a static one from calibration. Without int8
activations the weights are converted to the type of x in blocks of outputs, so that no copy of a kernel in more bits
exists at once.

N rows, I inputs, O outputs, G groups of inputs, C inputs of a group.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from gen.precision.quantized_array import (
  AdaptedKernel,
  QuantizedArray,
  StoredKernel,
  dequantize_rows,
  unpack_levels,
)

# Numbers of a kernel that exist in the type of the activations at a time: 4 MiB of float32. One block of everything
# would be a copy of GPT-2's table of embeddings in float32, which takes more memory than all of its int8 weights.
BLOCK_ELEMENTS = 1 << 20


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ObservedKernel(StoredKernel):
  """A kernel whose inputs are reported while a program runs, for calibration.

  Attributes:
    kernel: the array itself, as the model's layer expects it.
    number: of the kernel and its layer, int32.
    observe: called on the host with (number, x_ni); returns a float32 zero.
    shape: of the kernel.
    inputs_first: whether its inputs are its first axes; otherwise it is a table [O, I].
  """

  kernel: Array
  number: Array
  observe: Callable[[Any, Any], Any] = dataclasses.field(metadata={"static": True})
  shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
  inputs_first: bool = dataclasses.field(metadata={"static": True}, default=True)

  @property
  def T(self) -> "ObservedKernel":
    """The transpose of a matrix."""
    return dataclasses.replace(self, shape=self.shape[::-1], inputs_first=not self.inputs_first)

  def dequantize(self) -> Array:
    """Returns the kernel itself."""
    return self.kernel


def multiply_stored(x_ni: Array, kernel: StoredKernel, dtype: Any = None) -> Array:
  """Returns x W as [N, O].

  Args:
    x_ni: activations.
    kernel: quantized, with adapters or without, or observed. Without int8 activations, gradients flow to x and to
      adapters; quantized weights have none.
    dtype: of the result; None is that of x.
  """
  dtype = x_ni.dtype if dtype is None else dtype
  if isinstance(kernel, ObservedKernel):
    # A zero that the product reads: XLA removes a pure callback whose result nothing reads. flax's scan refuses an
    # effect in its body, such as that of a debug callback, in flax 0.12.12.
    zero = jax.pure_callback(kernel.observe, jax.ShapeDtypeStruct((), jnp.float32), kernel.number, x_ni)
    inputs = x_ni.shape[-1]
    kernel_io = kernel.kernel.reshape(inputs, -1) if kernel.inputs_first else kernel.kernel.T
    product_no = jnp.matmul(x_ni, kernel_io.astype(x_ni.dtype), preferred_element_type=dtype)
    return product_no + zero.astype(dtype)
  if isinstance(kernel, AdaptedKernel):
    low_no = x_ni @ kernel.a.astype(x_ni.dtype) @ kernel.b.astype(x_ni.dtype)
    return multiply_stored(x_ni, kernel.base, dtype) + low_no.astype(dtype)
  quantized = cast(QuantizedArray, kernel)
  if quantized.smoothing is not None:
    x_ni = x_ni * quantized.smoothing.astype(x_ni.dtype)
  if quantized.activations == "int8":
    return _multiply_integers(x_ni, quantized).astype(dtype)
  return _multiply_blocks(x_ni, quantized, dtype)


def read_after(x_ni: Array, values: Array) -> Array:
  """Returns the values, in a form that XLA cannot convert before it has the activations.

  Converted weights depend on no activation. XLA's scheduler converts those of all layers first, and holds a float32
  copy of the model. A barrier does not help, since it is gone before the program is scheduled.
  """
  bits = jax.lax.bitcast_convert_type(x_ni.reshape(-1)[0].astype(jnp.float32), jnp.int32)
  zero = (bits & 1) >> 1  # always 0, which XLA does not see
  return values + zero.astype(values.dtype)


def quantize_rows(x_ni: Array, scale: Array | None = None) -> tuple[Array, Array]:
  """Returns activations as int8 in [-127, 127], and their scales, float32 [N, 1].

  Args:
    x_ni: activations; ties round to even, and what lies outside saturates.
    scale: static scale of all rows; None takes the largest magnitude of each row / 127.
  """
  x_ni = x_ni.astype(jnp.float32)
  largest_n1 = jnp.abs(x_ni).max(-1, keepdims=True)
  if scale is None:
    scales_n1 = largest_n1 / 127
    # All numbers are 0, or so small that the division underflows: any scale represents them. A scale of NaN stays, so
    # that the product of a broken row is NaN too.
    scales_n1 = jnp.where(scales_n1 == 0, 1.0, scales_n1)
  else:
    scales_n1 = scale + 0 * largest_n1  # NaN for a row that is not finite
  # -128 is left out, so that the range is symmetric and every level has its negative.
  return jnp.clip(jnp.round(x_ni / scales_n1), -127, 127).astype(jnp.int8), scales_n1


def _multiply_integers(x_ni: Array, kernel: QuantizedArray) -> Array:
  """Returns x W, float32, by a product of int8 matrices with int32 sums."""
  rows = x_ni.shape[0]
  levels_ni, scales_n1 = quantize_rows(x_ni, kernel.input_scale)
  # XLA's CPU backend widens a weight to four bytes for a single row, and reads it as int8 for two: 43,388 us in place
  # of 2,348 at 2,048 x 8,192 (docs/notes/quantization.md).
  levels_ni = jnp.pad(levels_ni, ((0, 1), (0, 0))) if rows == 1 else levels_ni
  values = kernel.values if kernel.format == "int8" else read_after(x_ni, kernel.values)
  weights_oi = unpack_levels(values, kernel.format, kernel.input_size)
  groups = kernel.scales.shape[-1]
  if groups == 1:
    sums_no = _integer_sums(levels_ni, weights_oi)[:rows].astype(jnp.float32)
    if kernel.zeros is not None:
      # Summed in int32, since two levels of 127 overflow int8; exact in float32 up to 132,104 inputs (127 I < 2^24).
      totals_n1 = levels_ni[:rows].astype(jnp.int32).sum(-1, keepdims=True).astype(jnp.float32)
      sums_no = sums_no - totals_n1 * kernel.zeros[:, 0].astype(jnp.float32)
    # Both scales are one factor, so the sums are read and written once.
    return sums_no * (scales_n1 * kernel.scales[:, 0])
  # One product for each group, since each has its scale.
  # [G, N, C] x [G, O, C] -> [G, N, O]: the groups are a batch axis, so all products are one operation.
  levels_gnc = levels_ni.reshape(levels_ni.shape[0], groups, -1).swapaxes(0, 1)
  weights_goc = weights_oi.reshape(weights_oi.shape[0], groups, -1).swapaxes(0, 1)
  numbers = (((2,), (2,)), ((0,), (0,)))
  sums_gno = jax.lax.dot_general(levels_gnc, weights_goc, numbers, preferred_element_type=jnp.int32)
  sums_gno = sums_gno[:, :rows].astype(jnp.float32)
  if kernel.zeros is not None:
    totals_gn1 = levels_gnc[:, :rows].astype(jnp.int32).sum(-1, keepdims=True).astype(jnp.float32)
    sums_gno = sums_gno - totals_gn1 * kernel.zeros.T[:, None].astype(jnp.float32)
  return (sums_gno * kernel.scales.T[:, None]).sum(0) * scales_n1


def _integer_sums(levels_ni: Array, weights_oi: Array) -> Array:
  numbers = (((1,), (1,)), ((), ()))
  return jax.lax.dot_general(levels_ni, weights_oi, numbers, preferred_element_type=jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _multiply_blocks(x_ni: Array, kernel: QuantizedArray, dtype: Any) -> Array:
  """Returns x W with weights converted to the type of x, a block of outputs at a time."""
  outputs = kernel.values.shape[0]

  def block(values: Array, scales_rg: Array, zeros_rg: Array | None) -> Array:
    # Of the block alone: of all values it would be a copy.
    values = read_after(x_ni, values)
    weights_ri = dequantize_rows(values, scales_rg, zeros_rg, kernel.format, kernel.input_size, x_ni.dtype)
    numbers = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(x_ni, weights_ri, numbers, preferred_element_type=dtype)

  rows = max(1, BLOCK_ELEMENTS // kernel.input_size)
  # On a mesh a slice of outputs that are split over devices would be gathered.
  if outputs <= rows or not jax.sharding.get_abstract_mesh().empty:
    return block(kernel.values, kernel.scales, kernel.zeros)
  shared = kernel.scales.shape[0] == 1

  def add(index: Array, y_no: Array) -> Array:
    # The last block overlaps the one before it, so that all have one shape.
    first = jnp.minimum(index * rows, outputs - rows)

    def part(array: Any) -> Any:
      return array if array is None or shared else jax.lax.dynamic_slice_in_dim(array, first, rows)

    values = jax.lax.dynamic_slice_in_dim(kernel.values, first, rows)
    y_nr = block(values, part(kernel.scales), part(kernel.zeros))
    return jax.lax.dynamic_update_slice_in_dim(y_no, y_nr, first, axis=1)

  # A loop over slices. A scan would need the kernel cut into [blocks, R, I] with a padded last block, which is a copy.
  return jax.lax.fori_loop(0, -(-outputs // rows), add, jnp.zeros((x_ni.shape[0], outputs), dtype))


def _multiply_blocks_forward(
  x_ni: Array, kernel: QuantizedArray, dtype: Any
) -> tuple[Array, tuple[QuantizedArray, Array]]:
  # Automatic differentiation would store each block's float weights: a float copy of the model.
  return _multiply_blocks(x_ni, kernel, dtype), (kernel, jnp.zeros((), x_ni.dtype))


def _multiply_blocks_backward(
  dtype: Any, saved: tuple[QuantizedArray, Array], dy_no: Array
) -> tuple[Array, None]:
  del dtype
  kernel, like = saved
  return multiply_transposed(dy_no.astype(like.dtype), kernel), None


_multiply_blocks.defvjp(_multiply_blocks_forward, _multiply_blocks_backward)


def multiply_transposed(dy_no: Array, kernel: QuantizedArray) -> Array:
  """Returns dy W^T as [N, I], the gradient of a product's input, with weights converted in blocks as in the product.

  Args:
    dy_no: gradient of x W.
    kernel: W, without smoothing: its factors are applied to x outside.
  """
  outputs, inputs = kernel.values.shape[0], kernel.input_size

  def block(dy_nr: Array, values: Array, scales_rg: Array, zeros_rg: Array | None) -> Array:
    values = read_after(dy_nr, values)
    weights_ri = dequantize_rows(values, scales_rg, zeros_rg, kernel.format, inputs, dy_nr.dtype)
    return jnp.matmul(dy_nr, weights_ri, preferred_element_type=jnp.float32)

  rows = max(1, BLOCK_ELEMENTS // inputs)
  if outputs <= rows or not jax.sharding.get_abstract_mesh().empty:
    return block(dy_no, kernel.values, kernel.scales, kernel.zeros).astype(dy_no.dtype)
  shared = kernel.scales.shape[0] == 1

  def add(index: Array, dx_ni: Array) -> Array:
    # The last block overlaps the one before it; outputs of that one are not counted again.
    first = jnp.minimum(index * rows, outputs - rows)
    fresh_r = first + jnp.arange(rows) >= index * rows
    dy_nr = jnp.where(fresh_r, jax.lax.dynamic_slice_in_dim(dy_no, first, rows, axis=1), 0)

    def part(array: Any) -> Any:
      return array if array is None or shared else jax.lax.dynamic_slice_in_dim(array, first, rows)

    values = jax.lax.dynamic_slice_in_dim(kernel.values, first, rows)
    return dx_ni + block(dy_nr, values, part(kernel.scales), part(kernel.zeros))

  zero_ni = jnp.zeros((dy_no.shape[0], inputs), jnp.float32)
  return jax.lax.fori_loop(0, -(-outputs // rows), add, zero_ni).astype(dy_no.dtype)


def take_rows(table: QuantizedArray, ids: Array) -> Array:
  """Returns the rows of a table [V, D] of fewer bits by ids of any shape, float32 [..., D]."""
  flat = ids.reshape(-1)
  # "clip" instead of jax's default "fill", which would return NaN for an id outside the table.
  scales, zeros = (
    array if array is None or array.shape[0] == 1 else jnp.take(array, flat, axis=0, mode="clip")
    for array in (table.scales, table.zeros)
  )
  values = jnp.take(table.values, flat, axis=0, mode="clip")
  rows = dequantize_rows(values, cast(Array, scales), zeros, table.format, table.input_size)
  return rows.reshape(*ids.shape, table.input_size)
