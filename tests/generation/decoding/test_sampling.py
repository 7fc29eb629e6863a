"""Filters keep what their definitions say, agree with another library's, and draws follow the distribution."""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen.errors import UserError
from gen.generation.decoding import sampling
from gen.generation.decoding.sampling import Sampler

FIXTURES = Path(__file__).parent / "fixtures"
LOGITS = (2 * np.random.default_rng(3).normal(size=(4, 23))).astype(np.float32)


def softmax(logits):
  powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def kept(filtered):
  return [set(np.flatnonzero(np.isfinite(row)).tolist()) for row in np.asarray(filtered)]


def test_the_largest_logit_is_that_of_argmax_and_the_first_of_equals():
  logits = np.round(3 * np.random.default_rng(0).normal(size=(57, 31))).astype(np.float32)  # full of ties
  logits[:, ::5] = -np.inf
  assert sampling.argmax_token(jnp.asarray(logits)).tolist() == logits.argmax(-1).tolist()
  assert sampling.argmax_token(jnp.full((2, 5), jnp.nan)).tolist() == [4, 4], "a token that there is"


@pytest.fixture(scope="module")
def theirs():
  with np.load(FIXTURES / "filters.npz") as arrays:
    return dict(arrays)


def seen_of(theirs):
  seen_bv = np.zeros(theirs["logits"].shape, bool)
  for row, ids in enumerate(theirs["seen"]):
    seen_bv[row, ids] = True
  return jnp.asarray(seen_bv)


def test_distributions_after_each_filter_are_transformers(theirs):
  logits_bv, seen_bv = jnp.asarray(theirs["logits"]), seen_of(theirs)
  cases = [name for name in theirs if "=" in name]
  assert len(cases) == 15
  for case in cases:
    name, value = case.split("=")
    number = int(value) if name == "top_k" else float(value)
    extra = (seen_bv,) if name == "repetition_penalty" else ()
    apply = {"temperature": sampling.apply_temperature}.get(name) or getattr(sampling, name)
    filtered_bv = apply(logits_bv, *extra, number)
    np.testing.assert_allclose(jax.nn.softmax(filtered_bv), theirs[case], atol=1e-6, err_msg=case)


def test_the_sampler_composes_its_filters_in_the_order_of_transformers(theirs):
  sampler = Sampler(temperature=0.8, top_k=7, top_p=0.95, min_p=0.02, repetition_penalty=1.3)
  filtered_bv = sampler(jnp.asarray(theirs["logits"]), seen_of(theirs))
  np.testing.assert_allclose(jax.nn.softmax(filtered_bv), theirs["all"], atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 23])
def test_top_k_keeps_exactly_k_and_of_equal_ones_the_first(k):
  logits = np.array([[1.0, 2.0, 2.0, 0.0, 2.0, 1.0] + [-3.0] * 17, [0.0] * 23], np.float32)
  expected = [set(sorted(range(23), key=lambda i, row=row: (-row[i], i))[:k]) for row in logits.tolist()]
  assert kept(sampling.top_k(jnp.asarray(logits), k)) == expected


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.99])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p):
  for row, chosen in zip(softmax(LOGITS), kept(sampling.top_p(jnp.asarray(LOGITS), p)), strict=True):
    order = np.argsort(-row)
    size = next(n for n in range(1, 24) if row[order[:n]].sum() >= p)
    assert chosen == set(order[:size].tolist())


def test_top_p_takes_a_sum_that_reaches_p_exactly():
  logits = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]))
  assert kept(sampling.top_p(logits, 0.8)) == [{0, 1}, {1, 2}]
  assert kept(sampling.top_p(logits, 1.0)) == [{0, 1, 2}] * 2


def test_min_p_is_relative_to_the_likeliest():
  for row, chosen in zip(softmax(LOGITS), kept(sampling.min_p(jnp.asarray(LOGITS), 0.1)), strict=True):
    assert chosen == set(np.flatnonzero(row >= 0.1 * row.max()).tolist())


def test_temperature_0_is_greedy_and_keeps_the_first_of_equal_ones():
  logits = jnp.array([[0.0, 3.0, 3.0], [-2.0, -5.0, -2.0]])
  assert kept(sampling.apply_temperature(logits, 0.0)) == [{1}, {0}]
  keys = jax.random.split(jax.random.key(0), 2)
  assert sampling.draw_tokens(sampling.GREEDY(logits), keys).tolist() == [1, 0]


def test_entropy_grows_strictly_with_temperature():
  def entropies(t):
    p = softmax(np.asarray(sampling.apply_temperature(jnp.asarray(LOGITS), t)))
    return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)

  for low, high in itertools.pairwise([0.0, 0.2, 0.5, 1.0, 1.5, 4.0, 50.0]):
    assert (entropies(low) < entropies(high)).all()


def test_filters_compose_like_functions():
  both = sampling.compose_filters(
    lambda x: sampling.top_k(x, 5), lambda x: sampling.apply_temperature(x, 0.5)
  )
  expected = sampling.apply_temperature(sampling.top_k(jnp.asarray(LOGITS), 5), 0.5)
  np.testing.assert_array_equal(both(jnp.asarray(LOGITS)), expected)


@pytest.mark.parametrize("sampler", [Sampler(), Sampler(temperature=0.7, top_k=9, top_p=0.9)])
def test_a_hundred_thousand_draws_pass_a_chi_square_test(sampler):
  count = 100_000
  filtered_v = sampler(jnp.asarray(LOGITS[:1] / 4))[0]  # flat enough that several tokens are kept
  keys = jax.random.split(jax.random.key(17), count)
  drawn = sampling.draw_tokens(jnp.broadcast_to(filtered_v, (count, 23)), keys)
  observed = np.bincount(np.asarray(drawn), minlength=23)
  expected = softmax(np.asarray(filtered_v)) * count
  possible = expected > 0
  assert observed[~possible].sum() == 0
  merged = possible & (expected >= 5)
  rest = possible & ~merged
  groups = [observed[merged], expected[merged]]
  if rest.any():
    groups = [
      np.append(part, whole[rest].sum()) for part, whole in zip(groups, (observed, expected), strict=True)
    ]
  assert scipy.stats.chisquare(*groups).pvalue > 1e-3


@pytest.mark.parametrize(
  ("setting", "sentence"),
  [
    ({"temperature": -0.1}, "temperature -0.1 is not allowed"),
    ({"temperature": float("nan")}, "temperature nan is not allowed"),
    ({"top_k": -1}, "top_k -1"),
    ({"top_k": 24}, "vocabulary's 23"),
    ({"top_p": 0.0}, "top_p 0.0"),
    ({"top_p": 1.1}, "above 0 and at most 1"),
    ({"min_p": 1.5}, "min_p 1.5"),
    ({"repetition_penalty": 0.0}, "repetition_penalty 0.0"),
  ],
)
def test_a_setting_that_cannot_be_is_one_sentence(setting, sentence):
  with pytest.raises(UserError, match=sentence):
    Sampler(**setting).check(23)


def test_what_needs_no_vocabulary_is_refused_when_it_is_set():
  with pytest.raises(UserError, match="temperature nan"):
    Sampler(temperature=float("nan"))
  with pytest.raises(UserError, match="top_p 0"):
    dataclasses.replace(Sampler(), top_p=0)
