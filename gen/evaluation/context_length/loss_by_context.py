"""Use of the context: loss against the number of visible words, time and memory against the length of the text.

W windows, T length, K visible words, D width. A window is the text before one target, from the beginning of the K-th
latest word. All K use the same targets, so that curves differ only by the visible context.
"""

import copy
import functools
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gen import counts
from gen.batch import Batch
from gen.config import Model, Run, from_dict, to_dict
from gen.data.objectives import token_tables
from gen.data.token_stream import TokenStream
from gen.errors import UserError
from gen.kernels import losses
from gen.models import language_model, recurrent
from gen.training import step


def of_equal_size(model: Model, family: str, step_of_width: int = 4) -> Model:
  """Returns a recurrent model of another family whose parameters are nearest to those of a model, of the same depth.

  Its layers are pre-norm residual branches, as in the transformer, so that only the mechanism of context differs.

  Args:
    model: complete, with its vocabulary.
    family: of the recurrent model.
    step_of_width: the width is a multiple of it.
  """
  wanted = counts.count_parameters(model).total

  def of(width: int) -> Model:
    return Model(
      family=family, vocab=model.vocab, width=width, depth=model.depth, tied=model.tied, context=model.context,
      head_bias=model.head_bias, residual=True, norm=model.norm, norm_bias=model.norm_bias,
      dropout=model.dropout, dtype=model.dtype, scan=model.scan,
    )  # fmt: skip

  def gap(width: int) -> int:
    return abs(counts.count_parameters(of(width)).total - wanted)

  width = step_of_width
  # Parameters grow with the width, so the distance falls to one minimum.
  while gap(width + step_of_width) < gap(width):
    width += step_of_width
  return of(width)


def recurrent_run(run: Run, family: str, learning_rate: float) -> Run:
  """Returns the run of a recurrent model with as many parameters, on the same tokens in the same order.

  Args:
    run: of the transformer.
    family: of the recurrent model: rnn | lstm | gru.
    learning_rate: its peak; 0 is the transformer's.
  """
  # The optimizer is changed below, and configs are mutable.
  recurrent = copy.deepcopy(run)
  recurrent.model = of_equal_size(run.model, family)
  recurrent.optimizer.peak_learning_rate = learning_rate or run.optimizer.peak_learning_rate
  return recurrent


def words_in(stream: TokenStream) -> np.ndarray:
  """Returns the number of the word that each token of a stream belongs to; a document's first token begins one.

  If no token of the vocabulary begins a word, each token is a word.
  """
  tokenizer = stream.tokenizer
  names = ["" if tokenizer.is_special(i) else tokenizer.name(i) for i in range(tokenizer.vocab)]
  begins_v = token_tables.word_starts(names)
  if not begins_v.any():
    return np.arange(len(stream.ids))
  begins_n = begins_v[stream.ids]
  begins_n[stream.starts] = True
  return np.cumsum(begins_n)


class Windows(NamedTuple):
  """Texts before the targets, padded on the right.

  Attributes:
    ids_wt: visible tokens, 0 after them.
    lengths_w: number of visible tokens.
    targets_w: the next token.
  """

  ids_wt: np.ndarray
  lengths_w: np.ndarray
  targets_w: np.ndarray


def draw_windows(
  stream: TokenStream, words: Sequence[int], max_length: int, count: int, seed: int = 0
) -> list[Windows]:
  """Returns windows for each number of words in `words`, before the same random targets.

  The word that a target continues counts as the latest. Each target has `max(words)` words before it in its
  document, within `max_length` tokens.

  Raises:
    UserError: if the stream has no such target.
  """
  word_n = words_in(stream)
  place_n = np.arange(len(stream.ids))
  document_n = stream.starts[np.searchsorted(stream.starts, place_n, side="right") - 1]

  # The first token of the number-th latest word: word numbers ascend, so it is found by bisection.
  def start(place: np.ndarray, number: int) -> np.ndarray:
    return np.searchsorted(word_n, word_n[place - 1] - number + 1)

  candidates = place_n[1:]
  far = start(candidates, max(words))
  enough = word_n[candidates - 1] >= word_n[document_n[candidates]] + max(words) - 1
  fits = enough & (document_n[candidates] < candidates) & (candidates - far <= max_length)
  able = candidates[fits]
  if not len(able):
    raise UserError(
      f"no validation document has {max(words)} words in {max_length} tokens; take fewer visible words or "
      "more text"
    )
  # Sorted, so that windows next to each other share memory of the stream.
  chosen = np.sort(np.random.default_rng(seed).choice(able, min(count, len(able)), replace=False))
  return [_cut(stream, chosen, start(chosen, number)) for number in words]


def _cut(stream: TokenStream, places_w: np.ndarray, starts_w: np.ndarray) -> Windows:
  lengths_w = places_w - starts_w
  longest = 1 << int(lengths_w.max() - 1).bit_length()  # powers of two: few shapes are compiled
  index_wt = starts_w[:, None] + np.arange(longest)
  inside_wt = index_wt < places_w[:, None]
  ids_wt = np.where(inside_wt, stream.ids[np.where(inside_wt, index_wt, 0)], 0).astype(np.int32)
  return Windows(ids_wt, lengths_w.astype(np.int32), stream.ids[places_w].astype(np.int32))


def losses_at(model: Model, params: Any, seen: Windows, batch: int = 64) -> np.ndarray:
  """Returns the loss of each window's target, in nats."""
  losses_w: list[np.ndarray] = []
  for begin in range(0, len(seen.targets_w), batch):
    # np.resize repeats rows to fill the last batch, so one program serves all; repeated ones are cut off below.
    part = Windows(*(np.resize(array[begin : begin + batch], (batch, *array.shape[1:])) for array in seen))
    real = min(batch, len(seen.targets_w) - begin)
    losses_w.append(np.asarray(_losses(json.dumps(to_dict(model)), params, part), np.float64)[:real])
  return np.concatenate(losses_w)


def mean_and_error(values_w: np.ndarray) -> tuple[float, float]:
  """Returns the mean of independent values and its standard error, None for a single value.

  >>> mean_and_error(np.array([1.0, 3.0]))
  (2.0, 1.0)
  """
  error = values_w.std(ddof=1) / np.sqrt(len(values_w)) if len(values_w) > 1 else np.nan
  return float(values_w.mean()), float(error)


class ContextPoint(NamedTuple):
  """A model's loss with a number of visible words, in nats.

  Attributes:
    words: number of visible words.
    loss: mean over the targets.
    standard_error: of the loss; differences between models are more precise, as all use the same targets.
    gain: mean paired decrease of the loss since the previous point; None at the first point.
    gain_error: its standard error.
  """

  words: int
  loss: float
  standard_error: float
  gain: float | None = None
  gain_error: float | None = None


class ComparedModel(NamedTuple):
  """A trained model of a comparison.

  Attributes:
    family: of the model.
    width: of the model.
    depth: of the model.
    params: N of the laws.
    params_total: all parameters.
    tokens: read in training.
    flops: of training.
    loss: on validation text, nats per token.
    seconds: inside training steps.
    learning_rate: the peak.
    reach: visible words up to which the loss falls by more than twice the standard error.
    by_words: loss by visible words.
    by_length: cost by length of the text.
  """

  family: str
  width: int
  depth: int
  params: int
  params_total: int
  tokens: int
  flops: float
  loss: float
  seconds: float
  learning_rate: float
  reach: int
  by_words: Sequence[ContextPoint]
  by_length: Sequence["PassCost"]


def loss_curve(
  model: Model, params: Any, words: Sequence[int], seen: Sequence[Windows]
) -> list[ContextPoint]:
  """Returns the model's loss at each number of words, from `draw_windows`."""
  points: list[ContextPoint] = []
  before_w: np.ndarray | None = None
  for number, count in zip(words, seen, strict=True):
    now_w = losses_at(model, params, count)
    # Paired by target: what makes a target hard cancels, so the error of a gain is far below that of a loss.
    gained = mean_and_error(before_w - now_w) if before_w is not None else (None, None)
    points.append(ContextPoint(number, *mean_and_error(now_w), *gained))
    before_w = now_w
  return points


def useful_context(points: Sequence[ContextPoint]) -> int:
  """Returns the largest number of words with a decrease of the loss of at least two standard errors.

  >>> two, four = ContextPoint(2, 4.5, 0.1, 0.5, 0.02), ContextPoint(4, 4.49, 0.1, 0.01, 0.02)
  >>> useful_context([ContextPoint(1, 5.0, 0.1), two, four])
  2
  """
  steps = [(point.words, point.gain, point.gain_error) for point in points]
  used = [
    words for words, gain, error in steps if gain is not None and error is not None and gain >= 2 * error
  ]
  return max(used, default=points[0].words)


@functools.partial(jax.jit, static_argnums=0)
def _losses(model_json: str, params: Any, seen: Windows) -> Array:
  model = from_dict(Model, json.loads(model_json))
  module = language_model.build_model(model)
  length = seen.ids_wt.shape[1]
  # Padding on the right: a causal model's last visible position does not see it.
  segments_wt = (jnp.arange(length) < seen.lengths_w[:, None]).astype(jnp.int32)
  hidden_wtd: Any = module.apply({"params": params}, seen.ids_wt, segments_bt=segments_wt, method="hidden")
  hidden_wd: Array = jnp.take_along_axis(hidden_wtd, (seen.lengths_w - 1)[:, None, None], axis=1)[:, 0]
  kernel_dv, bias_v = cast(
    tuple[Array, Array | None], module.apply({"params": params}, method="head_weights")
  )
  # The last visible position alone, [W, V]: logits of all positions would be T times as large.
  logits_wv = hidden_wd.astype(jnp.float32) @ kernel_dv
  logits_wv = logits_wv if bias_v is None else logits_wv + bias_v[None]
  if model.logits_soft_cap:
    # As in `losses.cross_entropy`, which is not used because it has no loss for each row.
    logits_wv = model.logits_soft_cap * jnp.tanh(logits_wv / model.logits_soft_cap)
  chosen_w = jnp.take_along_axis(logits_wv, seen.targets_w[:, None], axis=1)[:, 0]
  return jax.nn.logsumexp(logits_wv, axis=1) - chosen_w


def remembered_bytes(model: Model, length: int) -> int:
  """Returns the size of a model's cache of one text, in bytes of float32.

  A decoder stores keys and values of every token and layer; a recurrent model stores a state of fixed size.

  >>> lstm, decoder = Model(family="lstm", width=64, depth=2), Model(width=64, depth=2)
  >>> remembered_bytes(lstm, 1000), remembered_bytes(decoder, 1000)
  (1024, 1024000)
  """
  if model.recurrent:
    state = jax.eval_shape(lambda: recurrent.init_recurrent_state(model, 1))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  # Keys and values, 4 bytes each.
  return 2 * model.target_depth * model.target.key_value_width * length * 4


class PassCost(NamedTuple):
  """The cost of one text.

  Attributes:
    length: tokens.
    seconds_per_token: of forward and backward pass, the fastest of several calls.
    step_bytes: temporary memory of these.
    remembered_bytes: of state or cache at the end.
  """

  length: int
  seconds_per_token: float
  step_bytes: int
  remembered_bytes: int


def measure_cost(model: Model, length: int, repeats: int = 5) -> PassCost:
  """Measures a training pass (forward and backward) over one text, with arbitrary parameters."""
  # Learned positions must reach the longest text; their values do not change the time.
  model = Model(**(vars(model) | {"context": max(model.context, length)}))
  ids = np.random.default_rng(0).integers(0, model.vocab, (1, length)).astype(np.int32)
  batch = Batch(ids, ids, np.ones((1, length), np.float32), np.ones_like(ids), np.arange(length)[None])
  params = jax.tree.map(
    # Any numbers do, as long as they are finite: time does not depend on them.
    lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype),
    language_model.parameter_shapes(model),
  )

  def total(params: Any, batch: Batch) -> Array:
    return step.batch_loss(model, losses.LossTerms(), params, batch).loss

  program = jax.jit(jax.grad(total)).lower(params, batch).compile()
  analysis = program.memory_analysis()
  seconds = []
  for _ in range(repeats + 1):  # the first warms up
    begun = time.perf_counter()
    jax.block_until_ready(program(params, batch))
    seconds.append(time.perf_counter() - begun)
  temporary = int(getattr(analysis, "temp_size_in_bytes", 0))
  # The fastest call: others were slowed by other programs.
  return PassCost(length, min(seconds[1:]) / length, temporary, remembered_bytes(model, length))
