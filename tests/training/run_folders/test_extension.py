"""A run goes on to another length where its steps do not depend on it, and names another way where they do."""

import dataclasses

import pytest

from gen.errors import UserError
from gen.training import loop
from gen.training.hooks import NoHooks, RunStopped
from gen.training.run_folders import folder_claim, run_folder
from gen.training.run_log import journal


class StopAt(NoHooks):
  def __init__(self, step):
    self.step, self.seen = step, -1

  def progress(self, row):
    if row["kind"] == "train":
      self.seen = max(self.seen, row["step"])

  def stop(self):
    return self.seen >= self.step


def of(run, steps, schedule="constant", warmup=0.0, **fields):
  optimizer = dataclasses.replace(run.optimizer, schedule=schedule, warmup=warmup)
  return dataclasses.replace(
    run, name="", optimizer=optimizer, steps=steps, log_every=2, checkpoint_every=3, **fields
  )


@pytest.fixture(scope="module")
def finished(run, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("finished")
  return folder, loop.train_run(of(run, 5), folder, data)


def steps_of(folder):
  return [row["step"] for row in journal.read_journal(folder / "journal.jsonl") if row["kind"] == "train"]


def test_a_finished_run_is_extended_to_the_bits_of_a_longer_one(run, data, finished, tmp_path):
  folder, first = finished
  config = (folder / run_folder.CONFIG).read_bytes()
  with pytest.raises(RunStopped):
    loop.train_run(of(run, 9), folder, data, StopAt(6))
  extended = (folder / run_folder.CONFIG).read_bytes()
  assert extended != config
  (folder / run_folder.CONFIG).write_bytes(config)  # as a kill between the two writes leaves it
  assert run_folder.saved_run(folder).steps == 5
  longer = loop.train_run(of(run, 9), folder, data)
  assert (folder / run_folder.CONFIG).read_bytes() == extended
  whole = loop.train_run(of(run, 9), tmp_path, data)
  assert (longer.loss, longer.run, longer.steps) == (whole.loss, whole.run, 9)
  assert steps_of(folder) == [2, 4, 5, 6, 8, 9]
  results = [row for row in journal.read_journal(folder / "journal.jsonl") if row["kind"] == "result"]
  assert [(row["steps"], row["loss"]) for row in results] == [(5, first.loss), (9, whole.loss)]
  assert loop.train_run(of(run, 9), folder, data) == longer
  with pytest.raises(UserError, match="at step 9, which is beyond the 5 steps asked for"):
    loop.train_run(of(run, 5), folder, data)


@pytest.mark.slow
def test_a_run_is_extended_before_its_learning_rate_decays(run, data, tmp_path):
  with pytest.raises(RunStopped):
    loop.train_run(of(run, 20, "wsd"), tmp_path / "run", data, StopAt(4))
  extended = loop.train_run(of(run, 12, "wsd"), tmp_path / "run", data)
  assert extended.loss == loop.train_run(of(run, 12, "wsd"), tmp_path / "whole", data).loss


@pytest.mark.parametrize(
  ("before", "after", "sentence"),
  [
    ((5, "linear"), (9, "linear"), r"its schedule linear depends on the length.*--config.start_from="),
    ((5, "cosine"), (9, "cosine"), r"its schedule cosine depends on the length"),
    ((5, "wsd"), (9, "wsd"), r"its learning rate decays from step 4 on.*--config.start_from=.*:3"),
    (
      (5, "constant", 0.2),
      (15, "constant", 0.2),
      r"1 steps would become one of 3.*optimizer.warmup=0.0666667",
    ),
    ((5, "constant"), (9, "linear"), r"holds another run \(optimizer.schedule.*--config.start_from="),
  ],
)
def test_a_length_that_changes_what_was_trained_is_refused_with_a_way_on(
  run, data, finished, tmp_path, before, after, sentence, monkeypatch
):
  first = of(run, *before)
  if before == (5, "constant"):
    folder = finished[0]
    first = run_folder.saved_run(folder)
  else:
    folder = tmp_path
    saved = dataclasses.replace(first, model=loop.complete_run(first, data).model)
    run_folder.claim_folder(folder, saved)
    monkeypatch.setattr(folder_claim.checkpoint_folder, "complete_steps", lambda path: [3, 5])
    monkeypatch.setattr(run_folder, "_metas", lambda path: iter(()))
  wanted = of(run, *after)
  with pytest.raises(UserError, match=sentence):
    folder_claim.check_claim(folder, wanted)


def test_another_batch_is_another_run_and_the_way_on_is_named(run, finished):
  data = dataclasses.replace(run.data, batch=6)
  with pytest.raises(UserError, match=r"\(data.batch: 3 -> 6\).*--config.start_from="):
    folder_claim.check_claim(finished[0], of(run, 9, data=data))
