"""Infilling with an encoder: fills masked positions one after another.

Each step reads the text with the earlier choices. The next position is the leftmost mask, or the one with the most
confident prediction (arXiv:1904.09324 fills several at a time).
B rows, T positions, V vocab.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model, from_dict, to_dict
from gen.errors import UserError
from gen.generation.decoding import decoders, decoding_batch, sampling
from gen.generation.decoding.sampling import Sampler
from gen.models import language_model

ORDERS = ("left", "surest")


class FilledTexts(NamedTuple):
  """The filled texts.

  Attributes:
    texts: ids of each row.
    log_probabilities: of the filled tokens at their positions, nats; 0 elsewhere.
  """

  texts: list[np.ndarray]
  log_probabilities: list[np.ndarray]


def fill_masks(
  module: Any,
  params: Any,
  prompts: Sequence[decoding_batch.Ids],
  mask: int,
  sampler: Sampler | sampling.LogitsFilter,
  key: Array,
  *,
  order: str = "left",
  banned: Sequence[int] = (),
) -> FilledTexts:
  """Fills every masked position of each text.

  Args:
    module: an encoder with a head, of `language_model.build_model`.
    params: its parameters.
    prompts: ids of each row, of any lengths, with `mask` at the positions to fill.
    mask: the id of the mask.
    sampler: its settings, or any filter of logits.
    key: each row derives its own from it and its prompt.
    order: left | surest.
    banned: ids that are never written, in addition to the mask.

  Raises:
    UserError: for a model that is no encoder, a text without a mask, or logits that are not finite.
  """
  model = module.config
  if model.family != "encoder":
    raise UserError(
      f"a model of family {model.family} cannot fill holes; it continues text (gen.generation.decoding.decode)"
    )
  if order not in ORDERS:
    raise UserError(f"order {order!r} is unknown; choose left or surest")
  if isinstance(sampler, Sampler):
    sampler.check(model.vocab)
  texts = decoding_batch.check_prompts(prompts, model.vocab)
  for row, ids in enumerate(texts):
    if mask not in ids:
      raise UserError(f"text {row} has no hole; put the mask's id {mask} where text is to be filled in")
    if model.context and len(ids) > model.context:
      raise UserError(f"text {row} has {len(ids)} tokens, more than the context window's {model.context}")
  program = _program(json.dumps(to_dict(model)), sampler, mask, order, tuple(banned))
  tokens_bt, pads_b = decoders.pad_prompts(texts, decoding_batch.MULTIPLE, left=False)
  # Padding on the right: positions are then those of training, which begin with the text.
  segments_bt = (np.arange(tokens_bt.shape[1]) < tokens_bt.shape[1] - pads_b[:, None]).astype(np.int32)
  filled_bt, log_bt, broken = program(params, tokens_bt, segments_bt, decoding_batch.row_keys(key, texts))
  if broken:
    raise UserError(
      "the model's logits are not finite numbers; its parameters are damaged, or its training diverged"
    )
  lengths = [len(ids) for ids in texts]
  return FilledTexts(
    [ids[:length] for ids, length in zip(np.asarray(filled_bt), lengths, strict=True)],
    [log[:length] for log, length in zip(np.asarray(log_bt), lengths, strict=True)],
  )


# jit caches by function object, so the same settings must give the same object. 16: of a few samplers and models.
@functools.lru_cache(maxsize=16)
def _program(model_json: str, sampler: Any, mask: int, order: str, banned: tuple[int, ...]) -> Any:
  model = from_dict(Model, json.loads(model_json))
  module = language_model.build_model(model)
  # A drawn mask would leave its position open, and the loop would not end.
  never_v = np.isin(np.arange(model.vocab), (mask, *banned))

  def one_more(params: Any, segments_bt: Array, keys_b: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
    tokens_bt, log_bt, count, broken = carry
    logits_btv: Any = module.apply({"params": params}, tokens_bt, segments_bt=segments_bt)
    each_b, holes_bt = jnp.arange(len(tokens_bt)), (tokens_bt == mask) & (segments_bt > 0)
    best_bt = jax.nn.log_softmax(logits_btv).max(-1)
    # argmax takes the first of equal values, so all zeros give the leftmost mask.
    # One mask a row and step, all rows at once: rows with fewer masks wait, unchanged.
    place_b = jnp.where(holes_bt, best_bt if order == "surest" else 0.0, -jnp.inf).argmax(-1)
    logits_bv = logits_btv[each_b, place_b]
    # Excluded before the filters, so that top-p and top-k count only ids that may be written.
    filtered_bv = sampler(jnp.where(never_v, sampling.EXCLUDED, logits_bv))
    drawn_b = sampling.draw_tokens(filtered_bv, jax.vmap(jax.random.fold_in, (0, None))(keys_b, count))
    open_b = holes_bt.any(-1)
    # Of the unfiltered distribution, as in `decode`.
    chosen_b = jax.nn.log_softmax(logits_bv)[each_b, drawn_b]
    tokens_bt = tokens_bt.at[each_b, place_b].set(jnp.where(open_b, drawn_b, tokens_bt[each_b, place_b]))
    log_bt = log_bt.at[each_b, place_b].set(jnp.where(open_b, chosen_b, log_bt[each_b, place_b]))
    return tokens_bt, log_bt, count + 1, broken | ~jnp.isfinite(logits_bv).all()

  def run(params: Any, tokens_bt: Array, segments_bt: Array, keys_b: Array) -> tuple[Array, Array, Array]:
    def goes_on(carry: tuple[Array, ...]) -> Array:
      # Padding is outside the segments: an id of padding that equals the mask is no hole. NaN ends the loop at once.
      return ((carry[0] == mask) & (segments_bt > 0)).any() & ~carry[3]

    begun: tuple[Array, ...] = (
      tokens_bt,
      jnp.zeros(tokens_bt.shape, jnp.float32),
      jnp.int32(0),
      jnp.bool_(False),
    )
    step = functools.partial(one_more, params, segments_bt, keys_b)
    tokens_bt, log_bt, _, broken = jax.lax.while_loop(goes_on, step, begun)
    return tokens_bt, log_bt, broken

  return jax.jit(run)
