"""Measures greedy decoding: time of prefill, decode and compilation, and size of the cache.

prefill    reading the prompts and generating one token
decode     each further token of all rows, from the difference between many tokens and one
"""

import statistics
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.errors import UserError
from gen.generation import compiled_decoding, decode, decoders, decoding_batch
from gen.generation.sampling import GREEDY


class DecodingSpeed(NamedTuple):
  """Medians over repeats.

  Attributes:
    batch: rows.
    prompt: tokens of each prompt, or of each source.
    new: generated tokens.
    compile_seconds: additional time of the first call.
    prefill_seconds: time to the first token of each row.
    decode_seconds: time of all further tokens.
    prefill_tokens_per_second: of the prompts.
    decode_tokens_per_second: of the further tokens, all rows together.
    tokens_per_second: new tokens per second of the complete call.
    cache_bytes: of keys, values and positions at the end.
    tokens: of the first row, for comparison with another implementation.
  """

  batch: int
  prompt: int
  new: int
  compile_seconds: float
  prefill_seconds: float
  decode_seconds: float
  prefill_tokens_per_second: float
  decode_tokens_per_second: float
  tokens_per_second: float
  cache_bytes: int
  tokens: list[int]


def random_prompts(vocab: int, batch: int, length: int, seed: int = 0) -> list[list[int]]:
  """Returns random ids, the same for all implementations."""
  return np.random.default_rng(seed).integers(3, vocab, (batch, length)).tolist()


def measure_decoding(
  module: Any,
  params: Any,
  *,
  batch: int,
  prompt: int,
  new: int,
  repeats: int = 5,
  start: decoding_batch.Ids = (0,),
) -> DecodingSpeed:
  """Returns the speed of greedy decoding of a decoder or an encoder-decoder, without stop tokens.

  Raises:
    UserError: for fewer than two new tokens, a family without a KV cache, or a length beyond the window.
  """
  model = module.config
  if new < 2:
    raise UserError(f"{new} new tokens leave no token to time after the first; ask for at least 2")
  if model.family not in ("decoder", "encoder_decoder"):
    raise UserError(f"a model of family {model.family} has no KV cache; take a decoder or an encoder-decoder")
  prompts = random_prompts(model.vocab, batch, prompt)
  params, key = compiled_decoding.unstack_layers(jax.device_put(params)), jax.random.key(0)

  def seconds(count: int) -> tuple[float, decode.GeneratedTokens]:
    begun = time.perf_counter()
    generated = decode.generate(module, params, prompts, GREEDY, key, start=start, max_tokens=count)
    return time.perf_counter() - begun, generated

  first = [seconds(count)[0] for count in (1, new)]
  timed = [(seconds(1)[0], *seconds(new)) for _ in range(repeats)]
  prefill, total = (statistics.median(times) for times in list(zip(*timed, strict=True))[:2])
  further = max(total - prefill, 1e-9)
  return DecodingSpeed(
    batch,
    prompt,
    new,
    sum(first) - prefill - total,
    prefill,
    further,
    batch * prompt / prefill,
    batch * (new - 1) / further,
    batch * new / total,
    _cache_bytes(model, batch, prompt, new, len(start)),
    timed[-1][2].rows()[0].tolist(),
  )


def _cache_bytes(model: Any, batch: int, prompt: int, new: int, start: int) -> int:
  """Returns the bytes of the cache, whose lengths are rounded up as `decode` rounds them."""

  def rounded(length: int) -> int:
    return -(-length // decoding_batch.MULTIPLE) * decoding_batch.MULTIPLE

  if model.family == "encoder_decoder":
    return decoders.cache_bytes(model, batch, rounded(start) + rounded(new), rounded(prompt))
  return decoders.cache_bytes(model, batch, rounded(prompt) + rounded(new))
