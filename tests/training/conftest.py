"""The tiny run of tests/tiny_run.py, its data, and its folder once trained, for all tests of the loop."""

import os
import shutil

import pytest

from gen.config import config_hash
from gen.data import dataset
from gen.training import loop
from tests import tiny_run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
  return tiny_run.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def run(corpus, tmp_path_factory):
  """The tiny run, not to be changed but by dataclasses.replace."""
  return tiny_run.make_run(corpus, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data(run):
  return dataset.load_dataset(run.data)


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
  """Trains a run to its end once for all tests; returns its folder, which tests read or copy, and its result."""
  done = {}

  def train(run, name="run"):
    # Not a fixture of each run: fixtures of a session come before the module's choice how to compile.
    key = (config_hash(run), name, os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"])
    if key not in done:
      folder = tmp_path_factory.mktemp("trained") / name
      done[key] = folder, loop.train_run(run, folder, data)
    return done[key]

  return train


@pytest.fixture
def copied(trained, tmp_path):
  """Copies the folder of a finished run, for a test that changes it; returns the copy and the run's result."""

  def copy(run):
    folder, result = trained(run)
    shutil.copytree(folder, tmp_path / "copied")
    return tmp_path / "copied", result

  return copy
