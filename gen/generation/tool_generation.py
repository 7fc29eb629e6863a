"""Generation with tools: stops at each tool call, inserts its result, and continues.

Generated ids are kept unchanged; only results are encoded. Prompts are processed as a batch: each round generates
until every row has ended or calls a tool.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from gen.errors import UserError
from gen.generation import text, tools
from gen.generation.decoding import compiled_decoding, decode
from gen.generation.decoding.sampling import Sampler
from gen.generation.loaded_model import LoadedModel


class ToolCall(NamedTuple):
  """A tool call and its inserted result."""

  call: str
  result: str


class ToolAnswer(NamedTuple):
  """Generated text with tool results.

  Attributes:
    text: the complete text, without the stop string.
    calls: in order.
    tokens: number of generated ids, without results.
    stopped: whether a stop token or string ended it.
  """

  text: str
  calls: list[ToolCall]
  tokens: int
  stopped: bool


@dataclasses.dataclass
class _Row:
  """The state of one text: ids of the prompt, ids after it, and the remaining budget of new tokens."""

  prompt: str
  ids: np.ndarray
  left: int
  continuation: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
  calls: list[ToolCall] = dataclasses.field(default_factory=list)
  written: int = 0
  text: str = ""
  stopped: bool = False

  @property
  def done(self) -> bool:
    return self.stopped or self.left < 1


def answer_with_tools(
  restored: LoadedModel,
  prompts: Sequence[str],
  registry: tools.ToolRegistry | None,
  sampler: Sampler,
  key: Array,
  *,
  max_tokens: int = 64,
  max_calls: int = 8,
  stop_strings: tuple[str, ...] = (),
  policy: str = "error",
) -> list[ToolAnswer]:
  """Returns the answers to prompts, in which the model may call tools.

  Args:
    restored: a generative model, from `loaded_model.load_model`.
    prompts: texts.
    registry: the tools; None lets the model generate results itself.
    sampler: how tokens are drawn.
    key: of all randomness.
    max_tokens: maximum number of generated tokens, without results.
    max_calls: maximum number of calls; further ones return an error.
    stop_strings: texts that end an answer and are not part of it; ignored inside results.
    policy: beyond the context window: error, truncate or slide.

  Raises:
    UserError: for an encoder, and as in `text.stream_answers`.
  """
  if restored.model.family == "encoder":
    raise UserError("an encoder cannot call tools; take a decoder or an encoder-decoder")
  rows = [_Row(prompt, text.prompt_ids(restored, prompt), max_tokens) for prompt in prompts]
  # The arrow is a stop string of its own: generation pauses there, before the model writes a result itself.
  halts = stop_strings if registry is None else (tools.ARROW, *stop_strings)
  while any(not row.done for row in rows):
    waiting = [row for row in rows if not row.done]
    generated = _round(restored, waiting, len(rows), sampler, key, halts, policy)
    for row, (tokens, stopped) in zip(waiting, generated, strict=True):
      _take(
        restored,
        row,
        # The batch runs to the largest budget left, so a row may have more tokens than its own.
        tokens[: row.left],
        stopped and len(tokens) <= row.left,
        registry,
        max_calls,
        stop_strings,
      )
  return [ToolAnswer(row.text, row.calls, row.written, row.stopped) for row in rows]


def _round(
  restored: LoadedModel,
  rows: list[_Row],
  batch: int,
  sampler: Sampler,
  key: Array,
  halts: tuple[str, ...],
  policy: str,
) -> list[tuple[np.ndarray, bool]]:
  """Returns the new tokens of each row until it ends or calls a tool; an encoder-decoder's rows run one by one."""
  how = restored.reading
  options: dict[str, Any] = {
    "max_tokens": max(row.left for row in rows),
    "window": policy,
    "stop_tokens": how.stop,
    "stop_strings": halts,
    "decode": lambda ids: text.detokenize(restored, ids),
    "prefix": how.prefix,
    "constraints": how.constraints,
  }
  if restored.model.family == "encoder_decoder":
    drawn, params = [], compiled_decoding.unstack_layers(restored.params)
    for row in rows:
      # A decoder start of its own length for each row, which a batch could not share.
      start = (*how.start, *row.continuation.tolist())
      row_tokens = decode.generate(restored.module, params, [row.ids], sampler, key, start=start, **options)
      drawn.append((row_tokens.rows()[0], bool(row_tokens.stopped_b[0])))
    return drawn
  # The texts so far are read again: inserted results are not in the cache.
  prompts = [np.concatenate([row.ids, row.continuation]) for row in rows]
  prompts += [prompts[-1]] * (batch - len(prompts))  # one shape for all rounds
  generated = decode.generate(restored.module, restored.params, prompts, sampler, key, **options)
  return [(generated.rows()[i], bool(generated.stopped_b[i])) for i in range(len(rows))]


def _take(
  restored: LoadedModel,
  row: _Row,
  tokens: np.ndarray,
  stopped: bool,
  registry: tools.ToolRegistry | None,
  max_calls: int,
  stop_strings: tuple[str, ...],
) -> None:
  """Stores a row's new tokens, and answers the call at their end."""
  new = text.detokenize(restored, tokens)
  # Results do not count: a tool's text must not use up the model's budget.
  row.left, row.written = row.left - len(tokens), row.written + len(tokens)
  ends = [new.index(stop) for stop in stop_strings if stop in new]
  arrow = new.find(tools.ARROW)
  if ends and (arrow < 0 or min(ends) < arrow):
    row.text, row.stopped = row.text + new[: min(ends)], True
    return
  if arrow < 0 or registry is None:
    row.continuation, row.text, row.stopped = (
      np.concatenate([row.continuation, tokens]),
      row.text + new,
      stopped,
    )
    return
  call_text = new[: arrow + len(tools.ARROW)]
  # Searched in the prompt as well, since a call may have been opened there.
  call = tools.find_open_call(row.prompt + row.text + call_text)
  if call is None:
    ended = bool(len(tokens)) and int(tokens[-1]) in restored.reading.stop
    row.continuation, row.text, row.stopped = (
      np.concatenate([row.continuation, tokens]),
      row.text + new,
      ended,
    )
    return
  result = registry.result(call) if len(row.calls) < max_calls else f"error: no more than {max_calls} calls"
  row.calls.append(ToolCall(call, result))
  if call_text != new:  # the last token contains text after the arrow, which is dropped
    # The prefix of ids stays as drawn; only the cut piece is encoded again, so the model reads back what it wrote.
    before = text.detokenize(restored, tokens[:-1])
    tokens = np.concatenate([tokens[:-1], restored.tokenizer.encode(call_text[len(before) :])])
  put = f" {result}{tools.CLOSE}"
  row.continuation = np.concatenate([row.continuation, tokens, restored.tokenizer.encode(put)]).astype(
    np.int32
  )
  row.text += call_text + put
