"""A run starts from the parameters of another, of its own or of a Hugging Face folder, and says what it took."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from gen.config import config_hash
from gen.data import dataset
from gen.errors import UserError
from gen.models import language_model
from gen.training import loop
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.hooks import NoHooks, RunStopped
from gen.training.run_folders import run_folder
from gen.training.run_log import journal


class StopAt(NoHooks):
  def __init__(self, step):
    self.step, self.seen = step, -1

  def progress(self, row):
    if row["kind"] == "train":
      self.seen = max(self.seen, row["step"])

  def stop(self):
    return self.seen >= self.step


@pytest.fixture(scope="module")
def base(run):
  model = dataclasses.replace(run.model, tied=False)  # so that the head has rows of its own
  return dataclasses.replace(run, name="", model=model, steps=7, log_every=2, checkpoint_every=4)


@pytest.fixture(scope="module")
def source(base, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("source")
  return folder, loop.train_run(base, folder, data)


def parameters(folder, step=None):
  run = run_folder.saved_run(folder)
  with Checkpoints(folder / "checkpoints") as checkpoints:
    return checkpoints.restore_parameters(language_model.parameter_shapes(run.model), step)


def next_run(base, folder, **fields):
  optimizer = dataclasses.replace(base.optimizer, schedule="constant", peak_learning_rate=1e-3)
  return dataclasses.replace(
    base, start_from=str(folder), seed=11, steps=5, **({"optimizer": optimizer} | fields)
  )


def rows(folder, kind):
  return [row for row in journal.read_journal(folder / "journal.jsonl") if row["kind"] == kind]


def assert_equal(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_run_starts_with_the_bits_of_its_source_and_with_its_loss(base, data, source, tmp_path):
  folder, result = source
  run = dataclasses.replace(next_run(base, folder), keep_checkpoints=9)
  loop.train_run(run, tmp_path, data)
  assert_equal(parameters(tmp_path, 0), parameters(folder))
  assert rows(tmp_path, "evaluation")[0]["loss"] == result.loss
  assert "starts from" in rows(tmp_path, "source")[0]["notes"][0]


def test_a_run_resumes_bit_for_bit_after_its_source_was_deleted(base, data, source, tmp_path):
  copy = shutil.copytree(source[0], tmp_path / "source")
  run = next_run(base, copy)
  whole = loop.train_run(run, tmp_path / "whole", data)
  with pytest.raises(RunStopped):
    loop.train_run(run, tmp_path / "stopped", data, StopAt(2))
  shutil.rmtree(copy)
  assert loop.train_run(run, tmp_path / "stopped", data).loss == whole.loss
  with pytest.raises(UserError, match=r"start_from is .* is no folder"):
    loop.train_run(run, tmp_path / "new", data)


@pytest.mark.slow
def test_another_checkpoint_under_the_same_name_is_another_run(base, data, source, tmp_path):
  copy = shutil.copytree(source[0], tmp_path / "source")
  run = next_run(base, copy)
  with pytest.raises(RunStopped):
    loop.train_run(run, tmp_path / "run", data, StopAt(2))
  shutil.rmtree(copy)
  loop.train_run(dataclasses.replace(base, seed=5), copy, data)
  with pytest.raises(UserError, match=r"holds another run \(sources: \['start_from="):
    loop.train_run(run, tmp_path / "run", data)


def test_the_place_of_a_source_is_no_part_of_what_a_run_is(base, data, source, tmp_path):
  copy = shutil.copytree(source[0], tmp_path / "source")
  first = loop.train_run(next_run(base, source[0]), tmp_path / "a", data)
  second = loop.train_run(next_run(base, f"{copy}:7"), tmp_path / "b", data)
  assert first.run == second.run and first.loss == second.loss
  assert config_hash(base) == config_hash(dataclasses.replace(base, start_from=str(copy)))


@pytest.mark.slow
def test_frozen_parameters_keep_their_bits_through_training(base, data, source, tmp_path):
  optimizer = dataclasses.replace(base.optimizer, frozen=("embedding", "target/stack/layers/attention/*"))
  loop.train_run(next_run(base, source[0], optimizer=optimizer), tmp_path, data)
  before, after = parameters(source[0]), parameters(tmp_path)
  assert_equal(before["embedding"], after["embedding"])
  layers, now = before["target"]["stack"]["layers"], after["target"]["stack"]["layers"]
  assert_equal(layers["attention"], now["attention"])
  assert not np.array_equal(layers["feed_forward"]["in"]["kernel"], now["feed_forward"]["in"]["kernel"])


@pytest.mark.slow
def test_the_state_of_the_optimizer_is_copied_if_asked(base, data, source, tmp_path):
  run = next_run(base, source[0], start_opt_state=True, keep_checkpoints=9)
  loop.train_run(run, tmp_path, data)
  with Checkpoints(source[0] / "checkpoints") as old, Checkpoints(tmp_path / "checkpoints") as new:
    template = loop.step.saved_state(run_folder.saved_run(tmp_path).model, run.optimizer, 3).opt_state
    assert_equal(old.restore_part("opt_state", template, 7), new.restore_part("opt_state", template, 0))
  other = dataclasses.replace(run, optimizer=dataclasses.replace(run.optimizer, name="sgd"))
  with pytest.raises(
    UserError, match=r"start_opt_state: the optimizer's state of .* is of another optimizer"
  ):
    loop.train_run(other, tmp_path / "other", data)


@pytest.mark.slow
def test_rows_of_another_vocabulary_are_matched_by_their_text(base, data, source, tmp_path):
  words = dataclasses.replace(base.data, tokenizer="bpe", vocab=300)
  run = next_run(base, source[0], data=words, keep_checkpoints=9)
  loaded = dataset.load_dataset(words)
  loop.train_run(run, tmp_path, loaded)
  old, new = parameters(source[0]), parameters(tmp_path, 0)
  tokenizer, total = loaded.tokenizer, 0
  for number in range(tokenizer.text_vocab):
    piece = tokenizer.piece(number)
    if number < 4 or len(piece) == 1:
      row = number if number < 4 else 4 + piece[0]
      total += 1
      np.testing.assert_array_equal(new["embedding"]["embedding"][number], old["embedding"]["embedding"][row])
      np.testing.assert_array_equal(
        new["head"]["logits"]["kernel"][:, number], old["head"]["logits"]["kernel"][:, row]
      )
    else:
      assert not (old["embedding"]["embedding"] == new["embedding"]["embedding"][number]).all(1).any()
  note = rows(tmp_path, "source")[0]["notes"][1]
  assert note.startswith(f"{total:,} of 300 rows of the vocabulary are copied, and {300 - total:,} drawn")


@pytest.mark.slow
def test_learned_positions_are_extended_or_cut_and_said(base, data, tmp_path):
  learned = dataclasses.replace(base, model=dataclasses.replace(base.model, positions="learned"), steps=2)
  loop.train_run(learned, tmp_path / "source", data)
  longer = dataclasses.replace(learned.data, length=31)
  run = next_run(learned, tmp_path / "source", data=longer, keep_checkpoints=9)
  loop.train_run(run, tmp_path / "longer", data)
  old, new = (
    tree["target"]["embeddings"]["positions"]["embedding"]
    for tree in (parameters(tmp_path / "source"), parameters(tmp_path / "longer", 0))
  )
  np.testing.assert_array_equal(new[:24], old)
  assert "24 of 31 positions are copied, and 7 drawn" in rows(tmp_path / "longer", "source")[0]["notes"]


@pytest.mark.parametrize(
  ("model", "sentence"),
  [
    ({"width": 18}, "has model.width 12, and the run 18"),
    ({"family": "encoder"}, "has model.family 'decoder', and the run 'encoder'"),
    ({"activation": "relu"}, "has model.activation 'gelu_tanh', and the run 'relu'"),
  ],
)
def test_another_model_is_one_sentence(base, data, source, tmp_path, model, sentence):
  given = base.data if "family" not in model else dataclasses.replace(base.data, objective="masked")
  run = next_run(base, source[0], model=dataclasses.replace(base.model, **model), data=given)
  with pytest.raises(UserError, match=sentence):
    loop.train_run(run, tmp_path, data)


@pytest.mark.slow
def test_what_agrees_of_another_family_is_copied_if_asked(base, data, source, tmp_path):
  encoder = dataclasses.replace(base.model, family="encoder")
  run = next_run(
    base, source[0], model=encoder, data=dataclasses.replace(base.data, objective="masked"), start_partial=True,
    keep_checkpoints=9,
  )  # fmt: skip
  loop.train_run(run, tmp_path, data)
  assert_equal(parameters(tmp_path, 0)["target"], parameters(source[0])["target"])


@pytest.mark.parametrize(
  ("start", "sentence"),
  [
    ("{}:5", "has no checkpoint of step 5; it has"),
    ("{}/nothing", "is no folder"),
    ("{}/checkpoints", "has no config.json"),
    ("x" * 5000, "is no folder"),
    ("a\0b", "is no folder"),
  ],
)
def test_a_source_that_is_none_is_one_sentence(base, data, source, tmp_path, start, sentence):
  with pytest.raises(UserError, match=sentence):
    loop.train_run(next_run(base, start.format(source[0])), tmp_path, data)


def test_a_run_does_not_start_from_itself(base, data, source):
  with pytest.raises(UserError, match="the run's own folder"):
    loop.train_run(next_run(base, source[0]), source[0], data)
