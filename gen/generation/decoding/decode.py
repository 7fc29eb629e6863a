"""Text generation, token by token: prompts are read once, then one compiled loop samples with a cache.

`generate` returns when all rows are done; `stream_tokens` yields partial results after every few tokens. A row's text
depends only on the key and its prompt, not on other rows or on how often results are read. B rows.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.generation.decoding import compiled_decoding, decoding_batch, sampling
from gen.generation.decoding.decoding_batch import Decode, DecodeLimits, GeneratedTokens, Ids
from gen.generation.decoding.sampling import Sampler

# Tokens between two checks for a stop string, which need the host; chosen: at most 7 tokens are decoded in vain.
TOKENS_PER_CHUNK = 8


def generate(
  module: Any,
  params: Any,
  prompts: Sequence[Ids],
  sampler: Sampler | sampling.LogitsFilter,
  key: Array,
  *,
  start: Ids = (0,),
  decode: Decode | None = None,
  prefix: bool = False,
  **limits: Any,
) -> GeneratedTokens:
  """Continues each prompt, or generates the target of each source if the model is an encoder-decoder.

  Args:
    module: from `language_model.build_model`.
    params: its parameters, or the result of `compiled_decoding.unstack_layers`, which saves time over many calls.
    prompts: ids of each row, of any lengths.
    sampler: its settings, or any filter of logits.
    key: each row derives its own from it and its prompt; or one key per row, [B].
    start: first ids of an encoder-decoder's target.
    decode: ids to text, for stop strings.
    prefix: whether attention is bidirectional inside prompts, as in training with objective `prefix`.
    **limits: fields of `DecodeLimits`: max_tokens, min_tokens, stop_tokens, stop_strings, window, constraints.

  Raises:
    UserError: for an empty prompt, one beyond the window, an invalid setting, or logits that are not finite.
  """
  rules = DecodeLimits(**limits)
  every = TOKENS_PER_CHUNK if rules.stop_strings else rules.max_tokens
  steps = stream_tokens(
    module, params, prompts, sampler, key, start=start, decode=decode, prefix=prefix, every=every, **limits
  )
  # Runs the generator to its end and keeps its last value.
  (last,) = collections.deque(steps, maxlen=1)
  return last


def stream_tokens(
  module: Any,
  params: Any,
  prompts: Sequence[Ids],
  sampler: Sampler | sampling.LogitsFilter,
  key: Array,
  *,
  start: Ids = (0,),
  decode: Decode | None = None,
  prefix: bool = False,
  every: int = 1,
  **limits: Any,
) -> Iterator[GeneratedTokens]:
  """Yields partial results of `generate`: after the first token, then after every `every` tokens."""
  texts = decoding_batch.DecodingBatch(
    module.config, prompts, sampler, DecodeLimits(**limits), start, decode, prefix
  )
  keys_b = decoding_batch.row_keys(key, texts.prompts)
  # Once, not for each chunk: the loop of decoding reads each layer's weights by name.
  params = compiled_decoding.unstack_layers(params)
  # An outer round for each slide of the window, which reads the text anew; an inner one for each result.
  while not texts.finished:
    chunk, before = texts.next_chunk(), texts.drawn
    # The cache's length in the compiled program. It counts only new tokens; those of prompts are rounded up as well.
    room = -(-chunk // decoding_batch.MULTIPLE) * decoding_batch.MULTIPLE
    rules = texts.limits.constraints
    made = compiled_decoding.decode_programs(
      texts.model_json, sampler, texts.limits.stop_tokens, room, prefix, rules
    )
    min_tokens = np.int32(texts.limits.min_tokens)
    draws = compiled_decoding.DrawState(keys_b, np.int32(before), min_tokens, texts.history())
    state = made.start(params, texts.arranged(), draws, texts.done_b, texts.seen())
    while True:
      texts.collect(state, before)
      yield texts.generated()
      if texts.finished or texts.drawn - before >= chunk:
        break
      until = min(texts.drawn - before + every, chunk)
      # The host decides which rows have ended (stop strings need text), so it hands their flags back to the device.
      state = made.advance(params, state._replace(done_b=jnp.array(texts.done_b)), draws, np.int32(until))
