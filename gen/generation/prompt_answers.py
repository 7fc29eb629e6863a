"""Answers to one prompt: sampled, with a single answer streamed to the terminal, or found by beam search."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import jax

from gen.generation import text
from gen.generation.decoding import beam
from gen.generation.decoding.decode import DecodeLimits
from gen.generation.decoding.sampling import Sampler
from gen.generation.loaded_model import LoadedModel


def fit_limits(restored: LoadedModel, prompt: str, limits: DecodeLimits, blank: str) -> DecodeLimits:
  """Returns limits with as many new tokens as fit into the window, where fewer fit.

  A prompt that fills the window itself changes nothing, so that its error names what does not fit.

  Args:
    restored: the model.
    prompt: the text to continue.
    limits: with a number of new tokens that nobody asked for.
    blank: what marks a blank in the prompt.
  """
  use = text.count_tokens(restored, prompt, 0, blank)
  # A sliding window takes any number of tokens, and an encoder generates none.
  if not use.window or limits.window == "slide" or restored.model.family == "encoder":
    return limits
  # An encoder-decoder's target has a window of its own, which begins with the start tokens.
  used = len(restored.reading.start) if restored.model.family == "encoder_decoder" else use.prompt
  if limits.window == "truncate":
    # Of a long prompt half a window is kept.
    used = min(used, use.window // 2)
  left = use.window - used
  return dataclasses.replace(limits, max_tokens=left) if 0 < left < limits.max_tokens else limits


def sample_answers(
  restored: LoadedModel,
  prompt: str,
  sampler: Sampler,
  limits: DecodeLimits,
  count: int,
  seed: int,
  blank: str,
  streams: bool,
) -> list[text.TextAnswer]:
  """Samples answers to a prompt.

  Args:
    restored: the model.
    prompt: the text to continue.
    sampler: how tokens are drawn.
    limits: of each answer.
    count: number of answers.
    seed: of the random draws.
    blank: what marks a blank in the prompt.
    streams: whether the first answer is printed while it is generated.
  """
  printed, answers = "", []
  steps = text.stream_answers(
    restored,
    [prompt] * count,
    sampler,
    jax.random.key(seed),
    blank=blank,
    every=int(streams),
    max_tokens=limits.max_tokens,
    min_tokens=limits.min_tokens,
    window=limits.window,
    stop_strings=limits.stop_strings,
  )
  for answers in steps:
    so_far = text.without_partial_stop(answers[0].text, limits.stop_strings)
    if streams and so_far.startswith(printed):
      print(so_far[len(printed) :], end="", flush=True)
      printed = so_far
  if streams:
    print(answers[0].text[len(printed) :])
  return answers


def search_answers(
  restored: LoadedModel, prompt: str, limits: DecodeLimits, beams: int, length_penalty: float, blank: str
) -> list[text.TextAnswer]:
  """Returns the answers of a beam search, the best first.

  Args:
    restored: the model.
    prompt: the text to continue.
    limits: of each answer; stop strings are not used.
    beams: hypotheses at a time, and answers.
    length_penalty: exponent of the length that scores are divided by.
    blank: what marks a blank in the prompt.
  """
  ids = text.prompt_ids(restored, prompt, blank)
  hypotheses = beam.beam_search(
    restored.module, restored.params, [ids], beams=beams, length_penalty=length_penalty,
    start=restored.reading.start, stop_tokens=restored.reading.stop, prefix=restored.reading.prefix,
    max_tokens=limits.max_tokens, min_tokens=limits.min_tokens, window=limits.window,
    constraints=restored.reading.constraints,
  )  # fmt: skip
  answers = []
  for tokens, length, score in zip(
    hypotheses.tokens_bwn[0], hypotheses.lengths_bw[0], hypotheses.scores_bw[0], strict=True
  ):
    new = tokens[:length]
    total = float(score) * float(hypotheses.lead + length) ** length_penalty
    stopped = bool(length) and int(new[-1]) in restored.reading.stop
    answers.append(text.TextAnswer(text.detokenize(restored, new), new, total, stopped))
  return answers


def report_answers(answers: Sequence[text.TextAnswer]) -> None:
  """Prints several answers, each with its tokens and its log-probability in nats."""
  for number, answer in enumerate(answers, 1):
    nats = f"{answer.log_probability:.2f} nats"
    print(f"--- {number} of {len(answers)}: {len(answer.tokens)} tokens, {nats}\n{answer.text}")


def warn_tokenless(restored: LoadedModel, answers: Sequence[text.TextAnswer]) -> None:
  """Warns on standard error of ids without a token, which a model with more rows than ids can generate."""
  count = sum(int((answer.tokens >= restored.tokenizer.vocab).sum()) for answer in answers)
  if count:
    print(
      f"{count} new ids have no token and are printed as nothing: the model has {restored.model.vocab} rows and the"
      f" tokenizer {restored.tokenizer.vocab} ids",
      file=sys.stderr,
    )


def print_count(restored: LoadedModel, prompt: str, new: int, blank: str) -> dict[str, Any]:
  """Prints how much of the context window a prompt and its answer use; returns the same as plain values.

  Args:
    restored: the model.
    prompt: the text to continue.
    new: number of tokens of the answer.
    blank: what marks a blank in the prompt.
  """
  count = text.count_tokens(restored, prompt, new, blank)
  window = "no context window"
  if count.left is not None:
    left = f"{count.left} left of" if count.left >= 0 else f"{-count.left} more than"
    window = f"{left} the context window's {count.window}"
  print(f"{count.prompt} tokens of the prompt and {count.new} new ones: {count.used} used, {window}")
  return count._asdict() | {"used": count.used, "left": count.left}
