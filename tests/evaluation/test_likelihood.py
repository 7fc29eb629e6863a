"""What a model finds likely is what its own logits say, for every family, and prompts are judged by that."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.evaluation.few_shot_tasks import few_shot
from gen.generation import loaded_model, text
from gen.generation.prompts import PromptLayout, PromptTemplate
from gen.models import language_model

BYTES = ByteTokenizer()
PAIRS = [("ab", "cde"), ("some longer prompt", "x"), ("b", "yz")]


@functools.cache
def restored(family, objective, context=40):
  shape = {"head_width": 4} if family in ("encoder", "decoder", "encoder_decoder") else {}
  model = Model(family=family, vocab=BYTES.vocab, width=8, depth=1, context=context, **shape)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  run = Run(model=model, data=Data(objective=objective, length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


@functools.cache
def reader(family, objective):
  module = restored(family, objective).module
  return jax.jit(
    lambda params, ids, others: jax.nn.log_softmax(module.apply({"params": params}, ids, **others))
  )


def log_probabilities(model, ids, **others):
  """Returns log p [T, V] of one text; what follows it up to the window is seen by nothing before it."""
  family, size = model.model.family, model.model.context
  if family in ("encoder", "encoder_decoder"):
    others["segments_bt"] = [1] * len(ids)
  if "source_bs" in others:
    others["source_segments_bs"] = [1] * len(others["source_bs"])
  filled = {name: jnp.array([[*value, *[0] * (size - len(value))]]) for name, value in others.items()}
  ids_bt = jnp.array([[*ids, *[0] * (size - len(ids))]])
  said = reader(family, model.reading.objective)(model.params, ids_bt, filled)
  return np.asarray(said[0, : len(ids)], np.float64)


def spelled(text):
  return BYTES.encode(text).tolist()


@pytest.mark.parametrize(
  ("family", "objective"), [("decoder", "causal"), ("lstm", "causal"), ("decoder", "prefix")]
)
def test_an_answer_after_a_prompt_is_as_likely_as_token_after_token(family, objective):
  model = restored(family, objective)
  found = likelihood.answer_likelihoods(model, PAIRS)
  for (prompt, answer), one in zip(PAIRS, found, strict=True):
    given, new = [BYTES.bos, *spelled(prompt)], spelled(answer)
    others = {"prefix_bt": [1] * len(given) + [0] * (len(new) - 1)} if objective == "prefix" else {}
    said = log_probabilities(model, [*given, *new[:-1]], **others)[len(given) - 1 :]
    assert one.log_probability == pytest.approx(sum(said[i, id] for i, id in enumerate(new)), abs=1e-4)
    assert (one.tokens, one.bytes) == (len(new), len(answer))
    assert one.greedy == all(said[i].argmax() == id for i, id in enumerate(new))


def test_the_end_of_an_answer_counts_if_it_is_asked_for():
  model = restored("decoder", "causal")
  ((prompt, answer),) = PAIRS[:1]
  (without,), (with_end,) = (
    likelihood.answer_likelihoods(model, PAIRS[:1], ends=ends) for ends in (False, True)
  )
  ids = [BYTES.bos, *spelled(prompt + answer)]
  end = log_probabilities(model, ids)[-1, BYTES.eos]
  assert with_end.log_probability - without.log_probability == pytest.approx(end, abs=1e-4)
  assert with_end.tokens == without.tokens + 1


def test_all_answers_of_a_length_together_are_certain():
  model = restored("decoder", "causal")
  said = log_probabilities(model, [BYTES.bos, *spelled("ab")])[-1]
  letters = [chr(code) for code in range(128)]
  found = likelihood.answer_likelihoods(model, [("ab", letter) for letter in letters])
  text = sum(math.exp(one.log_probability) for one in found)
  assert text == pytest.approx(np.exp(said[[4 + ord(letter) for letter in letters]]).sum(), abs=1e-5)
  assert 0 < text < 1


def test_a_source_is_the_prompt_and_the_target_what_its_training_would_write():
  pairs = {"prefix": ("ab", "cd"), "span_corruption": ("a___b", "cd"), "infilling": ("a___b", "cd")}
  for objective, (prompt, answer) in pairs.items():
    model = restored("encoder_decoder", objective)
    (one,) = likelihood.answer_likelihoods(model, [(prompt, answer)])
    hole = BYTES.sentinel(0) if objective == "span_corruption" else BYTES.mask
    end = [] if objective == "prefix" else [BYTES.eos]
    middle = spelled("ab") if objective == "prefix" else [*spelled("a"), hole, *spelled("b")]
    source = [BYTES.bos, *middle, *end]
    before = {"prefix": [], "span_corruption": [hole], "infilling": [BYTES.bos, *spelled("a")]}[objective]
    inputs = [model.reading.start[0], *before, *spelled("c")]
    said = log_probabilities(model, inputs, source_bs=source)
    expected = said[len(before), spelled("c")[0]] + said[len(before) + 1, spelled("d")[0]]
    assert one.log_probability == pytest.approx(expected, abs=1e-4)
    assert one.tokens == 2


def test_an_encoder_fills_its_blank_from_the_left():
  model = restored("encoder", "masked")
  (one,) = likelihood.answer_likelihoods(model, [("ab___d", "xyz")])
  total, new = 0.0, spelled("xyz")
  for given in range(3):
    middle = [*new[:given], *[BYTES.mask] * (3 - given)]
    ids = [BYTES.bos, *spelled("ab"), *middle, *spelled("d"), BYTES.eos]
    total += log_probabilities(model, ids)[3 + given, new[given]]
  assert one.log_probability == pytest.approx(total, abs=1e-4)


def test_a_piece_across_the_seam_belongs_to_the_answer():
  class Pieces(ByteTokenizer):
    """Knows a piece that is two letters."""

    def encode_batch(self, texts, threads=1):
      one = [text.replace("bc", chr(295)) for text in texts]
      return [np.array([4 + ord(letter) for letter in text]) for text in one]

  model = restored("decoder", "causal")._replace(tokenizer=Pieces())
  assert likelihood.split_ids(model, "ab", "cd") == ([4 + ord("a")], [299, 4 + ord("d")])
  assert likelihood.split_ids(model, "ab", "d") == ([4 + ord("a"), 4 + ord("b")], [4 + ord("d")])


@pytest.mark.parametrize(
  ("family", "pair", "sentence"),
  [
    ("decoder", ("ab", ""), "has no tokens"),
    ("decoder", ("", "ab"), "the prompt is empty"),
    (
      "decoder",
      ("a" * 40, "b"),
      "a prompt of 41 tokens and an answer of 1 need more than the context window's 40",
    ),
    ("encoder", ("ab", "c"), "one blank '___', not 0"),
    ("encoder", ("a___b___", "c"), "one blank '___', not 2"),
    ("encoder", ("___" + "a" * 37, "bb"), "need more than the context window's 40"),
  ],
)
def test_what_cannot_be_judged_is_one_sentence(family, pair, sentence):
  with pytest.raises(UserError, match=sentence):
    likelihood.answer_likelihoods(restored(family, "masked" if family == "encoder" else "causal"), [pair])


def test_a_prompt_that_is_too_long_loses_its_left_if_that_is_chosen():
  model = restored("decoder", "causal")
  (one,) = likelihood.answer_likelihoods(model, [("a" * 9 + "b" * 38, "cd")], policy="truncate")
  said = log_probabilities(model, spelled("a" + "b" * 38 + "c"))
  assert one.log_probability == pytest.approx(said[-2, spelled("c")[0]] + said[-1, spelled("d")[0]], abs=1e-4)


def test_parameters_that_are_not_numbers_are_reported():
  model = restored("decoder", "causal")
  broken = model._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, model.params))
  with pytest.raises(UserError, match="not finite numbers"):
    likelihood.answer_likelihoods(broken, PAIRS)


LAYOUT = PromptLayout(PromptTemplate("{word}={kind}"), "kind", separator=" ")
POOL = [{"word": f"w{i}", "kind": kind} for i, kind in enumerate(["x", "yy", "x", "yy"])]
ITEMS = [{"word": "q", "kind": "x"}, {"word": "w1", "kind": "yy"}]


@pytest.mark.parametrize("family", ["decoder", "gru", "encoder", "encoder_decoder"])
def test_the_likeliest_choice_is_the_answer_and_its_prompt_is_kept(family):
  model = restored(family, {"encoder": "masked", "encoder_decoder": "prefix"}.get(family, "causal"))
  found = few_shot.by_likelihood(model, LAYOUT, ITEMS, POOL, lambda item: ("x", "yy"), 2, seed=4)
  for one in found.answers:
    asked = [one.prompt] * 2
    one_by_one = likelihood.answer_likelihoods(model, list(zip(asked, ("x", "yy"), strict=True)))
    assert list(one.log_probabilities.values()) == pytest.approx(
      [c.log_probability for c in one_by_one], abs=1e-4
    )
    assert one.given == max(one.log_probabilities, key=one.log_probabilities.get)
    assert one.correct == (one.given == one.expected)
    examples = " ".join(f"w{n}={POOL[n]['kind']}" for n in one.examples)
    assert one.prompt.startswith(examples + " ")
    assert one.example_tokens == len(examples) + 1
    assert one.share == (None if family == "gru" else (len(examples) + 1) / 40)
  assert 1 not in found.answers[1].examples
  assert found.accuracy == sum(one.correct for one in found.answers) / 2


def test_normalizing_compares_choices_by_their_tokens_or_bytes():
  model = restored("decoder", "causal")
  plain = few_shot.by_likelihood(model, LAYOUT, ITEMS, POOL, lambda item: ("x", "a long answer"), 0)
  mean = few_shot.by_likelihood(
    model, LAYOUT, ITEMS, POOL, lambda item: ("x", "a long answer"), 0, normalize="tokens"
  )
  for one, other in zip(plain.answers, mean.answers, strict=True):
    assert one.log_probabilities == other.log_probabilities
    values = {choice: nats / len(choice) for choice, nats in one.log_probabilities.items()}
    assert other.given == max(values, key=values.get)
  with pytest.raises(UserError, match="normalize 'letters' is unknown"):
    few_shot.by_likelihood(model, LAYOUT, ITEMS, POOL, lambda item: ("x",), 0, normalize="letters")


def test_what_is_generated_is_the_answer():
  model = restored("decoder", "causal")
  found = few_shot.by_generation(model, LAYOUT, ITEMS, POOL, 1, max_tokens=3, stop=(" ",))
  for one in found.answers:
    ids = [BYTES.bos, *spelled(one.prompt)]
    written = []
    for _ in range(3):
      written.append(int(log_probabilities(model, [*ids, *written])[-1].argmax()))
      if written[-1] in (BYTES.eos, *spelled(" ")):
        break
    text = BYTES.decode([id for id in written if id < 260])
    assert one.given == text.split(" ")[0].strip()


@pytest.mark.parametrize(
  ("family", "objective", "written", "given"),
  [
    ("decoder", "causal", "x", "x"),
    ("encoder", "masked", "x", "x"),
    ("encoder_decoder", "prefix", "x", "x"),
    ("encoder_decoder", "span_corruption", [BYTES.sentinel(0), *BYTES.encode("x"), BYTES.eos], "x"),
    ("encoder_decoder", "infilling", [BYTES.bos, *BYTES.encode("<q=x>"), BYTES.eos], "x"),
    (
      "encoder_decoder",
      "infilling",
      [BYTES.bos, *BYTES.encode("something else"), BYTES.eos],
      "something else",
    ),
  ],
)
def test_an_answer_is_found_in_what_each_family_writes(monkeypatch, family, objective, written, given):
  tokens = BYTES.encode(written) if isinstance(written, str) else np.array(written)
  read = []

  def answers(restored, texts, *others, **limits):
    read.extend(texts)
    yield [text.TextAnswer(BYTES.decode(tokens), tokens, 0.0, True) for _ in texts]

  monkeypatch.setattr(few_shot.text, "stream_answers", answers)
  layout = PromptLayout(PromptTemplate("<{word}={kind}>"), "kind")
  (one,) = few_shot.by_generation(restored(family, objective), layout, ITEMS[:1], [], 0).answers
  blank = family == "encoder" or objective in ("span_corruption", "infilling")
  assert read == ["<q=___>" if blank else "<q="] and one.given == given and one.correct == (given == "x")
  few_shot.by_generation(restored(family, objective), layout, ITEMS[:1], [], 0, blanks=not blank)
  assert read[1] == ("<q=" if blank else "<q=___>")


def test_intervals_are_wilsons_and_items_need_answers():
  answers = [few_shot.ScoredAnswer("p", (), "a", "ab"[i % 5 > 2], i % 5 <= 2, {}, 1, 0, 0) for i in range(50)]
  found = few_shot.summarize_answers(0, answers)
  p, n, z = 0.6, 50, 1.959964
  centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
  assert (found.accuracy, found.share) == (0.6, None)
  assert (found.low, found.high) == pytest.approx(
    ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)), abs=1e-6
  )
  model = restored("decoder", "causal")
  with pytest.raises(UserError, match="item 0 has no 'kind'"):
    few_shot.by_generation(model, LAYOUT, [{"word": "a"}], POOL, 0)
  with pytest.raises(UserError, match="no item to evaluate on"):
    few_shot.by_likelihood(model, LAYOUT, [], POOL, lambda item: ("x",), 0)
