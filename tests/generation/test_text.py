"""Prompts become ids as each family reads them, special-looking text stays text, and answers stream whole letters."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.config import Data, Model, Run
from gen.data import objectives
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation import loaded_model, text
from gen.generation.conversation import Conversation
from gen.generation.decoding import decode
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.models import language_model

BYTES = ByteTokenizer()
KEY = jax.random.key(3)


def restored(family, objective):
  model = Model(
    family=family,
    vocab=BYTES.vocab if family != "decoder" else 260,
    width=8,
    depth=1,
    head_width=4,
    context=64,
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  run = Run(model=model, data=Data(objective=objective, length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


DECODER = restored("decoder", "causal")


def test_a_decoder_reads_bos_and_the_prompt():
  assert text.prompt_ids(DECODER, "hi").tolist() == [BYTES.bos, *BYTES.encode("hi")]


def test_what_looks_like_a_special_token_stays_text():
  for family, objective in (("decoder", "causal"), ("encoder", "masked"), ("encoder_decoder", "infilling")):
    ids = text.prompt_ids(restored(family, objective), "a <mask> </s> <extra_id_0>")
    inner = [number for number in ids.tolist()[1:] if number != BYTES.eos]
    assert not any(BYTES.is_special(number) for number in inner)
    assert BYTES.decode(inner) == "a <mask> </s> <extra_id_0>"


def test_blanks_become_masks_or_sentinels():
  masked = text.prompt_ids(restored("encoder", "masked"), "a ___ b")
  assert masked.tolist() == [BYTES.bos, *BYTES.encode("a "), BYTES.mask, *BYTES.encode(" b"), BYTES.eos]
  spans = text.prompt_ids(restored("encoder_decoder", "span_corruption"), "@a@", "@")
  assert spans.tolist() == [BYTES.bos, BYTES.sentinel(0), *BYTES.encode("a"), BYTES.sentinel(1), BYTES.eos]


def test_an_encoder_answers_with_its_blanks_filled():
  ((answer,),) = text.stream_answers(restored("encoder", "masked"), ["ab___cd"], GREEDY, KEY)
  assert len(answer.tokens) == 1 and not BYTES.is_special(int(answer.tokens[0]))
  assert answer.text == BYTES.decode([*BYTES.encode("ab"), *answer.tokens, *BYTES.encode("cd")])


def test_counts_of_the_window_are_those_of_the_model():
  count = text.count_tokens(DECODER, "four", 10)
  assert (count.prompt, count.used, count.left) == (5, 15, 49)


def test_settled_text_holds_back_half_letters_and_half_stop_strings():
  assert text.without_partial_stop("caf\N{REPLACEMENT CHARACTER}") == "caf"
  assert text.without_partial_stop("so E", ("END",)) == "so "
  assert text.without_partial_stop("so EN", ("END", "N.")) == "so "
  assert text.without_partial_stop("so far", ("END",)) == "so far"


@pytest.mark.parametrize(("prompt", "sentence"), [("", "the prompt is empty"), ("a\ud800", "surrogate")])
def test_a_prompt_that_cannot_be_is_one_sentence(prompt, sentence):
  with pytest.raises(UserError, match=sentence):
    text.prompt_ids(DECODER, prompt)


@settings(max_examples=40)
@given(st.text(max_size=90), st.sampled_from(["error", "truncate", "slide"]))
def test_any_prompt_is_answered_or_refused_in_one_sentence(prompt, window):
  try:
    ((answer,),) = text.stream_answers(DECODER, [prompt], Sampler(top_k=9), KEY, max_tokens=3, window=window)
  except UserError as error:
    assert "\n" not in str(error)
    return
  assert isinstance(answer.text, str) and 1 <= len(answer.tokens) <= 3


@pytest.fixture
def talk():
  limits = decode.DecodeLimits(max_tokens=5, window="slide")
  conversation = Conversation(DECODER, Sampler(top_k=9), limits, seed=1)
  written = []

  def say(line):
    written.clear()
    conversation.handle_line(line, written.append)
    return "".join(written)

  return conversation, say


def test_the_same_seed_gives_the_same_conversation(talk):
  conversation, say = talk
  first = say("hello")
  assert first.endswith("\n") and conversation.transcript.startswith("hello")
  say("/clear")
  assert conversation.transcript == ""
  assert say("hello") == first


def test_commands_change_settings_and_mistakes_are_sentences(talk):
  conversation, say = talk
  assert "temperature 0.5" in say("/temperature 0.5")
  assert conversation.sampler.temperature == 0.5
  for line, sentence in (
    ("/temperature -1", "error: temperature -1.0 is not allowed"),
    ("/temperature warm", "error: /temperature needs a number"),
    ("/top_k 999", "error: top_k 999"),
    ("/max_tokens 0", "error: max_tokens 0"),
    ("/max_tokens " + "9" * 30, "error: max_tokens " + "9" * 30 + " is not allowed; ask for 1 to 1048576"),
    ("/temperature 1e-320", "error: temperature 1e-320 is not allowed"),
    ("/repetition_penalty 1e300", "error: repetition_penalty 1e+300 is not allowed"),
    ("/seed 4294967296", "error: /seed needs a number from 0 to 2^32 - 1, not '4294967296'"),
    ("/seed " + "9" * 5000, f"error: /seed needs a whole number, not '{'9' * 40}...'"),
    ("/window wide", "error: /window needs"),
    ("/history maybe", "error: /history needs on or off"),
    ("/jump", "error: '/jump' is not a command"),
    ("/0\n0", r"error: '/0\n0' is not a command"),
  ):
    assert say(line).startswith(sentence)
  assert conversation.sampler.temperature == 0.5
  assert "/temperature 0.5" in say("/help")
  say("/quit")
  assert conversation.over


def test_an_interrupt_ends_the_answer_and_not_the_conversation(talk):
  conversation, say = talk
  pieces = []

  def interrupt(piece):
    pieces.append(piece)
    if len(pieces) == 1:
      raise KeyboardInterrupt

  conversation.handle_line("hello", interrupt)
  assert pieces[1:] == [" [stopped]", "\n"]
  assert say("more").endswith("\n") and not conversation.over


def test_history_is_part_of_the_prompt_until_it_is_switched_off(talk):
  conversation, say = talk
  say("first")
  before = conversation.transcript
  say("second")
  assert conversation.transcript.startswith(before + "second")
  say("/history off")
  say("third")
  assert "third" not in conversation.transcript


def test_models_of_two_vocabularies_are_told_apart():
  other = DECODER._replace(model=dataclasses.replace(DECODER.model, vocab=3))
  with pytest.raises(UserError, match="outside the model's vocabulary of 3"):
    list(text.stream_answers(other, ["hi"], GREEDY, KEY, max_tokens=2))


def test_a_source_that_was_trained_to_be_cut_off_anywhere_has_no_end():
  assert text.prompt_ids(restored("encoder_decoder", "prefix"), "hi").tolist() == [
    BYTES.bos,
    *BYTES.encode("hi"),
  ]


def test_ul2_reads_its_mode_and_a_hidden_end_as_in_its_training():
  model = restored("encoder_decoder", "ul2")
  regular, sequential = BYTES.sentinel(97), BYTES.sentinel(98)
  assert text.prompt_ids(model, "a@b", "@").tolist() == [
    regular, BYTES.bos, *BYTES.encode("a"), BYTES.sentinel(0), *BYTES.encode("b"), BYTES.eos,
  ]  # fmt: skip
  assert text.prompt_ids(model, "ab").tolist() == [
    sequential, BYTES.bos, *BYTES.encode("ab"), BYTES.sentinel(0), BYTES.eos,
  ]  # fmt: skip
  raw = np.array([BYTES.bos, *BYTES.encode("some words of a text"), BYTES.eos])
  objective = objectives.make_objective("ul2", objectives.Specials.of(BYTES), 40)
  sources = [objective(raw, np.random.default_rng(seed)).source_bs for seed in range(40)]
  seen = {tuple(source[:2].tolist()) for source in sources}
  assert {(regular, BYTES.bos), (sequential, BYTES.bos)} <= seen
  ends = [source[source > 0][-2:].tolist() for source in sources if source[0] == sequential]
  assert all(end == [BYTES.sentinel(0), BYTES.eos] for end in ends)


def test_only_a_decoder_of_objective_prefix_sees_its_prompt_both_ways():
  assert restored("decoder", "prefix").reading.prefix
  assert not DECODER.reading.prefix and not restored("encoder_decoder", "prefix").reading.prefix
