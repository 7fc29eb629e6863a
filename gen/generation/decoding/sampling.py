"""Sampling: filters that map logits to logits, their composition, and a random draw.

A filter sets excluded logits to -inf, and keeps or rescales the others. Filters compose in any order; `Sampler` uses
the customary one: repetition penalty (arXiv:1909.05858, 4.1), temperature, top-k (arXiv:1805.04833), top-p
(arXiv:1904.09751), min-p (arXiv:2407.01082). Greedy decoding is temperature 0. Ties between logits go to the lower
index.
B rows, V vocab.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from gen.errors import UserError

LogitsFilter = Callable[[Array], Array]
EXCLUDED = -jnp.inf
# A logit of 100 divided by 1e-30 would be inf, and a row with two of them has no softmax.
MIN_FACTOR, MAX_FACTOR = 1e-6, 1e6  # bounds of factors of logits, which must stay within float32's range
# Sums of float32 probabilities over a vocabulary end near 1, not at it: at p = 0.9 a set of exactly 0.9 would get one
# token more.
ROUNDING = 1e-6  # tolerance of a sum of probabilities that reaches top_p


def apply_temperature(logits_bv: Array, t: float) -> Array:
  """Divides by the temperature; 0 keeps only the largest logit.

  >>> apply_temperature(jnp.array([[1.0, 3.0, 3.0]]), 0.0).tolist()
  [[-inf, 3.0, -inf]]
  """
  if t == 0:
    return jnp.where(
      jnp.arange(logits_bv.shape[-1]) == argmax_token(logits_bv)[..., None], logits_bv, EXCLUDED
    )
  return logits_bv / t


def top_k(logits_bv: Array, k: int) -> Array:
  """Keeps exactly the k largest logits; ties go to lower indices.

  >>> top_k(jnp.array([[2.0, 1.0, 2.0, 2.0]]), 2).tolist()
  [[2.0, -inf, 2.0, -inf]]
  """
  # By indices and not by the kth value, which would keep all tokens that are tied with it.
  _, best_bk = jax.lax.top_k(logits_bv, k)
  return jnp.where(_marked(best_bk, jnp.ones_like(best_bk, bool), logits_bv.shape[-1]), logits_bv, EXCLUDED)


def top_p(logits_bv: Array, p: float) -> Array:
  """Keeps the smallest set of most likely tokens whose probabilities add up to p or more.

  >>> top_p(jnp.log(jnp.array([[0.1, 0.4, 0.5]])), 0.9).argmin(-1).tolist()
  [0]
  """
  if p >= 1:
    return logits_bv
  # Stable, so that ties go to the lower index here too.
  order_bv = jnp.argsort(-logits_bv, axis=-1, stable=True)
  sorted_bv = jax.nn.softmax(jnp.take_along_axis(logits_bv, order_bv, axis=-1), axis=-1)
  # Mass before each token, not up to it: the token that crosses p belongs to the set.
  before_bv = jnp.cumsum(sorted_bv, axis=-1) - sorted_bv
  # The likeliest token always stays, also for a p below ROUNDING.
  kept_bv = (before_bv < p - ROUNDING).at[..., 0].set(True)
  return jnp.where(_marked(order_bv, kept_bv, logits_bv.shape[-1]), logits_bv, EXCLUDED)


def min_p(logits_bv: Array, p: float) -> Array:
  """Keeps tokens at least p times as likely as the likeliest."""
  if p <= 0:
    return logits_bv
  probabilities_bv = jax.nn.softmax(logits_bv, axis=-1)
  # The likeliest token always stays, as p is at most 1.
  return jnp.where(probabilities_bv >= p * probabilities_bv.max(-1, keepdims=True), logits_bv, EXCLUDED)


def repetition_penalty(logits_bv: Array, seen_bv: Array, penalty: float) -> Array:
  """Makes earlier tokens less likely: divides their logits by the penalty, and multiplies negative ones."""
  # Dividing a negative logit would raise it.
  lowered_bv = jnp.where(logits_bv < 0, logits_bv * penalty, logits_bv / penalty)
  return jnp.where(seen_bv, lowered_bv, logits_bv)


def compose_filters(*filters: LogitsFilter) -> LogitsFilter:
  """Returns the filter that applies these in order."""

  def composed(logits_bv: Array) -> Array:
    for each in filters:
      logits_bv = each(logits_bv)
    return logits_bv

  return composed


def _marked(indices_bk: Array, marks_bk: Array, vocab: int) -> Array:
  """Returns a table [B, V] of the marks, scattered to the indices."""
  rows = indices_bk.shape[:-1]
  flat_nk = indices_bk.reshape(-1, indices_bk.shape[-1])
  marked_nv = jnp.zeros((flat_nk.shape[0], vocab), bool)
  numbers_n1 = jnp.arange(flat_nk.shape[0])[:, None]
  return marked_nv.at[numbers_n1, flat_nk].set(marks_bk.reshape(flat_nk.shape)).reshape(*rows, vocab)


def argmax_token(logits_bv: Array) -> Array:
  """Returns the index of the largest logit of each row, the lowest in a tie, [B] int32.

  XLA vectorizes these two reductions on CPUs, but not argmax.

  >>> argmax_token(jnp.array([[1.0, 3.0, 3.0]])).tolist()
  [1]
  """
  vocab = logits_bv.shape[-1]
  is_largest_bv = logits_bv == logits_bv.max(-1, keepdims=True)
  # vocab - 1 where no logit equals the largest, as in a row of NaN: the index stays inside the vocabulary.
  places_bv = jnp.where(is_largest_bv, jnp.arange(vocab, dtype=jnp.int32), vocab - 1)
  return places_bv.min(-1)


def draw_tokens(logits_bv: Array, keys_b: Array) -> Array:
  """Samples a token of each row with the row's own key, [B] int32."""
  # A key for each row, so that a text does not depend on the others of its batch.
  return jax.vmap(lambda key, logits_v: jax.random.categorical(key, logits_v))(keys_b, logits_bv)


@dataclasses.dataclass(frozen=True)
class Sampler:
  """The settings of sampling, and their filter.

  Attributes:
    temperature: 0 is greedy, 1 leaves the distribution unchanged.
    top_k: number of tokens to keep; 0 is all.
    top_p: probability mass to keep, in (0, 1]; 1 is all.
    min_p: minimum probability, as a fraction of the largest; 0 is none.
    repetition_penalty: above 1 makes tokens of the text less likely; 1 is none.

  Raises:
    UserError: for the first invalid setting.
  """

  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0
  repetition_penalty: float = 1.0

  def __post_init__(self) -> None:
    """Checks every setting; `check` compares top_k with a vocabulary."""
    if self.temperature != 0 and not MIN_FACTOR <= self.temperature <= MAX_FACTOR:
      raise UserError(
        f"temperature {self.temperature} is not allowed; it must be 0 (greedy), or between {MIN_FACTOR} and"
        f" {MAX_FACTOR}"
      )
    if self.top_k < 0:
      raise UserError(f"top_k {self.top_k} is not allowed; it must be 0 (all) or more")
    if not 0 < self.top_p <= 1:
      raise UserError(f"top_p {self.top_p} is not allowed; it must be above 0 and at most 1")
    if not 0 <= self.min_p <= 1:
      raise UserError(f"min_p {self.min_p} is not allowed; it must be between 0 and 1")
    if not MIN_FACTOR <= self.repetition_penalty <= MAX_FACTOR:
      raise UserError(
        f"repetition_penalty {self.repetition_penalty} is not allowed; it must be between {MIN_FACTOR} and {MAX_FACTOR}"
      )

  @property
  def greedy(self) -> bool:
    """Whether a single token is left, so that no random numbers are needed."""
    return self.temperature == 0

  def __call__(self, logits_bv: Array, seen_bv: Array | None = None) -> Array:
    """Filters logits; without `seen_bv`, there is no repetition penalty."""
    if seen_bv is not None and self.repetition_penalty != 1:
      logits_bv = repetition_penalty(logits_bv, seen_bv, self.repetition_penalty)
    # Before top-p and min-p, whose probabilities are those of the scaled logits (as in transformers).
    if self.temperature != 1:
      logits_bv = apply_temperature(logits_bv, self.temperature)
    if self.top_k:
      logits_bv = top_k(logits_bv, self.top_k)
    return min_p(top_p(logits_bv, self.top_p), self.min_p)

  def check(self, vocab: int) -> None:
    """Checks the settings against a vocabulary.

    Raises:
      UserError: for a top_k above the vocabulary.
    """
    if self.top_k > vocab:
      raise UserError(
        f"top_k {self.top_k} is not allowed; it must be between 0 (all) and the vocabulary's {vocab}"
      )


GREEDY = Sampler(temperature=0.0)
