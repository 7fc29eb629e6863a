"""Text from a model, token by token: prompts are read once, then one compiled loop draws with a cache.

`generate` returns when all rows are done; `stream` yields what there is after every few tokens. A row's text depends
on the key and its prompt alone: not on the rows beside it, nor on how often one looks. B rows.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.generation import programs, rows, sampling
from gen.generation.rows import Decode, Generated, Ids, Limits
from gen.generation.sampling import Sampler

LOOK = 8  # tokens between two looks for a stop string


def generate(
  module: Any,
  params: Any,
  prompts: Sequence[Ids],
  sampler: Sampler | sampling.Filter,
  key: Array,
  *,
  start: Ids = (0,),
  decode: Decode | None = None,
  prefix: bool = False,
  **limits: Any,
) -> Generated:
  """Continues each prompt, or writes the target of each source where the model is an encoder-decoder.

  Args:
    module: what `families.build` gave.
    params: its parameters, or what `programs.apart` made of them once, for many calls.
    prompts: ids of each row, of any lengths.
    sampler: its settings, or any filter of logits.
    key: of which every row makes its own, from its prompt; or one key a row, [B].
    start: what an encoder-decoder's target begins with.
    decode: ids to text, for stop strings.
    prefix: whether prompts are seen both ways, as a decoder learned that was trained with objective `prefix`.
    **limits: fields of `Limits`: max_tokens, min_tokens, stop_tokens, stop_strings, window, constraints.

  Raises:
    UserError: for an empty prompt, one beyond the window, a setting that cannot be, or logits that are not finite.
  """
  rules = Limits(**limits)
  every = LOOK if rules.stop_strings else rules.max_tokens
  how: dict[str, Any] = {"start": start, "decode": decode, "prefix": prefix, "every": every}
  steps = stream(module, params, prompts, sampler, key, **how, **limits)
  (last,) = collections.deque(steps, maxlen=1)
  return last


def stream(
  module: Any,
  params: Any,
  prompts: Sequence[Ids],
  sampler: Sampler | sampling.Filter,
  key: Array,
  *,
  start: Ids = (0,),
  decode: Decode | None = None,
  prefix: bool = False,
  every: int = 1,
  **limits: Any,
) -> Iterator[Generated]:
  """Yields what `generate` will have returned, so far as it is drawn: first one token, then `every` few more."""
  texts = rows.Rows(module.config, prompts, sampler, Limits(**limits), start, decode, prefix)
  keys_b = rows.row_keys(key, texts.prompts)
  params = programs.apart(params)
  while not texts.finished:
    chunk, before = texts.next_chunk(), texts.drawn
    room = -(-chunk // rows.MULTIPLE) * rows.MULTIPLE
    rules = texts.limits.constraints
    made = programs.compiled(texts.model_json, sampler, texts.limits.stop_tokens, room, prefix, rules)
    least = np.int32(texts.limits.min_tokens)
    draws = programs.Draws(keys_b, np.int32(before), least, texts.history())
    state = made.start(params, texts.arranged(), draws, texts.done_b, texts.seen())
    while True:
      texts.collect(state, before)
      yield texts.generated()
      if texts.finished or texts.drawn - before >= chunk:
        break
      until = min(texts.drawn - before + every, chunk)
      state = made.advance(params, state._replace(done_b=jnp.array(texts.done_b)), draws, np.int32(until))
