"""The likelihood of a text after a prompt, for a model of any family.

    decoder, rnn       log p(answer | prompt), with bidirectional attention to the prompt for objective `prefix`
    encoder-decoder    log p(target | source): the prompt is the source, and the target has the format of training:
                       the answer after a sentinel, inside the complete text, or alone
    encoder            the answer fills a blank from left to right; later tokens are still masked
                       (pseudo-likelihood as in arXiv:1910.14659, but each token depends only on earlier ones)

Prompt and answer are tokenized as one text, as in training.
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
from gen.generation import text
from gen.generation.decoding import context_window, decoders
from gen.generation.loaded_model import LoadedModel
from gen.models import language_model

# 64 MiB in float32, and as much again for their log-softmax.
MAX_LOGITS = 1 << 24  # in memory at a time
# Shapes are rounded up to these, so that few programs are compiled; chosen: little padding, and full products.
MAX_ROWS, MULTIPLE = 32, 16


class AnswerLikelihood(NamedTuple):
  """The likelihood of an answer.

  Attributes:
    log_probability: of all its tokens, nats.
    tokens: their number.
    bytes: UTF-8 bytes of the answer.
    greedy: whether each token was the most likely one.
  """

  log_probability: float
  tokens: int
  bytes: int
  greedy: bool


class ScoredRow(NamedTuple):
  """One row of model input: which of its predictions count, and for which answer.

  Attributes:
    owner: index of the answer.
    inputs: ids.
    targets: target id of each input.
    first: index of the first prediction that counts.
    counted: number of predictions that count.
    source: of an encoder-decoder, or None.
    prefix: number of first inputs with bidirectional attention.
  """

  owner: int
  inputs: list[int]
  targets: list[int]
  first: int
  counted: int
  source: np.ndarray | None = None
  prefix: int = 0


def answer_likelihoods(
  restored: LoadedModel,
  pairs: Sequence[tuple[str, str]],
  *,
  blank: str = text.BLANK,
  ends: bool = False,
  policy: str = "error",
) -> list[AnswerLikelihood]:
  """Returns the likelihood of each answer after its prompt.

  Args:
    restored: a model of any family, from `loaded_model.load_model`.
    pairs: prompts and answers; an encoder's prompt has one blank, which the answer fills.
    blank: its mark.
    ends: whether the end token after the answer counts too (not for an encoder).
    policy: beyond the context window: error, or truncate to drop the prompt's left.

  Raises:
    UserError: for an empty prompt or answer, one beyond the window, or logits that are not finite.
  """
  rows = [
    row
    for owner, (prompt, answer) in enumerate(pairs)
    for row in rows_for(restored, prompt, answer, owner, blank=blank, ends=ends, policy=policy)
  ]
  sums, greedy = np.zeros(len(pairs)), np.ones(len(pairs), bool)
  tokens = np.zeros(len(pairs), int)
  for row, (nats, best) in zip(rows, score_rows(restored, rows), strict=True):
    sums[row.owner] += nats
    greedy[row.owner] &= best
    tokens[row.owner] += row.counted
  return [
    AnswerLikelihood(float(sums[i]), int(tokens[i]), len(answer.encode()), bool(greedy[i]))
    for i, (_, answer) in enumerate(pairs)
  ]


def rows_for(
  restored: LoadedModel,
  prompt: str,
  answer: str,
  owner: int = 0,
  *,
  blank: str = text.BLANK,
  ends: bool = False,
  policy: str = "error",
) -> list[ScoredRow]:
  """Returns the model inputs for an answer's likelihood: one row, or one per token of the answer for an encoder.

  Args:
    restored: a model of any family.
    prompt: text before the answer; an encoder's has one blank.
    answer: text whose likelihood is computed.
    owner: index of the answer, stored in its rows.
    blank: the mark of a blank.
    ends: whether the end token after the answer counts too (not for an encoder).
    policy: beyond the context window: error, or truncate.

  Raises:
    UserError: as in `answer_likelihoods`.
  """
  text.prompt_ids(restored, prompt, blank)  # raises for an invalid prompt
  if restored.model.family == "encoder":
    return _cloze(restored, owner, prompt, answer, blank)
  if restored.model.family == "encoder_decoder":
    return [_translated(restored, owner, prompt, answer, blank, ends, policy)]
  how = restored.reading
  context_ids, new = split_ids(restored, prompt, answer)
  ids = [*how.before, *context_ids, *new, *(how.stop[:1] if ends else ())]
  count = len(new) + int(ends and bool(how.stop))
  (ids_n,) = _fitted([np.array(ids)], count, restored, policy)
  # The prediction at position t is of token t + 1, so the answer's first one stands at the prompt's last token.
  ids, first = ids_n.tolist(), len(ids_n) - count - 1
  if first < 0:
    raise UserError(f"prompt {prompt!r} has no token to predict the answer from; give a longer prompt")
  return [ScoredRow(owner, ids[:-1], ids[1:], first, count, prefix=first + 1 if how.prefix else 0)]


def split_ids(restored: LoadedModel, prompt: str, answer: str) -> tuple[list[int], list[int]]:
  """Returns the ids of the prompt and of the answer after it, tokenized as one text.

  A piece across the boundary belongs to the answer.

  Raises:
    UserError: for an answer without a token.
  """
  # The prompt's own ids are no prefix of the text's where a piece spans the boundary, so both are compared.
  alone = restored.tokenizer.encode(prompt).tolist()
  ids = restored.tokenizer.encode(prompt + answer).tolist()
  same = [a == b for a, b in zip(alone, ids, strict=False)]
  seam = len(same) if all(same) else same.index(False)
  if not ids[seam:]:
    raise UserError(f"the answer {answer!r} has no tokens; give some text")
  return ids[:seam], ids[seam:]


def _fitted(texts: list[np.ndarray], count: int, restored: LoadedModel, policy: str) -> list[np.ndarray]:
  size = decoders.window_length(restored.model)
  if policy == "error" and size and len(texts[0]) - 1 > size:
    prompt = len(texts[0]) - count
    raise UserError(
      f"a prompt of {prompt} tokens and an answer of {count} need more than the context window's {size}; take fewer"
      " examples, or truncate"
    )
  if policy not in ("error", "truncate"):
    raise UserError(f"window {policy!r} is unknown; choose error or truncate")
  # One more than the window, as the last token is a target only.
  return [ids[-(size + 1) :] for ids in texts] if size else texts


def _translated(
  restored: LoadedModel, owner: int, prompt: str, answer: str, blank: str, ends: bool, policy: str
) -> ScoredRow:
  how = restored.reading
  (source,) = context_window.fit_sources(
    [text.prompt_ids(restored, prompt, blank)], restored.model.context, policy
  )
  before, after = _spelled(restored, prompt, blank)
  if isinstance(before, str):
    source_ids, new = (
      split_ids(restored, before, answer) if before else ([], split_ids(restored, "", answer)[1])
    )
    source_ids = [*how.before, *source_ids]
  else:
    source_ids, new = before, split_ids(restored, "", answer)[1]
  end = list(how.stop[:1]) if ends and not after else []
  target, begin = [*source_ids, *new, *end], list(how.start)
  if not begin:
    raise UserError(
      f"{restored.where} does not define the start token of its targets; add decoder_start_token_id to its config"
    )
  inputs = [*begin, *target[:-1]]
  first, count = len(begin) - 1 + len(source_ids), len(new) + len(end)
  if restored.model.context and len(inputs) > restored.model.context:
    raise UserError(
      f"a target of {len(inputs)} tokens needs more than the context window's {restored.model.context}; take a"
      " shorter answer"
    )
  return ScoredRow(owner, inputs, [*begin[1:], *target], first, count, source)


def _spelled(restored: LoadedModel, prompt: str, blank: str) -> tuple[str | list[int], bool]:
  """Returns the target's beginning before the answer, as ids or text, and whether more text follows the answer."""
  objective = restored.reading.objective
  if objective == "ul2" or (objective.startswith("span_corruption") and blank in prompt):
    return [restored.tokenizer.sentinel(0)], False
  if blank in prompt:  # the target is the complete text
    before, _, after = prompt.partition(blank)
    return before, bool(after)
  return [], False


def _cloze(restored: LoadedModel, owner: int, prompt: str, answer: str, blank: str) -> list[ScoredRow]:
  if prompt.count(blank) != 1:
    raise UserError(f"an encoder's prompt has one blank {blank!r}, not {prompt.count(blank)}: {prompt!r}")
  mask, holes = restored.tokenizer.mask, text.prompt_ids(restored, prompt, blank)
  new = restored.tokenizer.encode(answer).tolist()
  if not new:
    raise UserError(f"the answer {answer!r} has no tokens; give some text")
  column = holes.tolist().index(mask)
  left, right = holes[:column].tolist(), holes[column + 1 :].tolist()
  size = restored.model.context
  if size and len(left) + len(new) + len(right) > size:
    raise UserError(
      f"a prompt of {len(holes) - 1} tokens and an answer of {len(new)} need more than the context window's {size};"
      " take fewer examples"
    )
  rows = []
  for predicted in range(len(new)):
    # Later tokens of the answer stay masked, or the model could read off the end of a word.
    inputs = [*left, *new[:predicted], *[mask] * (len(new) - predicted), *right]
    targets = [*left, *new, *right]
    rows.append(ScoredRow(owner, inputs, targets, column + predicted, 1))
  return rows


def score_rows(
  restored: LoadedModel, rows: Sequence[ScoredRow], max_rows: int = MAX_ROWS
) -> list[tuple[float, bool]]:
  """Returns the log-probability of the counted predictions of each row, nats, and whether all were the most likely.

  Rows of similar lengths form a batch.

  Args:
    restored: a model of any family.
    rows: of input, none longer than the window.
    max_rows: maximum rows per batch; fewer if their logits would be more than `MAX_LOGITS`.

  Raises:
    UserError: for logits that are not finite.
  """
  program = _program(json.dumps(to_dict(restored.model)))
  scores: list[tuple[float, bool]] = [(0.0, True)] * len(rows)
  # By length, so that a batch is padded little.
  order = sorted(range(len(rows)), key=lambda i: (round_length(len(rows[i].inputs)), i))
  while order:
    length = round_length(len(rows[order[0]].inputs))
    # At least one row, even if its logits alone are more than the limit.
    limit = max(1, min(max_rows, MAX_LOGITS // (length * restored.model.vocab)))
    taken = [i for i in order[:limit] if round_length(len(rows[i].inputs)) == length]
    order = order[len(taken) :]
    nats_b, best_b = program(restored.params, *rows_to_arrays([rows[i] for i in taken], limit, length))
    for position, i in enumerate(taken):
      scores[i] = float(nats_b[position]), bool(best_b[position])
  if not np.isfinite([nats for nats, _ in scores]).all():
    raise UserError(
      "the model's logits are not finite numbers; its parameters are damaged, or its training diverged"
    )
  return scores


def round_length(tokens: int) -> int:
  """Returns a number of tokens rounded up, so that few programs are compiled.

  >>> round_length(17)
  32
  """
  return -(-tokens // MULTIPLE) * MULTIPLE


def rows_to_arrays(rows: Sequence[ScoredRow], batch: int, length: int) -> tuple[Any, ...]:
  """Returns rows as arrays: inputs, targets, weights, segments and prefix [B, T], source and its segments [B, S].

  Rows are padded, and the last row is repeated to fill the batch; missing parts are None.
  """
  # A full batch always: another number of rows would compile another program.
  rows = [*rows, *[rows[-1]] * (batch - len(rows))]
  inputs_bt, targets_bt, segments_bt, prefix_bt = np.zeros((4, batch, length), np.int32)
  weights_bt = np.zeros((batch, length), np.float32)
  for b, row in enumerate(rows):
    size = len(row.inputs)
    inputs_bt[b, :size], targets_bt[b, :size], segments_bt[b, :size] = row.inputs, row.targets, 1
    prefix_bt[b, : row.prefix] = 1
    weights_bt[b, row.first : row.first + row.counted] = 1
  sources = [row.source for row in rows if row.source is not None]
  prefix = prefix_bt if prefix_bt.any() else None
  if not sources:
    return inputs_bt, targets_bt, weights_bt, segments_bt, prefix, None, None
  source_bs, pads_b = decoders.pad_prompts(sources, MULTIPLE, left=False)
  filled_bs = np.arange(source_bs.shape[1]) < source_bs.shape[1] - pads_b[:, None]
  return inputs_bt, targets_bt, weights_bt, segments_bt, prefix, source_bs, filled_bs.astype(np.int32)


@functools.lru_cache(maxsize=16)
def _program(model_json: str) -> Any:
  module = language_model.build_model(from_dict(Model, json.loads(model_json)))

  def run(
    params: Any,
    inputs_bt: Array,
    targets_bt: Array,
    weights_bt: Array,
    segments_bt: Array,
    prefix_bt: Array | None,
    source_bs: Array | None,
    source_segments_bs: Array | None,
  ) -> tuple[Array, Array]:
    # A target attends to its complete source: both are segment 1.
    others: dict[str, Any] = {"segments_bt": segments_bt, "prefix_bt": prefix_bt}
    if source_bs is not None:
      others |= {"source_bs": source_bs, "source_segments_bs": source_segments_bs}
    logits_btv: Any = module.apply({"params": params}, inputs_bt, **others)
    # In float32: nats of long answers are sums of many terms, and choices differ by fractions of one.
    log_btv = jax.nn.log_softmax(logits_btv.astype(jnp.float32))
    chosen_bt = jnp.take_along_axis(log_btv, targets_bt[..., None], axis=-1)[..., 0]
    # Positions that do not count are true, so that `all` is over those that do.
    best_bt = (log_btv.argmax(-1) == targets_bt) | (weights_bt == 0)
    return jnp.where(weights_bt > 0, chosen_bt, 0.0).sum(-1), best_bt.all(-1)

  return jax.jit(run)
