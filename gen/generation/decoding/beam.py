"""Beam search: keeps the W most likely prefixes, and the finished texts with the best length-penalized scores.

A text of n tokens scores its log-probability divided by n^length_penalty: 0 prefers short texts, 1 is the mean, larger
values prefer long texts (a common simplification of arXiv:1609.08144, section 7). The search is one compiled loop.
B prompts, W beams, C candidates, N new tokens, V vocab.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen.config import Model, from_dict
from gen.errors import UserError
from gen.generation.decoding import compiled_decoding, constraints, decoders, decoding_batch
from gen.interop.generation_config import Constraints

# Finite, because -inf minus -inf is NaN; sums of log-probabilities stay far above it.
DEAD = -1e9  # log-probability of an unused beam
EARLY = (False, True, "never")


class BeamState(NamedTuple):
  """The finished texts of each prompt, best first.

  Attributes:
    tokens_bwn: new ids with the stop token; 0 after the end.
    lengths_bw: new tokens of each; 0 if fewer than W texts exist.
    scores_bw: log-probability over (lead + length)^length_penalty.
    lead: number of forced target ids after the first; they count towards the length, as in transformers.
  """

  tokens_bwn: np.ndarray
  lengths_bw: np.ndarray
  scores_bw: np.ndarray
  lead: int = 0

  def best(self) -> list[np.ndarray]:
    """Returns each prompt's best text."""
    return [tokens[0, : lengths[0]] for tokens, lengths in zip(self.tokens_bwn, self.lengths_bw, strict=True)]


class BeamRules(NamedTuple):
  """The static arguments of a compiled program."""

  beams: int
  early_stopping: bool | str
  max_tokens: int
  min_tokens: int
  stop_tokens: tuple[int, ...]
  constraints: Constraints
  lead: int


class BeamSearch(NamedTuple):
  """The state of a search; `open_b` marks prompts whose finished texts can still improve."""

  drawn: Array
  running_bwn: Array
  running_scores_bw: Array
  finished_bwn: Array
  finished_scores_bw: Array
  finished_lengths_bw: Array
  open_b: Array
  broken: Array
  logits_nv: Array
  cache: decoders.DecodeCache
  text_nh: Array | None = None


def beam_search(
  module: Any,
  params: Any,
  prompts: Sequence[decoding_batch.Ids],
  *,
  beams: int = 4,
  length_penalty: float = 1.0,
  early_stopping: bool | str = False,
  start: decoding_batch.Ids = (0,),
  prefix: bool = False,
  **limits: Any,
) -> BeamState:
  """Returns the best continuations of each prompt, or targets of each source, by beam search.

  Args:
    module: from `language_model.build_model`.
    params: its parameters.
    prompts: ids of each row, of any lengths.
    beams: W.
    length_penalty: exponent of the length.
    early_stopping: when a prompt with W finished texts is done: at once (True); when the best beam's score at its
      present length is no better than the worst of them (False); when no length could make it so ("never").
    start: first ids of an encoder-decoder's target.
    prefix: whether attention is bidirectional inside prompts, as in training with objective `prefix`.
    **limits: of `decoding_batch.DecodeLimits`: max_tokens, min_tokens, stop_tokens, window (error or truncate),
      constraints.

  Raises:
    UserError: as in `decode.generate`, and for invalid beams, penalties and policies.
  """
  rules = _checked(beams, length_penalty, early_stopping, decoding_batch.DecodeLimits(**limits))
  if module.config.family == "encoder_decoder":
    rules = rules._replace(lead=len(start) - 1)
  texts = decoding_batch.DecodingBatch(
    module.config, prompts, None, decoding_batch.DecodeLimits(**limits), start, None, prefix
  )
  params = compiled_decoding.unstack_layers(params)
  program = _program(texts.model_json, rules, prefix)
  search = program(params, texts.arranged(), texts.history(), np.float32(length_penalty))
  if int(search.broken) < rules.max_tokens:
    raise UserError(
      f"the model's logits are not finite numbers at new token {int(search.broken)}; its parameters are damaged, or"
      " its training diverged"
    )
  scores_bw = np.asarray(search.finished_scores_bw)
  lengths_bw = np.where(scores_bw > DEAD / 2, np.asarray(search.finished_lengths_bw), 0)
  tokens_bwn = np.asarray(search.finished_bwn)
  # Where fewer than W texts have ended, the others are dead beams, of length 0.
  within_bwn = np.arange(tokens_bwn.shape[-1]) < lengths_bw[..., None]
  return BeamState(np.where(within_bwn, tokens_bwn, 0), lengths_bw, scores_bw, rules.lead)


def _checked(beams: int, penalty: float, early: bool | str, limits: decoding_batch.DecodeLimits) -> BeamRules:
  if beams < 1:
    raise UserError(f"beams {beams} is not allowed; search with at least 1")
  if not np.isfinite(penalty):
    raise UserError(f"length_penalty {penalty} is not a finite number")
  if early not in EARLY:
    raise UserError(f"early_stopping {early!r} is unknown; choose False, True or 'never'")
  if limits.window == "slide" or limits.stop_strings:
    raise UserError(
      "beam search supports neither window slide nor stop strings; choose window truncate, and stop tokens"
    )
  return BeamRules(
    beams, early, limits.max_tokens, limits.min_tokens, tuple(limits.stop_tokens), limits.constraints, 0
  )


@functools.lru_cache(maxsize=32)
def _program(model_json: str, rules: BeamRules, prefix: bool) -> Any:
  model = from_dict(Model, json.loads(model_json))
  decoder = decoders.make_decoder(model, prefix)
  width = rules.beams

  def search(params: Any, prompts: decoders.PromptBatch, text_bh: Array | None, penalty: Array) -> BeamSearch:
    batch, length = prompts.tokens_bt.shape
    logits_bv, filled = decoder.prefill(params, prompts, length + rules.max_tokens)
    # Prompts are read once a row, and their cache is then copied to the W beams.
    copies_n = jnp.repeat(jnp.arange(batch), width)
    empty_bwn = jnp.zeros((batch, width, rules.max_tokens), jnp.int32)
    dead_bw = jnp.full((batch, width), DEAD, jnp.float32)
    begun = BeamSearch(
      drawn=jnp.int32(0),
      running_bwn=empty_bwn,
      running_scores_bw=dead_bw.at[:, 0].set(0.0),  # all beams equal the prompt, so only the first is active
      finished_bwn=empty_bwn,
      finished_scores_bw=dead_bw,
      finished_lengths_bw=empty_bwn[..., 0],
      open_b=jnp.ones((batch,), bool),
      broken=jnp.int32(rules.max_tokens),
      logits_nv=logits_bv[copies_n],
      cache=decoders.select_rows(filled, copies_n),
      text_nh=None if text_bh is None else text_bh[copies_n],
    )

    def goes_on(s: BeamSearch) -> Array:
      return (s.drawn < rules.max_tokens) & s.open_b.any()

    def body(s: BeamSearch) -> BeamSearch:
      s, from_n, tokens_n = _extend(s, rules, penalty, model.vocab)
      # A beam may continue another one, so the cache's rows are gathered before each step.
      logits_nv, longer = decoder.step(params, decoders.select_rows(s.cache, from_n), tokens_n)
      return s._replace(logits_nv=logits_nv, cache=longer)

    return jax.lax.while_loop(goes_on, body, begun)

  return jax.jit(search)


def _extend(s: BeamSearch, rules: BeamRules, penalty: Array, vocab: int) -> tuple[BeamSearch, Array, Array]:
  """Returns the search after one more token, each beam's source row, and each beam's token."""
  width = rules.beams
  scores_bc, from_bc, tokens_bc = _candidates(s, rules, vocab)
  # At the last token every text ends, with or without a stop token.
  ends_bc = _stops(rules, vocab)[tokens_bc] | (s.drawn + 1 == rules.max_tokens)
  longer_bcn = jnp.take_along_axis(s.running_bwn, from_bc[..., None], 1)
  longer_bcn = jnp.where(jnp.arange(rules.max_tokens) == s.drawn, tokens_bc[..., None], longer_bcn)
  finished = _finish(s, rules, penalty, scores_bc, ends_bc, longer_bcn)
  # Ended candidates sink below all others; enough remain, see `_candidates`.
  running_bw, chosen_bw = jax.lax.top_k(scores_bc + jnp.where(ends_bc, DEAD, 0.0), width)
  drawn = s.drawn + 1
  # The best score that a running beam can still reach: at the longest length for "never", as transformers
  # bounds it.
  longest = rules.max_tokens if rules.early_stopping == "never" else drawn
  # Log-probabilities are negative: with a positive penalty the longest text divides most, and bounds the score above.
  length = rules.lead + jnp.where(penalty > 0, longest, drawn)
  best_b = running_bw[:, 0] / length.astype(jnp.float32) ** penalty
  # Half of DEAD separates real scores from unused beams, to which small sums were added.
  full_b = (finished.finished_scores_bw > DEAD / 2).all(1)
  betters_b = ~full_b | (best_b > finished.finished_scores_bw.min(1))
  if rules.early_stopping is True:
    betters_b = ~full_b
  # Recorded and not raised: the loop is compiled. The caller reads `broken` at its end.
  bad = ~jnp.isfinite(s.logits_nv).all()
  from_bw = jnp.take_along_axis(from_bc, chosen_bw, 1)
  tokens_bw = jnp.take_along_axis(tokens_bc, chosen_bw, 1)
  # From the beam's number within its prompt to its row of the cache [B W].
  offsets_b1 = jnp.arange(len(from_bw))[:, None] * width
  after = finished._replace(
    drawn=drawn,
    running_bwn=jnp.take_along_axis(longer_bcn, chosen_bw[..., None], 1),
    running_scores_bw=running_bw,
    open_b=s.open_b & betters_b & ~bad,
    broken=jnp.where(bad, jnp.minimum(s.broken, s.drawn), s.broken),
  )
  return after, (from_bw + offsets_b1).reshape(-1), tokens_bw.reshape(-1)


def _stops(rules: BeamRules, vocab: int) -> Array:
  """Returns which ids end a text, [V]."""
  return jnp.asarray(np.isin(np.arange(vocab), rules.stop_tokens))


def _candidates(s: BeamSearch, rules: BeamRules, vocab: int) -> tuple[Array, Array, Array]:
  """Returns scores, beams and tokens [B, C] of the best extensions, of which at least W do not end."""
  batch, width = s.running_scores_bw.shape
  # Constraints come after the softmax, as in transformers' beam search: what they exclude is not redistributed.
  log_nv = jax.nn.log_softmax(s.logits_nv)
  text, stops_v = None, np.isin(np.arange(vocab), rules.stop_tokens)
  if s.text_nh is not None:
    ids_nh = jnp.concatenate([s.text_nh, s.running_bwn.reshape(batch * width, -1)], 1)
    text = constraints.TokenHistory(ids_nh, s.text_nh.shape[1] + s.drawn)
  log_nv = constraints.ConstraintFilter(rules.constraints, stops_v)(log_nv, text, s.drawn)
  log_nv = jnp.where(stops_v & (s.drawn < rules.min_tokens), -jnp.inf, log_nv)
  all_bc = (log_nv.reshape(batch, width, vocab) + s.running_scores_bw[..., None]).reshape(batch, -1)
  # At most one candidate per beam and stop token ends, so W that do not end remain, as in transformers.
  wanted = min(max(2, 1 + len(rules.stop_tokens)) * width, width * vocab)
  scores_bc, flat_bc = jax.lax.top_k(all_bc, wanted)
  return scores_bc, flat_bc // vocab, flat_bc % vocab


def _finish(
  s: BeamSearch, rules: BeamRules, penalty: Array, scores_bc: Array, ends_bc: Array, longer_bcn: Array
) -> BeamSearch:
  """Returns the search after merging ending candidates of the W best into the W best finished texts."""
  eligible_bc = (
    ends_bc & (scores_bc > DEAD / 2) & (jnp.arange(scores_bc.shape[1]) < rules.beams) & s.open_b[:, None]
  )
  # Only candidates among the W best may finish, as in transformers.
  final_bc = scores_bc / jnp.float32(rules.lead + s.drawn + 1) ** penalty
  merged = jnp.concatenate([s.finished_scores_bw, jnp.where(eligible_bc, final_bc, 2 * DEAD)], 1)
  scores_bw, kept_bw = jax.lax.top_k(merged, rules.beams)
  texts = jnp.concatenate([s.finished_bwn, longer_bcn], 1)
  lengths = jnp.concatenate([s.finished_lengths_bw, jnp.full_like(ends_bc, s.drawn + 1, jnp.int32)], 1)
  return s._replace(
    finished_bwn=jnp.take_along_axis(texts, kept_bw[..., None], 1),
    finished_scores_bw=jnp.maximum(scores_bw, DEAD),
    finished_lengths_bw=jnp.take_along_axis(lengths, kept_bw, 1),
  )
