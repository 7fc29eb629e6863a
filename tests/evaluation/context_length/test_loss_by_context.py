"""Windows hold the words that they say, against a loop; losses are those of the whole text's own logits."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from gen import counts
from gen.config import RECURRENT, Model
from gen.data.token_stream import TokenStream
from gen.errors import UserError
from gen.evaluation.context_length import loss_by_context
from gen.models import language_model

NAMES = ["", "", "\u2581a", "b", "\u2581c", "d", "\u2581e"]  # two specials


class Tokenizer:
  vocab = len(NAMES)

  def name(self, number):
    return NAMES[number]

  def is_special(self, number):
    return number < 2


@pytest.fixture(scope="module")
def stream():
  rng = np.random.default_rng(3)
  documents = [[0, *rng.integers(2, 7, size), 1] for size in (9, 2, 25, 14)]
  starts = np.cumsum([0, *(len(each) for each in documents[:-1])])
  return TokenStream(np.concatenate(documents).astype(np.uint16), starts, Tokenizer())


def sight(stream, place, number):
  """Returns the tokens of the latest words before a place of its own document, by walking back; or None."""
  begin = place
  while number and begin > 0 and begin not in stream.starts:
    begin -= 1
    number -= begin in stream.starts or NAMES[stream.ids[begin]].startswith("\u2581")
  return None if number else stream.ids[begin:place].tolist()


def test_windows_hold_the_latest_words_of_the_targets_own_document(stream):
  found = loss_by_context.draw_windows(stream, [1, 3, 5], max_length=14, count=1000)
  places = [
    place
    for place in range(1, len(stream.ids))
    if (whole := sight(stream, place, 5)) is not None and len(whole) <= 14
  ]
  assert places and all(len(one.targets_w) == len(places) for one in found)
  for one, number in zip(found, (1, 3, 5), strict=True):
    for row, place in enumerate(places):
      assert one.ids_wt[row, : one.lengths_w[row]].tolist() == sight(stream, place, number)
      assert one.targets_w[row] == stream.ids[place]


def test_a_sample_of_targets_is_the_same_for_the_same_seed_and_for_all_numbers_of_words(stream):
  one, other = (
    loss_by_context.draw_windows(stream, [1, 2], max_length=14, count=6, seed=seed) for seed in (0, 0)
  )
  for a, b in zip(one, other, strict=True):
    np.testing.assert_array_equal(a.ids_wt, b.ids_wt)
  assert len(one[0].targets_w) == 6
  np.testing.assert_array_equal(one[0].targets_w, one[1].targets_w)


def test_a_stream_without_such_a_target_is_refused(stream):
  with pytest.raises(UserError, match="no validation document has 40 words in 14 tokens"):
    loss_by_context.draw_windows(stream, [40], max_length=14, count=5)


@pytest.mark.parametrize("family", ["decoder", "lstm"])
def test_the_loss_is_that_of_the_last_logits_of_each_window(stream, family):
  model = Model(family=family, vocab=7, width=8, depth=1, heads=2, head_width=4, head_bias=True)
  params = jax.jit(functools.partial(language_model.initialize_parameters, model))(jax.random.key(3))
  seen = loss_by_context.draw_windows(stream, [2], max_length=14, count=1000)[0]
  found = loss_by_context.losses_at(model, params, seen, batch=5)
  read, wanted = jax.jit(language_model.build_model(model).apply), []
  for ids, length, target in zip(*seen, strict=True):
    logits = np.asarray(read({"params": params}, ids[None]), np.float64)[0, length - 1]
    wanted.append(np.log(np.exp(logits).sum()) - logits[target])
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_gain_is_judged_target_by_target(stream):
  model = Model(family="gru", vocab=7, width=8, depth=1, head_bias=True)
  params = jax.jit(functools.partial(language_model.initialize_parameters, model))(jax.random.key(3))
  words = [1, 2, 4]
  seen = loss_by_context.draw_windows(stream, words, max_length=14, count=6)
  rows = [loss_by_context.losses_at(model, params, one) for one in seen]
  points = loss_by_context.loss_curve(model, params, words, seen)
  assert [point.words for point in points] == words
  assert points[0].gain is None and points[0].gain_error is None
  for i, point in enumerate(points):
    assert point.loss == pytest.approx(np.mean(rows[i]))
    assert point.standard_error == pytest.approx(np.std(rows[i], ddof=1) / math.sqrt(6))
  for i, point in enumerate(points[1:]):
    gains = rows[i] - rows[i + 1]
    assert point.gain == pytest.approx(gains.mean(), abs=1e-9)
    assert point.gain_error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(6))


@pytest.mark.parametrize("family", RECURRENT)
def test_the_recurrent_model_of_equal_size_is_the_nearest(family):
  model = Model(vocab=500, width=48, depth=3, head_width=16)
  other = loss_by_context.of_equal_size(model, family)
  assert other.family == family and other.depth == 3
  gaps = [
    abs(
      counts.count_parameters(dataclasses.replace(other, width=width)).total
      - counts.count_parameters(model).total
    )
    for width in range(4, 200, 4)
  ]
  assert 4 * (1 + int(np.argmin(gaps))) == other.width


def test_a_cost_is_measured_and_what_is_kept_grows_with_the_text_only_in_a_decoder():
  kept = {}
  for family in ("decoder", "gru"):
    model = Model(family=family, vocab=11, width=8, depth=2, head_width=4)
    short, long = (loss_by_context.measure_cost(model, length, repeats=1) for length in (4, 12))
    assert short.seconds_per_token > 0 and long.step_bytes > short.step_bytes > 0
    kept[family] = (short.remembered_bytes, long.remembered_bytes)
  assert kept["decoder"] == (2 * 2 * 8 * 4 * 4, 2 * 2 * 8 * 12 * 4)
  assert kept["gru"] == (2 * 8 * 4,) * 2
