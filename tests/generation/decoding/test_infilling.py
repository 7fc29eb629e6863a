"""An encoder fills every hole once, in the order asked for, with what it finds likeliest there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.errors import UserError
from gen.generation.decoding import infilling
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.models import language_model

MASK = 28
KEY = jax.random.key(2)
TEXTS = ([5, MASK, 7, MASK, MASK, 9], [MASK, 3], [4, 6, MASK])


@pytest.fixture(scope="module")
def encoder(models):
  model = dataclasses.replace(models["gpt2"], family="encoder", norm_placement="post", head_transform=True)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  return language_model.build_model(model), params


def one_by_one(module, params, ids, order):
  """Fills holes by reading the text alone before each, without padding."""
  ids, logs = list(ids), [0.0] * len(ids)
  while MASK in ids:
    log = np.array(jax.nn.log_softmax(module.apply({"params": params}, jnp.array([ids]))[0]))
    holes = [place for place, token in enumerate(ids) if token == MASK]
    place = holes[0] if order == "left" else max(holes, key=lambda hole: log[hole].max())
    allowed = np.where(np.arange(log.shape[1]) == MASK, -np.inf, log[place])
    ids[place] = int(allowed.argmax())
    logs[place] = float(log[place, ids[place]])
  return ids, logs


@pytest.mark.slow
@pytest.mark.parametrize("order", ["left", "surest"])
def test_holes_are_filled_one_after_another(encoder, order):
  module, params = encoder
  found = infilling.fill_masks(module, params, TEXTS, MASK, GREEDY, KEY, order=order)
  for ids, text, logs in zip(TEXTS, found.texts, found.log_probabilities, strict=True):
    expected, expected_logs = one_by_one(module, params, ids, order)
    assert text.tolist() == expected
    np.testing.assert_allclose(logs, expected_logs, atol=2e-5)


def test_what_is_banned_is_never_written_and_the_key_decides(encoder):
  module, params = encoder
  banned = tuple(range(20))
  found = infilling.fill_masks(
    module, params, [[MASK] * 9] * 3, MASK, Sampler(temperature=3.0), KEY, banned=banned
  )
  texts = [tuple(text.tolist()) for text in found.texts]
  assert all(20 <= token < MASK for text in texts for token in text)
  assert len(set(texts)) == 3


@pytest.mark.parametrize(
  ("text", "options", "sentence"),
  [
    ([1, 2], {}, "text 0 has no hole"),
    ([], {}, "prompt 0 is empty"),
    ([MASK] * 41, {}, "41 tokens, more than the context window's 40"),
    ([MASK], {"order": "right"}, "choose left or surest"),
  ],
)
def test_what_cannot_be_is_one_sentence(encoder, text, options, sentence):
  with pytest.raises(UserError, match=sentence):
    infilling.fill_masks(*encoder, [text], MASK, GREEDY, KEY, **options)


def test_a_model_that_continues_text_is_refused(built):
  with pytest.raises(UserError, match="it continues text"):
    infilling.fill_masks(*built("gpt2"), [[MASK]], MASK, GREEDY, KEY)
