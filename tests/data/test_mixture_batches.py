"""Batches of a mixture: rows of each corpus as planned, once an epoch each, a pure function of seed and step."""

import dataclasses
import random

import numpy as np
import pytest

from gen.config import Data, mixture
from gen.data import batches, corpus, dataset, training_batches
from gen.data.tokenizers import subwords
from gen.errors import UserError

WORDS = {
  "letters": ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"],
  "numbers": ["one", "two", "three", "four", "five", "six", "seven"],
  "colours": ["red", "green", "blue", "white", "black"],
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  """Three corpora of unequal sizes whose words tell them apart; returns the folder."""
  folder = tmp_path_factory.mktemp("corpora")
  for index, (name, words) in enumerate(WORDS.items()):
    rng = random.Random(index)
    (folder / name).mkdir()
    for document in range(40 + 30 * index):
      (folder / name / f"{document}.txt").write_text(
        " ".join(f"{rng.choice(words)} {rng.randrange(10**6)}" for _ in range(9))
      )
  return folder


@pytest.fixture(scope="module")
def data(texts, tmp_path_factory):
  return Data(
    mixture=tuple(
      mixture.MixtureCorpus(name, str(texts / name), weight)
      for name, weight in zip(WORDS, (0.5, 0.3, 0.2), strict=True)
    ),
    cache=str(tmp_path_factory.mktemp("cache")), length=16, batch=5, validation_fraction=0.2,
  )  # fmt: skip


@pytest.fixture(scope="module")
def loaded(data):
  return dataset.load_dataset(data)


def made(loaded, data, seed=1, steps=400):
  objective = batches.make_objective(data, loaded.tokenizer)
  return training_batches.make_batches(loaded, data, seed, steps, objective)


def same(one, other):
  return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True) if a is not None)


def corpus_of(loaded, ids):
  """Returns the index of the corpus whose training text holds these ids."""
  window = np.asarray(ids, np.uint16).tobytes()
  held = [window in part.train.ids.tobytes() for part in loaded.tokens.values()]
  assert sum(held) == 1
  return held.index(True)


def test_rows_hold_the_text_of_the_corpus_that_was_planned(loaded, data):
  found = made(loaded, data)
  stack = found.stack(7, 30)
  corpora, _ = found.plan.locate(np.arange(7 * 5, 37 * 5))
  rows = stack.inputs_bt.reshape(-1, 16)
  assert [corpus_of(loaded, row) for row in rows] == corpora.tolist()
  assert set(corpora.tolist()) == {0, 1, 2}


def test_an_epoch_of_each_corpus_visits_each_of_its_rows_once(loaded, data):
  found = made(loaded, data)
  steps = int(2 * found.rows_k.max() / 0.2 / 5)
  rows = found.stack(0, steps).inputs_bt.reshape(-1, 16)
  corpora, _ = found.plan.locate(np.arange(len(rows)))
  for k, count in enumerate(found.rows_k.tolist()):
    own = [row.tobytes() for row in rows[corpora == k]]
    assert len(set(own[:count])) == count and set(own[:count]) == set(own[count : 2 * count])
    assert own[:count] != own[count : 2 * count]


def test_a_batch_is_a_pure_function_of_seed_and_step(loaded, data):
  one, other = made(loaded, data), made(loaded, data)
  steps = [300, 0, 10**9, 17]
  expected = [one.at(step) for step in steps]
  for step, batch in reversed(list(zip(steps, expected, strict=True))):
    assert same(other.at(step), batch)
  assert not same(made(loaded, data, seed=2).at(0), expected[1])


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_a_stack_is_the_steps_one_by_one_and_a_process_makes_its_own_rows(loaded, data, objective):
  found = made(loaded, dataclasses.replace(data, objective=objective))
  stack = found.stack(6, 4)
  for index in range(4):
    assert same([None if array is None else array[index] for array in stack], found.at(6 + index))
  own = found.stack(6, 4, np.array([1, 4]))
  assert same([None if array is None else array[:, [1, 4]] for array in stack], own)


def test_a_schedule_holds_from_a_whole_step_on(loaded, data):
  later = dataclasses.replace(data, mixture_schedule=((0.75, 0.0, 0.0, 1.0),))
  corpora, _ = made(loaded, later, steps=41).plan.locate(np.arange(205))
  assert (corpora[155:] == 2).all() and (corpora[:155] != 2).any()  # round(0.75 * 41) = 31 steps of 5 rows


def test_a_temperature_of_one_reads_by_size_and_a_high_one_evenly(loaded, data):
  bare = dataclasses.replace(
    data, mixture=tuple(mixture.MixtureCorpus(each.name, each.corpus) for each in data.mixture)
  )
  sizes = np.array([len(part.train.ids) for part in loaded.tokens.values()])
  for temperature in (1.0, 3.0, 1e9):
    shares = made(loaded, dataclasses.replace(bare, mixture_temperature=temperature)).shares(400)
    wanted = sizes ** (1 / temperature)
    assert np.abs(shares - wanted / wanted.sum()).max() < 2e-3


def test_token_budgets_are_met_and_must_fill_the_run(loaded, data):
  budgets = mixture.with_weights(dataclasses.replace(data, mixture_unit="tokens"), (16_000, 8_000, 8_000))
  shares = made(loaded, budgets, steps=400).shares(400)  # 400 steps of 5 rows of 16 tokens
  assert np.abs(shares * 32_000 - (16_000, 8_000, 8_000)).max() <= 32
  with pytest.raises(
    UserError, match=r"sets 32,000 tokens in all, but the run reads 40,000; set tokens=32000"
  ):
    made(loaded, budgets, steps=500)


def test_most_epochs_are_kept_to_the_row(loaded, data):
  limited = dataclasses.replace(
    data, mixture=(*data.mixture[:2], dataclasses.replace(data.mixture[2], max_epochs=0.5))
  )
  found = made(loaded, limited)
  assert found.plan.counts(2000)[2] == int(0.5 * found.rows_k[2]) and len(found.plan.limits) == 1


def test_unique_tokens_are_the_same_fraction_of_each_corpus_and_nested(loaded, data):
  total = sum(len(part.train.ids) for part in loaded.tokens.values())
  small, large = (
    training_batches.training_streams(loaded, dataclasses.replace(data, unique_tokens=limit))
    for limit in (total // 3, total // 2)
  )
  for name, stream in small.items():
    assert abs(len(stream.ids) - len(loaded.tokens[name].train.ids) / 3) <= 1
    assert np.array_equal(large[name].ids[: len(stream.ids)], stream.ids)
    assert stream.starts[-1] < len(stream.ids)
  with pytest.raises(
    UserError, match=rf"data.unique_tokens is {total + 1:,}, but the training text has only"
  ):
    training_batches.training_streams(loaded, dataclasses.replace(data, unique_tokens=total + 1))


def test_one_corpus_is_limited_to_its_first_tokens(loaded, data):
  alone = dataclasses.replace(data, corpus=data.mixture[0].corpus, mixture=(), unique_tokens=500)
  found = made(dataset.load_dataset(alone), alone)
  assert found.rows_per_epoch == 499 // 16
  read = {row.tobytes() for row in found.stack(0, 20).inputs_bt.reshape(-1, 16)}
  first = loaded.tokens["letters"].train.ids[:500].astype(np.int32)
  assert read == {first[16 * row : 16 * row + 16].tobytes() for row in range(31)}


def test_the_joined_texts_are_those_of_the_corpora(loaded, data):
  joined = loaded.corpus.train
  parts = [part.train for part in loaded.corpus.parts.values()]
  assert list(joined) == [text for part in parts for text in part]
  assert joined[-1] == parts[-1][-1] and joined[1:3] == list(joined)[1:3]
  with pytest.raises(IndexError):
    joined[len(joined)]
  assert np.array_equal(loaded.train.ids, np.concatenate([part.train.ids for part in loaded.tokens.values()]))
  begins = loaded.train.ids[loaded.train.starts]
  assert (begins == loaded.tokenizer.bos).all() and len(begins) == len(joined)


def test_weights_change_neither_text_nor_tokenizer(loaded, data):
  other = mixture.with_weights(dataclasses.replace(data, mixture_schedule=((0.5, 1, 1, 1),)), (0, 1, 2))
  found = dataset.load_dataset(other)
  assert found.corpus.sha256 == loaded.corpus.sha256
  fewer = dataset.load_dataset(dataclasses.replace(data, mixture=data.mixture[:2]))
  assert fewer.corpus.sha256 != loaded.corpus.sha256
  assert fewer.corpus.parts["letters"].sha256 == loaded.corpus.parts["letters"].sha256


def test_each_corpus_gives_the_tokenizer_the_same_number_of_characters():
  joined = corpus.JoinedTexts([["a" * 50] * 9, ["b" * 10] * 500, ["c" * 7]])
  sampled = "".join(subwords.sample_documents(joined, 300))
  assert [sampled.count(letter) for letter in "abc"] == [100, 100, 7]


def test_an_unknown_corpus_is_named(data):
  with pytest.raises(UserError, match=r"data.mixture, nowhere: nowhere: no such file or folder"):
    dataset.load_dataset(dataclasses.replace(data, mixture="nowhere=1"))


def test_a_corpus_with_weight_needs_a_row_of_text(loaded, data):
  long = dataclasses.replace(data, length=6000)
  with pytest.raises(
    UserError, match=r"the training side of letters has [\d,]+ tokens, less than one row of"
  ):
    made(loaded, long)
