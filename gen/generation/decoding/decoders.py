"""The interface of decoding: read prompts into a cache, then one token after another.

A cache is a tree of arrays specific to the model: keys and values of a transformer, the state of a recurrent
network. Its leaves have the row as first axis, or no axis at all.
B rows, T prompt, S slots, V vocab.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model
from gen.errors import UserError
from gen.kernels import gradients
from gen.models import language_model, own_modules

DecodeCache = Any
RECURRENT = ("rnn", "lstm", "gru")


class PromptBatch(NamedTuple):
  """Prompts of unequal lengths, padded on the left; sources are padded on the right.

  Attributes:
    tokens_bt: ids.
    pads_b: padding before each row.
    source_bs: inputs of an encoder-decoder's encoder, or None.
    source_segments_bs: 1 for text of the source, 0 for padding.
  """

  tokens_bt: Any
  pads_b: Any
  source_bs: Any = None
  source_segments_bs: Any = None


class Decoder(Protocol):
  """The decoding interface of a model: pure functions of parameters and cache."""

  def prefill(self, params: Any, prompts: PromptBatch, capacity: int) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after the prompts, and a cache for `capacity` tokens in total."""
    ...

  def step(self, params: Any, cache: DecodeCache, tokens_b: Array) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after one more token of each row, and the cache with it."""
    ...


@dataclasses.dataclass(frozen=True)
class TransformerDecoder:
  """A decoder or an encoder-decoder with a KV cache; keys and values of cross attention are computed once.

  Attributes:
    prefix: whether a decoder's attention is bidirectional inside prompts.
  """

  module: language_model.LanguageModel
  prefix: bool = False

  def prefill(self, params: Any, prompts: PromptBatch, capacity: int) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after the prompts, and the cache."""
    # Padding on the left has negative positions, which the attention mask excludes.
    positions_bs = jnp.arange(capacity) - prompts.pads_b[:, None]
    logits_bv, changed = self.module.apply(
      {"params": params},
      prompts.tokens_bt,
      positions_bs,
      prompts.source_bs,
      prompts.source_segments_bs,
      self.prefix,
      method="prefill",
      mutable=["cache"],
    )
    return logits_bv, changed["cache"]

  def step(self, params: Any, cache: DecodeCache, tokens_b: Array) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after one more token of each row, and the cache."""
    variables = {"params": params, "cache": cache}
    logits_bv, changed = self.module.apply(variables, tokens_b, method="step", mutable=["cache"])
    return logits_bv, changed["cache"]


@dataclasses.dataclass(frozen=True)
class RecurrentDecoder:
  """A recurrent network; its cache is its state, whose size does not depend on the length of the text."""

  module: language_model.LanguageModel

  def prefill(self, params: Any, prompts: PromptBatch, capacity: int) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after the prompts, and the state; padding leaves the state as it is."""
    from gen.models import recurrent

    batch, length = prompts.tokens_bt.shape
    # Padding on the left would move the state of a recurrent network, unlike attention, which a mask keeps from it.
    segments_bt = (jnp.arange(length) >= prompts.pads_b[:, None]).astype(jnp.int32)
    state = recurrent.init_recurrent_state(self.module.config, batch)
    return self._read(params, prompts.tokens_bt, state, segments_bt)

  def step(self, params: Any, cache: DecodeCache, tokens_b: Array) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after one more token of each row, and the state."""
    # The state is [L, B, D] in the model; a cache has its rows first, so that `select_rows` serves every family.
    state = jax.tree.map(lambda x_bld: x_bld.swapaxes(0, 1), cache)
    return self._read(params, tokens_b[:, None], state, None)

  def _read(
    self, params: Any, tokens_bt: Array, state: Any, segments_bt: Array | None
  ) -> tuple[Array, DecodeCache]:
    logits_btv, after = self.module.apply({"params": params}, tokens_bt, state, segments_bt, method="carry")
    return logits_btv[:, -1], jax.tree.map(lambda x_lbd: x_lbd.swapaxes(0, 1), after)


@dataclasses.dataclass(frozen=True)
class RecomputingDecoder:
  """A decoder without a cache: each token is computed from the whole text before it.

  Its state is the text, padded on the right, so that a causal model sees no padding.

  Attributes:
    prefix: whether attention is bidirectional inside prompts.
  """

  module: language_model.LanguageModel
  prefix: bool = False

  def prefill(self, params: Any, prompts: PromptBatch, capacity: int) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after the prompts, and the text."""
    length = prompts.tokens_bt.shape[1]
    lengths_b = length - jnp.asarray(prompts.pads_b)
    slots_s = jnp.arange(capacity)
    # Moves each prompt from the right end of its row to the left end.
    places_bs = jnp.minimum(slots_s + (length - lengths_b)[:, None], length - 1)
    ids_bs = jnp.take_along_axis(jnp.asarray(prompts.tokens_bt), places_bs, axis=1)
    ids_bs = jnp.where(slots_s < lengths_b[:, None], ids_bs, 0)
    return self._read(params, {"ids_bs": ids_bs, "lengths_b": lengths_b, "prompts_b": lengths_b})

  def step(self, params: Any, cache: DecodeCache, tokens_b: Array) -> tuple[Array, DecodeCache]:
    """Returns the logits [B, V] after one more token of each row, and the text with it."""
    rows_b = jnp.arange(len(tokens_b))
    # Each row at its own length: prompts differ, and no row is padded inside its text.
    ids_bs = cache["ids_bs"].at[rows_b, cache["lengths_b"]].set(tokens_b)
    return self._read(params, {**cache, "ids_bs": ids_bs, "lengths_b": cache["lengths_b"] + 1})

  def _read(self, params: Any, cache: DecodeCache) -> tuple[Array, DecodeCache]:
    ids_bs, lengths_b = cache["ids_bs"], cache["lengths_b"]
    slots_bs = jnp.broadcast_to(jnp.arange(ids_bs.shape[1]), ids_bs.shape)
    # Slots behind the text are segment 0; a causal model would not look at them, one with a bidirectional prefix might.
    others = {"segments_bt": (slots_bs < lengths_b[:, None]).astype(jnp.int32), "positions_bt": slots_bs}
    if self.prefix:
      others["prefix_bt"] = (slots_bs < cache["prompts_b"][:, None]).astype(jnp.int32)
    variables = {"params": params}
    x_bsd: Any = self.module.apply(variables, ids_bs, **others, method="hidden")
    kernel_dv, bias_v = cast(Any, self.module.apply(variables, method="head_weights"))
    # The last position alone goes through the head: V logits a row and not V for each slot.
    x_bd = jnp.take_along_axis(x_bsd, (lengths_b - 1)[:, None, None], axis=1)[:, 0]
    logits_bv = gradients.matmul_logits(x_bd, kernel_dv)
    logits_bv = logits_bv if bias_v is None else logits_bv + bias_v
    cap = self.module.config.logits_soft_cap
    return cap * jnp.tanh(logits_bv / cap) if cap else logits_bv, cache


def make_decoder(model: Model, prefix: bool = False) -> Decoder:
  """Returns the decoding interface of a model.

  Args:
    model: its config.
    prefix: whether attention is bidirectional inside prompts, as in training with objective `prefix`.

  Raises:
    UserError: for a family that does not predict the next token, or that has no bidirectional prefix.
  """
  if prefix and model.role != "decoder":
    raise UserError(
      f"prefix is for decoders; a model of family {model.family} sets the prefix of its prompt itself"
    )
  # Modules of the user's own may not append to the cache; then each token is computed from the whole text.
  has_cache = own_modules.reads_cache(model)
  if model.role == "decoder" and not has_cache:
    return RecomputingDecoder(language_model.build_model(model), prefix)
  if model.family == "encoder_decoder" and not has_cache:
    raise UserError(
      f"model.attention_module {model.attention_module} has no KV cache, without which an encoder_decoder generates no "
      "text; append keys and values by inputs.slots.append, and set the attribute cached = True"
    )
  if model.family in ("decoder", "encoder_decoder"):
    return TransformerDecoder(language_model.build_model(model), prefix)
  if model.family in RECURRENT:
    return RecurrentDecoder(language_model.build_model(model))
  raise UserError(
    f"a model of family {model.family} does not predict next tokens; it fills masked positions"
    " (gen.generation.decoding.infilling)"
  )


def window_length(model: Model) -> int:
  """Returns the size of a model's context window in tokens, or 0 for unlimited."""
  return 0 if model.family in RECURRENT else model.context


def select_rows(cache: DecodeCache, rows_n: Array) -> DecodeCache:
  """Returns the cache of these rows, in this order, as beam search needs it."""
  # Leaves without an axis are counts that all rows share.
  return jax.tree.map(lambda x: x[rows_n] if x.ndim else x, cache)


def cache_bytes(model: Model, batch: int, capacity: int, source: int = 0) -> int:
  """Returns the bytes of a transformer's cache, exactly.

  Args:
    model: its config.
    batch: rows.
    capacity: slots for prompt and new tokens.
    source: positions of an encoder-decoder's source.

  >>> cache_bytes(Model(width=64, depth=2, head_width=16, key_value_heads=1), batch=3, capacity=10)
  7804
  """
  target = model.target
  heads = target.n_key_value_heads
  # int8 keys and values have a float32 scale each.
  of_head = (
    target.head_width + 4 if model.cache_format == "int8" else target.head_width * _item_size(model.dtype)
  )
  per_token = 2 * model.target_depth * heads * of_head
  # int32 numbers, which are not split by heads or layers.
  places = 4 * batch * (capacity + source) + 4  # positions, source segments, and the count of filled slots
  return batch * (capacity + source) * per_token + places


def _item_size(dtype: str) -> int:
  return 4 if dtype == "float32" else 2


def pad_prompts(prompts: list[np.ndarray], multiple: int, left: bool) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids [B, T] padded with 0 to a multiple, and the padding of each row."""
  longest = max(len(ids) for ids in prompts)
  # Rounded up, so that prompts of nearby lengths share a compiled program.
  length = -(-longest // multiple) * multiple
  pads_b = np.array([length - len(ids) for ids in prompts], np.int32)
  tokens_bt = np.zeros((len(prompts), length), np.int32)
  for row, (ids, pads) in enumerate(zip(prompts, pads_b, strict=True)):
    tokens_bt[row, slice(pads, None) if left else slice(len(ids))] = ids
  return tokens_bt, pads_b


def arrange_prompts(
  prompts: list[np.ndarray], sources: list[np.ndarray] | None, multiple: int
) -> PromptBatch:
  """Returns prompts and their sources as arrays whose lengths are multiples."""
  tokens_bt, pads_b = pad_prompts(prompts, multiple, left=True)
  if sources is None:
    return PromptBatch(tokens_bt, pads_b)
  source_bs, source_pads_b = pad_prompts(sources, multiple, left=False)
  filled_b1 = source_bs.shape[1] - source_pads_b[:, None]
  segments_bs = (np.arange(source_bs.shape[1]) < filled_b1).astype(np.int32)
  return PromptBatch(tokens_bt, pads_b, source_bs, segments_bs)
