"""The three transformer families built from one block, and recurrent models with the interface of a decoder.

                 input                attends to                     predicts
  encoder        a masked text        all tokens                     the masked tokens     BERT, RoBERTa
  decoder        a text               earlier tokens, or a prefix    the next token        GPT, BLOOM
  encoder_       a source and         earlier tokens, and all of     the next token of     Transformer, T5, BART
    decoder      a target             the source (cross attention)   the target
  rnn, lstm, gru a text               a state of fixed size          the next token        before 2017

B batch, T target length, S source length, D width, V vocab.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.batch import Batch
from gen.config import FAMILIES, Model
from gen.kernels import decode_weights, fused_attention, gradients
from gen.kernels.fused_attention import SegmentIds
from gen.kernels.recurrence import RecurrentState
from gen.models import layers, own_modules, recurrent
from gen.models.kv_cache import CacheSlots
from gen.models.transformer import INTERMEDIATES, AttentionInputs, LayerStack, attention_mask

DISTANCES = ("relative", "alibi")  # kinds of positions that are only a bias by distance


class OutputHead(nn.Module):
  """Maps hidden states to logits, with the transposed embedding if tied, else with a separate matrix."""

  config: Model
  table: layers.Embedding

  def setup(self) -> None:
    """Creates the parameters of the config."""
    cfg = self.config
    if cfg.head_transform:
      # The outputs of this [D, D] kernel are named as hidden units: tensor parallelism splits "mlp" and never "embed".
      names = ("embed", "mlp")
      self.transform = layers.Dense(cfg.width, cfg.width, names, cfg.bias, cfg.initializer_scale, cfg.dtype)
      self.transform_norm = layers.make_norm(cfg)
    if not cfg.tied:
      shape = (cfg.width, cfg.vocab)
      self.logits = layers.KernelOnly(shape, ("embed", "vocab"), cfg.width, cfg.initializer_scale)
    if cfg.head_bias:
      self.bias = layers.make_weight(self, "bias", layers.ZEROS, (cfg.vocab,), ("vocab",))

  def prepare(self, x_btd: Array) -> Array:
    """Returns hidden states [B, T, D] ready for the product with the vocabulary."""
    cfg = self.config
    if cfg.head_transform:
      activation = layers.find_activation(cfg.head_activation or cfg.activation)
      x_btd = self.transform_norm(activation(self.transform(x_btd)))
    # On D numbers of a token, not on its V logits. T5 with a tied table scales by 1 / sqrt(D) here.
    return x_btd * cfg.logits_scale if cfg.logits_scale != 1.0 else x_btd

  def weights(self) -> tuple[Array, Array | None]:
    """Returns the kernel as [D, V] and the bias [V] or None, float32."""
    # Float32: `losses.cross_entropy` casts the kernel once for all chunks, and sums its gradient in float32.
    kernel_dv = self.table.matrix().T if self.config.tied else self.logits()
    return kernel_dv, self.bias if self.config.head_bias else None

  def __call__(self, x_btd: Array) -> Array:
    """Returns logits [B, T, V], float32."""
    kernel_dv, bias_v = self.weights()
    x_btd = self.prepare(x_btd)
    rows = x_btd.size // self.config.width
    # Decoding: for few rows the table is the left operand, see `decode_weights`. Not if the vocabulary is split.
    if self.config.tied and rows <= decode_weights.MAX_ROWS and layers.num_shards("vocab") == 1:
      table_vd = self.table.matrix().astype(self.config.dtype)
      logits_nv = decode_weights.matmul_with_table(x_btd.reshape(rows, -1), table_vd)
      logits_btv = logits_nv.reshape(*x_btd.shape[:-1], -1)
    else:
      logits_btv = gradients.matmul_logits(x_btd, kernel_dv)
    logits_btv = logits_btv if bias_v is None else logits_btv + bias_v
    # Bounded smoothly, as in Gemma 2 (arXiv:2408.00118, section 2); a clip would have no gradient outside.
    cap = self.config.logits_soft_cap
    return cap * jnp.tanh(logits_btv / cap) if cap else logits_btv


class LanguageModel(nn.Module):
  """One stack, or a source and a target stack with cross attention, which share one embedding table.

  `__call__` returns logits. Training calls `hidden` and `head_weights` instead, so that the logits of a whole batch
  never exist at once.
  """

  config: Model

  def setup(self) -> None:
    """Creates the stacks."""
    cfg = self.config
    # One table for source, target and, if tied, logits (arXiv:1608.05859, three-way weight tying).
    self.embedding = layers.Embedding(cfg.vocab, cfg.width)
    causal = cfg.family != "encoder"
    if cfg.recurrent:
      self.target: Any = recurrent.RecurrentStack(cfg, self.embedding)
    else:
      self.target = TokenStack(cfg.target, self.embedding, cfg.target_depth, causal, self.has_source)
    if self.has_source:
      self.source = TokenStack(cfg, self.embedding, cfg.depth, causal=False)
    self.head = self.make_head()
    if cfg.pooler:
      self.pool = layers.Dense(cfg.width, cfg.width, ("embed", "mlp"), True, cfg.initializer_scale, cfg.dtype)

  def make_head(self) -> Any:
    """Returns the module behind the last hidden states; `heads.HeadedModel` has another."""
    return OutputHead(self.config, self.embedding)

  @property
  def has_source(self) -> bool:
    """Whether a separate encoder reads a source text."""
    return self.config.family == "encoder_decoder"

  def encode(
    self, source_bs: Array, source_segments_bs: Array | None = None, source_positions_bs: Array | None = None
  ) -> Array:
    """Returns the memory [B, S, D] of an encoder-decoder's source."""
    return self.source(source_bs, source_segments_bs, source_positions_bs)

  def states(
    self,
    inputs_bt: Array,
    segments_bt: Array | None = None,
    positions_bt: Array | None = None,
    source_bs: Array | None = None,
    source_segments_bs: Array | None = None,
    source_positions_bs: Array | None = None,
    token_types_bt: Array | None = None,
    key_segments_bt: Array | None = None,
    prefix_bt: Array | None = None,
  ) -> Array:
    """Returns the last hidden states [B, T, D] before the head.

    Args:
      inputs_bt: token ids.
      segments_bt: document of each token, from 1; 0 is padding. None: each row is one document.
      positions_bt: position of each token; None counts from 0.
      source_bs: token ids of an encoder-decoder's source; source_segments_bs and source_positions_bs belong to them.
      source_segments_bs: as segments_bt.
      source_positions_bs: as positions_bt.
      token_types_bt: BERT's sentence A or B.
      key_segments_bt: segments of the keys if they differ, for padding that attends to text as in other libraries.
      prefix_bt: 1 for tokens that are visible to earlier ones too, see `transformer.attention_mask`.
    """
    if self.config.recurrent:
      return cast(Array, self.target(inputs_bt, segments_bt)[0])
    if not self.has_source:
      keys = {"key_segments_bt": key_segments_bt, "prefix_bt": prefix_bt}
      return self.target(inputs_bt, segments_bt, positions_bt, token_types_bt, **keys)
    if source_bs is None:
      raise ValueError("an encoder-decoder needs a source; pass source_bs")
    memory_bsd = self.encode(source_bs, source_segments_bs, source_positions_bs)
    segments_bs = jnp.ones_like(source_bs) if source_segments_bs is None else source_segments_bs
    return self.target(
      inputs_bt, segments_bt, positions_bt, None, memory_bsd, segments_bs, prefix_bt=prefix_bt
    )

  def hidden(self, inputs_bt: Array, **others: Array | None) -> Array:
    """Returns hidden states [B, T, D] ready for the product with `head_weights`."""
    return self.head.prepare(self.states(inputs_bt, **others))

  def carry_hidden(
    self, inputs_bt: Array, state: RecurrentState, segments_bt: Array | None = None, **others: Array | None
  ) -> tuple[Array, RecurrentState]:
    """Returns `hidden` of a text that continues from a recurrent state, and the state after it (recurrent only)."""
    del others
    x_btd, state = self.target(inputs_bt, segments_bt, state)
    return self.head.prepare(x_btd), state

  def carry(
    self, inputs_bt: Array, state: RecurrentState, segments_bt: Array | None = None
  ) -> tuple[Array, RecurrentState]:
    """Returns logits [B, T, V] of a text that continues from a state, and the state after it (recurrent only).

    `recurrent.init_recurrent_state(config, batch)` is the state before any text. A text in pieces, each continuing from
    the state of the piece before it, has the same logits as the text in one piece.
    """
    x_btd, state = self.target(inputs_bt, segments_bt, state)
    return self.head(x_btd), state

  def head_weights(self) -> tuple[Array, Array | None]:
    """Returns the output kernel as [D, V] and its bias [V] or None."""
    return self.head.weights()

  def __call__(self, inputs_bt: Array, **others: Array | None) -> Array:
    """Returns logits [B, T, V], float32; arguments as in `states`."""
    x_btd = self.states(inputs_bt, **others)
    # The pooler is called once during initialization, so that its parameters exist; logits do not depend on it.
    if self.config.pooler and self.is_initializing():
      self.pooled(x_btd)
    return self.head(x_btd)

  def prefill(
    self,
    inputs_bt: Array,
    positions_bs: Array,
    source_bs: Array | None = None,
    source_segments_bs: Array | None = None,
    prefix: bool = False,
  ) -> Array:
    """Reads prompts into the collection "cache" and returns the logits [B, V] after their last tokens.

    Args:
      inputs_bt: prompts that end in the same column, padded on the left.
      positions_bs: position of each slot of the cache, at least T slots. It is below 0 for padding, and counts up by
        one from a row's first token.
      source_bs: token ids of an encoder-decoder's source.
      source_segments_bs: 1 for text, 0 for padding of the source; None if there is no padding.
      prefix: whether a decoder attends in both directions inside its prompt, as after training with objective `prefix`.
    """
    # Left padding is segment 0 and text is segment 1, so no token of a prompt attends to padding.
    segments_bt = (positions_bs[:, : inputs_bt.shape[1]] >= 0).astype(jnp.int32)
    memory_bsd = None
    if self.has_source:
      if source_bs is None:
        raise ValueError("an encoder-decoder needs a source; pass source_bs")
      memory_bsd = self.encode(source_bs, source_segments_bs)
      source_segments_bs = jnp.ones_like(source_bs) if source_segments_bs is None else source_segments_bs
      self.put_variable("cache", "source_segments_bs", source_segments_bs)
    self.put_variable("cache", "positions_bs", positions_bs)
    # A traced number and not a Python int, so that every later step is the same compiled program.
    self.put_variable("cache", "filled", jnp.int32(inputs_bt.shape[1]))
    slots = CacheSlots(positions_bs)
    # Prompts end in the same column, so one column has the logits of all rows.
    x_btd = self.target(
      inputs_bt, segments_bt, None, None, memory_bsd, source_segments_bs, slots=slots,
      prefix_bt=segments_bt if prefix else None,
    )  # fmt: skip
    return self.head(x_btd[:, -1:])[:, 0]

  def step(self, tokens_b: Array) -> Array:
    """Reads one more token of each row and returns the logits [B, V] after it; changes the collection "cache"."""
    filled: Array = self.get_variable("cache", "filled")
    slots = CacheSlots(self.get_variable("cache", "positions_bs"), filled)
    segments_bs = self.get_variable("cache", "source_segments_bs") if self.has_source else None
    x_btd = self.target(tokens_b[:, None], None, None, None, None, segments_bs, slots=slots)
    self.put_variable("cache", "filled", filled + 1)
    return self.head(x_btd)[:, 0]

  def pooled(self, x_btd: Array) -> Array:
    """Returns BERT's summary of a text, tanh of a dense layer on the first position, [B, D]."""
    return jnp.tanh(self.pool(x_btd[:, 0]))


class TokenStack(nn.Module):
  """Embeddings, positions and mask of one text, and its stack of blocks."""

  config: Model
  table: layers.Embedding
  depth: int
  causal: bool
  cross: bool = False

  @nn.compact
  def __call__(
    self,
    ids_bt: Array,
    segments_bt: Array | None = None,
    positions_bt: Array | None = None,
    token_types_bt: Array | None = None,
    memory_bsd: Array | None = None,
    memory_segments_bs: Array | None = None,
    key_segments_bt: Array | None = None,
    slots: CacheSlots | None = None,
    prefix_bt: Array | None = None,
  ) -> Array:
    """Maps ids to hidden states [B, T, D]; without segments each row is one document.

    With slots, the ids continue the text in the cache and are added to it. T5's buckets are one-sided in a causal
    stack; later keys of a prefix are then all in the bucket of distance 0.
    """
    cfg, length = self.config, ids_bt.shape[1]
    masks_later = self.causal and prefix_bt is None  # whether all later keys are masked
    # Slots while one token is added to a cache; None for a text from its start.
    step_slots = None if slots is None or slots.is_prefill else slots
    segments_bt = jnp.ones_like(ids_bt) if segments_bt is None else segments_bt
    distance_bias = self._distance_bias(length, positions_bt, slots)
    if slots is not None:
      # Padding has negative positions, which tables of positions do not have; no token attends to it.
      positions_bt = jnp.maximum(slots.new_positions(length), 0)
    elif positions_bt is None:
      positions_bt = jnp.broadcast_to(jnp.arange(length), ids_bt.shape)
    x_btd = layers.InputEmbeddings(cfg, self.table, name="embeddings")(ids_bt, positions_bt, token_types_bt)
    # The mask is a bias for plain attention, or segments for a fused kernel.
    bias = segments = local = None
    if step_slots is not None:
      bias = step_slots.mask(cfg.window)
    else:
      keys_bt = segments_bt if key_segments_bt is None else key_segments_bt
      segments = self._fused(slots, segments_bt, keys_bt, prefix=prefix_bt is not None)
      if segments is None:
        bias = attention_mask(segments_bt, keys_bt, self.causal, prefix_bt, cfg.window)
      if bias is not None and cfg.global_every:
        local = (bias, layers.rotary_angles(positions_bt, cfg.local) if cfg.positions == "rotary" else None)
        bias = attention_mask(segments_bt, keys_bt, self.causal, prefix_bt)
    angles = waves_rd = None
    if ":" in cfg.positions or cfg.positions == "rotary":
      angles = layers.rotary_angles(positions_bt, cfg)
    elif cfg.positions == "transformer_xl" and step_slots is not None:
      waves_rd = layers.sinusoidal_positions(step_slots.distances()[None], cfg.width)[0]
    elif cfg.positions == "transformer_xl":
      waves_rd = layers.distance_waves(length, cfg.width, masks_later)
    memory_bias = memory_segments = None
    if memory_segments_bs is not None:
      memory_segments = self._fused(slots, segments_bt, memory_segments_bs, cross=True)
      if memory_segments is None:
        memory_bias = attention_mask(segments_bt, memory_segments_bs, causal=False)
    inputs = AttentionInputs(
      bias, distance_bias, angles, waves_rd, memory_bsd, memory_bias, slots, None, segments, memory_segments, local
    )  # fmt: skip
    return LayerStack(cfg, self.depth, self.cross, masks_later, name="stack")(x_btd, inputs)

  def _distance_bias(self, length: int, positions_bt: Array | None, slots: CacheSlots | None) -> Array | None:
    """Returns T5's or ALiBi's bias of `length` new tokens, which all layers share, or None.

    It is [B, H, T, S] for a text with explicit positions. Otherwise positions are column indices, and one bias
    [1, H, T, S] holds for all rows.
    """
    cfg = self.config
    if ":" in cfg.positions:
      return own_modules.distance_bias(cfg, length, positions_bt, slots)
    if cfg.positions not in DISTANCES:
      return None
    if slots is not None and not slots.is_prefill:
      # Prompts end in one column, so distances of slots equal distances of positions, and one bias serves all rows.
      queries_bt, keys_bs = slots.slot_indices()
    else:
      queries_bt = keys_bs = jnp.arange(length)[None] if positions_bt is None else positions_bt
    if cfg.positions == "alibi":
      return layers.alibi_bias(queries_bt, keys_bs, cfg.n_heads)
    return layers.RelativeBias(cfg, not self.causal, name="relative")(queries_bt, keys_bs)

  def _fused(
    self, slots: CacheSlots | None, queries_bt: Array, keys_bs: Array, **kind: bool
  ) -> SegmentIds | None:
    """Returns the mask as segments for a fused kernel, or None: with a cache, for sown weights, on a CPU."""
    if slots is not None or self.is_initializing() or self.is_mutable_collection(INTERMEDIATES):
      return None
    if self.config.attention != "fused" and gradients.target_platform() == "cpu":
      return None
    fused = fused_attention.can_use_kernel(self.config, queries_bt.shape[1], keys_bs.shape[1], **kind)
    return SegmentIds(queries_bt, keys_bs) if fused else None


def build_model(config: Model) -> LanguageModel:
  """Returns the module of a config; `module.apply({"params": p}, inputs_bt)` gives logits [B, T, V].

  Raises:
    ValueError: for an unknown family, or a config without a vocabulary.
  """
  if config.family not in FAMILIES and ":" not in config.family:
    raise ValueError(f"family is {config.family!r}; it must be one of {', '.join(FAMILIES)}")
  if config.vocab < 1:
    raise ValueError("model.vocab is 0; set it, or use the run's completed config (run_length.complete_run)")
  if ":" in config.family:
    return cast(LanguageModel, own_modules.OwnFamily(config))
  return LanguageModel(config)


def batch_arguments(config: Model, batch: Batch) -> dict[str, Any]:
  """Returns the fields of a batch that a module reads, as keyword arguments of `LanguageModel.hidden`.

  Positions are omitted if the model only uses distances (T5, ALiBi) and rows are not sharded.
  """
  # Inside a segment a distance is a difference of column indices, so one bias serves all rows: an encoder-decoder of
  # width 128 takes 409 ms a step in place of 436. If rows are sharded, the gradient of one bias for all rows would be
  # all-reduced in every layer; with a bias for each row, each device sums its own rows' gradient into the small table.
  unread = {"targets_bt", "weights_bt"}
  if config.positions in DISTANCES and layers.num_shards("batch") == 1:
    unread |= {"positions_bt", "source_positions_bs"}
  return {name: value for name, value in batch._asdict().items() if name not in unread}


def example_inputs(config: Model, batch: int = 1, length: int = 2) -> dict[str, Any]:
  """Returns the smallest arguments that a module accepts."""
  ids_bt = jnp.zeros((batch, length), jnp.int32)
  return {"inputs_bt": ids_bt} | ({"source_bs": ids_bt} if config.family == "encoder_decoder" else {})


def initialize_parameters(config: Model, key: Array) -> Any:
  """Returns a tree of float32 parameters, drawn from the key; raises as `build_model`."""
  variables = build_model(config).init(key, **example_inputs(config))
  # Boxes hold the logical names of axes (see `logical_axes`). Optimizers and checkpoints take arrays alone.
  return nn.meta.unbox(variables["params"])


def parameter_shapes(config: Model) -> Any:
  """Returns the parameters' tree as shapes, allocating nothing."""
  return jax.eval_shape(lambda: initialize_parameters(config, jax.random.key(0)))


def logical_axes(config: Model) -> Any:
  """Returns the logical axis names of each parameter, as a tree of PartitionSpecs."""
  variables = jax.eval_shape(lambda: build_model(config).init(jax.random.key(0), **example_inputs(config)))
  return nn.get_partition_spec(variables)["params"]
