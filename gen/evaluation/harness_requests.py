"""Parses requests of lm-evaluation-harness: settings of generation, and windows of long texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gen.errors import UserError
from gen.generation.decoding import sampling

MAX_TOKENS_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
SAMPLER_NAMES = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


class RequestSettings(NamedTuple):
  """Settings of generation.

  Attributes:
    sampler: of the next token.
    max_tokens: maximum number of new tokens.
    until: texts that end it and are not part of it.
  """

  sampler: sampling.Sampler
  max_tokens: int
  until: tuple[str, ...]


def read_settings(settings: Mapping[str, Any], max_tokens: int) -> RequestSettings:
  """Reads the generation_kwargs of a task.

  Args:
    settings: until, do_sample, temperature, top_k, top_p, min_p, repetition_penalty, max_gen_toks or an alias of it.
    max_tokens: default number of new tokens.

  Raises:
    UserError: for an unknown setting.

  >>> read_settings({"until": "end", "max_gen_toks": 3}, max_tokens=256)[1:]
  (3, ('end',))
  """
  left = dict(settings)
  until = left.pop("until", None) or []
  # Each name is an alias of the one before; the first that is set counts.
  lengths = [left.pop(name) for name in MAX_TOKENS_NAMES if left.get(name) is not None]
  chosen = {name: left.pop(name) for name in SAMPLER_NAMES if name in left}
  draws = left.pop("do_sample", None)
  if draws is None:
    # A temperature asks for sampling; without one decoding is greedy.
    draws = chosen.get("temperature", 0) > 0
  if left.pop("num_beams", 1) != 1 or any(value is not None for value in left.values()):
    raise UserError(
      f"generation_kwargs {settings} are not all supported; supported are until, do_sample, {', '.join(SAMPLER_NAMES)}"
      f" and {MAX_TOKENS_NAMES[0]}"
    )
  sampler = sampling.Sampler(**(chosen if draws else chosen | {"temperature": 0.0}))
  stops = [until] if isinstance(until, str) else until
  return RequestSettings(sampler, int((lengths or [max_tokens])[0]), tuple(stop for stop in stops if stop))


def rolling_windows(tokens: Sequence[int], before: int, size: int) -> Iterator[tuple[list[int], int]]:
  """Yields windows of at most size + 1 tokens, and the number of tokens to predict at the end of each.

  Each token is predicted once. The first window starts with the token `before`; the last one has the maximum
  context.

  >>> list(rolling_windows([1, 2, 3, 4, 5], before=0, size=3))
  [([0, 1, 2, 3], 3), ([2, 3, 4, 5], 2)]
  """
  for begin in range(0, len(tokens), size):
    end = min(begin + size, len(tokens))
    # Only the first window lacks a token before its own; later ones read their context from the text.
    first = [before] if begin == 0 else []
    yield [*first, *tokens[max(0, end - size - 1) : end]], end - begin
