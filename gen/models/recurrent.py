"""Recurrent layers: the vanilla RNN, the LSTM and the GRU.

Elman 1990; Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; arXiv:1406.1078, the reset gate
after the product, as in cuDNN.

T length, B batch, L depth, D width, G units of all gates of a layer: D, 4 D or 3 D. With s the logistic function,
p_t = h_{t-1} U and x_t the layer's input:

  rnn   h = tanh(x W + p + b)
  lstm  i, f, g, o = x W + p + b;  c = s(f) c_{t-1} + s(i) tanh(g);  h = s(o) tanh(c)
  gru   r, z from x W + p + b;  n = tanh(x W + b + s(r) (p + b'));  h = (1 - s(z)) n + s(z) h_{t-1}

`gen.kernels.recurrence` runs the loop over time. Everything between embedding and head is time-major.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.config import Model
from gen.kernels import gradients, recurrence
from gen.kernels.recurrence import DocumentBoundaries, RecurrentCell, RecurrentState
from gen.models import layers
from gen.precision import fake_quantization
from gen.precision.quantized_array import AdaptedKernel, StoredKernel


def _rnn(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, None]:
  del state
  # The state is float32, and so is its sum here; in other cells the state before it makes it float32.
  return RecurrentState(jnp.tanh(inputs_bg.astype(jnp.float32) + products_bg)), None


# Gates are in the order of PyTorch and cuDNN (i, f, g, o and r, z, n), so their weights load without a permutation.
def _lstm(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, Array]:
  i_bd, f_bd, g_bd, o_bd = jnp.split(inputs_bg + products_bg, 4, axis=-1)
  i_bd, f_bd, g_bd, o_bd = nn.sigmoid(i_bd), nn.sigmoid(f_bd), jnp.tanh(g_bd), nn.sigmoid(o_bd)
  assert state.cell is not None
  cell_bd = f_bd * state.cell + i_bd * g_bd
  return RecurrentState(o_bd * jnp.tanh(cell_bd), cell_bd), recurrence.join_gates(i_bd, f_bd, g_bd, o_bd)


def _gru(inputs_bg: Array, products_bg: Array, state: RecurrentState) -> tuple[RecurrentState, Array]:
  r_bd, z_bd, n_bd = jnp.split(inputs_bg, 3, axis=-1)
  of_r_bd, of_z_bd, of_n_bd = jnp.split(products_bg, 3, axis=-1)
  r_bd, z_bd = nn.sigmoid(r_bd + of_r_bd), nn.sigmoid(z_bd + of_z_bd)
  n_bd = jnp.tanh(n_bd + r_bd * of_n_bd)
  # (1 - z) n + z h with one product less.
  return RecurrentState(n_bd + z_bd * (state.hidden - n_bd)), recurrence.join_gates(r_bd, z_bd, n_bd, of_n_bd)


# The first number is the cell's gates: one, four (Hochreiter and Schmidhuber 1997; Gers et al. 2000), three
# (arXiv:1406.1078).
CELLS = {
  "rnn": RecurrentCell(1, _rnn, recurrence.rnn_backward, summed=True),
  "lstm": RecurrentCell(4, _lstm, recurrence.lstm_backward, summed=True, has_cell=True),
  "gru": RecurrentCell(3, _gru, recurrence.gru_backward, summed=False),
}


def init_recurrent_state(config: Model, batch: int) -> RecurrentState:
  """Returns the state before any text: zeros, float32 [L, B, D]."""
  shape = (config.depth, batch, config.width)
  hidden_lbd = jnp.zeros(shape, jnp.float32)
  # Two arrays of zeros, because a training step donates both and a buffer cannot be donated twice.
  return RecurrentState(hidden_lbd, jnp.zeros(shape, jnp.float32) if CELLS[config.family].has_cell else None)


def document_boundaries(segments_bt: Array) -> DocumentBoundaries:
  """Returns where the state is cleared and where it does not change.

  Segments rise along a row from 1. A state from the row before belongs to segment 1, so a row that begins with segment
  2 begins another document.

  Args:
    segments_bt: document of each token, from 1; 0 is padding.
  """
  # The latest segment before each token; padding between documents (0) does not hide it.
  latest_bt = jax.lax.cummax(jnp.pad(segments_bt[:, :-1], ((0, 0), (1, 0)), constant_values=1), axis=1)
  reads_bt = segments_bt > 0
  keep_bt = ~(reads_bt & (segments_bt != latest_bt))
  # Time-major and float32 factors with an axis for D, as the loop over time multiplies them.
  return DocumentBoundaries(*(mark_bt.T[:, :, None].astype(jnp.float32) for mark_bt in (keep_bt, reads_bt)))


def gate_bias(family: str) -> layers.Initializer:
  """Returns the initial bias of [gates, D]: 1 for the LSTM's forget gate, 0 elsewhere.

  Jozefowicz et al. 2015: a forget gate that starts open lets gradients reach back from the first step on.
  """

  def initialize(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    del key
    bias = jnp.zeros(shape, dtype)
    # Row 1 is f in the order i, f, g, o.
    return bias.at[1].set(1.0) if family == "lstm" else bias

  return initialize


def orthogonal_gates(scale: float) -> layers.Initializer:
  """Returns the initial U of [D, gates, D]: an orthogonal matrix for each gate (arXiv:1312.6120)."""

  def initialize(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    width, gates, _ = shape
    draw = nn.initializers.orthogonal(scale)
    # One draw for each gate: the blocks of a single [D, gates D] matrix with orthonormal rows are not orthogonal.
    return jnp.stack([draw(gate, (width, width), dtype) for gate in jax.random.split(key, gates)], axis=1)

  return initialize


class RecurrentLayer(nn.Module):
  """One recurrent layer, as a pre-norm residual branch if `config.residual`, with dropout on its result.

  Dropout is never applied to the recurrent connections (arXiv:1409.2329).
  """

  config: Model

  @nn.compact
  def __call__(
    self, x_tbd: Array, state: RecurrentState, seen: DocumentBoundaries | None
  ) -> tuple[Array, RecurrentState]:
    """Maps inputs [T, B, D] and a state [B, D] to the layer's result [T, B, D] and the state after the last step."""
    cfg = self.config
    cell, width, dtype = CELLS[cfg.family], cfg.width, cfg.dtype
    shape, names = (width, cell.gates, width), ("embed", None, "mlp")
    normal = layers.fan_in_normal(width, cfg.initializer_scale)
    formats = cfg.training_formats
    # Gates are an axis of their own, so that tensor parallelism splits the units of each gate alike.
    kernel_dg = layers.make_weight(self, "input_kernel", normal, shape, names).reshape(width, -1)
    if formats:
      kernel_dg = fake_quantization.wrap_kernel(kernel_dg, width, formats)
    recurrent_dg = layers.make_weight(self, "kernel", orthogonal_gates(cfg.initializer_scale), shape, names)
    # Under tensor parallelism U is split by units. It is gathered once here, not at each step of the loop.
    recurrent_dg = layers.shard(recurrent_dg, None, None, None).reshape(width, -1)
    if isinstance(recurrent_dg, AdaptedKernel):
      recurrent_dg = recurrent_dg.dequantize()  # the loop's gradient is that of one matrix
    elif formats is not None and not isinstance(recurrent_dg, StoredKernel):
      # Rounded once, not at each step of the loop.
      recurrent_dg = fake_quantization.round_weights(recurrent_dg, formats)
      cell = cell._replace(state_format=formats.activations)
    bias_g = layers.make_weight(self, "bias", gate_bias(cfg.family), shape[1:], names[1:]).reshape(-1)
    inner_g = None
    # Only the GRU's candidate needs a second bias, inside r (p + b'); in sums with x W + b it would be redundant.
    if not cell.summed:
      inner_d = layers.make_weight(self, "candidate_bias", layers.ZEROS, (width,), ("mlp",))
      inner_g = jnp.pad(inner_d, ((cell.gates - 1) * width, 0)).astype(dtype)
    # Without `residual` a layer reads the result of the one below as it is, as in the papers of the module's docstring.
    y_tbd = layers.make_norm(cfg, name="norm")(x_tbd) if cfg.residual else x_tbd
    # x W of all steps in one product: only h U has to wait for the state.
    inputs_ng = gradients.matmul(recurrence.flatten_time(y_tbd), kernel_dg.astype(dtype))
    inputs_ng = inputs_ng + bias_g.astype(dtype)
    inputs_tbg = recurrence.unflatten_time(inputs_ng, x_tbd.shape[0])
    states, last = recurrence.scan_layer(cell, inputs_tbg, recurrent_dg.astype(dtype), inner_g, state, seen)
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

    Without segments, rows continue from the state. With segments, only tokens of segment 1 at a row's start do.
    """
    cfg = self.config
    state = init_recurrent_state(cfg, ids_bt.shape[0]) if state is None else state
    # Transposed to time-major once, on ids, where it is cheapest.
    x_tbd = (self.table(ids_bt.T) * cfg.embedding_scale).astype(cfg.dtype)
    layer = gradients.recompute_layer(RecurrentLayer, cfg.remat, cfg.scan)
    scanned = nn.scan(
      layer,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=(0, nn.broadcast),
      length=cfg.depth,
      # Unrolled, XLA can optimize across layers; compile time then grows with depth.
      unroll=1 if cfg.scan else cfg.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x_tbd = layers.apply_dropout(cfg, x_tbd, self)
    seen = None if segments_bt is None else document_boundaries(segments_bt)
    x_tbd, last = scanned(cfg, name="layers")(x_tbd, state, seen)
    if cfg.residual and cfg.final_norm:
      x_tbd = layers.make_norm(cfg, name="norm")(x_tbd)
    return x_tbd.swapaxes(0, 1), cast(RecurrentState, last)
