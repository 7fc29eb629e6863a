"""Decoding with a cache says what the model says without one, in any batch, and ends where it was told to."""

import dataclasses

import jax
import numpy as np
import pytest

from gen.config import Model
from gen.errors import UserError
from gen.generation.decoding import compiled_decoding, decode, decoders, sampling
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.kernels import decode_weights
from gen.models import language_model

KEY = jax.random.key(5)
NEW = 12


def prefixed(module, params, texts, lengths):
  """Returns log-probabilities [B, T, V] of texts read whole, each with so many tokens seen both ways."""
  longest = max(map(len, texts))
  ids_bt = np.array([[*ids, *[0] * (longest - len(ids))] for ids in texts])
  prefix_bt = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int32)
  logits = jax.jit(lambda p: module.apply({"params": p}, ids_bt, prefix_bt=prefix_bt))(params)
  return np.asarray(jax.nn.log_softmax(logits))


def texts_of(module, prompts, found, start=(0,)):
  """Returns (what the target stack read and drew, sources, first position whose logits drew)."""
  if module.config.family == "encoder_decoder":
    return [[*start, *row] for row in found.rows()], prompts, [len(start) - 1] * len(prompts)
  return (
    [[*ids, *row] for ids, row in zip(prompts, found.rows(), strict=True)],
    None,
    [len(ids) - 1 for ids in prompts],
  )


@pytest.mark.parametrize(
  "name", ["gpt2", "bloom-560m", "chinchilla-44m", "modern", "switches", "t5-small", "bart-base", "waves"]
)
def test_the_cache_changes_no_token_and_no_log_probability(name, built, prompts, uncached):
  module, params = built(name)
  given = prompts(64)
  found = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW)
  texts, sources, firsts = texts_of(module, given, found)
  whole = uncached(module, params, texts, sources)
  for row, first in enumerate(firsts):
    said = whole[row, first : first + NEW]
    assert said.argmax(-1).tolist() == found.tokens_bn[row].tolist()
    np.testing.assert_allclose(found.log_probabilities_bn[row], said.max(-1), atol=1e-5)


@pytest.mark.parametrize("name", ["bloom-560m", "chinchilla-44m", "modern"])
def test_a_prefix_decoder_sees_its_prompt_both_ways_and_its_answer_backwards(name, built, prompts):
  module, params = built(name)
  given = prompts(7, seed=2)
  found = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW, prefix=True)
  texts, _, firsts = texts_of(module, given, found)
  whole = prefixed(module, params, texts, [len(ids) for ids in given])
  for row, first in enumerate(firsts):
    said = whole[row, first : first + NEW]
    assert said.argmax(-1).tolist() == found.tokens_bn[row].tolist()
    np.testing.assert_allclose(found.log_probabilities_bn[row], said.max(-1), atol=1e-5)
  causal = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW)
  assert causal.tokens_bn.tolist() != found.tokens_bn.tolist()


@pytest.mark.parametrize("name", ["modern", "t5-small"])
def test_a_prompt_is_continued_alike_alone_and_in_any_batch(name, built, prompts):
  module, params = built(name)
  given, sampler = prompts(7, seed=2), Sampler(temperature=1.5, top_p=0.95, repetition_penalty=1.2)
  batch = decode.generate(module, params, given, sampler, KEY, max_tokens=NEW, stop_tokens=(3,))
  for row in (0, 4):
    alone = decode.generate(module, params, [given[row]], sampler, KEY, max_tokens=NEW, stop_tokens=(3,))
    assert alone.rows()[0].tolist() == batch.rows()[row].tolist()


@pytest.mark.parametrize("name", ["gpt2", "bart-base"])
def test_layers_laid_apart_once_serve_many_calls_alike(name, built, prompts):
  module, params = built(name)
  apart = compiled_decoding.unstack_layers(params)
  assert compiled_decoding.unstack_layers(apart) is apart
  layers = apart["target"]["stack"]["layers"]
  assert len(layers) == module.config.target_depth and all(map(decode_weights.is_transposed, layers))
  for number, layer in enumerate(layers):
    jax.tree.map(lambda one, all, n=number: np.testing.assert_array_equal(one, all[n]),
    decode_weights.untranspose_kernels(layer),
                 params["target"]["stack"]["layers"])  # fmt: skip
  for given in (prompts(3), prompts(1, seed=4)):
    found, again = (decode.generate(module, p, given, GREEDY, KEY, max_tokens=NEW) for p in (params, apart))
    assert found.tokens_bn.tolist() == again.tokens_bn.tolist()


def test_no_layer_is_copied_for_a_token(built):
  module, params = built("gpt2")
  stacked = {leaf.shape for leaf in jax.tree.leaves(params["target"]["stack"]["layers"])}
  step = decoders.make_decoder(module.config).step
  _, held = decoders.make_decoder(module.config).prefill(
    params, decoders.PromptBatch(np.ones((1, 4), int), np.zeros(1, int)), 9
  )
  read = {
    kind: {
      var.aval.shape for eqn in jax.make_jaxpr(step)(p, held, np.ones(1, int)).eqns for var in eqn.invars
    }
    for kind, p in (("stacked", params), ("apart", compiled_decoding.unstack_layers(params)))
  }
  assert read["stacked"] & stacked and not read["apart"] & stacked


def test_copies_of_a_prompt_differ_and_the_key_decides(built):
  module, params = built("modern")
  given = [[4, 5]] * 3
  found = decode.generate(module, params, given, Sampler(), KEY, max_tokens=NEW).tokens_bn
  again = decode.generate(module, params, given, Sampler(), KEY, max_tokens=NEW).tokens_bn
  other = decode.generate(module, params, given, Sampler(), jax.random.key(6), max_tokens=NEW).tokens_bn
  assert (found == again).all()
  assert len({tuple(row) for row in [*found.tolist(), *other.tolist()]}) == 6


def test_looking_often_changes_nothing_and_shows_each_token_once(built, prompts):
  module, params = built("modern")
  given = prompts(7, seed=2)
  whole = decode.generate(module, params, given, Sampler(), KEY, max_tokens=NEW)
  seen = list(decode.stream_tokens(module, params, given, Sampler(), KEY, max_tokens=NEW, every=1))
  assert [found.tokens_bn.shape[1] for found in seen] == list(range(1, NEW + 1))
  for found in seen:
    assert (found.tokens_bn == whole.tokens_bn[:, : found.tokens_bn.shape[1]]).all()


def test_a_stop_token_ends_its_row_and_no_other(built, prompts):
  module, params = built("modern")
  given = prompts(7, seed=2)
  free = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW)
  stop = int(free.tokens_bn[2, 5])
  found = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW, stop_tokens=(stop,))
  assert found.stopped_b[2]
  for row, tokens in enumerate(free.tokens_bn.tolist()):
    end = tokens.index(stop) + 1 if stop in tokens else NEW
    assert found.rows()[row].tolist() == tokens[:end]
    assert found.stopped_b[row] == (stop in tokens)
    assert not found.tokens_bn[row, end:].any() and not found.log_probabilities_bn[row, end:].any()


def test_no_row_stops_before_its_least_number_of_tokens(built, prompts):
  module, params = built("modern")
  stops = tuple(range(1, 28))
  found = decode.generate(
    module, params, prompts(7, seed=2), Sampler(), KEY, max_tokens=NEW, min_tokens=4, stop_tokens=stops
  )
  assert found.lengths_b.min() >= 4
  assert not np.isin(found.tokens_bn[:, :4], stops).any()
  assert (found.lengths_b < NEW).any()


def letters(ids):
  return "".join(chr(96 + number) if number else "_" for number in np.asarray(ids).tolist())


def test_a_stop_string_ends_a_row_with_the_token_that_completes_it(built, prompts):
  module, params = built("modern")
  given = prompts(7, seed=2)
  free = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW)
  stop = letters(free.tokens_bn[1, 3:5])
  found = decode.generate(
    module, params, given, GREEDY, KEY, max_tokens=NEW, stop_strings=(stop,), decode=letters
  )
  for row, tokens in enumerate(free.rows()):
    text = letters(tokens)
    end = text.index(stop) + len(stop) if stop in text else NEW
    assert letters(found.rows()[row]) == text[:end]
    assert found.stopped_b[row] == (stop in text)


def test_a_full_window_slides_to_its_later_half(built, prompts, uncached):
  module, params = built("gpt2")
  given, size, new = [np.arange(1, 29), np.arange(3, 9)], module.config.context, 30
  found = decode.generate(module, params, given, GREEDY, KEY, max_tokens=new, window="slide")
  texts = []
  for ids, tokens in zip(given, found.tokens_bn.tolist(), strict=True):
    text = ids.tolist()
    for token in tokens:
      text = text[-(size // 2) :] if len(text) >= size else text
      texts.append((list(text), token))
      text.append(token)
  whole = uncached(module, params, [text for text, _ in texts])
  said = [int(whole[i, len(text) - 1].argmax()) for i, (text, _) in enumerate(texts)]
  assert said == [token for _, token in texts]


def test_a_window_that_truncates_drops_the_left_of_the_prompt(built):
  module, params = built("gpt2")
  size = module.config.context
  prompt = np.arange(100) % 27 + 1
  found = decode.generate(module, params, [prompt], GREEDY, KEY, max_tokens=NEW, window="truncate")
  same = decode.generate(module, params, [prompt[-(size - NEW) :]], GREEDY, KEY, max_tokens=NEW)
  assert found.tokens_bn.tolist() == same.tokens_bn.tolist()


def test_any_filter_of_logits_is_a_sampler(built, prompts):
  module, params = built("modern")

  def even(logits_bv):
    return jax.numpy.where(jax.numpy.arange(logits_bv.shape[-1]) % 2 == 0, logits_bv, sampling.EXCLUDED)

  found = decode.generate(module, params, prompts(7, seed=2), even, KEY, max_tokens=NEW)
  assert not (found.tokens_bn % 2).any()


def test_parameters_that_are_not_numbers_are_reported(built):
  module, params = built("modern")
  broken = jax.tree.map(lambda x: x * np.nan, params)
  with pytest.raises(UserError, match="not finite numbers at new token 0 of row 0"):
    decode.generate(module, broken, [[4, 5]] * 3, Sampler(), KEY, max_tokens=NEW)


@pytest.mark.parametrize(
  ("prompt", "options", "sentence"),
  [
    ([], {}, "prompt 0 is empty"),
    (7, {}, "prompt 0 is 7; give prompts as a list of lists of ids"),
    ([29], {}, "outside the model's vocabulary of 29"),
    ([-1], {}, "outside the model's vocabulary of 29"),
    ([1] * 33, {"max_tokens": 8}, "33 tokens, and with 8 new ones needs 41 of the context window's 40"),
    ([1], {"max_tokens": 40, "window": "truncate"}, "do not fit with a prompt into the context window of 40"),
    ([1], {"window": "widen"}, "choose one of error, truncate, slide"),
    ([1], {"max_tokens": 0}, "ask for 1 to 1048576"),
    ([1], {"min_tokens": 9, "max_tokens": 8}, "between 0 and max_tokens 8"),
    ([1], {"stop_tokens": (29,)}, "stop token 29 is outside"),
    ([1], {"stop_strings": ("a",)}, "need the argument decode"),
  ],
)
def test_what_cannot_be_is_one_sentence(built, prompt, options, sentence):
  module, params = built("gpt2")
  with pytest.raises(UserError, match=sentence):
    decode.generate(module, params, [prompt], GREEDY, KEY, **({"max_tokens": 4} | options))


@pytest.mark.parametrize("family", ["lstm", "gru"])
def test_a_recurrent_network_goes_on_from_its_state(family, prompts, uncached):
  module = language_model.build_model(Model(family=family, vocab=29, width=11, depth=2, context=8))
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
    language_model.parameter_shapes(module.config),
  )
  given = prompts(9)
  found = decode.generate(module, params, given, GREEDY, KEY, max_tokens=NEW)
  texts, _, firsts = texts_of(module, given, found)
  whole = uncached(module, params, texts)
  for row, first in enumerate(firsts):
    assert whole[row, first : first + NEW].argmax(-1).tolist() == found.tokens_bn[row].tolist()


def test_a_family_that_does_not_predict_next_tokens_is_refused(built):
  module = language_model.build_model(dataclasses.replace(built("gpt2")[0].config, family="encoder"))
  with pytest.raises(UserError, match="fills masked positions"):
    decode.generate(module, {}, [[1]], GREEDY, KEY)
