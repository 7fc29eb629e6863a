"""What a checkpoint's files forbid is never drawn: ids, words, n-grams, early ends."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Model
from gen.generation.decoding import beam, constraints, decode
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.interop.generation_config import Constraints
from gen.models import language_model

MODEL = Model(vocab=7, width=12, depth=1, head_width=6, context=64)
MODULE, PARAMS = (
  language_model.build_model(MODEL),
  language_model.initialize_parameters(MODEL, jax.random.key(1)),
)
PROMPTS = [[3, 4], [1, 2, 5, 2, 1]]
STOPS = (0, 6)
RULES = {
  "suppressed": Constraints(suppressed=(1, 5)),
  "first": Constraints(suppressed_first=(2, 3, 4)),
  "words": Constraints(bad_words=((4,), (2, 3), (5, 2, 1), (3, 3))),
  "min_length": Constraints(min_length=9),
  "min_new": Constraints(min_new=6),
  "unigrams": Constraints(no_repeat=1),
  "bigrams": Constraints(no_repeat=2),
  "trigrams": Constraints(no_repeat=3),
  "forced": Constraints(suppressed=(5,), forced_second=2),
  "penalty": Constraints(repetition_penalty=1.4),
  "all": Constraints((1,), (2, 3), ((2, 3), (5, 5)), 8, 0, 2, 1.2),
}


def forbidden(rules, text, number, vocab=7):
  """Returns which ids the rules forbid behind a text, by looking at it."""
  found = {token for token in range(vocab) if number == 0 and token in rules.suppressed_first}
  found |= set(rules.suppressed)
  for word in rules.bad_words:
    if tuple(text[len(text) - len(word) + 1 :]) == word[:-1] and len(text) >= len(word) - 1:
      found.add(word[-1])
  size = rules.no_repeat
  if size:
    grams = {tuple(text[at : at + size]) for at in range(len(text) - size + 1)}
    found |= {token for token in range(vocab) if (*text[len(text) - size + 1 :], token) in grams}
  if number < rules.min_new or len(text) < rules.min_length:
    found |= set(STOPS)
  return set(range(vocab)) - {rules.forced_second} if rules.forced_second and len(text) == 1 else found


@pytest.mark.parametrize("name", list(RULES))
def test_the_filter_forbids_what_a_look_at_the_text_forbids(name):
  rules = RULES[name]._replace(repetition_penalty=1.0)
  allows = constraints.ConstraintFilter(rules, np.isin(np.arange(7), STOPS))
  draw = np.random.default_rng(5)
  for prompt, number in itertools.product((1, 3, 6), (0, 1, 4)):
    texts = draw.integers(1, 6, (2, prompt + number))
    behind = draw.integers(0, 7, (2, 3))  # slots that are not written yet
    ids = np.concatenate([np.full((2, 2), constraints.EMPTY), texts, behind], 1)
    text = constraints.TokenHistory(jnp.asarray(ids, jnp.int32), jnp.int32(2 + prompt + number))
    kept = np.isfinite(np.asarray(allows(jnp.zeros((2, 7)), text, jnp.int32(number))))
    wanted = [[token not in forbidden(rules, row.tolist(), number) for token in range(7)] for row in texts]
    np.testing.assert_array_equal(kept, wanted)


@pytest.mark.parametrize(
  ("name", "sampler"), [("min_length", GREEDY), ("trigrams", GREEDY), ("all", Sampler(temperature=3.0))]
)
def test_no_text_holds_what_is_forbidden(name, sampler):
  rules = RULES[name]
  found = decode.generate(
    MODULE, PARAMS, PROMPTS, sampler, jax.random.key(2), max_tokens=11, stop_tokens=STOPS, constraints=rules
  )
  for prompt, new in zip(PROMPTS, found.rows(), strict=True):
    for number, token in enumerate(new.tolist()):
      text = [*prompt, *new.tolist()[:number]]
      assert token not in forbidden(rules, text, number) or len(forbidden(rules, text, number)) == 7


@pytest.mark.parametrize("name", ["words", "all"])
def test_no_searched_text_holds_what_is_forbidden(name):
  rules = RULES[name]
  found = beam.beam_search(
    MODULE, PARAMS, PROMPTS, beams=3, max_tokens=5, stop_tokens=STOPS, constraints=rules
  )
  for prompt, new in zip(PROMPTS, found.best(), strict=True):
    for number, token in enumerate(new.tolist()):
      assert token not in forbidden(rules, [*prompt, *new.tolist()[:number]], number)


def test_a_penalty_is_that_of_the_sampler_where_it_has_one():
  limits = {"max_tokens": 9, "stop_tokens": STOPS}
  asked = Constraints(repetition_penalty=1.6)

  def written(penalty, rules):
    sampler = Sampler(temperature=0, repetition_penalty=penalty)
    found = decode.generate(MODULE, PARAMS, PROMPTS, sampler, jax.random.key(0), constraints=rules, **limits)
    return [row.tolist() for row in found.rows()]

  plain, own, files = written(1.0, Constraints()), written(1.6, Constraints()), written(1.0, asked)
  assert files == own != plain
  assert written(1.05, asked) == written(1.05, Constraints())


def test_constraints_hold_over_a_sliding_window():
  model = Model(vocab=7, width=12, depth=1, head_width=6, context=8)
  found = decode.generate(
    language_model.build_model(model),
    language_model.initialize_parameters(model, jax.random.key(3)),
    [[1, 2, 3]],
    GREEDY,
    jax.random.key(0),
    max_tokens=20,
    window="slide",
    constraints=Constraints(no_repeat=2),
  )
  text = [1, 2, 3, *found.rows()[0].tolist()]
  assert len(set(itertools.pairwise(text))) == len(text) - 1


@pytest.mark.parametrize("searched", [False, True])
def test_a_forced_id_follows_a_text_of_one_token_and_no_other(searched):
  def written(**rules):
    limits = {"max_tokens": 4, "constraints": Constraints(**rules)}
    if searched:
      return beam.beam_search(MODULE, PARAMS, [[3], [3, 4]], beams=3, **limits).best()
    return decode.generate(MODULE, PARAMS, [[3], [3, 4]], GREEDY, jax.random.key(0), **limits).rows()

  plain, forced = written(), written(forced_second=5)
  assert plain[0][0] != 5 and forced[0][0] == 5
  np.testing.assert_array_equal(plain[1], forced[1])
