"""The compiled functions of decoding: one reads the prompts, one generates tokens with a cache.

B rows, T prompt, N new tokens, V vocab.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model, from_dict
from gen.generation.decoding import constraints, decoders, sampling
from gen.interop.generation_config import UNCONSTRAINED, Constraints
from gen.kernels import decode_weights


class DrawState(NamedTuple):
  """The arguments of the compiled functions besides parameters.

  Attributes:
    keys_b: a random key for each row.
    before: number of tokens generated before the state's first, int32.
    min_tokens: minimum number of tokens, int32.
    text_bh: ids before the state's first, `constraints.EMPTY` on the left; None if no constraint reads them.
  """

  keys_b: Any
  before: Any
  min_tokens: Any
  text_bh: Any = None


class DecodeState(NamedTuple):
  """The state of decoding; `broken` is the index of the first token with logits that are not finite, or N."""

  drawn: Array
  tokens_bn: Array
  log_probabilities_bn: Array
  last_b: Array
  done_b: Array
  broken_b: Array
  seen_bv: Array | None
  cache: decoders.DecodeCache


class DecodePrograms(NamedTuple):
  """The compiled functions of a model, a sampler and a size.

  Attributes:
    start: (params, Prompts, Draws, done_b, seen_bv) -> State with one token generated.
    advance: (params, State, Draws, until) -> State with `until` tokens generated, unless all rows are done.
  """

  start: Callable[..., DecodeState]
  advance: Callable[..., DecodeState]


# jit caches by function identity, so the same settings must give the same functions.
@functools.lru_cache(maxsize=64)
def decode_programs(
  model_json: str,
  sampler: Any,
  stop_tokens: tuple[int, ...],
  room: int,
  prefix: bool = False,
  rules: Constraints = UNCONSTRAINED,
) -> DecodePrograms:
  """Returns the functions of a model (its config as JSON), compiled for up to `room` new tokens."""
  model = from_dict(Model, json.loads(model_json))
  decoder = decoders.make_decoder(model, prefix)
  # A table of the vocabulary: one look-up a token, whatever the number of stop tokens.
  stops_v = np.isin(np.arange(model.vocab), stop_tokens)
  drawer = _Drawer(sampler, stops_v, constraints.ConstraintFilter(rules, stops_v))

  def start(
    params: Any, prompts: decoders.PromptBatch, draws: DrawState, done_b: Array, seen_bv: Array | None
  ) -> DecodeState:
    logits_bv, filled = decoder.prefill(params, prompts, prompts.tokens_bt.shape[1] + room)
    return drawer(_empty(room, done_b, seen_bv, filled), draws, logits_bv)

  def advance(params: Any, state: DecodeState, draws: DrawState, until: Array) -> DecodeState:
    def one_more(state: DecodeState) -> DecodeState:
      logits_bv, longer = decoder.step(params, state.cache, state.last_b)
      return drawer(state._replace(cache=longer), draws, logits_bv)

    # A while loop and no scan: it ends when all rows have, and `until` is traced, so chunks of any length share it.
    return jax.lax.while_loop(lambda s: (s.drawn < until) & ~s.done_b.all(), one_more, state)

  # The state is donated: the KV cache is updated in place and not copied for each chunk of tokens.
  return DecodePrograms(jax.jit(start), jax.jit(advance, donate_argnums=1))


def unstack_layers(params: Any) -> Any:
  """Returns parameters with unstacked layers of the decoder, so that no token waits for copies of them.

  On one CPU their kernels are transposed as well (`gen.kernels.decode_weights`). Parameters that are unstacked already
  are returned unchanged. The result serves generation alone, and needs the layers' memory once more. A caller that
  generates often makes it once and passes it to `generate`.
  """
  layers = params.get("target", {}).get("stack", {}).get("layers", ())
  # A tuple: unstacked already.
  if isinstance(layers, tuple) or "block" in layers or "own" in layers.get("attention", ()):
    return params  # code of the user's own may read all layers at once
  return _unstacked(params, _on_one_cpu(layers))


def _on_one_cpu(params: Any) -> bool:
  """Returns whether all arrays are on one CPU device; host arrays go to the first device."""
  placed = [leaf.devices() for leaf in jax.tree.leaves(params) if isinstance(leaf, jax.Array)]
  devices = set[jax.Device]().union(*placed) or {jax.devices()[0]}
  # Only measured on CPUs (`gen.kernels.decode_weights`); on a mesh the kernels would have to be split anew.
  return len(devices) == 1 and all(device.platform == "cpu" for device in devices)


@functools.partial(jax.jit, static_argnums=1)
def _unstacked(params: Any, transposes: bool) -> Any:
  target = decode_weights.unstack_layers(params["target"])
  if transposes:
    each = tuple(decode_weights.transpose_kernels(layer) for layer in target["stack"]["layers"])
    target["stack"] = {**target["stack"], "layers": each}
  return {**params, "target": target}


def _empty(room: int, done_b: Array, seen_bv: Array | None, filled: decoders.DecodeCache) -> DecodeState:
  """Returns the state before the first token."""
  nothing_bn = jnp.zeros((len(done_b), room), jnp.int32)
  return DecodeState(
    drawn=jnp.int32(0),
    tokens_bn=nothing_bn,
    log_probabilities_bn=nothing_bn.astype(jnp.float32),
    last_b=nothing_bn[:, 0],
    done_b=done_b,
    broken_b=jnp.full((len(done_b),), room, jnp.int32),
    seen_bv=seen_bv,
    cache=filled,
  )


@dataclasses.dataclass(frozen=True)
class _Drawer:
  """Samples the next token of each row from its logits."""

  sampler: Any
  stops_v: np.ndarray
  allows: constraints.ConstraintFilter

  def __call__(self, state: DecodeState, draws: DrawState, logits_bv: Array) -> DecodeState:
    """Returns the state after one more token; finished rows get 0."""
    number = draws.before + state.drawn
    # Rows that have ended read padding, whose logits do not matter.
    broken_b = ~jnp.isfinite(logits_bv).all(-1) & ~state.done_b
    tokens_b = jnp.where(state.done_b, 0, self._tokens(state, draws, number, logits_bv)).astype(jnp.int32)
    # Of the model's own distribution, before filters, so that log-probabilities compare between samplers.
    chosen_b = jnp.take_along_axis(jax.nn.log_softmax(logits_bv), tokens_b[:, None], 1)[:, 0]
    chosen_b = jnp.where(state.done_b, 0.0, chosen_b)
    seen_bv = state.seen_bv
    if seen_bv is not None:
      seen_bv = seen_bv.at[jnp.arange(len(tokens_b)), tokens_b].set(True)
    return state._replace(
      drawn=state.drawn + 1,
      tokens_bn=_written(state.tokens_bn, tokens_b, state.drawn),
      log_probabilities_bn=_written(state.log_probabilities_bn, chosen_b, state.drawn),
      last_b=tokens_b,
      done_b=state.done_b | jnp.asarray(self.stops_v)[tokens_b],
      broken_b=jnp.where(broken_b, jnp.minimum(state.broken_b, state.drawn), state.broken_b),
      seen_bv=seen_bv,
    )

  def _tokens(self, state: DecodeState, draws: DrawState, number: Array, logits_bv: Array) -> Array:
    text = None
    if draws.text_bh is not None:
      # History and new tokens side by side: the new ones begin at a fixed column, and `end` says how many are valid.
      ids_bh = jnp.concatenate([draws.text_bh, state.tokens_bn], 1)
      text = constraints.TokenHistory(ids_bh, draws.text_bh.shape[1] + state.drawn)
    allowed_bv = self.allows(logits_bv, text, number)
    allowed_bv = jnp.where(self.stops_v & (number < draws.min_tokens), sampling.EXCLUDED, allowed_bv)
    seen = () if state.seen_bv is None else (state.seen_bv,)
    if getattr(self.sampler, "greedy", False):
      return sampling.argmax_token(self.sampler(allowed_bv, *seen))
    # A token's randomness depends on its row's key and its number alone, not on chunks or other rows.
    keys_b = jax.vmap(jax.random.fold_in, (0, None))(draws.keys_b, number)
    return sampling.draw_tokens(self.sampler(allowed_bv, *seen), keys_b)


def _written(all_bn: Array, new_b: Array, slot: Array) -> Array:
  return jax.lax.dynamic_update_slice(all_bn, new_b[:, None], (0, slot))
