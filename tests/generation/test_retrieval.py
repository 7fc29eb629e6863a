"""Passages are ranked as BM25's formula and an encoder's own states rank them, and fill the window but not more."""

import collections
import math

import jax
import numpy as np
import pytest

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation import loaded_model, retrieval, text
from gen.generation.prompts import PromptTemplate
from gen.generation.retrieval import Bm25Index, EmbeddingIndex, Passage, RetrievedPassages
from gen.models import language_model

BYTES = ByteTokenizer()
TEXTS = [
  "the cat sat on the mat", "a dog sat", "the dog chased the cat and the cat ran", "fish", "Cat, cat; CAT!",
  "nothing of the kind is said in this long passage about the weather in a town",
]  # fmt: skip
PASSAGES = [Passage(content, f"file {number}") for number, content in enumerate(TEXTS)]


def formula(query, k1, b):
  """Returns each passage's score, word by word."""
  docs = [retrieval.search_words(content) for content in TEXTS]
  mean = sum(map(len, docs)) / len(docs)
  scores = []
  for doc in docs:
    counts, total = collections.Counter(doc), 0.0
    for word in retrieval.search_words(query):
      n = sum(word in other for other in docs)
      idf = math.log(1 + (len(docs) - n + 0.5) / (n + 0.5))
      total += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(doc) / mean))
    scores.append(total)
  return scores


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.0), (0.5, 1.0)])
@pytest.mark.parametrize("query", ["cat", "the dog", "the cat sat; unheard", "the weather the weather"])
def test_words_rank_as_in_the_formula(query, k1, b):
  found = Bm25Index(PASSAGES, k1, b).search(query, 6)
  expected = formula(query, k1, b)
  order = sorted((i for i in range(6) if expected[i] > 0), key=lambda i: (-round(expected[i], 5), i))
  assert [one.number for one in found] == order
  assert [one.score for one in found] == pytest.approx([expected[i] for i in order], rel=1e-4)
  assert all(one.passage == PASSAGES[one.number] for one in found)


def test_unknown_words_find_nothing_and_the_number_asked_for_is_the_most():
  index = Bm25Index(PASSAGES)
  assert index.search("unheard of", 3)[0].number == 5 and index.search("unheard!", 3) == []
  assert len(index.search("the", 2)) == 2
  with pytest.raises(UserError, match="0 passages are requested"):
    index.search("cat", 0)
  with pytest.raises(UserError, match="contain no words"):
    Bm25Index([Passage("...", "x")])


def restored(family, objective, context=64):
  model = Model(family=family, vocab=BYTES.vocab, width=8, depth=1, head_width=4, context=context)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  run = Run(model=model, data=Data(objective=objective, length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


ENCODER = restored("encoder", "masked")


@jax.jit
def read(params, ids_bt, segments_bt):
  return ENCODER.module.apply(
    {"params": params}, ids_bt, segments_bt=segments_bt.astype(int), method="states"
  )


def test_embeddings_are_mean_states_of_the_text_alone():
  found = retrieval.embed_texts(ENCODER, TEXTS[:5], batch=2)
  for content, row in zip(TEXTS[:5], found, strict=True):
    ids = [BYTES.bos, *BYTES.encode(content), BYTES.eos]
    filled = np.array([[*ids, *[0] * (64 - len(ids))]])
    states = np.asarray(read(ENCODER.params, filled, np.arange(64)[None] < len(ids)))[0]
    mean = states[1 : len(ids) - 1].mean(0)
    np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-4)


def test_the_nearest_passage_is_found_first():
  index = EmbeddingIndex(PASSAGES[:5], ENCODER)
  for number, content in enumerate(TEXTS[:5]):
    first, *rest = index.search(content, 3)
    assert first.number == number and first.score == pytest.approx(1, abs=1e-4) and len(rest) == 2
  long = retrieval.embed_texts(ENCODER, ["ab" * 50, "ab" * 31])
  np.testing.assert_allclose(long[0], long[1], atol=1e-5)  # 62 letters and two marks fill the window
  with pytest.raises(UserError, match="is not an encoder"):
    EmbeddingIndex(PASSAGES, restored("decoder", "causal"))
  with pytest.raises(UserError, match="no passages"):
    EmbeddingIndex([], ENCODER)


FOUND = [RetrievedPassages(i, Passage(content, source), 1.0) for i, (content, source) in enumerate(
  [("best " * 3, "a"), ("far too long " * 5, "b"), ("short", "a"), ("more", "c")]
)]  # fmt: skip


def test_passages_fill_the_window_the_best_next_to_the_question():
  decoder = restored("decoder", "causal")
  found = retrieval.ground_question(decoder, "why? ", FOUND, new=20)
  assert [one.number for one in found.used] == [0, 2, 3] and [one.number for one in found.left_out] == [1]
  assert found.prompt == "more\nshort\nbest best best \nwhy? "
  assert found.tokens == len(text.prompt_ids(decoder, found.prompt)) <= 64 - 20
  assert found.sources == ["a", "c"]
  numbered = retrieval.ground_question(
    decoder, "why? ", FOUND[2:], 20, PromptTemplate("[{number}] {text} ({source}) ")
  )
  assert numbered.prompt == "[2] more (c) [1] short (a) why? "
  assert retrieval.ground_question(decoder, "why? ", [], 20).prompt == "why? "


def test_a_model_without_a_window_takes_all_and_a_question_that_does_not_fit_is_an_error():
  model = Model(family="gru", vocab=BYTES.vocab, width=8, depth=1, context=64)
  endless = restored("decoder", "causal")._replace(model=model)
  assert len(retrieval.ground_question(endless, "why? ", FOUND, 20).used) == 4
  with pytest.raises(
    UserError, match="the question has 51 tokens, and with 20 new ones needs 71 of the context window's 64"
  ):
    retrieval.ground_question(restored("decoder", "causal"), "w" * 50, FOUND, 20)


def test_texts_are_cut_into_passages_of_whole_lines():
  content = "one two three\n\n  four five\nsix seven eight nine ten eleven twelve\nlast"
  pieces = retrieval.split_passages(content, "here", 5)
  assert [passage.text for passage in pieces] == [
    "one two three\nfour five", "six seven eight nine ten", "eleven twelve\nlast",
  ]  # fmt: skip
  assert " ".join(passage.text for passage in pieces).split() == content.split()
  assert retrieval.split_passages(" \n", "here", 5) == []
