"""The host's state of a decoding batch: results, ends of rows, and the next prompts. B rows, N new tokens."""

import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model, to_dict
from gen.errors import UserError
from gen.generation.decoding import constraints, context_window, decoders
from gen.generation.decoding.compiled_decoding import DecodeState
from gen.generation.decoding.sampling import Sampler
from gen.interop.generation_config import UNCONSTRAINED, Constraints

# Lengths are rounded up to it, so that few programs are compiled; chosen: at most 15 positions of padding a row.
MULTIPLE = 16
MAX_TOKENS = 1 << 20  # new tokens; memory for them is allocated at the start
Ids = Sequence[int] | np.ndarray
Decode = Callable[[Any], str]


@dataclasses.dataclass(frozen=True)
class DecodeLimits:
  """When a row ends.

  Attributes:
    max_tokens: maximum number of new tokens.
    min_tokens: minimum number; before it, stop tokens are not generated and stop strings are ignored.
    stop_tokens: ids that end a row.
    stop_strings: texts that end a row; they require `decode`.
    window: policy beyond the context window: error | truncate | slide.
    constraints: of the model's files; a sampler's repetition penalty replaces theirs.
  """

  max_tokens: int = 64
  min_tokens: int = 0
  stop_tokens: tuple[int, ...] = ()
  stop_strings: tuple[str, ...] = ()
  window: str = "error"
  constraints: Constraints = UNCONSTRAINED

  def check(self, vocab: int) -> None:
    """Checks every limit.

    Raises:
      UserError: for the first invalid value.
    """
    if not 1 <= self.max_tokens <= MAX_TOKENS:
      raise UserError(f"max_tokens {self.max_tokens} is not allowed; ask for 1 to {MAX_TOKENS}")
    if not 0 <= self.min_tokens <= self.max_tokens:
      raise UserError(f"min_tokens {self.min_tokens} must be between 0 and max_tokens {self.max_tokens}")
    for token in self.stop_tokens:
      if not 0 <= token < vocab:
        raise UserError(f"stop token {token} is outside the vocabulary of {vocab}")
    if "" in self.stop_strings:
      raise UserError("a stop string is empty and would end every answer at once; leave it out")


class GeneratedTokens(NamedTuple):
  """Generated tokens.

  Attributes:
    tokens_bn: new ids with a row's stop token; 0 after its end.
    lengths_b: new tokens of each row.
    log_probabilities_bn: of each token in the unfiltered distribution, nats; 0 after the end.
    stopped_b: whether a stop token or string ended the row.
  """

  tokens_bn: np.ndarray
  lengths_b: np.ndarray
  log_probabilities_bn: np.ndarray
  stopped_b: np.ndarray

  def rows(self) -> list[np.ndarray]:
    """Returns each row's ids up to its length."""
    return [tokens[:length] for tokens, length in zip(self.tokens_bn, self.lengths_b, strict=True)]


class DecodingBatch:
  """The host's state of a decoding batch: results so far, finished rows, and the next prompts."""

  def __init__(
    self,
    model: Model,
    prompts: Sequence[Ids],
    sampler: Any,
    limits: DecodeLimits,
    start: Ids,
    decode: Decode | None,
    prefix: bool = False,
  ) -> None:
    decoders.make_decoder(model, prefix)  # raises for a family that cannot decode
    limits.check(model.vocab)
    if isinstance(sampler, Sampler):
      sampler.check(model.vocab)
      if sampler.repetition_penalty != 1:
        # Both penalties at once would multiply.
        limits = dataclasses.replace(limits, constraints=limits.constraints._replace(repetition_penalty=1.0))
    if limits.stop_strings and decode is None:
      raise UserError("stop strings need the argument decode, a function from ids to text")
    self.model, self.limits, self._decode = model, limits, decode
    self.window = decoders.window_length(model)
    self.model_json = json.dumps(to_dict(model))
    self.prompts = check_prompts(prompts, model.vocab)
    self.sources: list[np.ndarray] | None = None
    self.texts = self.prompts
    if model.family == "encoder_decoder":
      self.sources = context_window.fit_sources(self.prompts, self.window, limits.window)
      self.texts = check_prompts([start], model.vocab) * len(self.prompts)
    # The complete text. `texts` is what fits into the window, and constraints and penalties read all of it.
    self._said = list(self.texts)
    self.texts = list(context_window.fit_prompts(self.texts, limits.max_tokens, self.window, limits.window))
    self._penalizes = isinstance(sampler, Sampler) and sampler.repetition_penalty != 1
    batch = len(self.prompts)
    self.drawn = 0
    self.done_b, self.lengths_b = np.zeros(batch, bool), np.zeros(batch, np.int32)
    # Tokens up to here are in `texts` already.
    self._read_b = self.lengths_b.copy()
    self.stopped_b = np.zeros(batch, bool)
    self.tokens_bn = np.zeros((batch, limits.max_tokens), np.int32)
    self.log_probabilities_bn = np.zeros((batch, limits.max_tokens), np.float32)

  @property
  def finished(self) -> bool:
    """Whether every row has ended."""
    return bool(self.done_b.all())

  def next_chunk(self) -> int:
    """Stores new tokens, slides full windows, and returns how many tokens fit before the next slide."""
    for row, begin in enumerate(self._read_b):
      drawn_n = self.tokens_bn[row, begin : self.lengths_b[row]]
      self.texts[row] = np.concatenate([self.texts[row], drawn_n])
      self._said[row] = np.concatenate([self._said[row], drawn_n])
    self._read_b = self.lengths_b.copy()
    left, size = self.limits.max_tokens - self.drawn, self.window
    if self.limits.window != "slide" or not size:
      return left
    self.texts = [context_window.slide_window(text, size) for text in self.texts]
    # The chunk ends where the fullest window does, so that all rows slide together and share one program.
    rooms = [size - len(text) for text, done in zip(self.texts, self.done_b, strict=True) if not done]
    return max(1, min(left, *rooms))

  def arranged(self) -> decoders.PromptBatch:
    """Returns the model's inputs before the next token."""
    return decoders.arrange_prompts(self.texts, self.sources, MULTIPLE)

  def seen(self) -> np.ndarray | None:
    """Returns which tokens occur in each row, if the sampler needs it."""
    if not self._penalizes:
      return None
    seen_bv = np.zeros((len(self.prompts), self.model.vocab), bool)
    for row, text in enumerate(self._said):
      seen_bv[row, text] = True
    return seen_bv

  def history(self) -> np.ndarray | None:
    """Returns each row's text so far with `constraints.EMPTY` on its left, if a constraint needs it."""
    if not constraints.reads_text(self.limits.constraints):
      return None
    length = -(-max(map(len, self._said)) // MULTIPLE) * MULTIPLE
    # On the left, because constraints read the end of a text, such as its last n-gram.
    ids_bh = np.full((len(self._said), length), constraints.EMPTY, np.int32)
    for row, text in enumerate(self._said):
      ids_bh[row, length - len(text) :] = text
    return ids_bh

  def collect(self, state: DecodeState, before: int) -> None:
    """Stores the tokens generated since the last call, and ends rows."""
    # Reads from the device, and so waits for it; what follows is the host's work.
    count, broken_b = int(state.drawn), np.asarray(state.broken_b)
    # `broken_b` is the first step at which a row's logits were not finite; of rows that have none it is beyond the
    # count.
    if (broken_b < count).any():
      row = int(np.argmax(broken_b < count))
      raise UserError(
        f"the model's logits are not finite numbers at new token {before + int(broken_b[row])} of row {row};"
        " its parameters are damaged, or its training diverged"
      )
    earlier, now = self.drawn, before + count
    new = slice(earlier - before, count)
    self.tokens_bn[:, earlier:now] = np.asarray(state.tokens_bn)[:, new]
    self.log_probabilities_bn[:, earlier:now] = np.asarray(state.log_probabilities_bn)[:, new]
    self.drawn = now
    for row in np.flatnonzero(~self.done_b).tolist():
      self._end(row, earlier)
    # Set for rows that were not stopped: `stopped_b` stays false for them.
    self.done_b |= self.drawn >= self.limits.max_tokens

  def _end(self, row: int, earlier: int) -> None:
    """Ends a row at its first stop token, or at the end of a stop string."""
    tokens_n = self.tokens_bn[row, : self.drawn]
    stops = np.flatnonzero(np.isin(tokens_n[earlier:], self.limits.stop_tokens))
    ends = [earlier + int(stops[0]) + 1] if stops.size else []
    # Token by token: a stop string may end inside a chunk, and its tokens behind are dropped.
    for length in range(max(earlier, self.limits.min_tokens - 1) + 1, (ends or [self.drawn])[0] + 1):
      if self.limits.stop_strings and self._says_stop(tokens_n[:length]):
        ends = [length]
        break
    self.lengths_b[row] = ends[0] if ends else self.drawn
    if ends:
      self.done_b[row] = self.stopped_b[row] = True
      self.tokens_bn[row, ends[0] :] = 0
      self.log_probabilities_bn[row, ends[0] :] = 0

  def _says_stop(self, tokens_n: np.ndarray) -> bool:
    assert self._decode is not None
    # The whole text and not only the new tokens: a stop string may span a chunk, and bytes of one character two tokens.
    text = self._decode(tokens_n)
    return any(stop in text for stop in self.limits.stop_strings)

  def generated(self) -> GeneratedTokens:
    """Returns the tokens generated so far."""
    drawn = slice(self.drawn)
    return GeneratedTokens(
      self.tokens_bn[:, drawn].copy(),
      self.lengths_b.copy(),
      self.log_probabilities_bn[:, drawn].copy(),
      self.stopped_b.copy(),
    )


def check_prompts(prompts: Sequence[Ids], vocab: int) -> list[np.ndarray]:
  """Returns prompts as arrays.

  Raises:
    UserError: for none, an empty one, or an id outside the vocabulary.
  """
  if len(prompts) == 0:
    raise UserError("there is no prompt; give at least one")
  rows = [np.asarray(ids) for ids in prompts]
  for row, ids in enumerate(rows):
    if ids.ndim != 1:
      raise UserError(
        f"prompt {row} is {ids.tolist()!r}; give prompts as a list of lists of ids, as in [[5, 6]]"
      )
    if ids.size == 0:
      raise UserError(f"prompt {row} is empty; give at least one token")
    if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= vocab:
      raise UserError(
        f"prompt {row} holds an id outside the model's vocabulary of {vocab}; was another tokenizer used?"
      )
  return [ids.astype(np.int32) for ids in rows]


def row_keys(key: Array, prompts: Sequence[Ids]) -> Array:
  """Returns a key for each prompt, from its ids and the number of equal prompts before it.

  So a prompt's text does not depend on the batch, and copies of a prompt differ.
  """
  if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.wrap_key_data(key)
  if key.ndim == 1:
    if len(key) != len(prompts):
      raise UserError(
        f"there are {len(key)} keys for {len(prompts)} prompts; give one key, or one per prompt"
      )
    return key
  # crc32, because Python's hash of bytes differs between processes.
  names = [zlib.crc32(np.asarray(ids, np.int32).tobytes()) for ids in prompts]
  copies = [names[:row].count(name) for row, name in enumerate(names)]
  # Folded twice: by the prompt, and by how many equal prompts came before.
  fold = jax.vmap(lambda name, copy: jax.random.fold_in(jax.random.fold_in(key, name), copy))
  return fold(np.array(names, np.uint32), np.array(copies, np.uint32))
