"""Tiny models of each family in run folders, and examples that they can learn."""

import dataclasses

import jax
import numpy as np
import pytest

from gen import presets
from gen.config import Data, Model, Optimizer, Run, config_hash, to_dict
from gen.data.tasks.examples import PairExample, QuestionExample, TaggedExample, TaskData, TextExample
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.io import checksums
from gen.training import step
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import run_folder

OBJECTIVES = {"encoder": "masked", "decoder": "causal", "encoder_decoder": "span_corruption"}
WORDS = "ash bay elm fig oak yew red sun wet".split()  # noqa: SIM905


def write_run(folder, family, preset="", **shape):
  """Writes the folder of a run before its first step; with a preset, of its architecture."""
  sizes = {"width": 20, "depth": 2, "head_width": 10, "context": 48, "vocab": ByteTokenizer().vocab}
  if preset:
    sizes |= {"heads": 2, "key_value_heads": 0, "feed_forward": 24}
  known = presets.get_model(preset) if preset else Model(family=family)
  model = dataclasses.replace(known, **(sizes | shape))
  run = Run(
    name=family,
    model=model,
    data=Data(objective=OBJECTIVES[family], length=48),
    optimizer=Optimizer(),
    steps=1,
  )
  state = step.initialize_state(model, run.optimizer, 0)
  meta = {"config": to_dict(run), "run": config_hash(run), "tokenizer": ByteTokenizer().hash}
  with Checkpoints(folder / "checkpoints") as checkpoints:
    checkpoints.save(0, state, meta)
  checksums.write_atomically(folder / run_folder.CONFIG, run_folder.config_text(run))
  return folder


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
  """Returns the folder of an untrained run of a family, made once."""
  made = {}

  def of(family):
    if family not in made:
      made[family] = write_run(tmp_path_factory.mktemp(family) / "run", family)
    return made[family]

  return of


def sentences(count, seed):
  random = np.random.default_rng(seed)
  return [" ".join(random.choice(WORDS, random.integers(2, 7))) for _ in range(count)]


def parts(make, train=48, development=12, test=13):
  """Returns three parts of examples, each made of a sentence."""
  sizes, texts = (train, development, test), sentences(train + development + test, 5)
  ends = np.cumsum(sizes)
  return [
    tuple(make(text) for text in texts[end - size : end]) for size, end in zip(sizes, ends, strict=True)
  ]


def task_data(task, make, labels=()):
  return TaskData(task, *parts(make), labels, "made here", f"hash of {task}")


def topic(text):
  return TextExample(text, "tree" if text.count("a") + text.count("e") > len(text) // 6 else "other")


def tagged(text):
  words = tuple(text.split())
  return TaggedExample(words, tuple("B-W" if word[0] in "aeiou" else "O" for word in words))


def question(text):
  words = text.split()
  at = len(text) - len(words[-1])
  return QuestionExample("last?", text, (words[-1],), (at,))


def pair(text):
  return PairExample(text, text.split()[0])


DATA = {
  "classify": task_data("classify", topic, ("other", "tree")),
  "tag": task_data("tag", tagged, ("B-W", "O")),
  "answer": task_data("answer", question),
  "translate": task_data("translate", pair),
}


@pytest.fixture(scope="session")
def data_of():
  return DATA.__getitem__


@pytest.fixture(scope="session")
def random_key():
  return jax.random.key(0)
