"""A tiny run and its text, for all tests of the loop."""

import json

import pytest

from gen.config import Data, Model, Optimizer, Run
from gen.data import dataset

WORDS = "the model reads a row of tokens and predicts what comes next in it while its loss falls".split()  # noqa: SIM905


def sentence(i: int) -> str:
  return " ".join(WORDS[(i * k + k // 3) % len(WORDS)] for k in range(1, 8 + i % 5)) + f" {i}."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  path = tmp_path_factory.mktemp("corpus") / "sentences.jsonl"
  path.write_text("".join(json.dumps({"text": sentence(i)}) + "\n" for i in range(400)))
  return path


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
  return Run(
    name="tiny",
    seed=3,
    model=Model(width=12, depth=2, head_width=6, dropout=0.1),
    data=Data(
      corpus=str(corpus),
      length=24,
      batch=3,
      validation_fraction=0.3,
      validation_tokens=500,
      cache=str(tmp_path_factory.mktemp("cache")),
    ),
    optimizer=Optimizer(peak_learning_rate=1e-2, schedule="wsd"),
    steps=37,
    log_every=5,
    steps_per_dispatch=4,
    checkpoint_every=9,
  )


@pytest.fixture(scope="module")
def data(run):
  return dataset.load_dataset(run.data)
