"""A run in a folder of any name: trained, stopped, gone on with, read, exported; and killed in its last evaluation."""

import dataclasses
import os

import numpy as np
import pytest

from gen.generation import loaded_model
from gen.interop import runs
from gen.training import evaluate, loop
from gen.training.checkpointing import checkpoint_folder
from gen.training.hooks import NoHooks, RunStopped
from gen.training.run_log import journal
from tests.tiny_run import StopAt

pytestmark = pytest.mark.optimized  # as test_loop.py, with which it shares the compiled step
NAMES = [b"width=[16,64]", b"a*?{b}\\", b" ~%2F#\n-", b"\xff\xfe"]


@pytest.fixture(scope="module")
def short(run):
  return dataclasses.replace(run, steps=13, evaluate_every=4, name="", tensorboard=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_run_in_a_folder_of_any_name_goes_on_and_is_read_and_exported(short, data, tmp_path, name):
  folder = tmp_path / os.fsdecode(name) / os.fsdecode(b"run " + name)
  named = dataclasses.replace(short, name=folder.name)
  with pytest.raises(RunStopped):
    loop.train_run(named, folder, data, StopAt(5))
  saved = checkpoint_folder.complete_steps(folder / "checkpoints")
  result = loop.train_run(named, folder, data)
  rows = journal.read_journal(folder / "journal.jsonl")
  assert [row["step"] for row in rows if row["kind"] == "resume"] == saved[-1:]
  assert result.name == folder.name and len(list((folder / "tensorboard").iterdir())) >= 1
  assert [checkpoint_folder.find_damages(folder / "checkpoints", step) for step in (9, 13)] == [[], []]
  loaded = loaded_model.load_model(folder)
  kernel = loaded.params["embedding"]["embedding"]
  stored = checkpoint_folder.read_array(folder / "checkpoints", 13, "params/embedding/embedding")
  np.testing.assert_array_equal(kernel, stored)
  runs.export_checkpoint(folder, folder.with_name(folder.name + " out"))
  assert (folder.with_name(folder.name + " out") / "model.safetensors").is_file()


def test_a_kill_during_the_last_evaluation_costs_no_step(short, data, trained, tmp_path, monkeypatch):
  whole = trained(short)[1]
  compute = evaluate.evaluate_loss
  calls = []

  def dies(*words):
    calls.append(words)
    if len(calls) == 4:  # after 4, 8 and 12 steps, and at the end
      raise RuntimeError("killed")
    return compute(*words)

  with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
    patch.setattr(evaluate, "evaluate_loss", dies)
    loop.train_run(short, tmp_path / "killed", data)
  assert checkpoint_folder.complete_steps(tmp_path / "killed" / "checkpoints")[-1] == short.steps
  _goes_on_without_a_step(short, data, tmp_path / "killed", whole)


def test_a_kill_after_the_last_evaluation_writes_it_once(short, data, trained, tmp_path):
  whole = trained(short)[1]

  class Dies(NoHooks):
    def progress(self, row):
      if row["kind"] == "evaluation" and row["step"] == short.steps:
        raise RuntimeError("killed")

  with pytest.raises(RuntimeError, match="killed"):
    loop.train_run(short, tmp_path / "killed", data, Dies())
  _goes_on_without_a_step(short, data, tmp_path / "killed", whole)


def _goes_on_without_a_step(run, data, folder, whole):
  before = [row["step"] for row in journal.read_journal(folder / "journal.jsonl") if row["kind"] == "train"]
  result = loop.train_run(run, folder, data)
  rows = journal.read_journal(folder / "journal.jsonl")
  assert [row["step"] for row in rows if row["kind"] == "train"] == before
  evaluated = [row["step"] for row in rows if row["kind"] == "evaluation"]
  assert evaluated == sorted(set(evaluated)) and evaluated[-1] == run.steps
  assert (result.loss, result.train_loss) == (whole.loss, whole.train_loss)
