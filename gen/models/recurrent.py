"""Recurrent layers: the vanilla RNN, the LSTM and the GRU.

Elman 1990; Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; arXiv:1406.1078, the reset gate
after the product, as in cuDNN.

T length, B batch, L depth, D width, G units of all gates of a layer: D, 4 D or 3 D. With s the logistic function,
p_t = h_{t-1} U and x_t the layer's input:

  rnn   h = tanh(x W + p + b)
  lstm  i, f, g, o = x W + p + b;  c = s(f) c_{t-1} + s(i) tanh(g);  h = s(o) tanh(c)
  gru   r, z from x W + p + b;  n = tanh(x W + b + s(r) (p + b'));  h = (1 - s(z)) n + s(z) h_{t-1}

What does not wait for the state is taken out of the loop over time: x W of all steps is one product before it, and
the gradients of W and U are one product each after it. Inside, a step is one product with all gates of U.
Everything between embedding and head is time-major, so that a step reads and writes contiguous memory.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.models import layers
from gen.sharding import activation_sharding

REMAT = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}
UNROLL = 1  # steps of the loop over time that one pass of its body computes


class RecurrentState(NamedTuple):
  """What a recurrent model remembers of the text so far, float32.

  Attributes:
    hidden: of each layer, [L, B, D].
    cell: the LSTM's memory, [L, B, D]; None in others.
  """

  hidden: Any
  cell: Any = None


class RecurrentCell(NamedTuple):
  """One kind of recurrent layer, elementwise.

  Attributes:
    gates: number of gates; their units are G = gates D.
    advance: (x W + b, h U + b', state before) -> (state after, what `retreat` needs besides the states, or None).
    retreat: (that, state before, state after, gradient of the state after) -> gradients of the first three above.
    summed: whether `advance` sees no more of its first two arguments than their sum: their gradients are one.
    remembers: whether there is a cell beside the hidden state.
  """

  gates: int
  advance: Callable[[Array, Array, RecurrentState], tuple[RecurrentState, Array | None]]
  retreat: Callable[
    [Any, RecurrentState, RecurrentState, RecurrentState], tuple[Array, Array, RecurrentState]
  ]
  summed: bool
  remembers: bool = False


def _rnn(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, None]:
  del state
  return RecurrentState(jnp.tanh(inputs_bg + products_bg)), None


def _rnn_back(
  kept: None, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  del kept
  sum_bg = grad.hidden * (1 - jnp.square(after.hidden))
  return sum_bg, sum_bg, RecurrentState(jnp.zeros_like(before.hidden))


def _lstm(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, Array]:
  i_bd, f_bd, g_bd, o_bd = jnp.split(inputs_bg + products_bg, 4, axis=-1)
  i_bd, f_bd, g_bd, o_bd = nn.sigmoid(i_bd), nn.sigmoid(f_bd), jnp.tanh(g_bd), nn.sigmoid(o_bd)
  cell_bd = f_bd * state.cell + i_bd * g_bd
  return RecurrentState(o_bd * jnp.tanh(cell_bd), cell_bd), _join(i_bd, f_bd, g_bd, o_bd)


def _lstm_back(
  kept_bg: Array, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  i_bd, f_bd, g_bd, o_bd = jnp.split(kept_bg, 4, axis=-1)
  shown_bd = jnp.tanh(after.cell)
  cell_bd = grad.cell + grad.hidden * o_bd * (1 - jnp.square(shown_bd))
  sum_bg = _join(
    cell_bd * g_bd * i_bd * (1 - i_bd),
    cell_bd * before.cell * f_bd * (1 - f_bd),
    cell_bd * i_bd * (1 - jnp.square(g_bd)),
    grad.hidden * shown_bd * o_bd * (1 - o_bd),
  )
  return sum_bg, sum_bg, RecurrentState(jnp.zeros_like(before.hidden), cell_bd * f_bd)


def _gru(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, Array]:
  r_bd, z_bd, n_bd = jnp.split(inputs_bg, 3, axis=-1)
  of_r_bd, of_z_bd, of_n_bd = jnp.split(products_bg, 3, axis=-1)
  r_bd, z_bd = nn.sigmoid(r_bd + of_r_bd), nn.sigmoid(z_bd + of_z_bd)
  n_bd = jnp.tanh(n_bd + r_bd * of_n_bd)
  return RecurrentState(n_bd + z_bd * (state.hidden - n_bd)), _join(r_bd, z_bd, n_bd, of_n_bd)


def _gru_back(
  kept: Array, before: RecurrentState, after: RecurrentState, grad: RecurrentState
) -> tuple[Array, Array, RecurrentState]:
  del after
  r_bd, z_bd, n_bd, of_n_bd = jnp.split(kept, 4, axis=-1)
  candidate_bd = grad.hidden * (1 - z_bd) * (1 - jnp.square(n_bd))
  reset_bd = candidate_bd * of_n_bd * r_bd * (1 - r_bd)
  update_bd = grad.hidden * (before.hidden - n_bd) * z_bd * (1 - z_bd)
  inputs_bg = _join(reset_bd, update_bd, candidate_bd)
  return inputs_bg, _join(reset_bd, update_bd, candidate_bd * r_bd), RecurrentState(grad.hidden * z_bd)


def _join(*parts_bd: Array) -> Array:
  return jnp.concatenate(parts_bd, axis=-1)


CELLS = {
  "rnn": RecurrentCell(1, _rnn, _rnn_back, summed=True),
  "lstm": RecurrentCell(4, _lstm, _lstm_back, summed=True, remembers=True),
  "gru": RecurrentCell(3, _gru, _gru_back, summed=False),
}


def init_recurrent_state(config: Model, batch: int) -> RecurrentState:
  """Returns the state before any text: zeros of [L, B, D]."""
  shape = (config.depth, batch, config.width)
  hidden_lbd = jnp.zeros(shape, jnp.float32)
  # An array of its own: a training step donates both, and one buffer cannot be donated twice.
  return RecurrentState(hidden_lbd, jnp.zeros(shape, jnp.float32) if CELLS[config.family].remembers else None)


class DocumentBoundaries(NamedTuple):
  """Where documents begin and end in rows, as factors on a state; [T, B, 1], 1 where nothing happens.

  Attributes:
    keep: 0 where a document begins, and so nothing of the one before is kept.
    reads: 0 in padding, which leaves the state as it is.
  """

  keep: Array
  reads: Array


def document_boundaries(segments_bt: Array) -> DocumentBoundaries:
  """Returns where the state is cleared and where it stands still.

  Segments rise along a row from 1, and a state that comes with the rows is that of segment 1: a row that begins
  with segment 2 begins another document.
  """
  latest_bt = jax.lax.cummax(jnp.pad(segments_bt[:, :-1], ((0, 0), (1, 0)), constant_values=1), axis=1)
  reads_bt = segments_bt > 0
  keep_bt = ~(reads_bt & (segments_bt != latest_bt))
  return DocumentBoundaries(*(mark_bt.T[:, :, None].astype(jnp.float32) for mark_bt in (keep_bt, reads_bt)))


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
    kernel_dg: U.
    bias_g: b' of the products with U, or None.
    state: before the first step, [B, D].
    seen: where documents begin and padding stands, or None.

  Returns:
    The states after each step [T, B, D] and after the last.
  """
  states, last, _ = _forward(cell, inputs_tbg, kernel_dg, bias_g, state, seen)
  return states, last


def _forward(cell, inputs_tbg, kernel_dg, bias_g, state, seen):  # type: ignore[no-untyped-def]
  def body(
    before: RecurrentState, inputs: tuple[Array, DocumentBoundaries | None]
  ) -> tuple[RecurrentState, tuple[RecurrentState, Any]]:
    inputs_bg, mark = inputs
    before = before if mark is None else _times(before, mark.keep)
    after, kept = cell.advance(inputs_bg, _product(before.hidden, kernel_dg, bias_g), before)
    after = after if mark is None else _select(mark.reads, after, before)
    return after, (after, kept)

  last, (states, kept) = jax.lax.scan(body, state, (inputs_tbg, seen), unroll=UNROLL)
  return states, last, kept


def _recur_forward(cell, inputs_tbg, kernel_dg, bias_g, state, seen):  # type: ignore[no-untyped-def]
  states, last, kept = _forward(cell, inputs_tbg, kernel_dg, bias_g, state, seen)
  return (states, last), (kept, kernel_dg, bias_g, state, states, seen)


def _recur_backward(cell, residuals, cotangents):  # type: ignore[no-untyped-def]
  """Returns gradients; in the loop only what the step before waits for, that of U in one product after it."""
  kept, kernel_dg, bias_g, state, states, seen = residuals
  before = jax.tree.map(lambda first, later: jnp.concatenate([first[None], later[:-1]]), state, states)
  before = before if seen is None else _times(before, seen.keep)
  # Transposed once: products with it as it lies run at 0.6 of the rate. The barrier keeps the two steps apart.
  kernel_gd = jax.lax.optimization_barrier(kernel_dg.T)

  def body(after_grad: RecurrentState, step: Any) -> tuple[RecurrentState, tuple[Array, Array | None]]:
    kept, before, after, states_grad, mark = step
    after_grad = jax.tree.map(jnp.add, after_grad, states_grad)
    read_grad = after_grad if mark is None else _times(after_grad, mark.reads)
    inputs_bg, products_bg, grad = cell.retreat(kept, before, after, read_grad)
    products_bg = products_bg.astype(kernel_gd.dtype)
    grad = grad._replace(hidden=grad.hidden + products_bg @ kernel_gd)
    if mark is not None:
      grad = jax.tree.map(lambda each, whole, read: each + whole - read, grad, after_grad, read_grad)
      grad = _times(grad, mark.keep)
    return grad, (products_bg, None if cell.summed else inputs_bg.astype(kernel_gd.dtype))

  states_grad, last_grad = cotangents
  steps = (kept, before, states, states_grad, seen)
  state_grad, (products_tbg, inputs_tbg) = jax.lax.scan(body, last_grad, steps, reverse=True, unroll=UNROLL)
  products_ng = _tokens(products_tbg)
  hidden_nd = _tokens(before.hidden).astype(products_ng.dtype)
  kernel_grad_dg = layers.contract_tokens(hidden_nd, products_ng)
  bias_grad_g = None if bias_g is None else products_ng.sum(0)
  return products_tbg if cell.summed else inputs_tbg, kernel_grad_dg, bias_grad_g, state_grad, None


scan_layer.defvjp(_recur_forward, _recur_backward)


def _tokens(x_tbd: Array) -> Array:
  """Returns [N, D]; on a mesh row by row, for time by time its parts would not lie together."""
  x = (
    activation_sharding.shard_activation(x_tbd, None, "batch", None).swapaxes(0, 1)
    if activation_sharding.on_mesh()
    else x_tbd
  )
  return x.reshape(-1, x.shape[-1])


def _over_time(x_ng: Array, length: int) -> Array:
  """Returns [T, B, G], the inverse of `_tokens`."""
  if activation_sharding.on_mesh():
    return activation_sharding.shard_activation(
      x_ng.reshape(-1, length, x_ng.shape[-1]).swapaxes(0, 1), None, "batch", None
    )
  return x_ng.reshape(length, -1, x_ng.shape[-1])


def _product(hidden_bd: Array, kernel_dg: Array, bias_g: Array | None) -> Array:
  products_bg = hidden_bd.astype(kernel_dg.dtype) @ kernel_dg
  return products_bg if bias_g is None else products_bg + bias_g


def _times(state: RecurrentState, factor: Array) -> RecurrentState:
  return jax.tree.map(lambda x: x * factor, state)


def _select(mark: Array, one: RecurrentState, other: RecurrentState) -> RecurrentState:
  return jax.tree.map(lambda a, b: jnp.where(mark > 0, a, b), one, other)


def gate_bias(family: str) -> layers.Initializer:
  """Returns the initial bias of [gates, D]: 1 for the LSTM's forget gate, 0 elsewhere.

  Jozefowicz et al. 2015: a forget gate that starts open lets gradients reach back from the first step on.
  """

  def initialize(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    del key
    bias = jnp.zeros(shape, dtype)
    return bias.at[1].set(1.0) if family == "lstm" else bias

  return initialize


def orthogonal_gates(scale: float) -> layers.Initializer:
  """Returns the initial U of [D, gates, D]: an orthogonal matrix for each gate (arXiv:1312.6120)."""

  def initialize(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    width, gates, _ = shape
    one = nn.initializers.orthogonal(scale)
    return jnp.stack([one(each, (width, width), dtype) for each in jax.random.split(key, gates)], axis=1)

  return initialize


class RecurrentLayer(nn.Module):
  """One recurrent layer; a pre-norm residual branch where the config asks for it, and dropout of what it passes up.

  Dropout never touches the recurrent connections (arXiv:1409.2329).
  """

  config: Model

  @nn.compact
  def __call__(
    self, x_tbd: Array, state: RecurrentState, seen: DocumentBoundaries | None
  ) -> tuple[Array, RecurrentState]:
    """Maps the layer below to (what the layer above reads, the state after the last step)."""
    cfg = self.config
    cell, width, dtype = CELLS[cfg.family], cfg.width, cfg.dtype
    shape, names = (width, cell.gates, width), ("embed", None, "mlp")
    normal = layers.fan_in_normal(width, cfg.initializer_scale)
    kernel_dg = layers.make_weight(self, "input_kernel", normal, shape, names).reshape(width, -1)
    again_dg = layers.make_weight(self, "kernel", orthogonal_gates(cfg.initializer_scale), shape, names)
    again_dg = activation_sharding.shard_activation(
      again_dg, None, None, None
    )  # Put together once, not at each step of the loop.
    bias_g = layers.make_weight(self, "bias", gate_bias(cfg.family), shape[1:], names[1:]).reshape(-1)
    inner_g = None
    if not cell.summed:
      inner_d = layers.make_weight(self, "candidate_bias", layers.ZEROS, (width,), ("mlp",))
      inner_g = jnp.pad(inner_d, ((cell.gates - 1) * width, 0)).astype(dtype)
    y_tbd = layers.make_norm(cfg, name="norm")(x_tbd) if cfg.residual else x_tbd
    inputs_ng = layers.matmul(_tokens(y_tbd), kernel_dg.astype(dtype)) + bias_g.astype(dtype)
    inputs_tbg = _over_time(inputs_ng, x_tbd.shape[0])
    states, last = scan_layer(
      cell, inputs_tbg, again_dg.reshape(width, -1).astype(dtype), inner_g, state, seen
    )
    y_tbd = layers.apply_dropout(cfg, states.hidden.astype(dtype), self)
    return x_tbd + y_tbd if cfg.residual else y_tbd, last


class RecurrentStack(nn.Module):
  """Embeddings and the L layers that read one text, their parameters stacked along a first axis."""

  config: Model
  table: layers.Embedding

  @nn.compact
  def __call__(
    self, ids_bt: Array, segments_bt: Array | None = None, state: RecurrentState | None = None
  ) -> tuple[Array, RecurrentState]:
    """Maps ids and the state before them to hidden states [B, T, D] and the state after them.

    Without segments the rows go on from the state; with them it is kept by what lies in segment 1 from the start.
    """
    cfg = self.config
    state = init_recurrent_state(cfg, ids_bt.shape[0]) if state is None else state
    x_tbd = (self.table(ids_bt.T) * cfg.embedding_scale).astype(cfg.dtype)
    layer = RecurrentLayer
    if cfg.remat != "none":
      layer = nn.remat(RecurrentLayer, policy=REMAT[cfg.remat], prevent_cse=not cfg.scan)
    scanned = nn.scan(
      layer,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=(0, nn.broadcast),
      length=cfg.depth,
      unroll=1 if cfg.scan else cfg.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x_tbd = layers.apply_dropout(cfg, x_tbd, self)
    seen = None if segments_bt is None else document_boundaries(segments_bt)
    x_tbd, last = scanned(cfg, name="layers")(x_tbd, state, seen)
    if cfg.residual and cfg.final_norm:
      x_tbd = layers.make_norm(cfg, name="norm")(x_tbd)
    return x_tbd.swapaxes(0, 1), cast(RecurrentState, last)
