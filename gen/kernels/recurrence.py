"""The loop over time of a recurrent layer, and its gradient, written by hand.

What does not wait for the state is taken out of the loop. x W of all steps is one product before it, and the gradients
of W and U are one product each after it: automatic differentiation would add a [D, G] matrix to a sum in every step.
Inside, a step is one product with all gates of U. Arrays are time-major, so a step reads and writes contiguous memory.

T length, B batch, N = T B tokens, D width, G units of all gates of a layer.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from gen.kernels import gradients, quantized
from gen.precision import fake_quantization
from gen.precision.quantized_array import StoredKernel
from gen.sharding import activation_sharding

# Steps of the loop over time that one pass of its body computes. XLA counts the FLOPs of a loop's body once, so
# `gen.costs.xla_flops` unrolls the loop to count all steps.
_UNROLL: contextvars.ContextVar[int] = contextvars.ContextVar("unroll", default=1)


@contextlib.contextmanager
def unrolled_steps(steps: int) -> Iterator[None]:
  """Traces loops over time with `steps` steps in one pass of their body inside the context."""
  token = _UNROLL.set(steps)
  try:
    yield
  finally:
    _UNROLL.reset(token)


class RecurrentState(NamedTuple):
  """The state of a recurrent model after the text so far, float32.

  Attributes:
    hidden: of each layer, [L, B, D].
    cell: the LSTM's memory, [L, B, D]; None in others.
  """

  hidden: Array
  cell: Array | None = None


class RecurrentCell(NamedTuple):
  """One kind of recurrent layer, elementwise.

  Attributes:
    gates: number of gates; their units are G = gates D.
    forward: (x W + b, h U + b', state before) -> (state after, saved gates for `backward` or None).
    backward: (saved gates, state before, state after, gradient of the state after) -> gradients of the three arguments
      of `forward`.
    summed: whether `forward` only uses the sum of its first two arguments, whose gradients are then equal.
    has_cell: whether there is a memory cell beside the hidden state.
    state_format: of the hidden state in products, rounded in training: none | int8 | int4.
  """

  gates: int
  forward: Callable[[Array, Array, RecurrentState], tuple[RecurrentState, Array | None]]
  backward: Callable[
    [Any, RecurrentState, RecurrentState, RecurrentState], tuple[Array, Array, RecurrentState]
  ]
  summed: bool
  has_cell: bool = False
  state_format: str = "none"


def join_gates(*parts_bd: Array) -> Array:
  """Returns the units of all gates side by side, [B, G]."""
  return jnp.concatenate(parts_bd, axis=-1)


def rnn_backward(
  saved: None, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  """Returns the gradients of h = tanh(x W + p + b); arguments and results as of `RecurrentCell.backward`."""
  del saved
  # tanh' = 1 - tanh^2, and tanh is the state itself: no gate has to be stored.
  sum_bg = grad.hidden * (1 - jnp.square(after.hidden))
  return sum_bg, sum_bg, RecurrentState(jnp.zeros_like(before.hidden))


def lstm_backward(
  saved_bg: Array, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  """Returns the gradients of the LSTM's step, whose gates i, f, g, o were stored after their activations."""
  i_bd, f_bd, g_bd, o_bd = jnp.split(saved_bg, 4, axis=-1)
  assert after.cell is not None and before.cell is not None and grad.cell is not None
  tanh_cell_bd = jnp.tanh(after.cell)
  # The cell's gradient comes from the next step and through h = s(o) tanh(c).
  cell_bd = grad.cell + grad.hidden * o_bd * (1 - jnp.square(tanh_cell_bd))
  # Of the sums before the activations; s' = s (1 - s) and tanh' = 1 - tanh^2 in terms of the stored results.
  sum_bg = join_gates(
    cell_bd * g_bd * i_bd * (1 - i_bd),
    cell_bd * before.cell * f_bd * (1 - f_bd),
    cell_bd * i_bd * (1 - jnp.square(g_bd)),
    grad.hidden * tanh_cell_bd * o_bd * (1 - o_bd),
  )
  # The hidden state's gradient is zero here: it enters the step only through h U, which the caller differentiates.
  return sum_bg, sum_bg, RecurrentState(jnp.zeros_like(before.hidden), cell_bd * f_bd)


def gru_backward(
  saved: Array, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  """Returns the gradients of the GRU's step, whose gates r, z, n and product p of n were stored."""
  del after
  r_bd, z_bd, n_bd, of_n_bd = jnp.split(saved, 4, axis=-1)
  candidate_bd = grad.hidden * (1 - z_bd) * (1 - jnp.square(n_bd))
  reset_bd = candidate_bd * of_n_bd * r_bd * (1 - r_bd)
  update_bd = grad.hidden * (before.hidden - n_bd) * z_bd * (1 - z_bd)
  # The reset gate multiplies p only, so the candidate's two gradients differ by r.
  inputs_bg = join_gates(reset_bd, update_bd, candidate_bd)
  return inputs_bg, join_gates(reset_bd, update_bd, candidate_bd * r_bd), RecurrentState(grad.hidden * z_bd)


class DocumentBoundaries(NamedTuple):
  """Where documents begin and end in rows, as factors on a state; float32 [T, B, 1], 1 inside a document.

  Attributes:
    keep: 0 where a document begins, which clears the state of the document before it.
    reads: 0 in padding, which leaves the state as it is.
  """

  keep: Array
  reads: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan_layer(
  cell: RecurrentCell,
  inputs_tbg: Array,
  kernel_dg: Array,
  bias_g: Array | None,
  state: RecurrentState,
  seen: DocumentBoundaries | None,
) -> tuple[RecurrentState, RecurrentState]:
  """Runs a layer over time.

  Args:
    cell: which kind.
    inputs_tbg: x W + b of every step.
    kernel_dg: U, in the compute dtype.
    bias_g: b' of the products with U, or None.
    state: before the first step, float32 [B, D].
    seen: document boundaries and padding, or None if all of a row is one document.

  Returns:
    The states after each step, float32 [T, B, D], and after the last.
  """
  states, last, _ = _scan(cell, inputs_tbg, kernel_dg, bias_g, state, seen)
  return states, last


def _scan(cell, inputs_tbg, kernel_dg, bias_g, state, seen):  # type: ignore[no-untyped-def]
  def body(
    before: RecurrentState, inputs: tuple[Array, DocumentBoundaries | None]
  ) -> tuple[RecurrentState, tuple[RecurrentState, Any]]:
    inputs_bg, mark = inputs
    before = before if mark is None else _times(before, mark.keep)
    hidden_bd = fake_quantization.round_activations(before.hidden, cell.state_format)
    after, saved = cell.forward(inputs_bg, _product(hidden_bd, kernel_dg, bias_g), before)
    after = after if mark is None else _select(mark.reads, after, before)
    return after, (after, saved)

  # Where `seen` is None it has no leaves, so one scan serves rows with and without boundaries.
  last, (states, saved) = jax.lax.scan(body, state, (inputs_tbg, seen), unroll=_UNROLL.get())
  return states, last, saved


def _scan_forward(cell, inputs_tbg, kernel_dg, bias_g, state, seen):  # type: ignore[no-untyped-def]
  states, last, saved = _scan(cell, inputs_tbg, kernel_dg, bias_g, state, seen)
  # The states are results anyway; of the gates only the activated ones are stored in addition.
  return (states, last), (saved, kernel_dg, bias_g, state, states, seen)


def _scan_backward(cell, residuals, cotangents):  # type: ignore[no-untyped-def]
  """Returns the gradients of `scan_layer`; the loop computes only what its next step needs."""
  saved, kernel_dg, bias_g, state, states, seen = residuals
  # The state before step t is that after step t - 1, cleared where a document begins.
  before = jax.tree.map(lambda initial, later: jnp.concatenate([initial[None], later[:-1]]), state, states)
  before = before if seen is None else _times(before, seen.keep)
  # U is transposed once, because products with U^T taken from U run at 0.6 of the rate. The barrier keeps XLA from
  # making the transpose a part of the product again.
  frozen = isinstance(kernel_dg, StoredKernel)  # of fewer bits, without a gradient
  kernel_gd = jax.lax.optimization_barrier((kernel_dg.dequantize() if frozen else kernel_dg).T)

  def body(after_grad: RecurrentState, step: Any) -> tuple[RecurrentState, tuple[Array, Array | None]]:
    saved, before, after, states_grad, mark = step
    after_grad = jax.tree.map(jnp.add, after_grad, states_grad)
    # In padding nothing was read, so no gradient goes through the cell.
    read_grad = after_grad if mark is None else _times(after_grad, mark.reads)
    inputs_bg, products_bg, grad = cell.backward(saved, before, after, read_grad)
    products_bg = products_bg.astype(kernel_gd.dtype)
    grad = grad._replace(hidden=grad.hidden + products_bg @ kernel_gd)
    if mark is not None:
      # What did not go through the cell goes to the state before it, which padding leaves as it is.
      grad = jax.tree.map(lambda cell, total, read: cell + total - read, grad, after_grad, read_grad)
      grad = _times(grad, mark.keep)
    return grad, (products_bg, None if cell.summed else inputs_bg.astype(kernel_gd.dtype))

  # The gradient of the last state starts the reverse loop; those of all states are added step by step inside.
  states_grad, last_grad = cotangents
  steps = (saved, before, states, states_grad, seen)
  state_grad, (products_tbg, inputs_tbg) = jax.lax.scan(
    body, last_grad, steps, reverse=True, unroll=_UNROLL.get()
  )
  # One product over all N = T B tokens; automatic differentiation would add a [D, G] matrix to a sum in every step.
  products_ng = flatten_time(products_tbg)
  hidden_nd = fake_quantization.round_activations(flatten_time(before.hidden), cell.state_format)
  hidden_nd = hidden_nd.astype(products_ng.dtype)
  kernel_grad_dg = None if frozen else gradients.contract_tokens(hidden_nd, products_ng)
  bias_grad_g = None if bias_g is None else products_ng.sum(0)
  return products_tbg if cell.summed else inputs_tbg, kernel_grad_dg, bias_grad_g, state_grad, None


scan_layer.defvjp(_scan_forward, _scan_backward)


def flatten_time(x_tbd: Array) -> Array:
  """Returns [N, D], ordered by time, or on a mesh by row.

  On a mesh rows are split over devices. Ordered by row, each device's tokens are contiguous and N is split evenly;
  ordered by time, every device would hold some tokens of every step.
  """
  x = (
    activation_sharding.shard_activation(x_tbd, None, "batch", None).swapaxes(0, 1)
    if gradients.on_mesh()
    else x_tbd
  )
  return x.reshape(-1, x.shape[-1])


def unflatten_time(x_ng: Array, length: int) -> Array:
  """Returns [T, B, G], the inverse of `flatten_time`."""
  if gradients.on_mesh():
    return activation_sharding.shard_activation(
      x_ng.reshape(-1, length, x_ng.shape[-1]).swapaxes(0, 1), None, "batch", None
    )
  return x_ng.reshape(length, -1, x_ng.shape[-1])


def _product(hidden_bd: Array, kernel_dg: Array, bias_g: Array | None) -> Array:
  # The state is float32, so that rounding does not accumulate over T steps; products are in the compute dtype.
  if isinstance(kernel_dg, StoredKernel):
    products_bg = quantized.multiply_stored(hidden_bd, kernel_dg)
  else:
    products_bg = hidden_bd.astype(kernel_dg.dtype) @ kernel_dg
  return products_bg if bias_g is None else products_bg + bias_g


def _times(state: RecurrentState, factor: Array) -> RecurrentState:
  return jax.tree.map(lambda x: x * factor, state)


def _select(mark: Array, if_set: RecurrentState, otherwise: RecurrentState) -> RecurrentState:
  return jax.tree.map(lambda a, b: jnp.where(mark > 0, a, b), if_set, otherwise)
