"""Behind the harness's interface, scores are what token after token says, and the harness need not be there."""

import functools
import logging
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.evaluation import harness, harness_tasks
from gen.generation import loaded_model
from gen.io import typed_json
from gen.models import language_model as language_models

BYTES = ByteTokenizer()
SIZE = 12  # the window
LETTERS = [4 + ord(letter) for letter in "abcdefgh"]


class Request:
  """What the harness's instances have of use here."""

  def __init__(self, *args):
    self.args = args


@functools.cache
def restored(family="decoder"):
  """Returns a model that writes but the first eight letters."""
  shape = {"head_width": 4, "context": SIZE, "positions": "learned"} if family == "decoder" else {}
  model = Model(family=family, vocab=BYTES.vocab, width=8, depth=1, head_bias=True, **shape)
  rng = np.random.default_rng(0)

  def draw(leaf):
    drawn = rng.normal(size=leaf.shape).astype(np.float32)
    if leaf.shape == (BYTES.vocab,):
      drawn += np.where(np.isin(np.arange(BYTES.vocab), LETTERS), 0, -30)
    return drawn

  params = jax.tree.map(draw, language_models.parameter_shapes(model))
  run = Run(model=model, data=Data(length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


@functools.cache
def reader(family):
  module = restored(family).module
  return jax.jit(lambda params, ids: jax.nn.log_softmax(module.apply({"params": params}, ids)))


def said(ids, family="decoder"):
  """Returns log p [V] of the token after ids, read alone; what fills up the shape comes after them."""
  room = SIZE if family == "decoder" else 48
  assert 0 < len(ids) <= room
  filled = jnp.array([[*ids, *[0] * (room - len(ids))]])
  return np.asarray(reader(family)(restored(family).params, filled)[0, len(ids) - 1], np.float64)


def spelled(text):
  return BYTES.encode(text).tolist()


PAIRS = [
  ("ab", "cde"),
  ("ab ", "cd"),
  ("", "hgf"),
  ("a longer context", "abc"),
  ("  ", "a"),
  ("b", "a" * SIZE),
]


def test_a_continuation_is_as_likely_as_its_tokens_one_by_one():
  model = harness.Backend(restored(), batch_size=2)
  for (context, continuation), (nats, greedy) in zip(
    PAIRS, model.loglikelihood([Request(*pair) for pair in PAIRS]), strict=True
  ):
    count = len(continuation) + len(context) - len(context.rstrip())  # its spaces are the continuation's
    ids = [BYTES.bos, *spelled(context + continuation)][-(SIZE + 1) :]
    places = range(len(ids) - count, len(ids))
    assert nats == pytest.approx(sum(said(ids[:i])[ids[i]] for i in places), abs=1e-3)
    assert greedy == all(said(ids[:i]).argmax() == ids[i] for i in places)


def test_what_the_model_would_write_is_greedy_and_another_continuation_is_not():
  model = harness.Backend(restored(), batch_size=2)
  best = chr(int(said([BYTES.bos, *spelled("ab")]).argmax()) - 4)
  other = next(letter for letter in "abcdefgh" if letter != best)
  found = model.loglikelihood([Request("ab", best), Request("ab", other)])
  assert [greedy for _, greedy in found] == [True, False] and found[0][0] > found[1][0]


@pytest.mark.parametrize("family", ["decoder", "lstm"])
def test_a_rolling_text_is_read_in_windows_that_predict_each_token_once(family):
  model = harness.Backend(restored(family), max_length=SIZE, batch_size=2)
  contents = ["abc", "a" * 5 + "gh" * 13, "", "abcdefghabcd"]
  for content, nats in zip(
    contents, model.loglikelihood_rolling([Request(content) for content in contents]), strict=True
  ):
    ids, total = [BYTES.bos, *spelled(content)], 0.0
    for place in range(1, len(ids)):
      end = min(-(-place // SIZE) * SIZE, len(ids) - 1)  # of the window that predicts this place
      total += said(ids[max(0, end - SIZE) : place], family)[ids[place]]
    assert nats == pytest.approx(total, abs=2e-3)


def greedy_text(context, most, until=()):
  ids, text = [BYTES.bos, *spelled(context)][-(SIZE - most) :], ""
  for _ in range(most):
    ids.append(int(said(ids).argmax()))
    if ids[-1] == BYTES.eos:
      return text
    text += chr(ids[-1] - 4)
    if any(stop in text for stop in until):
      return min((text.partition(stop)[0] for stop in until), key=len)
  return text


def test_texts_are_written_greedily_until_they_stop_in_the_order_of_the_requests(caplog):
  contexts = ["ab", "a context beyond the room", "", "gh", "c"]
  free = [greedy_text(context, 5) for context in contexts]
  stop = free[0][2]
  given = {"until": [stop, "zz"], "max_gen_toks": 5, "do_sample": False, "temperature": 0.7}
  requests = [Request(context, given) for context in contexts]
  requests[2:2] = [Request("dd", {"max_new_tokens": 3}), Request("e", {"max_new_tokens": 3})]
  expected = [greedy_text(context, 5, [stop]) for context in contexts]
  expected[2:2] = [greedy_text("dd", 3), greedy_text("e", 3)]
  with caplog.at_level(logging.WARNING):
    assert harness.Backend(restored(), batch_size=2).generate_until(requests) == expected
  assert len(expected[0]) < len(free[0])
  assert "1 of 5 prompts lose tokens at their left: the longest needs 31, and 12 fit" in caplog.text


def test_sampled_texts_do_not_depend_on_their_neighbours_and_repeats_differ():
  requests = [
    Request(context, {"do_sample": True, "max_gen_toks": 6}) for context in ("ab", "ab", "c", "dd", "ab")
  ]
  model = harness.Backend(restored(), batch_size=2)
  one, two, c, d, three = found = model.generate_until(requests)
  assert model.generate_until([requests[i] for i in (3, 0, 1, 4, 2)]) == [d, one, two, three, c]
  assert len({one, two, three}) > 1
  assert harness.Backend(restored(), batch_size=2, seed=1).generate_until(requests) != found


def test_a_text_may_begin_with_the_token_before_all_texts():
  class Begun(ByteTokenizer):
    """Has a letter for the token before all texts."""

    def encode_batch(self, texts, threads=1):
      return [np.where(ids == 4 + ord("^"), self.bos, ids) for ids in super().encode_batch(texts)]

  model = harness.Backend(restored()._replace(tokenizer=Begun()), batch_size=2)
  (twice, _), (once, _) = model.loglikelihood([Request("", "^ab"), Request("", "ab")])
  assert twice == pytest.approx(once, abs=1e-4)


@pytest.mark.parametrize(
  ("call", "sentence"),
  [
    (lambda m: m.loglikelihood([Request("a", "")]), "continuation '' of request 0 has no tokens"),
    (lambda m: m.loglikelihood([Request("a", "b"), Request("a", "b" * 13)]), "request 1 has 13 tokens, more than 12"),
    (lambda m: m.generate_until([Request("a", {})]), "max_gen_toks 256 leaves no tokens of 12 for the context"),
    (lambda m: m.generate_until([Request("a", {"num_beams": 4})]), "'num_beams': 4.* are not all supported"),
    (lambda m: m.generate_until([Request("a", {"stop": "b"})]), "'stop': 'b'.* are not all supported"),
    (lambda m: m.apply_chat_template([]), "a test has no chat template"),
    (lambda m: harness.Backend(m.restored, max_length=13), "max_length 13 is more than the context window's 12"),
    (lambda m: harness.Backend(m.restored, batch_size="many"), "batch_size 'many' is not allowed"),
    (lambda m: harness.Backend(m.restored, device="mps"), "device 'mps' is requested, but jax runs on cpu"),
    (lambda m: harness.Backend(m.restored, seed=1 << 32), "seed 4294967296 is not allowed"),
    (lambda m: harness.Backend(m.restored, dtype="float16"), "model argument 'dtype' is unknown"),
    (lambda m: harness.Backend("/no/such/folder"), "/no/such/folder is not a folder"),
  ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(call, sentence):
  with pytest.raises(UserError, match=sentence):
    call(harness.Backend(restored()))


def test_models_that_do_not_continue_texts_are_refused():
  decoder = restored()
  headless = decoder._replace(reading=decoder.reading._replace(head=False))
  encoder = decoder._replace(model=Model(family="encoder", vocab=BYTES.vocab, width=8, head_width=4))
  for model in (headless, encoder):
    with pytest.raises(UserError, match="a test cannot continue text"):
      harness.Backend(model)


def test_without_the_harness_a_sentence_says_how_to_install_it(monkeypatch, capsys):
  harness.language_model.cache_clear()
  monkeypatch.setitem(sys.modules, "lm_eval", None)
  for call in (harness.register_model, harness.language_model, lambda: harness.LanguageModel):
    with pytest.raises(UserError, match="needs lm-evaluation-harness: uv run --extra harness"):
      call()
  assert harness.run_command() == 2
  assert capsys.readouterr().err.startswith("error: evaluating on tasks needs lm-evaluation-harness")


@pytest.fixture
def stub(monkeypatch):
  """A package with what gen uses of the harness's, which keeps what it is told."""

  class LM:
    def __init__(self):
      self.cache_hook = self
      self.kept = []

    def add_partial(self, kind, request, answer):
      self.kept.append((kind, request, answer))

  class TaskManager:
    def __init__(self, include_path=None):
      self.include_path = include_path

    def match_tasks(self, names):
      return [name for name in names if name == "known"]

  registered = {}

  def simple_evaluate(model, tasks, limit, **others):
    if limit == 1:
      raise FileNotFoundError("no such data set\nand more")
    ((nats, _),) = model.loglikelihood([Request("ab", "c")])
    values = {
      "alias": "known",
      "acc,none": 0.5,
      "acc_stderr,none": 0.1,
      "ppl,cut": nats,
      "ppl_stderr,cut": "N/A",
    }
    return {
      "results": {"known": values}, "versions": {"known": 2}, "n-shot": {"known": 3},
      "n-samples": {"known": {"original": 9, "effective": 7}}, "samples": {"known": ["each"]},
    }  # fmt: skip

  parts = {
    "lm_eval": {"__version__": "0"},
    "lm_eval.api": {},
    "lm_eval.models": {},
    "lm_eval.api.model": {"LM": LM},
    "lm_eval.api.registry": {
      "model_registry": registered,
      "register_model": lambda name: lambda kind: registered.update({name: kind}),
    },
    "lm_eval.evaluator": {"simple_evaluate": simple_evaluate},
    "lm_eval.tasks": {"TaskManager": TaskManager},
  }
  for name, values in parts.items():
    module = types.ModuleType(name)
    vars(module).update(values)
    monkeypatch.setitem(sys.modules, name, module)
    above, _, last = name.rpartition(".")
    if above:
      setattr(sys.modules[above], last, module)
  harness.language_model.cache_clear()
  yield types.SimpleNamespace(LM=LM, registered=registered)
  harness.language_model.cache_clear()


def test_the_harness_knows_the_model_by_name_and_its_cache_is_told_answers(stub):
  harness.register_model()
  harness.register_model()
  kind = stub.registered["gen"]
  assert kind is harness.LanguageModel and issubclass(kind, stub.LM)
  model = kind(checkpoint=restored(), device="cuda:0", batch_size="auto:4", max_batch_size=2)
  assert model.batch == 2 and model.tokenizer_name == f"gen-{BYTES.hash}"
  (answer,) = model.loglikelihood([Request("ab", "c")])
  (nats,) = model.loglikelihood_rolling([Request("ab")])
  assert model.kept == [("loglikelihood", ("ab", "c"), answer), ("loglikelihood_rolling", ("ab",), nats)]


def test_a_report_holds_each_score_and_where_it_comes_from(stub):
  model = harness.language_model()(restored(), batch_size=2)
  report = harness_tasks.evaluate_tasks(model, ["known"], log_samples=True)
  ((nats, _),) = model.loglikelihood([Request("ab", "c")])
  assert typed_json.encode_value(report.tasks["known"]) == {
    "version": 2, "shots": 3, "questions": 7, "scores": [
      {"metric": "acc", "filter": "none", "value": 0.5, "standard_error": 0.1},
      {"metric": "ppl", "filter": "cut", "value": nats, "standard_error": None},
    ],
  }  # fmt: skip
  assert report.samples == {"known": ["each"]} and report.model["max_length"] == SIZE
  first, accuracy, perplexity = harness_tasks.report_lines(report)
  assert first.startswith("a test: ") and "acc" in accuracy and "0.5000 ± 0.1000" in accuracy
  assert "ppl (cut)" in perplexity and "±" not in perplexity
  assert harness_tasks.evaluate_tasks(model, ["known"]).samples is None


def test_unknown_tasks_and_missing_data_are_one_sentence(stub, tmp_path):
  model = harness.language_model()(restored(), batch_size=2)
  with pytest.raises(UserError, match="there is no task nope, other; lm_eval ls tasks"):
    harness_tasks.evaluate_tasks(model, ["known", "nope", "other"])
  with pytest.raises(UserError, match="no task is named"):
    harness_tasks.evaluate_tasks(model, [])
  with pytest.raises(UserError, match="is not a folder; give one with YAML files"):
    harness_tasks.evaluate_tasks(model, ["known"], include_path=tmp_path / "nothing")
  with pytest.raises(UserError, match=r"the data of known cannot be loaded: no such data set$"):
    harness_tasks.evaluate_tasks(model, ["known"], limit=1)
