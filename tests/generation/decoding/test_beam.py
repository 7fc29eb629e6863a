"""Beam search finds what exhaustive search finds where it can, and another library's texts."""

import itertools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from gen.config import Model, from_dict
from gen.errors import UserError
from gen.generation.decoding import beam, decode
from gen.generation.decoding.sampling import GREEDY
from gen.models import language_model

FIXTURES = Path(__file__).parent / "fixtures"


def stored(name):
  record = json.loads((FIXTURES / f"{name}.json").read_text())
  tree = {}
  with np.load(FIXTURES / f"{name}.npz") as arrays:
    for path, value in arrays.items():
      *folders, leaf = path.split("/")
      here = tree
      for folder in folders:
        here = here.setdefault(folder, {})
      here[leaf] = value.astype(np.float32)
  return record, language_model.build_model(from_dict(Model, record["config"])), tree


@pytest.mark.parametrize(
  "name", ["gpt2", "t5", *(pytest.param(x, marks=pytest.mark.slow) for x in ("bloom", "bart"))]
)
def test_greedy_and_beam_texts_are_transformers(name):
  record, module, params = stored(name)
  expected_shapes = jax.tree.map(lambda leaf: leaf.shape, language_model.parameter_shapes(module.config))
  assert jax.tree.map(lambda leaf: leaf.shape, params) == expected_shapes
  start = () if record["start"] is None else (record["start"],)
  for case in record["cases"]:
    options = dict(case["options"])
    stop = (options.pop("eos"),) if "eos" in options else ()
    limits = {"max_tokens": record["new"], "stop_tokens": stop, "start": start or (0,)}
    if "num_beams" not in options:
      key = jax.random.key(0)
      found = decode.generate(module, params, record["prompts"], GREEDY, key, **limits).rows()
    else:
      beams = beam.beam_search(
        module, params, record["prompts"], beams=options.pop("num_beams"), **options, **limits
      )
      found = beams.best()
      scores = [row["score"] for row in case["found"]]
      np.testing.assert_allclose(beams.scores_bw[:, 0], scores, rtol=2e-5)
    assert [ids.tolist() for ids in found] == [row["ids"] for row in case["found"]], case["options"]


def exhaustive(log_of, vocab, stop, length, penalty):
  """Returns the best text among all that end in `stop` or have the full length, and its score."""
  best = (-np.inf, ())
  for size in range(1, length + 1):
    for text in itertools.product(range(vocab), repeat=size):
      if stop in text[:-1] or (text[-1] != stop and size < length):
        continue
      score = sum(log_of[text[:n]][text[n]] for n in range(size)) / size**penalty
      best = max(best, (score, text))
  return best


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_text_of_all(penalty):
  vocab, length, stop = 4, 3, 2
  model = Model(vocab=vocab, width=8, depth=1, head_width=4, context=9)
  module = language_model.build_model(model)
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  prompt = (3, 0)
  beginnings = [text for n in range(length) for text in itertools.product(range(vocab), repeat=n)]
  ids = np.array([[*prompt, *text, *[0] * (length - len(text))] for text in beginnings])
  logits = jax.nn.log_softmax(jax.jit(module.apply)({"params": params}, ids))
  log_of = {
    text: np.asarray(row, np.float64)[len(prompt) + len(text) - 1]
    for text, row in zip(beginnings, logits, strict=True)
  }
  score, text = exhaustive(log_of, vocab, stop, length, penalty)
  found = beam.beam_search(
    module, params, [prompt], beams=vocab**length, length_penalty=penalty, early_stopping="never",
    max_tokens=length, stop_tokens=(stop,),
  )  # fmt: skip
  assert tuple(found.best()[0].tolist()) == text
  np.testing.assert_allclose(found.scores_bw[0, 0], score, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"beams": 0}, "beams 0 is not allowed"),
    ({"length_penalty": float("inf")}, "not a finite number"),
    ({"early_stopping": "soon"}, "choose False, True or 'never'"),
    ({"window": "slide"}, "supports neither window slide"),
  ],
)
def test_what_cannot_be_is_one_sentence(built, options, sentence):
  with pytest.raises(UserError, match=sentence):
    beam.beam_search(*built("gpt2"), [[1]], **({"max_tokens": 3} | options))


def test_logits_that_are_not_numbers_are_reported(built):
  module, params = built("gpt2")
  broken = jax.tree.map(lambda x: x * np.nan, params)
  with pytest.raises(UserError, match="not finite numbers at new token 0"):
    beam.beam_search(module, broken, [[1, 2]], beams=2, max_tokens=3)
