"""Measures greedy decoding: time of prefill, decode and compilation, and size of the cache.

prefill    reading the prompts and generating one token
decode     each further token of all rows, from the difference between many tokens and one
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.errors import UserError
from gen.generation.decoding import compiled_decoding, decode, decoders, decoding_batch
from gen.generation.decoding.sampling import GREEDY


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
  # From 3 on: the lowest ids are mostly special tokens.
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
  (measured,) = measure_in_turn(
    [(module, params)], batch=batch, prompt=prompt, new=new, repeats=repeats, start=start
  )
  return measured


def measure_in_turn(
  models: Sequence[tuple[Any, Any]],
  *,
  batch: int,
  prompt: int,
  new: int,
  repeats: int = 5,
  start: decoding_batch.Ids = (0,),
) -> list[DecodingSpeed]:
  """Returns the speed of each of several models of one vocabulary, as `measure_decoding` does.

  They take turns in each repeat, so that what else the machine does slows all of them.

  Args:
    models: module and parameters of each.
    batch: rows.
    prompt: tokens of each prompt, or of each source.
    new: tokens to generate.
    repeats: timed calls of each kind.
    start: what targets begin with.
  """
  if new < 2:
    raise UserError(f"{new} new tokens leave no token to time after the first; ask for at least 2")
  for module, _ in models:
    family = module.config.family
    if family not in ("decoder", "encoder_decoder"):
      raise UserError(f"a model of family {family} has no KV cache; take a decoder or an encoder-decoder")
  prompts = random_prompts(models[0][0].config.vocab, batch, prompt)
  placed = [(module, compiled_decoding.unstack_layers(jax.device_put(params))) for module, params in models]
  key = jax.random.key(0)

  def seconds(module: Any, params: Any, count: int) -> tuple[float, decode.GeneratedTokens]:
    begun = time.perf_counter()
    generated = decode.generate(module, params, prompts, GREEDY, key, start=start, max_tokens=count)
    return time.perf_counter() - begun, generated

  # Both lengths once, since each compiles programs of its own; this round is not timed.
  first = [sum(seconds(*each, count)[0] for count in (1, new)) for each in placed]
  timed = [[(seconds(*each, 1)[0], *seconds(*each, new)) for each in placed] for _ in range(repeats)]
  measured = []
  for index, compiled in enumerate(first):
    rounds = [row[index] for row in timed]
    # Reading the prompt is in both times, so their difference is that of the further tokens.
    prefill, total = (statistics.median(times) for times in list(zip(*rounds, strict=True))[:2])
    # Noise may make the difference of two short times negative.
    further = max(total - prefill, 1e-9)
    measured.append(
      DecodingSpeed(
        batch,
        prompt,
        new,
        # The first round compiled and ran once; what it took beyond a usual round was compilation.
        compiled - prefill - total,
        prefill,
        further,
        batch * prompt / prefill,
        batch * (new - 1) / further,
        batch * new / total,
        _cache_bytes(placed[index][0].config, batch, prompt, new, len(start)),
        rounds[-1][2].rows()[0].tolist(),
      )
    )
  return measured


class DecodingBytes(NamedTuple):
  """Memory of the program that generates tokens.

  Attributes:
    params: bytes of the parameters, as decoding holds them.
    state: of the cache and the tokens so far.
    temporaries: of the compiled program, by XLA's account.
  """

  params: int
  state: int
  temporaries: int

  @property
  def total(self) -> int:
    """All three."""
    return self.params + self.state + self.temporaries


def decoding_bytes(module: Any, params: Any, *, batch: int, prompt: int, new: int) -> DecodingBytes:
  """Returns the memory of generating tokens with a cache, from the compiled program; runs nothing."""
  limits = decoding_batch.DecodeLimits(max_tokens=new)
  prompts = [np.asarray(ids) for ids in random_prompts(module.config.vocab, batch, prompt)]
  texts = decoding_batch.DecodingBatch(module.config, prompts, GREEDY, limits, (0,), None, False)
  # Rounded as `decode` rounds it, so that the program is the one that runs.
  room = -(-new // decoding_batch.MULTIPLE) * decoding_batch.MULTIPLE
  programs = compiled_decoding.decode_programs(texts.model_json, GREEDY, (), room, False, limits.constraints)
  params = compiled_decoding.unstack_layers(jax.device_put(params))
  keys_b = decoding_batch.row_keys(jax.random.key(0), texts.prompts)
  draws = compiled_decoding.DrawState(keys_b, np.int32(0), np.int32(0), texts.history())
  state = jax.eval_shape(programs.start, params, texts.arranged(), draws, texts.done_b, texts.seen())
  compiled = programs.advance.lower(params, state, draws, np.int32(new)).compile()  # type: ignore[attr-defined]
  sizes = [sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) for tree in (params, state)]
  return DecodingBytes(sizes[0], sizes[1], compiled.memory_analysis().temp_size_in_bytes)


def _cache_bytes(model: Any, batch: int, prompt: int, new: int, start: int) -> int:
  """Returns the bytes of the cache, whose lengths are rounded up as `decode` rounds them."""

  def rounded(length: int) -> int:
    return -(-length // decoding_batch.MULTIPLE) * decoding_batch.MULTIPLE

  if model.family == "encoder_decoder":
    return decoders.cache_bytes(model, batch, rounded(start) + rounded(new), rounded(prompt))
  return decoders.cache_bytes(model, batch, rounded(prompt) + rounded(new))
