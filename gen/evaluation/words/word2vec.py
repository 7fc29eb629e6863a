"""Word vectors: skip-gram and CBOW (arXiv:1301.3781) with negative sampling (arXiv:1310.4546).

Both are written for rows of consecutive words rather than for single pairs: the scores of all pairs in a row are one
matrix product, of which a band is kept, and a row shares its negatives. In expectation that is the loss of the paper,
at two gathered vectors a word instead of one a pair.

B rows, T places of a row (S the same, as contexts), N negatives of a row, V words, D width.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

KINDS = ("skip_gram", "cbow")
BETA1, BETA2 = 0.9, 0.999  # Adam's (arXiv:1412.6980, algorithm 1)
STEPS = 32  # that one compiled call takes at most; more only lengthen the epoch's padding


class WordTables(NamedTuple):
  """The parameters: word vectors `inputs_vd`, and output vectors `outputs_vd`."""

  inputs_vd: Array
  outputs_vd: Array


class WordRows(NamedTuple):
  """Rows of consecutive words after subsampling of frequent words.

  Attributes:
    ids_bt: words, int32.
    documents_bt: the document of each, -1 for padding, int32.
  """

  ids_bt: Array | np.ndarray
  documents_bt: Array | np.ndarray


class WindowDraws(NamedTuple):
  """Random numbers of a batch of rows.

  Attributes:
    windows_bt: window size of each word to either side, int32.
    negatives_bn: noise words of each row, int32.
  """

  windows_bt: Array
  negatives_bn: Array


class AliasTable(NamedTuple):
  """An alias table over V words; a sample costs two look-ups (Walker 1977; Vose 1991).

  Attributes:
    keep_v: probability to keep a word drawn uniformly.
    other_v: the word used otherwise.
  """

  keep_v: Array | np.ndarray
  other_v: Array | np.ndarray


def initialize_tables(vocab: int, width: int, key: Array) -> WordTables:
  """Returns inputs uniform in +-1 / (2 D) and outputs of zero, as in the authors' program."""
  bound = 0.5 / width
  inputs_vd = jax.random.uniform(key, (vocab, width), jnp.float32, -bound, bound)
  return WordTables(inputs_vd, jnp.zeros((vocab, width), jnp.float32))


def keep_probabilities(counts_v: np.ndarray, threshold: float) -> np.ndarray:
  """Returns the probability to keep an occurrence of each word: min(1, sqrt(t / f)).

  f is the word's frequency; arXiv:1310.4546, equation 5, drops it with 1 - sqrt(t / f). A threshold of 0 keeps all.
  """
  frequencies_v = counts_v / counts_v.sum()
  return np.minimum(1.0, np.sqrt(threshold / frequencies_v)) if threshold else np.ones(len(counts_v))


def negative_distribution(counts_v: np.ndarray, power: float = 0.75) -> AliasTable:
  """Returns the distribution of negatives, the words' counts to the power 3/4 (arXiv:1310.4546, 2.2)."""
  # Between the unigram (1) and the uniform distribution (0): rare words are negatives more often than they occur.
  weights_v = np.asarray(counts_v, np.float64) ** power
  share_v = weights_v / weights_v.sum() * len(weights_v)
  # Words that are left at the end have a share of 1 up to rounding, and keep themselves.
  keep_v, other_v = np.ones(len(share_v)), np.arange(len(share_v), dtype=np.int32)
  poor, rich = list(np.flatnonzero(share_v < 1)), list(np.flatnonzero(share_v >= 1))
  # Vose's construction: each step fills one word's share up from a word with more than its share.
  while poor and rich:
    receiver, giver = poor.pop(), rich[-1]
    keep_v[receiver], other_v[receiver] = share_v[receiver], giver
    share_v[giver] -= 1 - share_v[receiver]
    if share_v[giver] < 1:
      poor.append(rich.pop())
  return AliasTable(keep_v.astype(np.float32), other_v)


def sample_alias(distribution: AliasTable, key: Array, shape: tuple[int, ...]) -> Array:
  """Draws words, int32."""
  places, chances = jax.random.split(key)
  drawn = jax.random.randint(places, shape, 0, len(distribution.keep_v))
  keeps = jax.random.uniform(chances, shape) < jnp.asarray(distribution.keep_v)[drawn]
  return jnp.where(keeps, drawn, jnp.asarray(distribution.other_v)[drawn])


def draw_windows(
  key: Array, distribution: AliasTable, rows: int, length: int, window: int, negatives: int
) -> WindowDraws:
  """Draws window sizes uniformly from 1 to `window`, so that near words weigh more, and negatives."""
  windows, words = jax.random.split(key)
  windows_bt = jax.random.randint(windows, (rows, length), 1, window + 1)
  return WindowDraws(windows_bt, sample_alias(distribution, words, (rows, negatives)))


def pair_weights(rows: WordRows, windows_bt: Array) -> Array:
  """Returns 1 where s is another position of the same document in t's window; float32 [B, T, S]."""
  length = rows.ids_bt.shape[1]
  distance_ts = jnp.abs(jnp.arange(length)[:, None] - jnp.arange(length)[None, :])
  near_bts = (distance_ts > 0)[None] & (distance_ts[None] <= windows_bt[:, :, None])
  # Windows do not cross documents, and padding (-1) is no context.
  documents_bt = jnp.asarray(rows.documents_bt)
  same_bts = documents_bt[:, :, None] == documents_bt[:, None, :]
  return (near_bts & same_bts & (documents_bt >= 0)[:, :, None]).astype(jnp.float32)


def negative_sampling_loss(
  kind: str, tables: WordTables, rows: WordRows, draws: WindowDraws, negatives: float
) -> tuple[Array, Array]:
  """Returns (sum, weight) of the negative-sampling loss -log s(x.y) - k E log s(-x.z) (arXiv:1310.4546, 2.2).

  Skip-gram: x is the vector of a word, y the output of each word in its window; the weight counts pairs.
  CBOW: x is the mean of the vectors in a word's window, y the output of the word itself; the weight counts words.
  z runs over the outputs of the row's N negatives, which replace k samples per pair with weight k / N each.
  A negative equal to y has no loss, as in the authors' program.

  Args:
    kind: skip_gram | cbow.
    tables: the parameters.
    rows: words.
    draws: windows and negatives.
    negatives: k, how many negatives a pair weighs.
  """
  pairs_bts = pair_weights(rows, draws.windows_bt)
  ids_bt = jnp.asarray(rows.ids_bt)
  length, noises = ids_bt.shape[1], draws.negatives_bn.shape[1]
  x_btd = tables.inputs_vd[ids_bt]
  out_bjd = tables.outputs_vd[jnp.concatenate([ids_bt, draws.negatives_bn], axis=1)]
  y_bsd, z_bnd = out_bjd[:, :length], out_bjd[:, length:]
  # A negative that equals the word itself would push its own vector away.
  distinct_btn = (ids_bt[:, :, None] != draws.negatives_bn[:, None, :]).astype(jnp.float32)
  counts_bt = pairs_bts.sum(-1)
  if kind == "skip_gram":
    # [B, T, S]: every pair of a row, of which the window keeps a band.
    attracted = (-jax.nn.log_sigmoid(jnp.einsum("btd,bsd->bts", x_btd, y_bsd)) * pairs_bts).sum()
    weights_btn = jnp.einsum("bts,bsn->btn", pairs_bts, distinct_btn)
    weight = counts_bt.sum()
  else:
    share_bts = pairs_bts / jnp.maximum(counts_bt, 1.0)[:, :, None]
    x_btd = jnp.einsum("bts,bsd->btd", share_bts, x_btd)
    seen_bt = (counts_bt > 0).astype(jnp.float32)
    attracted = (-jax.nn.log_sigmoid((x_btd * y_bsd).sum(-1)) * seen_bt).sum()
    weights_btn = seen_bt[:, :, None] * distinct_btn
    weight = seen_bt.sum()
  # Each pair has k negatives of its own in the paper. Here a pair weighs all N of its row by k / N.
  repelled_btn = -jax.nn.log_sigmoid(-jnp.einsum("btd,bnd->btn", x_btd, z_bnd))
  return attracted + negatives / noises * (repelled_btn * weights_btn).sum(), weight


class Word2VecSettings(NamedTuple):
  """Settings of training.

  Attributes:
    kind: skip_gram | cbow.
    width: D.
    window: maximum distance of a context word.
    negatives: k, weight of the noise words of a pair.
    shared: N, noise words per row.
    threshold: of subsampling; frequency above which words are subsampled.
    length: T, words of a row.
    rows: B, rows of a step.
    epochs: passes over the corpus, each with new subsampling.
    learning_rate: Adam's at the start; it falls linearly to nothing.
    seed: of all random numbers.
  """

  kind: str = "skip_gram"
  # Defaults of the authors' program and of gensim: a width of 100, windows of 5, 5 negatives.
  width: int = 100
  window: int = 5
  negatives: float = 5.0
  # As many as the words of a row: each word then meets about as many noise words as in the paper.
  shared: int = 32
  # Larger than the paper's 1e-5, which is for a corpus of a billion words.
  threshold: float = 1e-4
  length: int = 32
  rows: int = 128
  epochs: int = 8
  # Chosen for Adam on corpora of some million words.
  learning_rate: float = 5e-3
  seed: int = 0


class EpochProgress(NamedTuple):
  """The state of training after an epoch.

  Attributes:
    epoch: number of completed epochs.
    loss: mean over the epoch's pairs (skip-gram) or words (CBOW), nats.
    words: read in the epoch, after subsampling.
    tables: the parameters.
  """

  epoch: int
  loss: float
  words: int
  tables: WordTables


def train_vectors(
  ids_n: np.ndarray, documents_n: np.ndarray, counts_v: np.ndarray, settings: Word2VecSettings
) -> Iterator[EpochProgress]:
  """Yields the parameters after each epoch; a pure function of its arguments.

  Args:
    ids_n: words of a corpus.
    documents_n: the document of each, from 0.
    counts_v: occurrences of each word of the vocabulary.
    settings: how to train.
  """
  keep_v, distribution = keep_probabilities(counts_v, settings.threshold), negative_distribution(counts_v)
  words = max(1.0, float(keep_v[ids_n].sum()))
  # A small corpus has fewer steps in an epoch than a call may take.
  steps = min(STEPS, max(1, round(words / (settings.rows * settings.length))))
  tables = initialize_tables(len(counts_v), settings.width, jax.random.key(settings.seed))
  state = (tables, optax.scale_by_adam(BETA1, BETA2).init(tables))
  for number in range(settings.epochs):
    # New subsampling in each epoch, as if the text were read again by the authors' program.
    rng = np.random.default_rng((settings.seed, number))
    rows = thin_frequent_words(ids_n, documents_n, keep_v, rng, settings.length, settings.rows * steps)
    # The key itself drew the tables; each epoch folds in its number, from 1.
    key = jax.random.fold_in(jax.random.key(settings.seed), number + 1)
    calls = len(rows.ids_bt) // (settings.rows * steps)
    total = weight = 0.0
    for call in range(calls):
      part = WordRows(*(rows_xt.reshape(calls, steps, settings.rows, -1)[call] for rows_xt in rows))
      done = number + (call + np.arange(steps) / steps) / calls
      # Linear to nothing over all epochs, as in the authors' program.
      rates_k = settings.learning_rate * (1 - done / settings.epochs)
      state, *sums = train_steps(
        state, part, rates_k.astype(np.float32), jax.random.fold_in(key, call), distribution, settings
      )
      total, weight = total + float(sums[0]), weight + float(sums[1])
    tables = jax.tree.map(jnp.copy, state[0])  # The next step donates the state's buffers.
    yield EpochProgress(number + 1, total / max(weight, 1.0), int((rows.documents_bt >= 0).sum()), tables)


def thin_frequent_words(ids_n: np.ndarray, documents_n: np.ndarray, keep_v: np.ndarray, rng: np.random.Generator,
         length: int, multiple: int) -> WordRows:  # fmt: skip
  """Subsamples frequent words and cuts the rest into shuffled rows, a multiple of `multiple`.

  Padding at the end has no loss. The cuts are random in each call.
  """
  indices = np.flatnonzero(rng.random(len(ids_n)) < keep_v[ids_n])
  # A random offset, so that rows cut the text at other words in each epoch.
  lead = int(rng.integers(length))
  size = -(-(lead + len(indices)) // (length * multiple)) * length * multiple
  ids, documents = np.zeros(size, np.int32), np.full(size, -1, np.int32)
  ids[lead : lead + len(indices)], documents[lead : lead + len(indices)] = (
    ids_n[indices],
    documents_n[indices],
  )
  order = rng.permutation(size // length)
  return WordRows(ids.reshape(-1, length)[order], documents.reshape(-1, length)[order])


@functools.partial(jax.jit, static_argnames=("settings",), donate_argnums=(0,))
def train_steps(
  state: tuple[WordTables, optax.OptState],
  steps: WordRows,
  rates_k: Array,
  key: Array,
  distribution: AliasTable,
  settings: Word2VecSettings,
) -> tuple[tuple[WordTables, optax.OptState], Array, Array]:
  """Trains one step on each of K batches of rows; returns the state and the sums of loss and weight.

  Args:
    state: tables and Adam's moments.
    steps: rows [K, B, T].
    rates_k: learning rate of each step.
    key: of the steps' windows and negatives.
    distribution: of negatives.
    settings: constants.
  """
  adam = optax.scale_by_adam(BETA1, BETA2)

  def step(
    carried: tuple[WordTables, optax.OptState], batch: tuple[WordRows, Array, Array]
  ) -> tuple[Any, Any]:
    (tables, moments), (rows, rate, number) = carried, batch
    drawn = draw_windows(
      jax.random.fold_in(key, number),
      distribution,
      settings.rows,
      settings.length,
      settings.window,
      settings.shared,
    )

    def mean(tables: WordTables) -> tuple[Array, tuple[Array, Array]]:
      total, weight = negative_sampling_loss(settings.kind, tables, rows, drawn, settings.negatives)
      return total / jnp.maximum(weight, 1.0), (total, weight)

    gradient, sums = jax.grad(mean, has_aux=True)(tables)
    # Adam and not the paper's SGD: a row's gradient sums over many pairs, so its size depends on their number.
    change, moments = adam.update(gradient, moments)
    tables = jax.tree.map(lambda table, delta: table - rate * delta, tables, change)
    return (tables, moments), sums

  state, (totals_k, weights_k) = jax.lax.scan(step, state, (steps, rates_k, jnp.arange(len(rates_k))))
  return state, totals_k.sum(), weights_k.sum()
